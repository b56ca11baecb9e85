//! The ring that stands in for io_uring, in front of the simulated kernel.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use bytes::Bytes;
use fanfare::ring::{Completion, Errno, Event, Mode, Ring};

use crate::kernel::{SharedKernel, chance};
use crate::side::Request;

/// A simulated socket in the place of a descriptor.
pub struct Handle(pub usize);

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.0 as RawFd
    }
}

/// One core's ring.
pub struct FakeRing {
    kernel: SharedKernel,
    core: usize,
    queue: Vec<(u32, Request)>,
    requests_max: usize,
    buffers: Vec<Box<[u8]>>,
    free: Vec<u16>,
    /// By the numbers of doors.
    listeners: Vec<Option<usize>>,
    /// How often the kernel took not all that it was handed.
    refusals: u64,
    /// How often it had more to tell than it could.
    overflows: u64,
}

/// What a buffer holds that nobody may read.
const STALE: u8 = 0xDD;

impl FakeRing {
    /// A ring with `slots` slots.
    pub fn new(kernel: &SharedKernel, slots: u32) -> Self {
        let core = kernel.borrow_mut().add_core(slots);
        let faults = kernel.borrow().faults.clone();
        FakeRing {
            kernel: kernel.clone(),
            core,
            queue: Vec::new(),
            requests_max: faults.requests_max,
            buffers: (0..faults.buffers)
                .map(|_| vec![STALE; faults.buffer_bytes].into())
                .collect(),
            free: (0..faults.buffers).collect(),
            listeners: Vec::new(),
            refusals: 0,
            overflows: 0,
        }
    }

    /// Which side of the kernel it is on.
    pub(crate) fn side(&self) -> usize {
        self.core
    }

    fn push(&mut self, slot: u32, request: Request) {
        let mut kernel = self.kernel.borrow_mut();
        kernel.side(self.core).slots[slot as usize].check(slot, &request);
        drop(kernel);
        if self.queue.len() == self.requests_max {
            self.hand_over();
        }
        self.queue.push((slot, request));
    }

    /// Short of memory, the kernel takes only the first few; the others stay
    /// queued, and may come to be more than fit.
    fn hand_over(&mut self) {
        let mut kernel = self.kernel.borrow_mut();
        let kernel = &mut *kernel;
        let mut taken = self.queue.len();
        if taken > 0 && chance(&mut kernel.rng, kernel.faults.refused) {
            taken = kernel.rng.usize(..taken);
            self.refusals += 1;
        }
        for (slot, request) in self.queue.drain(..taken) {
            kernel.execute(self.core, slot, request);
        }
    }

    /// What is armed on a slot may have something to tell.
    fn deliver(&mut self, slot: u32) {
        let kernel = &mut *self.kernel.borrow_mut();
        if kernel.side(self.core).slots[slot as usize]
            .accepting
            .is_some()
        {
            return kernel.let_in(self.core, slot);
        }
        kernel.answer_poll(self.core, slot);
        loop {
            let record = &kernel.side(self.core).slots[slot as usize];
            let (true, Some(socket)) = (record.receiving, record.socket) else {
                return;
            };
            let (event, armed) = if kernel.sockets[socket].reset {
                let error = match kernel.sockets[socket].died {
                    true => Errno::ETIMEDOUT,
                    false => Errno::ECONNRESET,
                };
                (Event::Ended(Some(error)), false)
            } else if kernel.sockets[socket].has_inbound() || kernel.says_bye(socket) {
                match self.free.pop() {
                    None => (Event::NoBuffers, false),
                    Some(buffer) => {
                        let bytes = &mut self.buffers[usize::from(buffer)];
                        let len = kernel.receive(self.core, slot, bytes) as u32;
                        let completions_max = kernel.faults.completions_max;
                        let side = kernel.side(self.core);
                        let ends =
                            side.slots[slot as usize].once || side.ready.len() >= completions_max;
                        let armed = !ends && !chance(&mut kernel.rng, kernel.faults.disarm);
                        let event = Event::Received { buffer, len, armed };
                        (event, armed)
                    }
                }
            } else if kernel.sockets[socket].client_fin {
                (Event::Ended(None), false)
            } else {
                return;
            };
            let side = kernel.side(self.core);
            side.slots[slot as usize].receiving = armed;
            side.ready.push(Completion { slot, event });
            if chance(&mut kernel.rng, kernel.faults.late) {
                return;
            }
        }
    }
}

impl Ring for FakeRing {
    type Plain = Handle;

    fn listen(&mut self, door: u32, listener: &impl AsRawFd) -> io::Result<()> {
        let door = door as usize;
        if self.listeners.len() <= door {
            self.listeners.resize(door + 1, None);
        }
        let before = self.listeners[door].replace(listener.as_raw_fd() as usize);
        assert!(before.is_none(), "a door has one listener");
        Ok(())
    }

    fn accept(&mut self, slot: u32, door: u32) {
        let listener = self.listeners[door as usize];
        self.push(slot, Request::Accept(listener.expect("it listens")));
    }

    fn cancel_accept(&mut self, slot: u32) {
        self.push(slot, Request::CancelAccept);
    }

