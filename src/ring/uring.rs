//! The real ring.

mod accepting;
mod requests;

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use bytes::Bytes;
use io_uring::types::{CancelBuilder, Fixed, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

use super::buffers::Buffers;
use super::callers::Callers;
use super::entering::{Handed, Refusals, hand_over, work_off};
use super::entry::result;
use super::handles::{Handles, handles_max};
use super::patience::patiently;
use super::renewal::Renewal;
use super::token::{Kind, pack, unpack};
use super::zero_copy::{Send, ZeroCopy};
use super::{Abilities, Completion, Errno, Event, Mode, Ring, SLOTS_MAX};

/// Requests that fit between two calls of the kernel.
const SQ_ENTRIES: u32 = 1024;
/// The kernel's largest completion queue.
const CQ_ENTRIES: u32 = 1 << 16;
/// So many receive buffers are counted with: twice what there are unless the setting says more.
const BUFFERS: u32 = 1 << 10;
/// Connections whose receives may all end between two looks, and whose sockets may all take
/// bytes again, before the queue is full.
const ENDS_MIN: u32 = 30_000;

// What bounds the completion queue is what is under way, and not how many are connected. What a
// core has asked for itself fits, and so does what peers send: the answers to two rounds of
// requests (a full queue is handed over early once a turn), and an arrival for each of so many
// receive buffers. From Linux 6.13 on nothing else comes in numbers, as one entry runs a few hundred pieces
// of the kernel's work at most. Before, as many receives as there are connections may end at
// one time (all peers vanish, or speak while no buffer is left), and as many sockets may take
// bytes again.
//
// What does not fit then is kept by the kernel, 32 bytes for each, and comes with the next
// entries: nothing is lost, or told twice, or out of the order of its slot (IORING_FEAT_NODROP).
// A receive that meets a full queue ends with the bytes it brings and is asked for again. The
// kernel wakes nobody for what it keeps, so `is_due` looks for that.
const _: () = assert!(2 * ENDS_MIN + BUFFERS + 2 * SQ_ENTRIES <= CQ_ENTRIES);

/// What the rings of one core take of the memory that may be locked, roughly:
/// entries of 64 bytes and of 16 here, those of zero-copy sends, and the ones
/// that the acceptor's runtime has.
pub(super) const RING_BYTES: usize =
    SQ_ENTRIES as usize * 64 + CQ_ENTRIES as usize * 16 + (256 << 10);

/// Who has called a request off, as its token says.
const BY_THE_CALLER: usize = 0;
const BY_RENEWAL: usize = 1;

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
    /// Where the addresses of those go who are being accepted.
    callers: Callers,
    /// What the kernel is told that it may hold unsent, each value once.
    #[expect(clippy::vec_box, reason = "the kernel reads them where they are")]
    bounds: Vec<Box<libc::c_int>>,
    /// The listening sockets by their numbers.
    listeners: Vec<Option<OwnedFd>>,
    /// Where the kernel would not make this ring, all is copied.
    zero_copy: Option<ZeroCopy>,
    /// Slots that the kernel has refused a zero-copy send to.
    copies: Vec<bool>,
    /// On kernels where a zero-copy send names its socket by a plain descriptor.
    handles: Option<Handles>,
    /// Requests that the kernel could not be handed yet, oldest first. There
    /// are never more than the few that each slot may have outstanding.
    waiting: VecDeque<squeue::Entry>,
    refusals: Refusals,
    overflows: u64,
    /// On kernels where a request that waits keeps what is let go of after it.
    renewal: Option<Renewal>,
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
        abilities: Abilities,
    ) -> io::Result<Self> {
        Uring::with_queue(CQ_ENTRIES, slots, buffers, wake, abilities)
    }

    /// The same with a completion queue of another size.
    fn with_queue(
        completions: u32,
        slots: u32,
        buffers: u16,
        wake: BorrowedFd<'_>,
        abilities: Abilities,
    ) -> io::Result<Self> {
        assert!(slots <= SLOTS_MAX);
        let mut builder = IoUring::builder();
        builder
            // One thread submits: the kernel takes no lock.
            .setup_single_issuer()
            // Completions are worked off inside `enter`, not by interrupting
            // the thread.
            .setup_defer_taskrun()
            // The queue's flags say when such work waits.
            .setup_taskrun_flag()
            // One bad request does not hold up the ones behind it.
            .setup_submit_all()
            .setup_cqsize(completions);
        let ring = patiently(|| builder.build(SQ_ENTRIES))?;
        let submitter = ring.submitter();
        submitter.register_files_sparse(slots)?;
        let buffers = Buffers::register(&submitter, buffers)?;
        submitter.register_eventfd(wake.as_raw_fd())?;
        let zero_copy = ZeroCopy::new(wake, abilities).inspect_err(|error| {
            tracing::warn!(%error, "no ring for zero-copy sends: all sends are copied");
        });
        Ok(Uring {
            ring,
            buffers,
            // Reserved, and touched only as slots are used.
            sends: Vec::with_capacity(slots as usize),
            callers: Callers::default(),
            bounds: Vec::new(),
            listeners: Vec::new(),
            zero_copy: zero_copy.ok(),
            copies: vec![false; slots as usize],
            handles: (!abilities.lends).then(|| Handles::new(handles_max())),
            waiting: VecDeque::new(),
            refusals: Refusals::default(),
            overflows: 0,
            renewal: (!abilities.parts_resources).then(|| Renewal::new(slots)),
            plain: Vec::new(),
        })
    }

    /// Ends all that is under way on the main ring and waits for its end, which
    /// closing the ring would not do. True if nothing is left of it.
    fn quell(&mut self) -> bool {
        // Neither takes new requests nor leaves any to the kernel's workers.
        let handed_over = hand_over(&mut self.ring, EnterFlags::empty());
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
        matches!(handed_over, Ok(Handed::Over)) && ended
    }

    /// Hands over what is queued on the main ring, and what had no room there.
    fn enter_main(&mut self) -> io::Result<Handed> {
        loop {
            let handed = hand_over(&mut self.ring, EnterFlags::GETEVENTS)?;
            work_off(&mut self.ring)?;
            while let Some(entry) = self.waiting.pop_front() {
                if !self.place(&entry) {
                    self.waiting.push_front(entry);
                    break;
                }
            }
            if handed == Handed::Refused || self.ring.submission().is_empty() {
                return Ok(handed);
            }
        }
    }
}

