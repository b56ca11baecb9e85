//! The simulated kernel: what it makes of all that cores ask of their rings, for the
//! sockets (`socket`) of which each core has some (`side`).

mod accepting;
mod completing;
mod describing;
mod receiving;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use fanfare::protocol::tls::Session;
use fanfare::ring::{Completion, Errno, Event, Mode};
use fastrand::Rng;

use self::completing::sum;
use crate::secure::Tls;
use crate::side::{Held, Pending, Request, Side, Slot};
use crate::socket::Socket;

/// How hard the kernel makes it, most in 256ths.
#[derive(Debug, Clone)]
pub struct Faults {
    /// A send takes less than there is room for.
    pub short_write: u8,
    /// A send fails for lack of memory, or is interrupted.
    pub no_memory: u8,
    /// A send finds the connection dead.
    pub dead: u8,
    /// A completion is not there yet when the ring is entered.
    pub late: u8,
    /// The ring is entered and not all requests are taken, or none.
    pub refused: u8,
    /// A receive ends with the bytes it brings.
    pub disarm: u8,
    /// A socket cannot be registered.
    pub unattached: u8,
    /// Zero-copy bytes were copied after all.
    pub copied: u8,
    /// Requests between two entries of the ring.
    pub requests_max: usize,
    /// Answers that a core is told at a time; receives that meet so many end.
    pub completions_max: usize,
    /// Receive buffers of a core, and their size.
    pub buffers: u16,
    pub buffer_bytes: usize,
}

/// True `n` times in 256.
pub(crate) fn chance(rng: &mut Rng, n: u8) -> bool {
    n > 0 && rng.u8(..) < n
}

/// Listening sockets: some are a core's own, the last one all accept from.
pub(crate) const LISTENERS: usize = 4;

/// All sockets and all cores' rings.
pub struct Kernel {
    pub rng: Rng,
    pub faults: Faults,
    pub sockets: Vec<Socket>,
    now_ms: Arc<AtomicU64>,
    sides: Vec<Side>,
    /// By its own chance, as others draw from the other.
    tls: Rng,
    /// Those who wait in each listener, with their addresses.
    listeners: Vec<VecDeque<(usize, SocketAddr)>>,
    /// The chance of who comes in there.
    door: Rng,
}

/// The kernel as rings and clients share it.
pub type SharedKernel = Rc<RefCell<Kernel>>;

impl Kernel {
    pub fn new(mut rng: Rng, faults: Faults, now_ms: Arc<AtomicU64>) -> SharedKernel {
        let door = Rng::with_seed(!rng.clone().u64(..));
        Rc::new(RefCell::new(Kernel {
            tls: rng.fork(),
            rng,
            faults,
            sockets: Vec::new(),
            now_ms,
            sides: Vec::new(),
            listeners: vec![VecDeque::new(); LISTENERS],
            door,
        }))
    }

    pub(crate) fn add_core(&mut self, slots: u32) -> usize {
        self.sides.push(Side {
            slots: (0..slots).map(|_| Slot::default()).collect(),
            muted: true,
            ..Side::default()
        });
        self.sides.len() - 1
    }

    /// A new connection; the client may write at once.
    pub fn connect(&mut self, inbound_max: usize, outbound_max: usize) -> usize {
        self.sockets.push(Socket {
            inbound_max,
            outbound_max,
            delivered_ms: self.now_ms.load(Ordering::Relaxed),
            accepted_ms: self.now_ms.load(Ordering::Relaxed),
            ..Socket::default()
        });
        self.sockets.len() - 1
    }

    /// A new connection may have TLS: then these are the server's keys of it.
    pub(crate) fn secure(&mut self, socket: usize) -> Option<Box<Session>> {
        if self.tls.u8(..) >= 90 {
            return None;
        }
        let (client, server) = Tls::pair(&mut self.tls);
        self.sockets[socket].tls = Some(client);
        Some(Box::new(server))
    }

    /// A client has asked for new keys of the server, and has not seen them.
    pub(crate) fn awaits_keys(&self, socket: usize) -> bool {
        let tls = self.sockets[socket].tls.as_ref();
        tls.is_some_and(|tls| tls.awaits_keys)
    }

    /// Clients that the server has asked for new keys.
    pub(crate) fn key_requests(&self) -> u64 {
        let tls = self.sockets.iter().filter_map(|socket| socket.tls.as_ref());
        tls.filter(|tls| tls.was_asked).count() as u64
    }