    fn caller(&mut self, number: u32) -> Option<SocketAddr> {
        let mut kernel = self.kernel.borrow_mut();
        let caller = kernel.side(self.core).callers[number as usize].take();
        assert!(caller.is_some(), "it is asked once for each");
        caller
    }

    fn bound_unsent(&mut self, slot: u32, _bytes: usize) {
        panic!("slot {slot} has a socket of another kind in this world");
    }

    fn attach(&mut self, slot: u32, socket: &impl AsRawFd) -> io::Result<()> {
        let mut kernel = self.kernel.borrow_mut();
        let unattached = kernel.faults.unattached;
        if chance(&mut kernel.rng, unattached) {
            return Err(Errno::ENFILE.into());
        }
        kernel.attach(self.core, slot, socket.as_raw_fd() as usize);
        Ok(())
    }

    fn receive(&mut self, slot: u32) {
        self.push(slot, Request::Receive);
    }

    fn receive_once(&mut self, slot: u32) {
        self.push(slot, Request::ReceiveOnce);
    }

    fn send(&mut self, slot: u32, bytes: &Rc<Bytes>, from: u32, len: u32, mode: Mode) {
        let bytes = bytes.clone();
        self.push(
            slot,
            Request::Send {
                bytes,
                from,
                len,
                mode,
            },
        );
    }

    fn await_writable(&mut self, slot: u32) {
        self.push(slot, Request::Poll);
    }

    fn shutdown(&mut self, slot: u32, how: Shutdown) {
        self.push(slot, Request::Shutdown(how));
    }

    fn reset(&mut self, slot: u32) {
        self.push(slot, Request::Reset);
    }

    fn close(&mut self, slot: u32) {
        self.push(slot, Request::Close);
    }

    fn cancel_receive(&mut self, slot: u32) {
        self.push(slot, Request::CancelReceive);
    }

    fn cancel_await(&mut self, slot: u32) {
        self.push(slot, Request::CancelPoll);
    }

    fn install(&mut self, slot: u32) {
        self.push(slot, Request::Install);
    }

    fn plain(&mut self) -> Vec<(u32, io::Result<Handle>)> {
        let mut kernel = self.kernel.borrow_mut();
        let plain = std::mem::take(&mut kernel.side(self.core).plain);
        let made = |made: Result<usize, Errno>| made.map(Handle).map_err(io::Error::from);
        let plain = plain.into_iter();
        plain.map(|(slot, result)| (slot, made(result))).collect()
    }

    fn room(&self) -> usize {
        self.requests_max.saturating_sub(self.queue.len())
    }

    fn queued(&self) -> usize {
        self.queue.len()
    }

    fn refusals(&self) -> u64 {
        self.refusals
    }

    fn overflows(&self) -> u64 {
        self.overflows
    }

    fn enter(&mut self) -> io::Result<usize> {
        let queued = self.queue.len();
        self.hand_over();
        let (slots, late) = {
            let mut kernel = self.kernel.borrow_mut();
            let late = kernel.faults.late;
            kernel.progress(self.core, 255 - late);
            (kernel.side(self.core).slots.len() as u32, late)
        };
        for slot in 0..slots {
            let due = {
                let mut kernel = self.kernel.borrow_mut();
                kernel.slot_is_due(self.core, slot) && !chance(&mut kernel.rng, late)
            };
            if due {
                self.deliver(slot);
            }
        }
        let kernel = &mut *self.kernel.borrow_mut();
        let completions_max = kernel.faults.completions_max;
        let overflows = kernel.side(self.core).ready.len() > completions_max;
        self.overflows += u64::from(overflows);
        Ok(queued)
    }

    fn completions(&mut self, into: &mut Vec<Completion>) {
        let kernel = &mut *self.kernel.borrow_mut();
        let start = into.len();
        kernel.tell(self.core, into);
        // What concerns one slot keeps its order, all else has none.
        let turn = kernel.rng.u32(..);
        let key = |slot: u32| (slot ^ turn).wrapping_mul(0x9E37_79B1) ^ turn;
        into[start..].sort_by_key(|completion| key(completion.slot));
    }

    fn buffer(&mut self, buffer: u16, len: u32) -> &mut [u8] {
        assert!(!self.free.contains(&buffer), "the buffer was given back");
        &mut self.buffers[usize::from(buffer)][..len as usize]
    }

    fn give_back(&mut self, buffer: u16) {
        assert!(!self.free.contains(&buffer), "given back twice");
        self.buffers[usize::from(buffer)].fill(STALE);
        self.free.push(buffer);
    }

    fn mute(&mut self, muted: bool) -> bool {
        let mut kernel = self.kernel.borrow_mut();
        if !muted {
            // What is done just before the switch is turned wakes nobody.
            let late = kernel.faults.late;
            kernel.progress(self.core, 255 - late);
        }
        kernel.side(self.core).muted = muted;
        !muted && kernel.is_due(self.core)
    }

    fn is_due(&mut self) -> bool {
        self.kernel.borrow().is_due(self.core)
    }

    fn tidy(&mut self) {}
}
