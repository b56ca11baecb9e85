//! How requests get into the ring's queue, and what they point to is kept.

use io_uring::types::Fixed;
use io_uring::{EnterFlags, opcode, squeue};

use super::super::buffers::GROUP;
use super::super::entering::{Handed, hand_over};
use super::super::entry::SEND_FLAGS;
use super::super::token::{Kind, pack};
use super::super::zero_copy::Send;
use super::{BY_THE_CALLER, Uring};

/// Flags of a receive, as in `linux/io_uring.h`.
const IORING_RECVSEND_POLL_FIRST: u16 = 1 << 0;
const IORING_RECV_MULTISHOT: u16 = 1 << 1;

/// A receive into whichever buffer of the group is free, once or again and again. It begins by
/// waiting: who has just come, or has just been answered, has seldom sent something already.
pub(super) fn receive_entry(slot: u32, how: u16) -> squeue::Entry {
    opcode::Recv::new(Fixed(slot), std::ptr::null_mut(), 0)
        .buf_group(GROUP)
        .ioprio(IORING_RECVSEND_POLL_FIRST | how)
        .build()
        .flags(squeue::Flags::BUFFER_SELECT)
}

impl Uring {
    /// By token, which the kernel looks up; by file it would search all.
    pub(super) fn cancel(&mut self, kind: Kind, slot: u32, by: usize) {
        let entry = opcode::AsyncCancel::new(pack(kind, 0, slot))
            .build()
            .user_data(pack(Kind::Cancel, by, slot));
        self.push(&entry);
    }

    /// Asks for what may take long to be answered.
    #[inline]
    pub(super) fn wait_for(&mut self, kind: Kind, slot: u32) {
        if let Some(renewal) = &mut self.renewal {
            renewal.asked(kind, slot);
        }
        let entry = match kind {
            Kind::Writable => opcode::PollAdd::new(Fixed(slot), libc::POLLOUT as u32).build(),
            _ => receive_entry(slot, IORING_RECV_MULTISHOT),
        };
        self.push(&entry.user_data(pack(kind, 0, slot)));
    }

    /// Calls that off, for whoever has asked for it.
    pub(super) fn call_off(&mut self, kind: Kind, slot: u32) {
        if let Some(renewal) = &mut self.renewal {
            renewal.called_off(kind, slot);
        }
        self.cancel(kind, slot, BY_THE_CALLER);
    }

    #[inline]
    pub(super) fn push(&mut self, entry: &squeue::Entry) {
        if !self.waiting.is_empty() || !self.place(entry) {
            self.push_later(entry);
        }
    }

    /// Puts a request into the queue, if it has room.
    #[inline]
    pub(super) fn place(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: what an entry points to is kept by `sends`, `zero_copy`,
        // `buffers`, `callers` or `bounds` until its completion is seen, or for good where the ring
        // is dropped before (see the destructor); `NOWHERE` is static.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// The queue is full. An error is left to `enter`, which meets it again.
    #[cold]
    fn push_later(&mut self, entry: &squeue::Entry) {
        let handed_over = self.waiting.is_empty()
            && matches!(
                hand_over(&mut self.ring, EnterFlags::empty()),
                Ok(Handed::Over)
            );
        if !handed_over || !self.place(entry) {
            self.waiting.push_back(entry.clone());
        }
    }

    pub(super) fn send_copied(&mut self, send: Send) {
        let Send {
            slot,
            bytes,
            from,
            len,
        } = send;
        let run = &bytes[from as usize..(from + len) as usize];
        let entry = opcode::Send::new(Fixed(slot), run.as_ptr(), len)
            .flags(SEND_FLAGS)
            .build()
            .user_data(pack(Kind::Send, 0, slot));
        if self.sends.len() <= slot as usize {
            self.sends.resize(slot as usize + 1, None);
        }
        let before = self.sends[slot as usize].replace(bytes);
        assert!(before.is_none(), "one send at a time");
        self.push(&entry);
    }

    /// Sends without a copy, if that can be tried.
    pub(super) fn send_uncopied(&mut self, send: Send) {
        let zero_copy = self.zero_copy.as_mut();
        let zero_copy = zero_copy.filter(|_| !self.copies[send.slot as usize]);
        let Some(zero_copy) = zero_copy else {
            return self.send_copied(send);
        };
        let begun = match &self.handles {
            None => zero_copy.borrow(send).map(Some),
            Some(handles) => match handles.of(send.slot) {
                Some(socket) => zero_copy.send_by(socket, send).map(|()| None),
                None => Err(send),
            },
        };
        match begun {
            Ok(loan) => loan.iter().for_each(|loan| self.push(loan)),
            Err(send) => self.send_copied(send),
        }
    }
}
