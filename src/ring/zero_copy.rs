//! Zero-copy sends, on a ring of their own.
//!
//! The kernel keeps the bytes of such a send until the peer has them, and a
//! ring that has some out does not end before they are back: not even with its
//! process. Then it still has its file table, so that all sockets in there stay
//! open to peers who wait for nobody. This ring therefore has sockets only on
//! loan: the main ring puts one into a place of its table
//! (`IORING_MSG_SEND_FD`, Linux 6.0), and it is taken out once the send is
//! answered, which is long before its bytes are free. A dying process leaves
//! behind what is stuck and nothing else, and a handover need not wait for it.
//! Before Linux 6.2 a loan would not end in time, and a send names its socket
//! by a plain descriptor instead: see `handles`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;

use bytes::Bytes;
use io_uring::types::{DestinationSlot, Fd, Fixed};
use io_uring::{EnterFlags, IoUring, Submitter, cqueue, opcode, squeue};
use slab::Slab;

use super::entering::{Handed, hand_over};
use super::entry::{SEND_FLAGS, result};
use super::patience::patiently;
use super::token::{HELD_MAX, Kind, pack, unpack};
use super::{Abilities, Completion, Errno, Event};

/// Sends on their way at a time; what is beyond is copied.
const PLACES: usize = 512;
/// The releases that fit between two looks. The kernel keeps what does not.
const CQ_ENTRIES: u32 = 4096;
const _: () = assert!(2 * PLACES <= CQ_ENTRIES as usize);

/// Regions registered at a time. Each keeps up to a segment in memory.
const REGIONS: u32 = 16;

/// `IORING_MSG_RING_CQE_SKIP`: the loan is answered on the main ring alone.
const SILENT: u32 = 1;
/// `IORING_SEND_ZC_REPORT_USAGE`, Linux 6.2.
const REPORT_USAGE: u16 = 1 << 3;
/// `IORING_NOTIF_USAGE_ZC_COPIED`.
const COPIED: u32 = 1 << 31;

/// A send that has not been answered.
#[derive(Clone)]
pub(super) struct Send {
    pub(super) slot: u32,
    pub(super) bytes: Rc<Bytes>,
    pub(super) from: u32,
    pub(super) len: u32,
}

/// Bytes that the kernel may read, and how far their send is.
struct Held {
    _bytes: Rc<Bytes>,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    /// It has not been answered; its socket, if on loan, is in this place.
    Sending(usize),
    /// It has been answered, and its release is to be told.
    Sent,
    /// It is sent with a copy instead: its release is nobody's business.
    Refused,
}

/// The ring of zero-copy sends.
pub(super) struct ZeroCopy {
    // Dropped first: the kernel knows the memory of all that follows.
    ring: IoUring,
    regions: Regions,
    /// By the number that the send's token carries.
    held: Slab<Held>,
    /// By place in the file table, if there is one. All are emptied at once,
    /// when all have been answered.
    places: Vec<Send>,
    answered: usize,
    reports_usage: bool,
    /// Sockets come on loan, so there is a file table.
    lends: bool,
}

impl ZeroCopy {
    /// A ring that signals `wake` when bytes are free.
    ///
    /// # Errors
    /// Those of `io_uring_setup` and `io_uring_register`.
    pub(super) fn new(wake: BorrowedFd<'_>, abilities: Abilities) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            // Not deferred task work: a loan to such a ring takes a further
            // round through the kernel.
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(CQ_ENTRIES);
        let ring = patiently(|| builder.build(PLACES as u32))?;
        let submitter = ring.submitter();
        if abilities.lends {
            submitter.register_files_sparse(PLACES as u32)?;
        }
        submitter.register_eventfd(wake.as_raw_fd())?;
        let regions = match abilities.parts_resources {
            true => Regions::register(&submitter),
            false => Regions::default(),
        };
        Ok(ZeroCopy {
            ring,
            regions,
            held: Slab::new(),
            places: Vec::new(),
            answered: 0,
            reports_usage: abilities.reports_usage,
            lends: abilities.lends,
        })
    }

