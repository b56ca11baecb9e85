//! Asks the kernel for everything the daemon needs, before anything starts.

use std::fmt;
use std::fs;
use std::io;

use io_uring::{IoUring, opcode, squeue};
use nix::sys::resource::{Resource, getrlimit};

use super::patience::patiently;
use super::uring::RING_BYTES;

/// Entries of a ring that shows what the kernel knows. It takes one page, so
/// that it is refused for other reasons than its size.
const SMALLEST: u32 = 4;

/// Something of the kernel that the daemon uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    /// The first Linux that has it.
    pub since: &'static str,
    pub present: bool,
    /// Without it the daemon does not start.
    pub needed: bool,
}

/// What a ring makes use of where the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// Zero-copy sends say whether they copied (Linux 6.2).
    pub reports_usage: bool,
    /// Each file and each region of a ring is let go of by itself (Linux 6.13).
    /// Before, one region in use keeps all files that are taken out after it.
    pub parts_resources: bool,
    /// Sockets can be lent to the ring of zero-copy sends (Linux 6.2). Before, a send whose bytes
    /// are not back keeps all files that are taken out of its ring's table after it.
    pub lends: bool,
    /// What has no plain descriptor can be given one (Linux 6.8), so that connections may be
    /// accepted without.
    pub installs: bool,
}

/// What the kernel offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub features: Vec<Feature>,
    pub abilities: Abilities,
    /// A connection can be handed to another process (Linux 6.8).
    pub installs: bool,
}

/// Why the daemon cannot run here, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    #[error(
        "this kernel ({0}) has no io_uring: Fanfare needs Linux 6.1 or newer, with CONFIG_IO_URING"
    )]
    Missing(String),
    #[error(
        "io_uring is switched off (kernel.io_uring_disabled = {0}): \
         set it to 0, as with `sysctl kernel.io_uring_disabled=0`"
    )]
    Disabled(String),
    #[error(
        "io_uring is forbidden here, most likely by a seccomp filter: allow the system calls \
         io_uring_setup, io_uring_enter and io_uring_register \
         (systemd: SystemCallFilter=@system-service; containers: a seccomp profile with them)"
    )]
    Forbidden,
    #[error(
        "this kernel's io_uring lacks {0} (Linux {1}): Fanfare needs Linux 6.1 or newer, \
         this is {2}"
    )]
    Lacks(&'static str, &'static str, String),
    #[error("{0}")]
    LockedMemory(#[from] LockedMemory),
    #[error("io_uring cannot be set up: {0}")]
    Other(String),
}

/// The rings do not fit into the memory that may be locked. Before Linux 6.14
/// they do not count there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rings of {cores} cores need about {} MiB of locked memory and only {made} of them fit \
     into the limit{}: raise it (systemd: LimitMEMLOCK=512M; shell: ulimit -l; containers: \
     --ulimit memlock=536870912), or set fewer cores",
    (cores * RING_BYTES).div_ceil(1 << 20),
    limit.map_or(String::new(), |bytes| format!(" of {} KiB", bytes >> 10))
)]
pub struct LockedMemory {
    pub cores: usize,
    /// Cores whose rings could be made.
    pub made: usize,
    pub limit: Option<u64>,
}

impl LockedMemory {
    /// What it means that a core's ring could not be made, if it means this.
    /// What the rings of other processes take counts as well, where these are of
    /// the same user.
    pub fn from_error(error: &io::Error, cores: usize, made: usize) -> Option<LockedMemory> {
        (error.raw_os_error() == Some(libc::ENOMEM)).then(|| LockedMemory {
            cores,
            made,
            limit: getrlimit(Resource::RLIMIT_MEMLOCK).map_or(None, |(soft, _)| {
                (soft != libc::RLIM_INFINITY).then_some(soft)
            }),
        })
    }
}

