//! Connections that come straight into the ring's table of files.
//!
//! One request for each connection: only such a request tells who it is that has come. The
//! listeners are known by plain descriptors, which the ring owns, and not by places in its
//! table: before Linux 6.13 a request that waits on a file of the table keeps all files that
//! are taken out after it.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::opcode;
use io_uring::types::{DestinationSlot, Fd, Fixed};

use super::super::passing::duplicate;
use super::super::token::{Kind, pack};
use super::requests::receive_entry;
use super::{BY_THE_CALLER, Uring};

impl Uring {
    /// A door keeps its listener for good: requests name the descriptor until the kernel has
    /// taken them.
    pub(super) fn keep_listener(&mut self, door: u32, listener: &impl AsRawFd) -> io::Result<()> {
        let door = door as usize;
        if self.listeners.len() <= door {
            self.listeners.resize_with(door + 1, || None);
        }
        assert!(self.listeners[door].is_none(), "a door has one listener");
        self.listeners[door] = Some(duplicate(listener)?);
        Ok(())
    }

    pub(super) fn accept_into(&mut self, slot: u32, door: u32) {
        let listener = self.listeners[door as usize].as_ref();
        let listener = Fd(listener.expect("the door has a listener").as_raw_fd());
        let number = self.callers.expect(slot);
        let (address, len) = self.callers.pointers(number);
        let target = DestinationSlot::try_from_slot_target(slot);
        let entry = opcode::Accept::new(listener, address, len)
            .file_index(Some(target.expect("the table is small")))
            .build()
            .user_data(pack(Kind::Accept, number as usize, slot));
        self.push(&entry);
    }

    pub(super) fn call_off_accept(&mut self, slot: u32) {
        // Answered already where there is none.
        let Some(number) = self.callers.of_slot(slot) else {
            return;
        };
        let entry = opcode::AsyncCancel::new(pack(Kind::Accept, number as usize, slot))
            .build()
            .user_data(pack(Kind::Cancel, BY_THE_CALLER, slot));
        self.push(&entry);
    }

    /// As much as fits into one buffer. Called off for the sake of others (see `renewal`) it is
    /// asked for again as one that goes on.
    pub(super) fn receive_one_buffer(&mut self, slot: u32) {
        if let Some(renewal) = &mut self.renewal {
            renewal.asked(Kind::Receive, slot);
        }
        let entry = receive_entry(slot, 0).user_data(pack(Kind::Receive, 0, slot));
        self.push(&entry);
    }

    /// For kinds of sockets that do not have it from their listener.
    pub(super) fn set_send_buffer(&mut self, slot: u32, bytes: usize) {
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        let known = self.bounds.iter().position(|known| **known == bytes);
        let at = known.unwrap_or_else(|| {
            self.bounds.push(Box::new(bytes));
            self.bounds.len() - 1
        });
        let value: *const libc::c_int = &raw const *self.bounds[at];
        let len = size_of::<libc::c_int>() as u32;
        let (level, option) = (libc::SOL_SOCKET as u32, libc::SO_SNDBUF as u32);
        let entry = opcode::SetSockOpt::new(Fixed(slot), level, option, value.cast(), len)
            .build()
            .user_data(pack(Kind::Bound, 0, slot));
        self.push(&entry);
    }
}
