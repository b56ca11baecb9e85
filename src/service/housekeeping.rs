//! What has to be done now and then, whoever else is busy: letting go of history
//! that has grown too old.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::hub::Hub;

const INTERVAL: Duration = Duration::from_secs(1);

/// The thread that keeps house until this is stopped.
pub(super) struct Housekeeping {
    /// Dropped, it ends the thread.
    alive: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Housekeeping {
    pub(super) fn start(hub: Arc<Hub>) -> io::Result<Self> {
        let (alive, stopping) = mpsc::channel();
        let keep_house = move || {
            while stopping.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                hub.expire();
            }
        };
        let thread = thread::Builder::new()
            .name("housekeeping".into())
            .spawn(keep_house)?;
        Ok(Housekeeping { alive, thread })
    }

    pub(super) fn stop(self) {
        drop(self.alive);
        if self.thread.join().is_err() {
            tracing::error!("the housekeeping thread has panicked");
        }
    }
}
