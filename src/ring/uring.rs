//! The real ring.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use bytes::Bytes;
use io_uring::types::{CancelBuilder, Fixed, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

use super::buffers::{Buffers, GROUP};
use super::token::{HELD_MAX, Kind, pack, unpack};
use super::zero_copy::{Held, Regions};
use super::{Completion, Errno, Event, Mode, Ring, SLOTS_MAX};

/// Requests that fit between two calls of the kernel.
const SQ_ENTRIES: u32 = 1024;
/// The kernel's largest completion queue.
const CQ_ENTRIES: u32 = 1 << 16;
const BUFFERS_MAX: u32 = 1 << 10;

// The completion queue cannot overflow. Between two looks at it there come at
// most: for each slot the end of its receive and one readiness, for each
// receive buffer one arrival, and the answers to two rounds of requests (a
// full queue is handed over early once a turn). More buffers than BUFFERS_MAX
// are the operator's choice; the kernel then keeps what does not fit and loses
// nothing.
const _: () = assert!(2 * SLOTS_MAX + BUFFERS_MAX + 2 * SQ_ENTRIES <= CQ_ENTRIES);

const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
/// `IORING_SEND_ZC_REPORT_USAGE`, Linux 6.2.
const REPORT_USAGE: u16 = 1 << 3;
/// `IORING_NOTIF_USAGE_ZC_COPIED`.
const COPIED: u32 = 1 << 31;

/// How long a ring that goes waits for what is under way to end.
const QUELL_TIME_MAX: Duration = Duration::from_millis(200);

/// A ring for one thread's established connections.
pub struct Uring {
    // Dropped first: the kernel knows the memory of all that follows. See the
    // destructor for what is still under way then.
    ring: IoUring,
    buffers: Buffers,
    /// The bytes of the send under way, by slot.
    sends: Vec<Option<Rc<Bytes>>>,
    held: Held,
    regions: Regions,
    reports_usage: bool,
    plain: Vec<(u32, io::Result<OwnedFd>)>,
}

impl Uring {
    /// A ring with `slots` slots and `buffers` receive buffers (a power of
    /// two) that signals `wake` when a completion is due. It belongs to the
    /// calling thread.
    ///
    /// # Errors
    /// Those of `io_uring_setup` and `io_uring_register`.
    pub fn new(
        slots: u32,
        buffers: u16,
        wake: BorrowedFd<'_>,
        reports_usage: bool,
    ) -> io::Result<Self> {
        assert!(slots <= SLOTS_MAX);
        let ring = IoUring::builder()
            // One thread submits: the kernel takes no lock.
            .setup_single_issuer()
            // Completions are worked off inside `enter`, not by interrupting
            // the thread.
            .setup_defer_taskrun()
            // The queue's flags say when such work waits.
            .setup_taskrun_flag()
            // One bad request does not hold up the ones behind it.
            .setup_submit_all()
            .setup_cqsize(CQ_ENTRIES)
            .build(SQ_ENTRIES)?;
        let submitter = ring.submitter();
        submitter.register_files_sparse(slots)?;
        let buffers = Buffers::register(&submitter, buffers)?;
        let regions = Regions::register(&submitter);
        submitter.register_eventfd(wake.as_raw_fd())?;
        Ok(Uring {
            ring,
            buffers,
            sends: vec![None; slots as usize],
            held: Held::default(),
            regions,
            reports_usage,
            plain: Vec::new(),
        })
    }

    /// Ends all that is under way and waits for its end, which closing the
    /// ring would not do. True if nothing is left of it.
    fn quell(&mut self) -> bool {
        // Neither takes new requests nor leaves any to the kernel's workers.
        let handed_over = self.hand_over(EnterFlags::empty());
        let all = CancelBuilder::any();
        let patience = Timespec::from(QUELL_TIME_MAX);
        let ended = self
            .ring
            .submitter()
            .register_sync_cancel(Some(patience), all);
        let ended = match ended {
            Err(error) => error.raw_os_error() == Some(libc::ENOENT),
            Ok(()) => true,
        };
        // Bytes of a zero-copy send stay in use until the peer has them.
        handed_over.is_ok() && ended && self.held.len() == 0
    }

    /// By token, which the kernel looks up; by file it would search all.
    fn cancel(&mut self, kind: Kind, slot: u32) {
        let entry = opcode::AsyncCancel::new(pack(kind, 0, slot))
            .build()
            .user_data(pack(Kind::Cancel, 0, slot));
        self.push(&entry);
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what an entry points to is kept by `sends`, `held` or
        // `buffers` until its completion is seen, or for good where the ring
        // is dropped before (see the destructor); `NOWHERE` is static.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            let handed_over = self.hand_over(EnterFlags::empty());
            handed_over.expect("io_uring_enter takes requests while the ring lives");
        }
    }

    fn hand_over(&mut self, flags: EnterFlags) -> io::Result<()> {
        let requests = self.ring.submission().len() as u32;
        loop {
            // SAFETY: no argument is passed along, and the entries are valid
            // as of `push`.
            let entered = unsafe {
                self.ring
                    .submitter()
                    .enter::<libc::sigset_t>(requests, 0, flags.bits(), None)
            };
            match entered {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The completion queue is full; taking from it is the cure.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Ring for Uring {
    fn attach(&mut self, slot: u32, socket: &impl AsRawFd) -> io::Result<()> {
        self.ring
            .submitter()
            .register_files_update(slot, &[socket.as_raw_fd()])?;
        Ok(())
    }

    #[inline]
    fn receive(&mut self, slot: u32) {
        let entry = opcode::RecvMulti::new(Fixed(slot), GROUP)
            .build()
            .user_data(pack(Kind::Receive, 0, slot));
        self.push(&entry);
    }

    #[inline]
    fn send(&mut self, slot: u32, bytes: &Rc<Bytes>, from: u32, len: u32, mode: Mode) {
        let run = &bytes[from as usize..(from + len) as usize];
        let entry = match mode {
            Mode::ZeroCopy if self.held.len() < HELD_MAX => {
                let region = self.regions.find(&self.ring.submitter(), bytes);
                let held = self.held.hold(bytes.clone());
                opcode::SendZc::new(Fixed(slot), run.as_ptr(), len)
                    .buf_index(region)
                    .flags(SEND_FLAGS)
                    .zc_flags(if self.reports_usage { REPORT_USAGE } else { 0 })
                    .build()
                    .user_data(pack(Kind::SendZeroCopy, held, slot))
            }
            _ => {
                let before = self.sends[slot as usize].replace(bytes.clone());
                assert!(before.is_none(), "one send at a time");
                opcode::Send::new(Fixed(slot), run.as_ptr(), len)
                    .flags(SEND_FLAGS)
                    .build()
                    .user_data(pack(Kind::Send, 0, slot))
            }
        };
        self.push(&entry);
    }

    fn await_writable(&mut self, slot: u32) {
        let entry = opcode::PollAdd::new(Fixed(slot), libc::POLLOUT as u32)
            .build()
            .user_data(pack(Kind::Writable, 0, slot));
        self.push(&entry);
    }

    fn shutdown(&mut self, slot: u32, how: Shutdown) {
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        let entry = opcode::Shutdown::new(Fixed(slot), how)
            .build()
            .user_data(pack(Kind::ShutDown, 0, slot));
        self.push(&entry);
    }

    fn reset(&mut self, slot: u32) {
        // connect(2): "some protocol sockets may dissolve the association by
        // connecting to an address with family AF_UNSPEC". TCP sends a reset
        // and drops its queues, and needs no descriptor for it.
        static NOWHERE: libc::sockaddr = libc::sockaddr {
            sa_family: libc::AF_UNSPEC as libc::sa_family_t,
            sa_data: [0; 14],
        };
        let len = size_of::<libc::sockaddr>() as libc::socklen_t;
        let entry = opcode::Connect::new(Fixed(slot), &raw const NOWHERE, len)
            .build()
            .user_data(pack(Kind::ShutDown, 0, slot));
        self.push(&entry);
    }

    fn close(&mut self, slot: u32) {
        let entry = opcode::Close::new(Fixed(slot))
            .build()
            .user_data(pack(Kind::Close, 0, slot));
        self.push(&entry);
    }

    fn cancel_receive(&mut self, slot: u32) {
        self.cancel(Kind::Receive, slot);
    }

    fn cancel_await(&mut self, slot: u32) {
        self.cancel(Kind::Writable, slot);
    }

    fn install(&mut self, slot: u32) {
        let entry = opcode::FixedFdInstall::new(Fixed(slot), 0)
            .build()
            .user_data(pack(Kind::Install, 0, slot));
        self.push(&entry);
    }

    fn plain(&mut self) -> Vec<(u32, io::Result<OwnedFd>)> {
        std::mem::take(&mut self.plain)
    }

    #[inline]
    fn room(&self) -> usize {
        // SAFETY: `&self` is on the one thread that submits, and this handle
        // is gone before any other is made.
        let queue = unsafe { self.ring.submission_shared() };
        queue.capacity() - queue.len()
    }

    fn queued(&self) -> usize {
        // SAFETY: as in `room`.
        unsafe { self.ring.submission_shared() }.len()
    }

    fn enter(&mut self) -> io::Result<usize> {
        let queued = self.queued();
        self.hand_over(EnterFlags::GETEVENTS)?;
        Ok(queued)
    }

    fn completions(&mut self, into: &mut Vec<Completion>) {
        let Uring {
            ring,
            sends,
            held,
            regions,
            plain,
            ..
        } = self;
        let mut released = false;
        for entry in ring.completion() {
            let (kind, number, slot) = unpack(entry.user_data());
            let event = match kind {
                Kind::Receive => received(&entry),
                Kind::Send => {
                    sends[slot as usize] = None;
                    Event::Sent {
                        result: result(entry.result()),
                        held: false,
                    }
                }
                Kind::SendZeroCopy if cqueue::notif(entry.flags()) => {
                    held.release(number);
                    released = true;
                    Event::Released {
                        copied: entry.result() as u32 & COPIED != 0,
                    }
                }
                Kind::SendZeroCopy => {
                    let under_way = cqueue::more(entry.flags());
                    if !under_way {
                        held.release(number);
                    }
                    Event::Sent {
                        result: result(entry.result()),
                        held: under_way,
                    }
                }
                Kind::Writable => Event::Writable,
                Kind::ShutDown => Event::ShutDown,
                Kind::Close => Event::Closed,
                Kind::Cancel => Event::Cancelled,
                Kind::Install => {
                    let made = result(entry.result()).map_err(io::Error::from);
                    // SAFETY: the kernel has just made this descriptor, and
                    // nobody else knows it.
                    let file = made.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) });
                    plain.push((slot, file));
                    Event::Installed
                }
            };
            into.push(Completion { slot, event });
        }
        if released {
            // A region that nobody sends from any more would keep its segment,
            // and the log would fill up with what is only remembered.
            regions.tidy(&ring.submitter());
        }
    }

    #[inline]
    fn buffer(&self, buffer: u16, len: u32) -> &[u8] {
        self.buffers.bytes(buffer, len)
    }

    #[inline]
    fn give_back(&mut self, buffer: u16) {
        self.buffers.give_back(buffer);
    }

    fn mute(&mut self, muted: bool) -> bool {
        let mut queue = self.ring.completion();
        if muted {
            queue.disable_eventfd();
            return false;
        }
        queue.enable_eventfd();
        // The kernel notes its work before it looks at the switch, we turn the
        // switch before we look for work: one of the two sees the other.
        fence(Ordering::SeqCst);
        queue.sync();
        let completed = !queue.is_empty();
        drop(queue);
        completed || self.ring.submission().taskrun()
    }

    fn tidy(&mut self) {
        self.regions.tidy(&self.ring.submitter());
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.quell() {
            return;
        }
        // What the kernel may still read or write is left to it.
        self.buffers.abandon();
        std::mem::forget(std::mem::take(&mut self.sends));
        std::mem::forget(std::mem::take(&mut self.held));
    }
}

fn received(entry: &cqueue::Entry) -> Event {
    let armed = cqueue::more(entry.flags());
    match result(entry.result()) {
        Ok(0) => Event::Ended(None),
        Ok(len) => Event::Received {
            buffer: cqueue::buffer_select(entry.flags()).expect("bytes come in a buffer"),
            len,
            armed,
        },
        Err(Errno::ENOBUFS) => Event::NoBuffers,
        Err(error) => Event::Ended(Some(error)),
    }
}

#[inline]
fn result(value: i32) -> Result<u32, Errno> {
    u32::try_from(value).map_err(|_| Errno::from_raw(-value))
}

#[cfg(test)]
mod tests;
