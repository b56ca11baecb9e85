//! The rings of one core, as `fanfare probe` tries them too.

use std::io;
use std::os::fd::BorrowedFd;

use super::thread::slots;
use crate::ring::{Abilities, Uring};

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
        Ok(Rings {
            reactor: Uring::new(slots(), buffers, wake, abilities)?,
            runtime: tokio_uring::Runtime::new(builder.entries(RUNTIME_ENTRIES))?,
        })
    }
}
