//! The rings of one core, as `fanfare probe` tries them too.

use std::io;
use std::os::fd::BorrowedFd;

use crate::ring::{Abilities, SLOTS_MAX, SPARE_SLOTS_MAX, Uring, patiently};

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
        let Room { slots, spare } = room();
        Ok(Rings {
            reactor: Uring::new(slots + spare, buffers, wake, abilities)?,
            runtime: patiently(|| tokio_uring::Runtime::new(builder))?,
        })
    }
}

/// What one core has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Connections that it can hold.
    pub slots: u32,
    /// Those beside them who come in through the ring and have not been answered.
    pub spare: u32,
}

/// The room of one core: each connection is an entry in its ring's file table, which is bounded
/// like the descriptors of a process.
pub fn room() -> Room {
    use nix::sys::resource::{Resource, getrlimit};
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    Room::within(files)
}

/// Connections that one core can hold.
pub fn slots() -> u32 {
    room().slots
}

impl Room {
    /// The room of a core of a process that may have so many descriptors.
    pub fn within(files: u64) -> Room {
        let all = files.min(u64::from(SLOTS_MAX + SPARE_SLOTS_MAX)) as u32;
        // Where there are few, most are for those who stay.
        let spare = (all / 16).min(SPARE_SLOTS_MAX);
        let slots = (all - spare).min(SLOTS_MAX);
        Room { slots, spare }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_no_larger_than_what_a_process_may_have() {
        for files in [1, 16, 256, 1024, 20_000, 31_023, 31_024, 1 << 20] {
            let Room { slots, spare } = Room::within(files);
            assert!(u64::from(slots + spare) <= files, "{files}");
            assert!(slots <= SLOTS_MAX && spare <= SPARE_SLOTS_MAX, "{files}");
        }
        let all = Room {
            slots: SLOTS_MAX,
            spare: SPARE_SLOTS_MAX,
        };
        assert_eq!(Room::within(1 << 20), all);
    }
}
