//! Plain descriptors of the sockets in a ring's table, for kernels before 6.2.
//!
//! There a file that is taken out of a ring's table is let go of only after all zero-copy sends
//! of that ring whose bytes were out at that time, whatever socket they are about:
//! `io_alloc_notif` takes a reference on the table's current node, and nodes end in their order.
//! If sockets were on loan to the ring of zero-copy sends, one peer that takes nothing would keep
//! those of all others open. Once the process has died nobody would end that. A send that names
//! its socket by a plain descriptor keeps none.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::resource::{Resource, getrlimit};

use super::passing::duplicate;

/// Half of the places that the process's table of descriptors has from the start: it would grow
/// while connections wait for that, and the other half is for their handshakes.
const HANDLES_MAX: u64 = 1 << 15;

/// The descriptors by slot. A slot without one is sent to with a copy.
pub(super) struct Handles {
    slots: Vec<Option<OwnedFd>>,
    /// A descriptor with this number or a higher one is not kept. The kernel gives the lowest
    /// number that is free, so that this bounds how many there are.
    number_max: u64,
}

impl Handles {
    pub(super) fn new(number_max: u64) -> Self {
        Handles {
            slots: Vec::new(),
            number_max,
        }
    }

    /// Keeps a descriptor of a slot's new socket, if there is room for one more.
    pub(super) fn keep(&mut self, slot: u32, socket: &impl AsRawFd) {
        self.let_go(slot);
        let is_low = |handle: &OwnedFd| (handle.as_raw_fd() as u64) < self.number_max;
        let Some(handle) = duplicate(socket).ok().filter(is_low) else {
            return;
        };
        if self.slots.len() <= slot as usize {
            self.slots.resize_with(slot as usize + 1, || None);
        }
        self.slots[slot as usize] = Some(handle);
    }

    /// The slot's socket goes.
    pub(super) fn let_go(&mut self, slot: u32) {
        if let Some(handle) = self.slots.get_mut(slot as usize) {
            *handle = None;
        }
    }

    pub(super) fn of(&self, slot: u32) -> Option<RawFd> {
        let handle = self.slots.get(slot as usize)?;
        handle.as_ref().map(AsRawFd::as_raw_fd)
    }
}

/// How many descriptors all rings of the process keep in this way, at the most. It is less than
/// what is left when as many connections shake hands as are let in.
pub fn handles_max() -> u64 {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    (files / 16).min(HANDLES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_slot_has_the_descriptor_of_its_own_socket_or_none() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut handles = Handles::new(u64::MAX);
        handles.keep(2, &here);
        assert!(handles.of(2).is_some());
        assert_eq!((handles.of(1), handles.of(7)), (None, None));
        handles.let_go(7);
        handles.number_max = 0;
        handles.keep(2, &there);
        assert_eq!(handles.of(2), None, "not that of the socket before either");
    }
}
