//! The only place that talks io_uring. A connection lives in a slot of the
//! ring's registered files, without a file descriptor of its own; receive
//! buffers are shared by all.
#![allow(unsafe_code)] // Ring entries carry raw pointers; see each SAFETY.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use socket2::SockAddr;

/// Requests that fit between two calls of the kernel.
const SQ_ENTRIES: u32 = 2048;
/// The kernel's largest completion queue: one receive of each slot and one
/// send of each fit in.
const CQ_ENTRIES: u32 = 1 << 16;
/// The size of one receive buffer.
pub const BUFFER_BYTES: usize = 16 << 10;
const BUFFERS: u16 = 1024;
const PAGE_BYTES: usize = 4 << 10;
const GROUP: u16 = 0;

/// The registered-file table may be no longer than the limit on open files;
/// some are left for everything else.
pub const SLOTS_MAX: usize = 19_000;
const _: () = assert!(3 * SLOTS_MAX + BUFFERS as usize <= CQ_ENTRIES as usize);

/// What a completion is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Connect,
    Send,
    Receive,
    Wake,
    Other,
}

/// A completion: what, for which slot, in which of the slot's lives.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    pub kind: Kind,
    pub slot: u32,
    /// The low 24 bits of the life the request was made in.
    pub life: u32,
    /// Bytes, or a negative errno.
    pub result: i32,
    buffer: Option<u16>,
    /// A multishot request goes on.
    pub more: bool,
}

fn pack(kind: Kind, slot: u32, life: u32) -> u64 {
    (kind as u64) << 56 | ((life & 0xff_ffff) as u64) << 32 | slot as u64
}

/// A ring for one thread's connections.
pub struct Ring {
    // Dropped first: while it lives the kernel may write to what follows.
    ring: IoUring,
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: u16,
    /// What sends and connects under way point to, by slot.
    sends: Vec<Vec<u8>>,
    sending: Vec<bool>,
    addresses: Vec<Option<Box<SockAddr>>>,
    wake: Box<u64>,
}