impl Probe {
    /// Asks the running kernel.
    ///
    /// # Errors
    /// The first thing that is missing, with its cure.
    pub fn run() -> Result<Probe, Unsupported> {
        let plain = patiently(|| IoUring::new(SMALLEST)).map_err(|error| refused(&error))?;
        let mut known = io_uring::Probe::new();
        plain
            .submitter()
            .register_probe(&mut known)
            .map_err(|error| refused(&error))?;
        drop(plain);
        let mut builder = IoUring::<squeue::Entry>::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all();
        // Provided buffer rings came with 5.19 and multishot receive with 6.0;
        // deferred task work, which is newer, vouches for both.
        let deferred = match patiently(|| builder.build(SMALLEST)) {
            Ok(_) => true,
            // A kernel that does not know a flag.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => false,
            Err(error) => return Err(refused(&error)),
        };
        let has = |code: u8| known.is_supported(code);
        let needed = |name, since, present| Feature {
            name,
            since,
            present,
            needed: true,
        };
        let installs = has(opcode::FixedFdInstall::CODE);
        let abilities = Abilities {
            reports_usage: release() >= (6, 2),
            parts_resources: release() >= (6, 13),
            lends: release() >= (6, 2),
            installs,
        };
        let features = vec![
            needed(
                "send and receive",
                "5.6",
                has(opcode::Send::CODE) && has(opcode::Recv::CODE),
            ),
            needed("poll", "5.1", has(opcode::PollAdd::CODE)),
            needed("shutdown", "5.11", has(opcode::Shutdown::CODE)),
            needed("close", "5.15", has(opcode::Close::CODE)),
            needed("zero-copy send", "6.0", has(opcode::SendZc::CODE)),
            needed("deferred task work", "6.1", deferred),
            Feature {
                name: "zero-copy usage reports",
                since: "6.2",
                present: abilities.reports_usage,
                needed: false,
            },
            Feature {
                name: "handover to a successor",
                since: "6.8",
                present: installs,
                needed: false,
            },
            Feature {
                name: "handshakes in the ring",
                since: "6.8",
                present: installs,
                needed: false,
            },
        ];
        match features.iter().find(|f| f.needed && !f.present) {
            Some(missing) => Err(Unsupported::Lacks(
                missing.name,
                missing.since,
                release_name(),
            )),
            None => Ok(Probe {
                features,
                abilities,
                installs,
            }),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Linux {}: io_uring is usable", release_name())?;
        for feature in &self.features {
            let state = match (feature.present, feature.needed) {
                (true, _) => "yes",
                (false, true) => "no, needed",
                (false, false) => "no, optional",
            };
            writeln!(
                f,
                "  {:<26} since {:<5} {state}",
                feature.name, feature.since
            )?;
        }
        Ok(())
    }
}

fn refused(error: &io::Error) -> Unsupported {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let switch = read("/proc/sys/kernel/io_uring_disabled");
    refusal(
        error,
        switch.trim(),
        is_filtered(&read("/proc/self/status")),
    )
}

/// Whether a seccomp filter is in force (proc_pid_status(5)).
fn is_filtered(status: &str) -> bool {
    status.lines().any(|line| {
        let mode = line.strip_prefix("Seccomp:");
        mode.is_some_and(|mode| mode.trim() == "2")
    })
}

fn refusal(error: &io::Error, switch: &str, filtered: bool) -> Unsupported {
    match error.raw_os_error() {
        // The kernel has the switch only where it has io_uring (6.6); older
        // ones leave the filter as the likelier cause.
        Some(libc::ENOSYS) if filtered || !switch.is_empty() => Unsupported::Forbidden,
        Some(libc::ENOSYS) => Unsupported::Missing(release_name()),
        Some(libc::EPERM | libc::EACCES) if !matches!(switch, "" | "0") => {
            Unsupported::Disabled(switch.to_owned())
        }
        Some(libc::EPERM | libc::EACCES) => Unsupported::Forbidden,
        _ => Unsupported::Other(error.to_string()),
    }
}

fn release_name() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn release() -> (u32, u32) {
    parse_release(&release_name())
}

fn parse_release(name: &str) -> (u32, u32) {
    let mut parts = name
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_cure() {
        let error = |code| io::Error::from_raw_os_error(code);
        let refusal = |code, switch, filtered| refusal(&error(code), switch, filtered);
        let missing = refusal(libc::ENOSYS, "", false);
        assert_eq!(missing, Unsupported::Missing(release_name()));
        assert_eq!(refusal(libc::EPERM, "0", false), Unsupported::Forbidden);
        assert_eq!(refusal(libc::EPERM, "", true), Unsupported::Forbidden);
        let disabled = refusal(libc::EPERM, "2", false).to_string();
        assert!(
            disabled.contains("kernel.io_uring_disabled = 2"),
            "{disabled}"
        );
    }

    #[test]
    fn a_filter_that_plays_an_old_kernel_is_not_taken_for_one() {
        let error = io::Error::from_raw_os_error(libc::ENOSYS);
        assert_eq!(refusal(&error, "", true), Unsupported::Forbidden);
        assert_eq!(refusal(&error, "0", false), Unsupported::Forbidden);
        assert!(is_filtered("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!is_filtered("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n"));
    }

    #[test]
    fn too_little_locked_memory_names_its_cure() {
        let error = |code| io::Error::from_raw_os_error(code);
        let short = LockedMemory::from_error(&error(libc::ENOMEM), 8, 6).unwrap();
        let short = LockedMemory {
            limit: Some(8 << 20),
            ..short
        };
        let sentence = short.to_string();
        for part in [
            "8 cores",
            "only 6",
            "8192 KiB",
            "LimitMEMLOCK=",
            "ulimit -l",
        ] {
            assert!(sentence.contains(part), "{sentence}");
        }
        assert_eq!(LockedMemory::from_error(&error(libc::EMFILE), 8, 6), None);
    }

    #[test]
    fn a_kernel_release_is_two_numbers() {
        assert_eq!(parse_release("6.18.44-fc-v595"), (6, 18));
        assert_eq!(parse_release("6.1.0-13-amd64"), (6, 1));
        assert_eq!(parse_release("7-rc1"), (7, 0));
    }

    #[test]
    fn this_kernel_is_described() {
        let probe = Probe::run().expect("the tests need what the daemon needs");
        assert!(probe.to_string().contains("deferred task work"));
    }
}
