//! Waiting, inside the thread's runtime, until a descriptor is ready.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

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

/// A non-blocking source, such as a listening socket, that is used only when
/// it is ready. Nothing of it is under way in the kernel meanwhile, so it can
/// be left alone at any time.
pub struct Source<T: AsFd>(AsyncFd<Held<T>>);

struct Held<T>(T);

impl<T: AsFd> AsRawFd for Held<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl<T: AsFd> Source<T> {
    /// Watches `source`, in the runtime of the calling thread.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn watch(source: T) -> io::Result<Self> {
        // SAFETY: the source owns its descriptor, is itself owned by what is
        // registered, and only ever lent out by shared reference.
        let watched = unsafe { AsyncFd::register_with_interest(Held(source), Interest::READABLE)? };
        Ok(Source(watched))
    }

    /// Waits until `take` yields something else than that it would block.
    ///
    /// # Errors
    /// Those of `take`.
    pub async fn next<R>(&self, mut take: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(taken) = ready.try_io(|held| take(&held.get_ref().0)) {
                return taken;
            }
        }
    }
}