impl Ring for Uring {
    type Plain = OwnedFd;

    fn listen(&mut self, door: u32, listener: &impl AsRawFd) -> io::Result<()> {
        self.keep_listener(door, listener)
    }

    #[inline]
    fn accept(&mut self, slot: u32, door: u32) {
        self.accept_into(slot, door);
    }

    fn cancel_accept(&mut self, slot: u32) {
        self.call_off_accept(slot);
    }

    #[inline]
    fn caller(&mut self, number: u32) -> Option<SocketAddr> {
        self.callers.read(number)
    }

    fn bound_unsent(&mut self, slot: u32, bytes: usize) {
        self.set_send_buffer(slot, bytes);
    }

    fn attach(&mut self, slot: u32, socket: &impl AsRawFd) -> io::Result<()> {
        self.ring
            .submitter()
            .register_files_update(slot, &[socket.as_raw_fd()])?;
        self.copies[slot as usize] = false;
        if let Some(handles) = &mut self.handles {
            handles.keep(slot, socket);
        }
        Ok(())
    }

    #[inline]
    fn receive(&mut self, slot: u32) {
        self.wait_for(Kind::Receive, slot);
    }

    #[inline]
    fn receive_once(&mut self, slot: u32) {
        self.receive_one_buffer(slot);
    }

    #[inline]
    fn send(&mut self, slot: u32, bytes: &Rc<Bytes>, from: u32, len: u32, mode: Mode) {
        let send = Send {
            slot,
            bytes: bytes.clone(),
            from,
            len,
        };
        match mode {
            Mode::Copy => self.send_copied(send),
            Mode::ZeroCopy => self.send_uncopied(send),
        }
    }

    fn await_writable(&mut self, slot: u32) {
        self.wait_for(Kind::Writable, slot);
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
        if let Some(handles) = &mut self.handles {
            handles.let_go(slot);
        }
        let entry = opcode::Close::new(Fixed(slot))
            .build()
            .user_data(pack(Kind::Close, 0, slot));
        self.push(&entry);
    }

    fn cancel_receive(&mut self, slot: u32) {
        self.call_off(Kind::Receive, slot);
    }

    fn cancel_await(&mut self, slot: u32) {
        self.call_off(Kind::Writable, slot);
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
        if !self.waiting.is_empty() {
            return 0;
        }
        // SAFETY: `&self` is on the one thread that submits, and this handle
        // is gone before any other is made.
        let queue = unsafe { self.ring.submission_shared() };
        queue.capacity() - queue.len()
    }

    fn queued(&self) -> usize {
        // SAFETY: as in `room`.
        let queued = unsafe { self.ring.submission_shared() }.len();
        let sends = self.zero_copy.as_ref().map_or(0, ZeroCopy::queued);
        queued + self.waiting.len() + sends
    }

    fn enter(&mut self) -> io::Result<usize> {
        self.refusals.rest();
        let queued = self.queued();
        let main = self.enter_main()?;
        self.overflows += u64::from(self.ring.submission().cq_overflow());
        let sends = match &mut self.zero_copy {
            Some(zero_copy) if !zero_copy.is_idle() => zero_copy.enter()?,
            _ => Handed::Over,
        };
        if main == Handed::Refused || sends == Handed::Refused {
            self.refusals.note();
        }
        Ok(queued)
    }

