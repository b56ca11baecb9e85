//! The figures that every process has, named as the Prometheus client libraries
//! name them, so that dashboards and alerts made for any program fit this one.
//!
//! They come from the kernel: `/proc/self`, which a sandbox with `ProcSubset=pid`
//! still shows, `getrusage(2)` and the clocks. A figure that cannot be read is left
//! out. Called by `families` for each answer to `GET /metrics`.

use std::fs;
use std::io;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use super::family::{Family, Unit, Values, plain};

/// Begins every name.
const PREFIX: &str = "process";

/// What does not change while the process lives.
#[derive(Debug)]
pub(super) struct Process {
    start_s: Option<f64>,
}

impl Process {
    /// The process that calls. To be made once: computed anew, the start would move
    /// with each correction of the system's clock, and look like a restart.
    pub(super) fn new() -> Self {
        Process {
            start_s: told("the start", start_s()),
        }
    }

    /// All figures as they are now.
    pub(super) fn read(&self) -> Vec<Family> {
        let start = self.start_s.into_iter().map(plain).collect();
        let cpu_s = told("the processor time", cpu_s());
        let resident = told("the memory", resident_bytes());
        let open = told("the open files", open_fds());
        let max = told("the limit of open files", max_fds());
        let count = |value: Option<u64>| Values::Gauges(value.into_iter().map(plain).collect());
        vec![
            family(
                "start_time",
                "When the process started, since the epoch of Unix; an upgrade starts another one",
                Some(Unit::Seconds),
                Values::Times(start),
            ),
            family(
                "cpu",
                "Processor time that the process has used, its own and the kernel's for it",
                Some(Unit::Seconds),
                Values::TimeCounters(cpu_s.into_iter().map(plain).collect()),
            ),
            family(
                "resident_memory",
                "Memory of the process that is in RAM",
                Some(Unit::Bytes),
                count(resident),
            ),
            family(
                "open_fds",
                "Open file descriptors; an established connection needs none",
                None,
                count(open),
            ),
            family(
                "max_fds",
                "Open file descriptors that the process may have",
                None,
                count(max),
            ),
        ]
    }
}

fn family(name: &'static str, help: &'static str, unit: Option<Unit>, values: Values) -> Family {
    Family {
        prefix: PREFIX,
        name,
        unit,
        help,
        values,
    }
}

fn told<T>(what: &str, value: io::Result<T>) -> Option<T> {
    value
        .inspect_err(|error| tracing::debug!(%error, "cannot read {what} of the process"))
        .ok()
}

/// Seconds from the epoch to the start of this process.
fn start_s() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let ticks = start_ticks(&stat).ok_or_else(|| unreadable("/proc/self/stat"))?;
    // The kernel counts from its own start, by the clock that goes on in suspend.
    let now = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?);
    let up = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?);
    let started = ticks as f64 / system(SysconfVar::CLK_TCK)? as f64;
    Ok(now.as_secs_f64() - up.as_secs_f64() + started)
}

/// The 22nd field of `/proc/PID/stat`, see proc(5). The second is the program's
/// name in brackets, in which anything may stand.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    behind_name.split(' ').nth(22 - 3)?.parse().ok()
}

pub(in crate::admin) fn cpu_s() -> io::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

pub(in crate::admin) fn resident_bytes() -> io::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    let pages: u64 = pages.ok_or_else(|| unreadable("/proc/self/statm"))?;
    Ok(pages * system(SysconfVar::PAGE_SIZE)?)
}

pub(in crate::admin) fn open_fds() -> io::Result<u64> {
    let entries = fs::read_dir("/proc/self/fd")?.count();
    // One of them is the folder's own.
    Ok(entries as u64 - 1)
}

pub(in crate::admin) fn max_fds() -> io::Result<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(soft)
}

fn system(constant: SysconfVar) -> io::Result<u64> {
    let value = sysconf(constant)?.and_then(|value| u64::try_from(value).ok());
    value.ok_or_else(|| unreadable("sysconf"))
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{what} is not as known"),
    )
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_start_is_found_behind_any_name() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) 1 (b) {}", fields.join(" "));
        assert_eq!(start_ticks(&stat), Some(22));
        assert_eq!(start_ticks("7 (short) S 1"), None);
    }

    #[test]
    fn the_kernel_tells_all_of_it() {
        let now = SystemTime::now();
        let now_s = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let start_s = start_s().unwrap();
        // Ticks are hundredths of a second.
        assert!(start_s < now_s + 0.1 && start_s > now_s - 86_400.0);
        assert!(cpu_s().unwrap() > 0.0);
        assert!(resident_bytes().unwrap() > 100_000);
        let before = open_fds().unwrap();
        assert!(before >= 3 && before <= max_fds().unwrap());
        for figures in Process::new().read() {
            let told = match figures.values {
                Values::Gauges(samples) => samples.len(),
                Values::Times(samples) | Values::TimeCounters(samples) => samples.len(),
                _ => 0,
            };
            assert_eq!(told, 1, "{}", figures.name);
        }
    }
}
