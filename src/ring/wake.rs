//! Waiting, inside the thread's runtime, for the eventfd that a ring signals.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// An eventfd that an async task waits for.
pub struct Wake(AsyncFd<OwnedFd>);

impl Wake {
    /// Watches `eventfd`, in the runtime of the calling thread.
    ///
    /// # Errors
    /// Those of duplicating a descriptor and of `epoll_ctl`.
    pub fn watch(eventfd: BorrowedFd<'_>) -> io::Result<Self> {
        let eventfd = eventfd.try_clone_to_owned()?;
        // SAFETY: the descriptor is owned by what is registered, which neither
        // closes nor changes it before it is dropped.
        let watched = unsafe { AsyncFd::register_with_interest(eventfd, Interest::READABLE)? };
        Ok(Wake(watched))
    }

    /// Waits for a write to the eventfd since the last wait. The count is
    /// never read: epoll is edge-triggered here, so each write is an edge.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn wait(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