    /// The client, which has sent its last, says so over TLS, and that is to be delivered.
    pub(crate) fn says_bye(&mut self, socket: usize) -> bool {
        let socket = &mut self.sockets[socket];
        let says = socket.client_fin && !socket.server_fin;
        says && socket.tls.as_mut().is_some_and(Tls::say_bye)
    }

    pub(crate) fn side(&mut self, core: usize) -> &mut Side {
        &mut self.sides[core]
    }

    pub(crate) fn attach(&mut self, core: usize, slot: u32, socket: usize) {
        let record = &mut self.sides[core].slots[slot as usize];
        assert!(record.socket.is_none(), "slot {slot} is not empty");
        *record = Slot {
            socket: Some(socket),
            ..Slot::default()
        };
        self.sockets[socket].place = Some((core, slot));
    }

    /// The socket in a slot.
    pub(crate) fn socket(&self, core: usize, slot: u32) -> usize {
        self.sides[core].slots[slot as usize]
            .socket
            .expect("the slot is in use")
    }

    /// Where the server side of a socket is.
    pub(crate) fn place(&self, socket: usize) -> Option<(usize, u32)> {
        self.sockets[socket].place
    }

    /// Bytes that the client is sent whatever the server does from now on.
    pub(crate) fn under_way(&self, socket: usize) -> u64 {
        let sending = self.sockets[socket]
            .place
            .and_then(|(core, slot)| self.sides[core].slots[slot as usize].sending);
        let begun = self.sockets[socket].tls.as_ref().map_or(0, Tls::begun);
        self.sockets[socket].accepted + u64::from(sending.unwrap_or(0)) + begun
    }

    /// How many sides there are; the next one gets that number.
    pub(crate) fn sides(&self) -> usize {
        self.sides.len()
    }

    /// A process has ended that these sides belonged to: `moved` are the
    /// sockets that another process has. Nothing may be under way on any but
    /// what peers have been sent and do not take.
    pub(crate) fn end_process(&mut self, sides: std::ops::Range<usize>, moved: &[usize]) {
        for side in &mut self.sides[sides] {
            for record in std::mem::take(side).slots {
                let Some(socket) = record.socket else {
                    continue;
                };
                if moved.contains(&socket) {
                    let asked = record.receiving || record.polling || record.sending.is_some();
                    assert!(
                        !asked && record.shutting == 0,
                        "a socket leaves while in use"
                    );
                } else {
                    self.sockets[socket].let_go();
                }
            }
        }
    }

    /// A process has failed before it served: nothing has been asked on these
    /// sides, and its sockets are still where they were.
    pub(crate) fn forget_process(&mut self, sides: std::ops::Range<usize>) {
        assert_eq!(sides.end, self.sides.len(), "the newest sides");
        for side in self.sides.drain(sides) {
            assert!(side.pending.is_empty() && side.held.is_empty());
            let idle = |r: &Slot| !r.receiving && !r.polling && r.sending.is_none();
            assert!(side.slots.iter().all(idle), "it was not its turn yet");
        }
        for (core, side) in self.sides.iter().enumerate() {
            for (slot, record) in side.slots.iter().enumerate() {
                if let Some(socket) = record.socket {
                    self.sockets[socket].place = Some((core, slot as u32));
                }
            }
        }
    }

    /// Carries out one request, as far as that happens at once.
    pub(crate) fn execute(&mut self, core: usize, slot: u32, request: Request) {
        let record = &mut self.sides[core].slots[slot as usize];
        match request {
            Request::Receive => (record.receiving, record.once) = (true, false),
            Request::ReceiveOnce => (record.receiving, record.once) = (true, true),
            Request::Accept(listener) => record.accepting = Some(listener),
            Request::CancelAccept => self.cancel_accept(core, slot),
            Request::Install => self.sides[core].pending.push((slot, Pending::Install)),
            Request::Poll => record.polling = true,
            Request::Send {
                bytes,
                from,
                len,
                mode,
            } => self.send(core, slot, bytes, (from, len), mode),
            // The real one does it on another thread.
            Request::Shutdown(how) => {
                record.shutting += 1;
                self.sides[core]
                    .pending
                    .push((slot, Pending::Shutdown(how)));
            }
            Request::Reset => {
                record.shutting += 1;
                self.sides[core].pending.push((slot, Pending::Reset));
            }
            Request::CancelReceive => {
                let receiving = std::mem::take(&mut record.receiving);
                let ended = Event::Ended(Some(Errno::ECANCELED));
                self.cancel(core, slot, receiving.then_some(ended));
            }
            Request::CancelPoll => {
                let polling = std::mem::take(&mut record.polling);
                self.cancel(core, slot, polling.then_some(Event::Writable));
            }
            Request::Close => {
                record.closing = true;
                self.sides[core].pending.push((slot, Pending::Close));
            }
        }
    }

