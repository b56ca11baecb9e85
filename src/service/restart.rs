//! Finds out whether the daemon is asked to stop in order to be started again at
//! once (`systemctl restart`), and whether the service manager can keep all
//! connections meanwhile.
//!
//! What is then kept, and how, is in `handover::store`. Called by `service` when a
//! signal says stop.

use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

/// How long the service manager may take to answer a question.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Files beside the connections: state, listeners, and some to spare.
const SPARE_FILES: usize = 600;

/// The next start of this unit, which the service manager is about to make.
pub(super) struct Next {
    unit: String,
    /// Files that the manager keeps until then.
    room: usize,
}

/// The next start, if the service manager is about to start this unit again.
pub(super) fn expected() -> Option<Next> {
    env::var_os("NOTIFY_SOCKET")?;
    let unit = unit()?;
    let Some(jobs) = ask(&["list-jobs", "--plain", "--no-legend"]) else {
        tracing::info!("cannot ask the service manager whether this is a restart: saying goodbye");
        return None;
    };
    if !is_restart(&jobs, &unit) {
        return None;
    }
    let room = property(&unit, "FileDescriptorStoreMax").unwrap_or(0);
    Some(Next { unit, room })
}

impl Next {
    /// Connections that the service manager can keep.
    pub(super) fn room(&self) -> usize {
        self.room.saturating_sub(SPARE_FILES)
    }

    /// Finds out whether the manager has kept so many files. It says nothing of those
    /// that it let go: for want of room, or of the right of this process to
    /// have any kept.
    pub(super) fn verify(&self, files: usize) -> Result<(), String> {
        let kept = property(&self.unit, "NFileDescriptorStore");
        let kept = kept.ok_or("the service manager does not tell what it keeps")?;
        if kept < files {
            return Err(format!("the service manager keeps {kept} of {files} files"));
        }
        Ok(())
    }
}

/// A number that the service manager tells of a unit.
fn property(unit: &str, name: &str) -> Option<usize> {
    let property = format!("--property={name}");
    let answer = ask(&["show", &property, "--value", unit])?;
    answer.trim().parse().ok()
}

/// The unit this process belongs to, as its control group says.
fn unit() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    unit_in(&groups)
}

fn unit_in(groups: &str) -> Option<String> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut parts = path.rsplit('/');
    parts
        .find(|part| part.ends_with(".service"))
        .map(str::to_owned)
}

fn is_restart(jobs: &str, unit: &str) -> bool {
    jobs.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(unit) && words.next() == Some("restart")
    })
}

/// What `systemctl` says, if it says it in time.
fn ask(arguments: &[&str]) -> Option<String> {
    let child = Command::new("systemctl")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let (answer, answered) = std::sync::mpsc::channel();
    // A manager that hangs keeps this thread, not the stopping.
    thread::spawn(move || answer.send(child.wait_with_output()));
    let output = answered.recv_timeout(ANSWER_TIME).ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_found_in_the_control_group() {
        let unit = |groups| unit_in(groups).unwrap_or_default();
        assert_eq!(
            unit("0::/system.slice/fanfare.service\n"),
            "fanfare.service"
        );
        let below = "1:name=systemd:/x\n0::/system.slice/a@1.service/main\n";
        assert_eq!(unit(below), "a@1.service");
        assert_eq!(unit("0::/user.slice/session-1.scope\n"), "");
    }

    #[test]
    fn a_restart_is_told_from_a_stop() {
        let jobs = "12 other.service   restart running\n13 fanfare.service restart running\n";
        assert!(is_restart(jobs, "fanfare.service"));
        let jobs = "12 other.service restart running\n13 fanfare.service stop    running\n";
        assert!(!is_restart(jobs, "fanfare.service"));
        assert!(!is_restart("", "fanfare.service"));
    }
}