    /// Begins a send: what is returned is to be asked of the main ring, and its
    /// answer handed to [`ZeroCopy::lent`]. `Err`: it is to be copied.
    pub(super) fn borrow(&mut self, send: Send) -> Result<squeue::Entry, Send> {
        let slot = send.slot;
        let place = self.take_place(send)?;
        let target = DestinationSlot::try_from_slot_target(place as u32);
        let target = target.expect("the table is small");
        let ring = Fd(self.ring.as_raw_fd());
        let entry = opcode::MsgRingSendFd::new(ring, Fixed(slot), target, 0)
            .opcode_flags(SILENT)
            .build()
            .user_data(pack(Kind::Lend, place, slot));
        Ok(entry)
    }

    /// The socket is in its place, or cannot be lent; then the send is given
    /// back, to be copied.
    pub(super) fn lent(&mut self, place: usize, outcome: Result<u32, Errno>) -> Option<Send> {
        if outcome.is_err() {
            self.answered += 1;
            return Some(self.places[place].clone());
        }
        self.queue(place, None);
        None
    }

    /// Begins a send to the socket with that descriptor, which stays open until the send is
    /// answered. `Err`: it is to be copied.
    pub(super) fn send_by(&mut self, socket: RawFd, send: Send) -> Result<(), Send> {
        let place = self.take_place(send)?;
        self.queue(place, Some(socket));
        Ok(())
    }

    fn take_place(&mut self, send: Send) -> Result<usize, Send> {
        let place = self.places.len();
        if place == PLACES || self.held.len() + PLACES >= HELD_MAX {
            return Err(send);
        }
        self.places.push(send);
        Ok(place)
    }

    /// Queues the send of a place. Without a descriptor, its socket is in that place.
    fn queue(&mut self, place: usize, socket: Option<RawFd>) {
        let send = self.places[place].clone();
        let region = self.regions.find(&self.ring.submitter(), &send.bytes);
        let start = send.bytes[send.from as usize..(send.from + send.len) as usize].as_ptr();
        let held = self.held.insert(Held {
            _bytes: send.bytes,
            stage: Stage::Sending(place),
        });
        let to = match socket {
            Some(socket) => opcode::SendZc::new(Fd(socket), start, send.len),
            None => opcode::SendZc::new(Fixed(place as u32), start, send.len),
        };
        let entry = to
            .buf_index(region)
            .flags(SEND_FLAGS)
            .zc_flags(if self.reports_usage { REPORT_USAGE } else { 0 })
            .build()
            .user_data(pack(Kind::SendZeroCopy, held, send.slot));
        // SAFETY: what the entry points to is kept in `held` until the kernel
        // says that it is free, or for good where this is dropped before.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("there are as many entries as places");
    }

    /// Sends that are queued.
    #[inline]
    pub(super) fn queued(&self) -> usize {
        if self.places.is_empty() {
            return 0;
        }
        // SAFETY: `&self` is on the one thread that submits, and this handle
        // is gone before any other is made.
        unsafe { self.ring.submission_shared() }.len()
    }

