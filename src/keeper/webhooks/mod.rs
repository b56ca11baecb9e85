//! Webhooks: tells the servers of apps what happens in their channels.
//!
//! Cores note what happens in the hub ([`crate::hub::Hooks`]) and go on. One thread takes it from
//! there, looks at how many subscribers topics have, waits a while where somebody has gone, and
//! puts what is to be told into the outbox of each address. A request at a time goes to each of
//! them; one that is down costs nobody but its own outbox anything.

mod asking;
mod occupancy;
mod outbox;
mod posts;
mod timers;
mod told;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use self::work::Work;
use crate::hub::Hub;

pub use asking::answer;

/// The thread that tells of what happens, until this is stopped.
pub struct Webhooks {
    hub: Arc<Hub>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Webhooks {
    /// Starts it, where the process before has stopped, if there was one.
    ///
    /// # Errors
    /// A sentence on why there can be no thread.
    pub fn start(hub: &Arc<Hub>) -> Result<Webhooks, String> {
        let failed = |error| format!("cannot start a thread: {error}");
        let stopping = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let work = Work::new(hub.clone(), stopping.clone());
        let thread = thread::Builder::new()
            .name("webhooks".into())
            .spawn(move || {
                runtime.block_on(work.run());
                // A search for a server's address may take its time.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Webhooks {
            hub: hub.clone(),
            stopping,
            thread,
        })
    }

    /// Ends it, once what waits has been tried for a moment.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.hub.hooks().wake();
        if self.thread.join().is_err() {
            tracing::error!("the thread of the webhooks has panicked");
        }
    }
}
