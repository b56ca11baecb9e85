//! Messages to the service manager, by the protocol of sd_notify(3): datagrams of
//! `KEY=value` lines to the socket that `NOTIFY_SOCKET` names.
//!
//! Called by `service` for readiness and restarts, by `watchdog` for its pings.
//! Without a service manager the messages go nowhere.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::ring::passing;

/// How long the service manager may take to catch up.
const BARRIER_TIME: Duration = Duration::from_secs(10);

/// The way to the service manager; without one all that is said is lost.
#[derive(Debug, Default)]
pub(super) struct Notifier(Option<UnixDatagram>);

impl Notifier {
    /// The one that the environment names. A manager that cannot be reached is
    /// logged and does without us.
    pub(super) fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else {
            return Notifier::default();
        };
        match connect(&name) {
            Ok(socket) => Notifier(Some(socket)),
            Err(error) => {
                tracing::warn!(%error, socket = ?name, "cannot reach the service manager");
                Notifier::default()
            }
        }
    }

    /// Has the service manager keep `files` under `name` until the next start.
    pub(super) fn store(&self, name: &str, files: &[OwnedFd]) -> Result<(), String> {
        let socket = self.0.as_ref().ok_or("there is no service manager")?;
        let lines = format!("FDSTORE=1\nFDNAME={name}");
        passing::send(socket.as_fd(), lines.as_bytes(), files)
            .map_err(|error| format!("the service manager does not take files: {error}"))
    }

    /// What was stored under `name` is not needed any more.
    pub(super) fn unstore(&self, name: &str) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    /// Waits until the service manager has taken all that was sent.
    pub(super) fn barrier(&self) -> Result<(), String> {
        let socket = self.0.as_ref().ok_or("there is no service manager")?;
        let wait = || {
            let (mut ours, theirs) = UnixStream::pair()?;
            ours.set_read_timeout(Some(BARRIER_TIME))?;
            passing::send(socket.as_fd(), b"BARRIER=1", &[theirs.into()])?;
            // It says nothing; it closes its end when it is there.
            ours.read(&mut [0]).map(|_| ())
        };
        wait().map_err(|error: io::Error| format!("the service manager does not answer: {error}"))
    }

    /// From now on another process is the service.
    pub(super) fn main_pid(&self, pid: Pid) {
        self.send(&format!("MAINPID={pid}"));
    }

    #[cfg(test)]
    pub(super) fn to(manager: UnixDatagram) -> Self {
        Notifier(Some(manager))
    }

    /// Whether there is a manager that listens.
    pub(super) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Start-up or a reload is over.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The settings are being read again. The time lets the manager tell this
    /// reload from an earlier one.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        let usec = now.as_micros();
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS=reading the settings again"
        ));
    }

    /// The end has begun, and will take no longer than `within`.
    pub(super) fn stopping(&self, status: &str, within: Duration) {
        let usec = within.as_micros();
        self.send(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={usec}\nSTATUS={status}"
        ));
    }

    /// The line that `systemctl status` shows.
    pub(super) fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// Every core's loop turns.
    pub(super) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, lines: &str) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.send(lines.as_bytes())
        {
            tracing::warn!(%error, "cannot tell the service manager {lines:?}");
        }
    }
}

/// A path, or a name in the abstract namespace behind an `@`.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// Within which time the manager wants to hear that we are alive
/// (`WATCHDOG_USEC`), if it wants to at all.
pub(super) fn watchdog() -> Option<Duration> {
    let for_us = match env::var("WATCHDOG_PID") {
        Ok(pid) => pid.parse() == Ok(std::process::id()),
        Err(_) => true,
    };
    let usec = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (for_us && usec > 0).then(|| Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(manager: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let len = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_behind_a_path_hears_each_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier(Some(connect(path.as_os_str()).unwrap()));
        notifier.ready("serving");
        assert_eq!(heard(&manager), "READY=1\nSTATUS=serving");
        notifier.reloading();
        let reloading = heard(&manager);
        let usec = reloading
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .and_then(|rest| rest.split_once('\n'));
        assert!(usec.unwrap().0.parse::<u64>().unwrap() > 0, "{reloading}");
        notifier.alive();
        assert_eq!(heard(&manager), "WATCHDOG=1");
        notifier.stopping("draining", Duration::from_secs(2));
        assert_eq!(
            heard(&manager),
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000\nSTATUS=draining"
        );
    }

    #[test]
    fn a_manager_in_the_abstract_namespace_is_reached() {
        let name = format!("fanfare-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = Notifier(Some(connect(OsStr::new(&format!("@{name}"))).unwrap()));
        notifier.status("two");
        assert_eq!(heard(&manager), "STATUS=two");
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        Notifier::default().ready("unheard");
    }
}