    /// Nothing of it is with the kernel.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.places.is_empty() && self.held.is_empty()
    }

    /// Hands the queued sends to the kernel.
    pub(super) fn enter(&mut self) -> io::Result<Handed> {
        let queue = self.ring.submission();
        let flags = match queue.cq_overflow() {
            true => EnterFlags::GETEVENTS,
            false if queue.is_empty() => return Ok(Handed::Over),
            false => EnterFlags::empty(),
        };
        drop(queue);
        hand_over(&mut self.ring, flags)
    }

    /// Moves all completions to the end of `into`, and gives sends back that
    /// the kernel would only do with a copy.
    pub(super) fn completions(&mut self, into: &mut Vec<Completion>) -> Vec<Send> {
        let (mut refused, mut released) = (Vec::new(), false);
        for entry in self.ring.completion() {
            let (_, number, slot) = unpack(entry.user_data());
            match self.held[number].stage {
                Stage::Sending(place) => {
                    self.answered += 1;
                    let result = result(entry.result());
                    let refusal = result.is_err_and(is_refusal);
                    let held = cqueue::more(entry.flags());
                    match (held, refusal) {
                        (false, _) => drop(self.held.remove(number)),
                        (true, true) => self.held[number].stage = Stage::Refused,
                        (true, false) => self.held[number].stage = Stage::Sent,
                    }
                    if refusal {
                        refused.push(self.places[place].clone());
                    } else {
                        let event = Event::Sent { result, held };
                        into.push(Completion { slot, event });
                    }
                }
                stage => {
                    self.held.remove(number);
                    released = true;
                    if matches!(stage, Stage::Sent) {
                        let copied = entry.result() as u32 & COPIED != 0;
                        let event = Event::Released { copied };
                        into.push(Completion { slot, event });
                    }
                }
            }
        }
        self.give_back();
        if released {
            // A region that nobody sends from any more would keep its segment,
            // and the log would fill up with what is only remembered.
            self.regions.tidy(&self.ring.submitter());
        }
        refused
    }

    /// Empties the file table, once nobody needs it. Where that fails it is
    /// tried again with the next completions, and sends are copied meanwhile
    /// if places run out.
    fn give_back(&mut self) {
        const NOBODY: [i32; PLACES] = [-1; PLACES];
        let used = self.places.len();
        if used == 0 || self.answered < used {
            return;
        }
        let submitter = self.ring.submitter();
        if !self.lends || submitter.register_files_update(0, &NOBODY[..used]).is_ok() {
            self.places.clear();
            self.answered = 0;
        }
    }

    /// Stops the wake-ups by eventfd.
    pub(super) fn mute(&mut self) {
        self.ring.completion().disable_eventfd();
    }

    /// Resumes the wake-ups.
    pub(super) fn unmute(&mut self) {
        self.ring.completion().enable_eventfd();
    }

    /// Something is waiting. To be asked behind a fence after
    /// [`ZeroCopy::unmute`].
    pub(super) fn is_due(&mut self) -> bool {
        let completed = !self.ring.completion().is_empty();
        completed || self.ring.submission().taskrun()
    }

    pub(super) fn tidy(&mut self) {
        self.regions.tidy(&self.ring.submitter());
    }
}

impl Drop for ZeroCopy {
    fn drop(&mut self) {
        // What peers have not taken stays with the kernel, and so for good.
        std::mem::forget(std::mem::take(&mut self.held));
        std::mem::forget(std::mem::take(&mut self.places));
    }
}

/// Whether a copied send may do better: too little memory may be locked, or
/// the socket is of a kind that knows no zero copy (Unix sockets).
fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::ENOMEM | Errno::ENOBUFS | Errno::EOPNOTSUPP)
}

/// The regions the kernel knows, so that a send need not pin its pages again. A
/// full table, or a memory limit, only means that a send pins its own pages.
#[derive(Default)]
struct Regions {
    table: Vec<Option<Rc<Bytes>>>,
}

impl Regions {
    fn register(submitter: &Submitter<'_>) -> Self {
        let usable = submitter.register_buffers_sparse(REGIONS).is_ok();
        Regions {
            table: vec![None; if usable { REGIONS as usize } else { 0 }],
        }
    }

    /// The number of the region that is `bytes`, registered now if need be.
    fn find(&mut self, submitter: &Submitter<'_>, bytes: &Rc<Bytes>) -> Option<u16> {
        let mut free = None;
        for (index, entry) in self.table.iter().enumerate() {
            match entry {
                Some(known) if Rc::ptr_eq(known, bytes) => return Some(index as u16),
                Some(known) if Rc::strong_count(known) > 1 => {}
                _ => free = Some(index),
            }
        }
        let index = free?;
        self.set(submitter, index, Some(bytes))
            .then_some(index as u16)
    }

    /// Forgets the regions that nobody else uses any more.
    fn tidy(&mut self, submitter: &Submitter<'_>) {
        for index in 0..self.table.len() {
            if self.table[index]
                .as_ref()
                .is_some_and(|known| Rc::strong_count(known) == 1)
            {
                self.set(submitter, index, None);
            }
        }
    }

    fn set(&mut self, submitter: &Submitter<'_>, index: usize, bytes: Option<&Rc<Bytes>>) -> bool {
        let region = libc::iovec {
            iov_base: bytes.map_or(std::ptr::null_mut(), |b| b.as_ptr() as *mut _),
            iov_len: bytes.map_or(0, |b| b.len()),
        };
        // SAFETY: the table keeps the handle, and so the bytes, for as long as
        // the kernel knows the region; the kernel only reads them.
        let done =
            unsafe { submitter.register_buffers_update(index as u32, &[region], None) }.is_ok();
        if done {
            self.table[index] = bytes.cloned();
        }
        done
    }
}
