//! The rings of one core, as `fanfare probe` tries them too.

use std::io;
use std::os::fd::BorrowedFd;

use crate::ring::{Abilities, SLOTS_MAX, Uring, patiently};

/// Requests of the acceptor between two calls of the kernel.
const RUNTIME_ENTRIES: u32 = 512;

/// What a core's two halves stand on. It belongs to the thread that makes it.
pub struct Rings {
    pub(super) reactor: Uring,
    pub(super) runtime: tokio_uring::Runtime,
}

impl Rings {
    /// # Errors
    /// What the kernel refuses, such as memory beyond what may be locked.
    pub fn make(buffers: u16, wake: BorrowedFd<'_>, abilities: Abilities) -> io::Result<Rings> {
        let mut builder = tokio_uring::builder();
        let builder = builder.entries(RUNTIME_ENTRIES);
        Ok(Rings {
            reactor: Uring::new(slots(), buffers, wake, abilities)?,
            runtime: patiently(|| tokio_uring::Runtime::new(builder))?,
        })
    }
}

/// Connections that one core can hold: each is an entry in its ring's file
/// table, which is bounded like the descriptors of a process.
pub fn slots() -> u32 {
    use nix::sys::resource::{Resource, getrlimit};
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    files.min(u64::from(SLOTS_MAX)) as u32
}