impl Ring {
    /// A ring with `slots` slots; it belongs to the calling thread.
    ///
    /// # Errors
    /// Those of `io_uring_setup` and `io_uring_register`.
    pub fn new(slots: usize) -> io::Result<Self> {
        assert!(slots <= SLOTS_MAX);
        let ring = IoUring::builder()
            .setup_single_issuer()
            // Completions are worked off when we ask, in batches.
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(CQ_ENTRIES)
            .build(SQ_ENTRIES)?;
        ring.submitter()
            .register_files_sparse(slots.max(1) as u32)?;
        let entries = allocate(entries_layout()).cast::<BufRingEntry>();
        let mut ring = Ring {
            ring,
            entries,
            memory: allocate(memory_layout()),
            tail: 0,
            sends: vec![Vec::new(); slots],
            sending: vec![false; slots],
            addresses: vec![None; slots],
            wake: Box::new(0),
        };
        // SAFETY: BUFFERS entries, page aligned, freed in drop after the ring.
        unsafe {
            ring.ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                BUFFERS,
                GROUP,
                0,
            )?;
        }
        for buffer in 0..BUFFERS {
            ring.give_back(buffer);
        }
        Ok(ring)
    }

    /// Puts a socket into a slot; its descriptor may be closed afterwards.
    ///
    /// # Errors
    /// Those of `io_uring_register_files_update`.
    pub fn attach(&mut self, slot: u32, socket: &impl AsRawFd) -> io::Result<()> {
        let files = [socket.as_raw_fd()];
        self.ring.submitter().register_files_update(slot, &files)?;
        Ok(())
    }

    /// Ends whatever the slot's socket is doing and closes it. Completions of
    /// its old life may still come.
    pub fn detach(&mut self, slot: u32, life: u32) -> io::Result<()> {
        // A registered file stays open while a request uses it, and a receive
        // would use it for ever.
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fixed(slot)).all())
            .build()
            .user_data(pack(Kind::Other, slot, life));
        self.push(&entry);
        self.submit()?;
        self.ring.submitter().register_files_update(slot, &[-1])?;
        Ok(())
    }

    pub fn connect(&mut self, slot: u32, life: u32, to: &SockAddr) {
        let to = self.addresses[slot as usize].insert(Box::new(to.clone()));
        let entry = opcode::Connect::new(Fixed(slot), to.as_ptr().cast(), to.len())
            .build()
            .user_data(pack(Kind::Connect, slot, life));
        self.push(&entry);
    }

    /// Asks for all bytes that arrive from now on.
    pub fn receive(&mut self, slot: u32, life: u32) {
        let entry = opcode::RecvMulti::new(Fixed(slot), GROUP)
            .build()
            .user_data(pack(Kind::Receive, slot, life));
        self.push(&entry);
    }

    /// Receives no more; what arrives stays in the kernel.
    pub fn stop_receiving(&mut self, slot: u32, life: u32) {
        let entry = opcode::AsyncCancel::new(pack(Kind::Receive, slot, life))
            .build()
            .user_data(pack(Kind::Other, slot, life));
        self.push(&entry);
    }

    /// Sends all of `bytes`; one send per slot at a time. The buffer of the
    /// previous one is handed back, empty, for reuse.
    pub fn send(&mut self, slot: u32, life: u32, bytes: Vec<u8>) -> Vec<u8> {
        assert!(!self.sending[slot as usize], "one send per slot at a time");
        self.sending[slot as usize] = true;
        let mut old = std::mem::replace(&mut self.sends[slot as usize], bytes);
        let held = &self.sends[slot as usize];
        let entry = opcode::Send::new(Fixed(slot), held.as_ptr(), held.len() as u32)
            // The kernel tries again until all is sent.
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(pack(Kind::Send, slot, life));
        self.push(&entry);
        old.clear();
        old
    }

    /// Completes with [`Kind::Wake`] when the eventfd is written to.
    pub fn await_wake(&mut self, eventfd: RawFd) {
        let target: *mut u64 = &mut *self.wake;
        let entry = opcode::Read::new(Fd(eventfd), target.cast(), 8)
            .build()
            .user_data(pack(Kind::Wake, 0, 0));
        self.push(&entry);
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what an entry points to is kept in `sends`, `addresses` or
        // `wake` until its completion: none of them is replaced before.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.submit()
                .expect("io_uring_enter takes requests while the ring lives");
        }
    }

    fn submit(&mut self) -> io::Result<()> {
        loop {
            match self.ring.submit() {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands over what was asked and waits for one completion, or for `wait`
    /// to pass.
    ///
    /// # Errors
    /// Those of `io_uring_enter`, save for time-outs and interruptions.
    pub fn turn(&mut self, wait: Duration) -> io::Result<()> {
        let time = Timespec::from(wait);
        let args = SubmitArgs::new().timespec(&time);
        match self.ring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// The next completion, if there is one.
    #[inline]
    pub fn poll(&mut self) -> Option<Done> {
        let entry = self.ring.completion().next()?;
        let token = entry.user_data();
        let done = Done {
            kind: match token >> 56 {
                0 => Kind::Connect,
                1 => Kind::Send,
                2 => Kind::Receive,
                3 => Kind::Wake,
                _ => Kind::Other,
            },
            slot: token as u32,
            life: (token >> 32) as u32 & 0xff_ffff,
            result: entry.result(),
            buffer: cqueue::buffer_select(entry.flags()),
            more: cqueue::more(entry.flags()),
        };
        if done.kind == Kind::Send {
            self.sending[done.slot as usize] = false;
        }
        Some(done)
    }

    /// The bytes that a receive brought; give them back with [`Ring::release`].
    #[inline]
    pub fn bytes(&self, done: &Done) -> &[u8] {
        let (Some(buffer), 1..) = (done.buffer, done.result) else {
            return &[];
        };
        assert!(buffer < BUFFERS && done.result as usize <= BUFFER_BYTES);
        // SAFETY: inside the allocation, initialised at birth, and the kernel
        // does not write to it until `give_back`, which takes `&mut self`.
        unsafe {
            let start = self.memory.as_ptr().add(buffer as usize * BUFFER_BYTES);
            std::slice::from_raw_parts(start, done.result as usize)
        }
    }

    /// Lets the kernel reuse the buffer of a completion.
    #[inline]
    pub fn release(&mut self, done: &Done) {
        if let Some(buffer) = done.buffer {
            self.give_back(buffer);
        }
    }

    fn give_back(&mut self, buffer: u16) {
        assert!(buffer < BUFFERS);
        let place = (self.tail & (BUFFERS - 1)) as usize;
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: entry and buffer are inside their allocations; the kernel
        // reads entries only below the tail, which moves last.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(place);
            let start = self.memory.as_ptr().add(buffer as usize * BUFFER_BYTES);
            entry.set_addr(start as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(self.entries.as_ptr()) as *const AtomicU16;
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Requests may still be under way, and the kernel ends them only some
        // time after the ring's descriptor is closed: what they point to is
        // left to it.
        let _ = self.ring.submitter().unregister_buf_ring(GROUP);
        for bytes in self.sends.drain(..).filter(|bytes| bytes.capacity() > 0) {
            std::mem::forget(bytes);
        }
        self.addresses.drain(..).for_each(std::mem::forget);
        std::mem::forget(std::mem::take(&mut self.wake));
        // SAFETY: of `entries_layout`, and no longer registered. The memory of
        // the buffers stays, as receives may have chosen one already.
        unsafe { dealloc(self.entries.as_ptr().cast(), entries_layout()) }
    }
}

fn entries_layout() -> Layout {
    Layout::from_size_align(BUFFERS as usize * size_of::<BufRingEntry>(), PAGE_BYTES)
        .expect("16 KiB")
}

fn memory_layout() -> Layout {
    Layout::from_size_align(BUFFERS as usize * BUFFER_BYTES, 16).expect("16 MiB")
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here is empty.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Lets the kernel choose the port of a bound source address when it
/// connects: only then may it reuse one that another destination has.
///
/// # Errors
/// Those of `setsockopt`.
pub fn port_at_connect(socket: &socket2::Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: a valid descriptor, and a value of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
