//! Traces: tells a collector of messages and opening handshakes that are traced.
//!
//! Cores and publishers note them in the hub ([`crate::hub::Traces`]) and go on. One thread takes
//! them from there, follows messages to their subscribers' sockets, and makes a request to the
//! collector now and then. A collector that is away costs nobody else anything: what it does not
//! take is dropped in the end, and counted.

mod outbox;
mod resource;
mod spans;
mod work;

use std::env;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::Notify;

use self::work::Work;
use crate::hub::Hub;

/// The thread that tells the collector, until this is stopped.
pub struct Traces {
    stopping: Arc<Notify>,
    thread: JoinHandle<()>,
}

impl Traces {
    /// Starts it, if there is a collector.
    ///
    /// # Errors
    /// A sentence: the headers cannot be read, or there can be no thread.
    pub fn start(hub: &Arc<Hub>) -> Result<Option<Traces>, String> {
        let settings = hub.settings();
        let Some(url) = settings.otlp_endpoint.clone() else {
            return Ok(None);
        };
        let headers = settings.otlp_headers().map_err(|error| error.to_string())?;
        let resource = resource::describe(|key| env::var(key).ok());
        let failed = |error| format!("cannot start a thread: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let stopping = Arc::new(Notify::new());
        let work = Work::new(hub.clone(), stopping.clone(), url, headers, resource);
        let thread = thread::Builder::new()
            .name("traces".into())
            .spawn(move || {
                runtime.block_on(work.run());
                // A search for the collector's address may take its time.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Some(Traces { stopping, thread }))
    }

    /// Ends it, once what waits has been tried for a moment.
    pub fn stop(self) {
        self.stopping.notify_one();
        if self.thread.join().is_err() {
            tracing::error!("the thread of the traces has panicked");
        }
    }
}
