//! The life of a daemon: ready, handing over, stopping, unwell.

use std::sync::atomic::Ordering;

use nix::unistd::Pid;
use tokio::sync::watch;

use super::{Hub, Losses, Mailbox};

/// How long a core may go without a turn before the daemon is unwell.
pub const BEAT_MS_MAX: u64 = 1000;

/// What hands everything over to a newer process; see [`Hub::upgrade`].
pub type Upgrade = dyn Fn() -> Result<Pid, UpgradeError> + Send + Sync;

/// Why nothing was handed over. Everything goes on as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// It was not the time for it.
    #[error("{0}")]
    Refused(String),
    /// It was tried.
    #[error("{0}")]
    Failed(String),
}

impl Hub {
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    /// While frozen nothing is published from outside the cores.
    pub fn set_frozen(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Release);
    }

    /// A successor serves now, or does not after all.
    pub fn set_parted(&self, parted: bool) {
        self.parted.send_replace(parted);
    }

    /// A successor serves now: whoever comes is left to it, and who waits is told to ask again.
    pub fn has_parted(&self) -> bool {
        *self.parted.borrow()
    }

    /// The same, for who is to be told when that changes.
    pub fn parted(&self) -> watch::Receiver<bool> {
        self.parted.subscribe()
    }

    /// Sets what [`Hub::upgrade`] does.
    pub fn on_upgrade(&self, upgrade: Box<Upgrade>) {
        let set = self.upgrade.set(upgrade).is_ok();
        assert!(set, "there is one way to upgrade");
    }

    /// Starts the program anew and hands everything over to it. Returns once
    /// that is done, and which process serves then; this one has nothing left to do
    /// and ends soon.
    ///
    /// # Errors
    /// A sentence on what went wrong; then everything goes on here.
    pub fn upgrade(&self) -> Result<Pid, UpgradeError> {
        match self.upgrade.get() {
            Some(upgrade) => upgrade(),
            None => Err(UpgradeError::Refused("the daemon is still starting".into())),
        }
    }

    /// What could not be taken over from a daemon that had ended.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// All cores listen.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// New connections are served: all cores listen, and none stops.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_stopping()
    }

    /// The cores whose loop has not turned for longer than [`BEAT_MS_MAX`].
    pub fn stuck_cores(&self) -> Vec<usize> {
        let now_ms = self.now_ms();
        let stuck = |mailbox: &Mailbox| mailbox.beat_ms() + BEAT_MS_MAX < now_ms;
        let cores = self.cores.iter().enumerate();
        cores
            .filter_map(|(core, mailbox)| stuck(mailbox).then_some(core))
            .collect()
    }

    /// Over which time those who are told that the daemon stops should come back.
    pub fn retry_spread_ms(&self) -> u64 {
        let leaving = self.leaving.load(Ordering::Relaxed) as u64;
        // Two thousand handshakes a second leave room for everything else.
        self.settings().drain_ms_max.max(leaving / 2)
    }

    /// So many connections are about to be told to come back.
    pub fn set_leaving(&self, connections: usize) {
        self.leaving.store(connections, Ordering::Relaxed);
    }

    /// Makes every core say goodbye and end. `followed` is whether another daemon
    /// is about to be started in place of this one.
    pub fn stop(&self, followed: bool) {
        self.set_leaving(self.admission.connections());
        self.followed.store(followed, Ordering::Relaxed);
        self.stopping.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Another daemon is about to be started in place of the one that stops.
    pub fn is_followed(&self) -> bool {
        self.followed.load(Ordering::Relaxed)
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
