//! The rings of one core, as `fanfare probe` tries them too.

use std::io;
use std::os::fd::BorrowedFd;

use crate::config::Settings;
use crate::ring::{Abilities, SLOTS_MAX, Uring, patiently};

/// Requests of the acceptor between two calls of the kernel.
const RUNTIME_ENTRIES: u32 = 512;
/// The most slots beyond those of connections, for who has not been answered yet: else nobody
/// could be told that a full core is full.
const SPARE_MAX: u32 = 1024;
/// So many connections have room on each core, as far as descriptors go, however few the settings
/// allow at the start: a reload may allow more.
const ROOM_MIN: u64 = 30_000;

/// What a core's two halves stand on. It belongs to the thread that makes it.
pub struct Rings {
    pub(super) reactor: Uring,
    pub(super) runtime: tokio_uring::Runtime,
}

impl Rings {
    /// # Errors
    /// What the kernel refuses, such as memory beyond what may be locked.
    pub fn make(
        buffers: u16,
        room: Room,
        wake: BorrowedFd<'_>,
        abilities: Abilities,
    ) -> io::Result<Rings> {
        let mut builder = tokio_uring::builder();
        let builder = builder.entries(RUNTIME_ENTRIES);
        let Room { slots, spare } = room;
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

impl Room {
    /// The room of each core of this process: each connection is an entry in the file table of
    /// its core's ring, which is bounded like the descriptors of a process.
    pub fn of(settings: &Settings) -> Room {
        use nix::sys::resource::{Resource, getrlimit};
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        Room::within(files, settings.connections_max, settings.cores)
    }

    /// That of a process that may have so many descriptors, for so many connections in all. An
    /// entry is 8 bytes of the kernel's memory whether it is used or not, so a core has twice its
    /// even share of them and not all.
    pub fn within(files: u64, connections_max: usize, cores: usize) -> Room {
        let share = connections_max.div_ceil(cores).saturating_mul(2);
        let wanted = ROOM_MIN.max(share.min(connections_max) as u64);
        let all = files.min(u64::from(SLOTS_MAX)) as u32;
        // Where there are few, most are for those who stay.
        let spare = (all / 16).min(SPARE_MAX);
        let slots = u64::from(all - spare).min(wanted) as u32;
        Room { slots, spare }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_no_larger_than_what_a_process_may_have() {
        for files in [1, 16, 256, 1024, 20_000, 31_023, 31_024, 1 << 20, 1 << 30] {
            for connections_max in [1, 100_000, 10_000_000] {
                let Room { slots, spare } = Room::within(files, connections_max, 1);
                assert!(u64::from(slots + spare) <= files, "{files}");
                assert!(slots + spare <= SLOTS_MAX && spare <= SPARE_MAX, "{files}");
            }
        }
    }

    #[test]
    fn where_descriptors_allow_it_a_core_has_twice_its_even_share() {
        let slots = |connections_max, cores| Room::within(1 << 30, connections_max, cores).slots;
        assert_eq!(slots(100_000, 1), 100_000, "there is nobody else");
        assert_eq!(slots(100_000, 2), 100_000);
        assert_eq!(slots(1_000_000, 16), 125_000);
        assert_eq!(slots(100, 4), 30_000, "a reload may allow more");
        assert_eq!(slots(10_000_000, 1), SLOTS_MAX - SPARE_MAX);
        assert_eq!(Room::within(20_000, 1_000_000, 56).slots, 18_976);
    }
}