    fn send(&mut self, core: usize, slot: u32, bytes: Rc<Bytes>, run: (u32, u32), mode: Mode) {
        let (from, len) = run;
        let side = &mut self.sides[core];
        let socket = side.slots[slot as usize].socket.expect("checked before");
        let (rng, faults) = (&mut self.rng, &self.faults);
        let peer = &mut self.sockets[socket];
        let room = peer.outbound_max - peer.outbound.len().min(peer.outbound_max);
        let piece = &bytes[from as usize..(from + len) as usize];
        let result = if peer.reset {
            Err(Errno::EPIPE)
        } else if chance(rng, faults.dead) && chance(rng, 32) {
            (peer.reset, peer.died) = (true, true);
            Err([Errno::ETIMEDOUT, Errno::ECONNRESET][rng.usize(..2)])
        } else if chance(rng, faults.no_memory) {
            Err([Errno::ENOBUFS, Errno::ENOMEM, Errno::EINTR][rng.usize(..3)])
        } else if room == 0 {
            Err(Errno::EAGAIN)
        } else {
            let mut takes = piece.len().min(room);
            if chance(rng, faults.short_write) {
                takes = rng.usize(1..=takes);
            }
            let before = peer.outbound.len();
            match &mut peer.tls {
                None => peer.outbound.extend(&piece[..takes]),
                Some(tls) => {
                    tls.open(&piece[..takes], &piece[takes..], &mut peer.outbound);
                }
            }
            peer.accepted += (peer.outbound.len() - before) as u64;
            let now_ms = self.now_ms.load(Ordering::Relaxed);
            peer.stalled_ms_max = peer.stalled_ms_max.max(now_ms - peer.accepted_ms);
            peer.accepted_ms = now_ms;
            Ok(takes as u32)
        };
        let held = match (mode, result) {
            (Mode::Copy, _) => false,
            (Mode::ZeroCopy, Ok(_)) => true,
            // Some kernels announce a release even for nothing sent.
            (Mode::ZeroCopy, Err(_)) => rng.bool(),
        };
        let held = held.then(|| Held {
            slot,
            socket,
            end: peer.accepted,
            sum: sum(piece),
            copied: chance(rng, faults.copied),
            bytes: bytes.clone(),
            from,
            len,
        });
        side.slots[slot as usize].sending = Some(0);
        side.pending.push((slot, Pending::Sent { result, held }));
    }

    fn cancel(&mut self, core: usize, slot: u32, ended: Option<Event>) {
        let events = ended.into_iter().chain([Event::Cancelled]);
        let ready = &mut self.sides[core].ready;
        ready.extend(events.map(|event| Completion { slot, event }));
    }

    pub(crate) fn slot_is_due(&self, core: usize, slot: u32) -> bool {
        let record = &self.sides[core].slots[slot as usize];
        if self.may_come_in(record) {
            return true;
        }
        record.socket.is_some_and(|socket| {
            let socket = &self.sockets[socket];
            (record.receiving && socket.readable()) || (record.polling && socket.writable())
        })
    }

    /// Something waits to be delivered to the core.
    pub fn is_due(&self, core: usize) -> bool {
        let side = &self.sides[core];
        !side.ready.is_empty()
            || (0..side.slots.len()).any(|slot| self.slot_is_due(core, slot as u32))
    }

    /// Nothing is under way that could still be done by itself.
    pub fn is_idle(&self, core: usize) -> bool {
        let side = &self.sides[core];
        let stuck = |held: &Held| {
            let socket = &self.sockets[held.socket];
            !held.copied && socket.taken < held.end && !socket.reset
        };
        side.pending.is_empty() && side.held.iter().all(stuck) && !self.is_due(core)
    }

    /// Whether the core has been woken by its ring since this was last asked.
    pub fn take_signal(&mut self, core: usize) -> bool {
        std::mem::take(&mut self.sides[core].signal)
    }

    /// The client has done something that its server side may notice.
    pub fn poke(&mut self, socket: usize) {
        if let Some((core, slot)) = self.sockets[socket].place
            && self.slot_is_due(core, slot)
            && !self.sides[core].muted
        {
            self.sides[core].signal = true;
        }
    }
}