    fn refusals(&self) -> u64 {
        self.refusals.count()
    }

    fn overflows(&self) -> u64 {
        self.overflows
    }

    fn completions(&mut self, into: &mut Vec<Completion>) {
        let Uring {
            ring,
            sends,
            callers,
            copies,
            zero_copy,
            refusals,
            renewal,
            plain,
            ..
        } = self;
        let (mut unlent, mut renewed) = (Vec::new(), Vec::new());
        for entry in ring.completion() {
            let (kind, number, slot) = unpack(entry.user_data());
            let result = result(entry.result());
            if let Some(renewal) = renewal
                && matches!(kind, Kind::Receive | Kind::Writable)
                && !cqueue::more(entry.flags())
                && renewal.ended(kind, slot, result)
            {
                renewed.push((kind, slot));
                continue;
            }
            let event = match kind {
                Kind::Cancel if number == BY_RENEWAL => continue,
                Kind::Receive => received(&entry),
                Kind::Accept => {
                    let caller = number as u32;
                    match result {
                        Ok(_) => copies[slot as usize] = false,
                        Err(_) => callers.give_back(caller),
                    }
                    let error = result.err();
                    Event::Accepted { caller, error }
                }
                Kind::Bound => {
                    if let Err(error) = result {
                        // It has what the kernel gives everybody, which is bounded too.
                        tracing::warn!(%error, "cannot bound what is held unsent for a connection");
                    }
                    continue;
                }
                Kind::Send => {
                    sends[slot as usize] = None;
                    if matches!(result, Err(Errno::ENOMEM | Errno::ENOBUFS)) {
                        // It will be asked for again, and again after a rest.
                        refusals.note();
                    }
                    Event::Sent {
                        result,
                        held: false,
                    }
                }
                Kind::Lend => {
                    let lender = zero_copy.as_mut().expect("it has asked for this");
                    unlent.extend(lender.lent(number, result));
                    continue;
                }
                Kind::SendZeroCopy => unreachable!("those are on a ring of their own"),
                Kind::Writable => Event::Writable,
                Kind::ShutDown => Event::ShutDown,
                Kind::Close => Event::Closed,
                Kind::Cancel => Event::Cancelled,
                Kind::Install => {
                    let made = result.map_err(io::Error::from);
                    // SAFETY: the kernel has just made this descriptor, and
                    // nobody else knows it.
                    let file = made.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) });
                    plain.push((slot, file));
                    Event::Installed
                }
            };
            into.push(Completion { slot, event });
        }
        let refused = match zero_copy {
            Some(zero_copy) if !zero_copy.is_idle() => zero_copy.completions(into),
            _ => Vec::new(),
        };
        for (kind, slot) in renewed {
            self.wait_for(kind, slot);
        }
        for send in refused {
            // The reason will hardly pass while the connection lasts.
            self.copies[send.slot as usize] = true;
            self.send_copied(send);
        }
        for send in unlent {
            self.send_copied(send);
        }
    }

    #[inline]
    fn buffer(&mut self, buffer: u16, len: u32) -> &mut [u8] {
        self.buffers.bytes(buffer, len)
    }

    #[inline]
    fn give_back(&mut self, buffer: u16) {
        self.buffers.give_back(buffer);
    }

    fn mute(&mut self, muted: bool) -> bool {
        let queue = self.ring.completion();
        let mut zero_copy = self.zero_copy.as_mut().filter(|ring| !ring.is_idle());
        if muted {
            queue.disable_eventfd();
            zero_copy.iter_mut().for_each(|ring| ring.mute());
            return false;
        }
        queue.enable_eventfd();
        drop(queue);
        zero_copy.iter_mut().for_each(|ring| ring.unmute());
        // The kernel notes its work before it looks at the switch, we turn the
        // switch before we look for work: one of the two sees the other.
        fence(Ordering::SeqCst);
        self.is_due()
    }

    fn is_due(&mut self) -> bool {
        // Both queues are looked at as the kernel has left them by now.
        let keeps_more =
            |queue: squeue::SubmissionQueue<'_>| queue.taskrun() || queue.cq_overflow();
        !self.ring.completion().is_empty()
            || keeps_more(self.ring.submission())
            || (self.zero_copy.as_mut()).is_some_and(|ring| !ring.is_idle() && ring.is_due())
    }

    fn tidy(&mut self) {
        if let Some(zero_copy) = &mut self.zero_copy {
            zero_copy.tidy();
        }
        let due = self.renewal.as_mut().map(Renewal::next);
        for (kind, slot) in due.into_iter().flatten() {
            self.cancel(kind, slot, BY_RENEWAL);
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.quell() {
            return;
        }
        // What the kernel may still read or write is left to it.
        self.buffers.abandon();
        self.callers.abandon();
        std::mem::forget(std::mem::take(&mut self.sends));
        std::mem::forget(std::mem::take(&mut self.bounds));
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

#[cfg(test)]
mod tests;
