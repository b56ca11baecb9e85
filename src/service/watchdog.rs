//! Tells the service manager that every core's loop turns, and what the daemon is
//! doing. One hung core ends these pings: the manager then restarts the daemon.
//!
//! A thread of its own, started by `service` where there is a service manager.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::notify::Notifier;
use crate::hub::Hub;

/// How often the status line is looked at where nobody waits for pings.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// The thread that does so until it is stopped.
pub(super) struct Watchdog {
    /// Dropped, it ends the thread.
    alive: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Watchdog {
    /// `within` is the time that the manager gives between two pings, if it
    /// wants any.
    pub(super) fn start(
        hub: Arc<Hub>,
        notifier: Arc<Notifier>,
        within: Option<Duration>,
    ) -> io::Result<Self> {
        // Three chances, as a ping may come late on a busy machine.
        let interval = within.map_or(STATUS_INTERVAL, |within| (within / 3).min(STATUS_INTERVAL));
        let (alive, stopping) = mpsc::channel();
        let mut watch = Watch::new(hub, notifier, within.is_some());
        let thread = thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                watch.look();
                while stopping.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    watch.look();
                }
            })?;
        Ok(Watchdog { alive, thread })
    }

    pub(super) fn stop(self) {
        drop(self.alive);
        if self.thread.join().is_err() {
            tracing::error!("the watchdog thread has panicked");
        }
    }
}

struct Watch {
    hub: Arc<Hub>,
    notifier: Arc<Notifier>,
    pings: bool,
    stuck: Vec<usize>,
    status: String,
}

impl Watch {
    fn new(hub: Arc<Hub>, notifier: Arc<Notifier>, pings: bool) -> Self {
        Watch {
            hub,
            notifier,
            pings,
            stuck: Vec::new(),
            status: String::new(),
        }
    }

    fn look(&mut self) {
        // A core that has said goodbye to all is gone, not stuck; if it does not
        // end, the manager's time limit for stopping is what ends it.
        let stopping = self.hub.is_stopping();
        let stuck = if stopping {
            Vec::new()
        } else {
            self.hub.stuck_cores()
        };
        if stuck != self.stuck {
            if stuck.is_empty() {
                tracing::info!("all cores turn again");
            } else {
                tracing::error!(cores = ?stuck, "stuck: these cores have not turned for a second");
            }
            self.stuck = stuck;
        }
        if self.pings && self.stuck.is_empty() {
            self.notifier.alive();
        }
        let status = status(&self.hub, &self.stuck);
        if !stopping && status != self.status {
            self.notifier.status(&status);
            self.status = status;
        }
    }
}

/// The line of `systemctl status`.
pub(super) fn status(hub: &Hub, stuck: &[usize]) -> String {
    if !stuck.is_empty() {
        return format!("stuck: cores {stuck:?} do not turn");
    }
    let plural = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    format!(
        "serving {} in {} on {}",
        plural(hub.admission().connections(), "connection"),
        plural(hub.topics_len(), "topic"),
        plural(hub.mailboxes().len(), "core"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::config::Settings;

    fn heard(manager: &UnixDatagram) -> Vec<String> {
        manager.set_nonblocking(true).unwrap();
        let mut all = Vec::new();
        let mut bytes = [0; 256];
        loop {
            match manager.recv(&mut bytes) {
                Ok(len) => all.push(String::from_utf8_lossy(&bytes[..len]).into_owned()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return all;
                }
            }
        }
    }

    fn watch(cores: usize) -> (Watch, UnixDatagram) {
        let settings = Settings {
            cores,
            ..Settings::default()
        };
        let (ours, manager) = UnixDatagram::pair().unwrap();
        let notifier = Arc::new(Notifier::to(ours));
        (
            Watch::new(Hub::new(settings).unwrap(), notifier, true),
            manager,
        )
    }

    #[test]
    fn while_all_cores_turn_the_manager_is_pinged() {
        let (mut watch, manager) = watch(2);
        for core in 0..2 {
            watch.hub.mailbox(core).beat(u64::MAX / 2);
        }
        watch.look();
        watch.look();
        let status = "STATUS=serving 0 connections in 0 topics on 2 cores";
        assert_eq!(heard(&manager), ["WATCHDOG=1", status, "WATCHDOG=1"]);
    }

    #[test]
    fn one_stuck_core_ends_the_pings() {
        let (mut watch, manager) = watch(2);
        watch.hub.mailbox(1).beat(u64::MAX / 2);
        // Core 0 has never turned; wait until that is too long ago.
        while watch.hub.stuck_cores().is_empty() {
            std::thread::yield_now();
        }
        watch.look();
        assert_eq!(heard(&manager), ["STATUS=stuck: cores [0] do not turn"]);
        watch.hub.stop(false);
        watch.look();
        assert_eq!(heard(&manager), ["WATCHDOG=1"]);
    }
}
