//! A thread that lets go of history which has grown too old, now and then, however
//! busy the cores are; and looks after certificates and the keys of session tickets.
//!
//! What is old is decided in `hub` and `log`. Started and stopped by `service`.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::certificates;
use crate::hub::Hub;

const INTERVAL: Duration = Duration::from_secs(1);

/// The thread that keeps house until this is stopped.
pub(super) struct Housekeeping {
    /// Dropped, it ends the thread.
    alive: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Housekeeping {
    pub(super) fn start(hub: Arc<Hub>, certificates: Arc<certificates::Watch>) -> io::Result<Self> {
        let (alive, stopping) = mpsc::channel();
        let keep_house = move || {
            while stopping.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                hub.expire();
                hub.tls().tickets().look_after(hub.unix_s());
                certificates.look(&hub);
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
