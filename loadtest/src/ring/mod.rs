//! The only place that talks io_uring, and the only one with `unsafe`.
//!
//! One [`Ring`] per client thread. A connection is a slot of the ring's
//! registered-file table and needs no descriptor of the process. What arrives
//! lies in buffers of the ring's [`Pool`] and is lent out as a [`Lease`]; what is
//! sent is owned by the ring until the kernel is done with it.

mod pool;

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use io_uring::types::{Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use nix::sys::eventfd::EventFd;
use socket2::SockAddr;

use pool::Memory;
pub use pool::{Lease, Pool};

// A connect takes the kernel tens of microseconds, and it does not leave the processor to
// another thread before it has worked off all that one call submits: few at a time.
const SQ_ENTRIES: u32 = 64;
const CQ_ENTRIES: u32 = 32_768;
const _: () = assert!(
    CQ_ENTRIES >= 4 * SQ_ENTRIES,
    "completions outnumber submissions"
);
const BUFFER_GROUP: u16 = 0;

// user_data: the kind of operation in the upper half, the slot in the lower.
const CONNECT: u64 = 1 << 32;
const RECEIVE: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
const WAKE: u64 = 4 << 32;
const CANCEL: u64 = 5 << 32;
const KIND: u64 = !0 << 32;

/// What the kernel finished, and for which slot.
#[derive(Debug)]
pub struct Completion {
    pub slot: u32,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Connected(io::Result<()>),
    /// Bytes arrived (`None`: the peer ended the stream), or the receive ended
    /// with an error. `armed` tells whether more will come by itself.
    Received {
        result: io::Result<Option<Lease>>,
        armed: bool,
    },
    /// The buffer given to [`Ring::send`], and how many of its bytes went out.
    Sent(Vec<u8>, io::Result<usize>),
    /// The thread's eventfd was written to.
    Woken,
}

/// One thread's ring.
pub struct Ring {
    io: ManuallyDrop<IoUring>,
    memory: ManuallyDrop<Rc<Memory>>,
    targets: ManuallyDrop<Box<[SockAddr]>>,
    sends: ManuallyDrop<Vec<Option<Vec<u8>>>>,
    in_flight: u64,
    wake: Arc<EventFd>,
}

impl Ring {
    /// A ring with `slots` connections to some of `targets`, and its pool of `buffers`
    /// (a power of two up to 32,768) receive buffers of `buffer_bytes` each.
    pub fn new(
        slots: u32,
        targets: Box<[SockAddr]>,
        buffers: u16,
        buffer_bytes: u32,
        wake: Arc<EventFd>,
    ) -> io::Result<(Ring, Pool)> {
        // DEFER_TASKRUN: completions are worked off when this thread enters the
        // ring, not by interrupting it; TASKRUN_FLAG tells that there are some.
        // CLAMP keeps a small memlock limit usable.
        let io: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_clamp()
            .setup_cqsize(CQ_ENTRIES)
            .build(SQ_ENTRIES)?;
        io.submitter().register_files_sparse(slots)?;
        let memory = Rc::new(Memory::new(buffers, buffer_bytes));
        // SAFETY: the entries live in `memory`, of which the ring keeps a share
        // until nothing is in flight any more (see Drop).
        unsafe {
            io.submitter().register_buf_ring_with_flags(
                memory.entries as u64,
                buffers,
                BUFFER_GROUP,
                0,
            )?;
        }
        let pool = Pool::new(memory.clone());
        let mut ring = Ring {
            io: ManuallyDrop::new(io),
            memory: ManuallyDrop::new(memory),
            targets: ManuallyDrop::new(targets),
            sends: ManuallyDrop::new((0..slots).map(|_| None).collect()),
            in_flight: 0,
            wake,
        };
        ring.watch_wake()?;
        Ok((ring, pool))
    }

    /// Makes `socket` the file of `slot`; from here on the process needs no
    /// descriptor for it.
    pub fn install(&mut self, slot: u32, socket: OwnedFd) -> io::Result<()> {
        let files = [socket.as_raw_fd()];
        self.io.submitter().register_files_update(slot, &files)?;
        Ok(())
    }

    /// Lets go of the file; the kernel closes it once no operation uses it.
    pub fn remove(&mut self, slot: u32) -> io::Result<()> {
        self.io.submitter().register_files_update(slot, &[-1])?;
        Ok(())
    }

    /// Connects to one of the targets, by its number.
    pub fn connect(&mut self, slot: u32, target: usize) -> io::Result<()> {
        let target = &self.targets[target];
        let (address, bytes) = (target.as_ptr(), target.len());
        let entry = opcode::Connect::new(Fixed(slot), address.cast(), bytes)
            .build()
            .user_data(CONNECT | u64::from(slot));
        self.push(entry)
    }

    /// Receives until told otherwise, into whichever buffers are free.
    pub fn receive(&mut self, slot: u32) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fixed(slot), BUFFER_GROUP)
            .build()
            .user_data(RECEIVE | u64::from(slot));
        self.push(entry)
    }

    /// Ends the receive of a slot, which then completes with an error.
    pub fn cancel_receive(&mut self, slot: u32) -> io::Result<()> {
        self.cancel_one(RECEIVE | u64::from(slot))
    }

    /// Ends its connect in the same way.
    pub fn cancel_connect(&mut self, slot: u32) -> io::Result<()> {
        self.cancel_one(CONNECT | u64::from(slot))
    }

    fn cancel_one(&mut self, name: u64) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(name).build().user_data(CANCEL);
        self.push(entry)
    }

    fn cancel_all(&mut self) -> io::Result<()> {
        for slot in 0..self.sends.len() as u32 {
            self.cancel_receive(slot)?;
            self.cancel_connect(slot)?;
            if self.sends[slot as usize].is_some() {
                self.cancel_one(SEND | u64::from(slot))?;
            }
        }
        self.cancel_one(WAKE)
    }

    /// Sends `bytes`, which come back with the completion. One send per slot at a time.
    pub fn send(&mut self, slot: u32, bytes: Vec<u8>) -> io::Result<()> {
        let held = &mut self.sends[slot as usize];
        assert!(held.is_none(), "one send per slot at a time");
        let bytes = held.insert(bytes);
        let length = u32::try_from(bytes.len()).expect("a send stays below 4 GiB");
        let entry = opcode::Send::new(Fixed(slot), bytes.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(SEND | u64::from(slot));
        self.push(entry)
    }

    /// Submits what was asked for, waits until something completes or `timeout`
    /// has passed, and appends what completed to `out`.
    pub fn wait(&mut self, timeout: Duration, out: &mut Vec<Completion>) -> io::Result<()> {
        let span = Timespec::new()
            .sec(timeout.as_secs())
            .nsec(timeout.subsec_nanos());
        let args = SubmitArgs::new().timespec(&span);
        match self.io.submitter().submit_with_args(1, &args) {
            Ok(_) => {}
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => {}
                _ => return Err(error),
            },
        }
        self.collect(out)
    }

    /// Whether more is due than the last wait has brought: from Linux 6.13 on one brings 20
    /// completions, in the order in which they came.
    pub fn is_behind(&mut self) -> bool {
        self.io.submission().taskrun()
    }

    fn collect(&mut self, out: &mut Vec<Completion>) -> io::Result<()> {
        let mut rewatch = false;
        let mut queue = self.io.completion();
        queue.sync();
        for entry in queue {
            let armed = cqueue::more(entry.flags());
            if !armed {
                self.in_flight -= 1;
            }
            let slot = entry.user_data() as u32;
            let result = match entry.result() {
                negative @ ..0 => Err(io::Error::from_raw_os_error(-negative)),
                count => Ok(count as usize),
            };
            let what = match entry.user_data() & KIND {
                CONNECT => What::Connected(result.map(|_| ())),
                RECEIVE => {
                    let lease = cqueue::buffer_select(entry.flags()).map(|buffer| Lease {
                        buffer,
                        bytes: *result.as_ref().unwrap_or(&0) as u32,
                        pool: self.memory.entries as usize,
                    });
                    What::Received {
                        result: result.map(|_| lease),
                        armed,
                    }
                }
                SEND => {
                    let bytes = self.sends[slot as usize].take();
                    What::Sent(bytes.expect("a completed send had its bytes"), result)
                }
                WAKE => {
                    // Reading clears the counter; WouldBlock only says that it is clear.
                    let _ = self.wake.read();
                    // A cancelled watch is not taken up again.
                    rewatch |= !armed && result.is_ok();
                    What::Woken
                }
                _ => continue,
            };
            out.push(Completion { slot, what });
        }
        if rewatch {
            self.watch_wake()?;
        }
        Ok(())
    }

    fn watch_wake(&mut self) -> io::Result<()> {
        let fd = Fd(self.wake.as_fd().as_raw_fd());
        let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(WAKE);
        self.push(entry)
    }

    fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        // SAFETY: what the entry points to is owned by this ring until the
        // completion: the address by `targets`, outgoing bytes by `sends`, receive
        // buffers by `memory`. Drop keeps them alive while anything is in flight.
        while unsafe { self.io.submission().push(&entry) }.is_err() {
            self.io.submit()?;
        }
        self.in_flight += 1;
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Each operation is cancelled by its name: the kernel finds it at once,
        // while "cancel any" would search all of them for every one.
        let _ = self.cancel_all();
        const IDLE_ROUNDS_MAX: u32 = 100;
        let (mut ended, mut idle_rounds) = (Vec::new(), 0);
        while self.in_flight > 0 && idle_rounds < IDLE_ROUNDS_MAX {
            let before = self.in_flight;
            let _ = self.wait(Duration::from_millis(1), &mut ended);
            ended.clear();
            idle_rounds = if self.in_flight == before {
                idle_rounds + 1
            } else {
                0
            };
        }
        let quiet = self.in_flight == 0;
        // SAFETY: each field is dropped once, here, and not used afterwards. The
        // kernel may still use what operations in flight point to, so that memory
        // is freed only when there are none.
        unsafe {
            ManuallyDrop::drop(&mut self.io);
            if quiet {
                ManuallyDrop::drop(&mut self.memory);
                ManuallyDrop::drop(&mut self.targets);
                ManuallyDrop::drop(&mut self.sends);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};

    use nix::sys::eventfd::EfdFlags;
    use socket2::{Domain, Socket, Type};

    use super::*;

    /// Waits for one completion that is not a wake.
    fn next(ring: &mut Ring) -> What {
        let mut out = Vec::new();
        while out.is_empty() {
            ring.wait(Duration::from_secs(10), &mut out).unwrap();
        }
        assert_eq!(out.len(), 1);
        out.remove(0).what
    }

    fn ring_to(listener: &TcpListener) -> (Ring, Pool, Arc<EventFd>) {
        ring_of(4, 2, listener)
    }

    fn ring_of(slots: u32, buffers: u16, to: &TcpListener) -> (Ring, Pool, Arc<EventFd>) {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap());
        let target = SockAddr::from(to.local_addr().unwrap());
        let (ring, pool) = Ring::new(slots, [target].into(), buffers, 64, wake.clone()).unwrap();
        (ring, pool, wake)
    }

    fn connected(ring: &mut Ring, listener: &TcpListener) -> std::net::TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        ring.install(3, socket.into()).unwrap();
        ring.connect(3, 0).unwrap();
        assert!(matches!(next(ring), What::Connected(Ok(()))));
        listener.accept().unwrap().0
    }

    #[test]
    fn a_slot_sends_and_receives_without_a_descriptor_of_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut ring, mut pool, _wake) = ring_to(&listener);
        let mut peer = connected(&mut ring, &listener);
        ring.send(3, b"hello".to_vec()).unwrap();
        assert!(matches!(next(&mut ring), What::Sent(bytes, Ok(5)) if bytes == b"hello"));
        let mut heard = [0; 5];
        peer.read_exact(&mut heard).unwrap();

        // More rounds than there are buffers: each must be given back.
        ring.receive(3).unwrap();
        for round in 0..8u8 {
            peer.write_all(&[round; 10]).unwrap();
            let What::Received {
                result: Ok(Some(lease)),
                ..
            } = next(&mut ring)
            else {
                panic!("bytes expected");
            };
            assert_eq!(pool.bytes(&lease), [round; 10]);
            pool.recycle(lease);
        }
        peer.shutdown(Shutdown::Both).unwrap();
        assert!(matches!(
            next(&mut ring),
            What::Received {
                result: Ok(None),
                armed: false
            }
        ));
    }

    #[test]
    fn a_cancelled_receive_ends_and_the_slot_can_be_emptied() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut ring, _pool, _wake) = ring_to(&listener);
        let mut peer = connected(&mut ring, &listener);
        ring.receive(3).unwrap();
        ring.cancel_receive(3).unwrap();
        assert!(matches!(
            next(&mut ring),
            What::Received {
                result: Err(_),
                armed: false
            }
        ));
        ring.remove(3).unwrap();
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0, "the peer sees the end");
    }

    #[test]
    fn a_ring_that_is_behind_has_more_with_the_next_wait() {
        const SLOTS: u32 = 64;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut ring, _pool, _wake) = ring_of(SLOTS, SLOTS as u16, &listener);
        let (mut out, mut peers) = (Vec::new(), Vec::new());
        for slot in 0..SLOTS {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            ring.install(slot, socket.into()).unwrap();
            ring.connect(slot, 0).unwrap();
            next(&mut ring);
            ring.receive(slot).unwrap();
            peers.push(listener.accept().unwrap().0);
        }
        ring.wait(Duration::ZERO, &mut out).unwrap();
        assert!(!ring.is_behind());
        for peer in &mut peers {
            peer.write_all(b"here").unwrap();
        }
        assert!(ring.is_behind());
        while ring.is_behind() {
            ring.wait(Duration::ZERO, &mut out).unwrap();
        }
        assert_eq!(out.len(), SLOTS as usize);
    }

    #[test]
    fn another_thread_wakes_the_ring_again_and_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut ring, _pool, wake) = ring_to(&listener);
        for _ in 0..3 {
            wake.write(1).unwrap();
            assert!(matches!(next(&mut ring), What::Woken));
        }
    }
}
