//! One thread's clients: they connect many at once, shake hands, answer pings
//! and hand over what arrives.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::codec::{self, Event, Reader};
use crate::ring::{Done, Kind, Ring};
use crate::target::{Sources, Url};

/// Time for one attempt to connect and shake hands.
const HANDSHAKE_NS_MAX: u64 = 10_000_000_000;
/// Pause before the next attempt after one that failed.
const RETRY_NS: u64 = 250_000_000;
/// The answer to a handshake is no longer.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Bytes that one client may have queued: a server that pings without reading.
const OUT_BYTES_MAX: usize = 64 << 20;

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum End {
    #[error("could not connect: {0}")]
    Connect(String),
    #[error("handshake: {0}")]
    Refused(codec::Refusal),
    #[error("no answer to the handshake within 10 s")]
    Timeout,
    #[error("the server closed with code {0}")]
    Closed(u16),
    #[error("the server closed without a code")]
    ClosedBare,
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the server {0}")]
    Fault(codec::Fault),
}

/// Who is told what happens to the clients.
pub trait Owner {
    /// The handshake is done.
    fn handle_open(&mut self, slot: u32, now_ns: u64);
    fn handle_message(&mut self, slot: u32, now_ns: u64, message: Message<'_>);
    /// It is over, and not because we left. One that was never open is tried
    /// again if this says so.
    fn handle_end(&mut self, slot: u32, end: End, was_open: bool) -> bool;
}

/// A message as [`Event::Message`] has it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub opcode: u8,
    pub head: &'a [u8],
    pub last: u8,
    pub len: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not connected and not wanted to be.
    Out,
    /// In the queue of those that shall connect.
    Waiting,
    Connecting,
    Shaking,
    Open,
    /// Detached; waits for its last completions.
    Leaving {
        again: bool,
    },
}

struct Client {
    state: State,
    life: u32,
    /// Requests whose last completion has not come.
    requests: u8,
    sending: bool,
    receiving: bool,
    stalled: bool,
    /// The number that decides the source address.
    number: u32,
    topic: u32,
    reader: Reader,
    out: Vec<u8>,
    shaking: Option<Box<Shaking>>,
}

struct Shaking {
    key: String,
    answer: Vec<u8>,
}

/// The clients of one thread, by slot.
pub struct Clients {
    ring: Ring,
    clients: Vec<Client>,
    url: Arc<Url>,
    sources: Arc<Sources>,
    clock: Clock,
    waiting: VecDeque<u32>,
    /// When to try again, in order.
    retries: VecDeque<(u64, u32)>,
    /// When the patience with a handshake ends, in order.
    deadlines: VecDeque<(u64, u32, u32)>,
    in_flight: usize,
    in_flight_max: usize,
    woken: bool,
}

impl Clients {
    /// Clients that are told apart by slot; `seats` has the number and topic
    /// of each. It belongs to the calling thread.
    ///
    /// # Errors
    /// Those of setting up io_uring.
    pub fn new(
        seats: impl ExactSizeIterator<Item = (u32, u32)>,
        url: Arc<Url>,
        sources: Arc<Sources>,
        clock: Clock,
        in_flight_max: usize,
    ) -> io::Result<Self> {
        Ok(Clients {
            ring: Ring::new(seats.len())?,
            clients: seats
                .map(|(number, topic)| Client::new(number, topic))
                .collect(),
            url,
            sources,
            clock,
            waiting: VecDeque::new(),
            retries: VecDeque::new(),
            deadlines: VecDeque::new(),
            in_flight: 0,
            in_flight_max,
            woken: false,
        })
    }

    /// Lets the client connect as soon as there is room for its handshake.
    pub fn open(&mut self, slot: u32) {
        let client = &mut self.clients[slot as usize];
        match client.state {
            State::Out => {
                client.state = State::Waiting;
                self.waiting.push_back(slot);
            }
            State::Leaving { .. } => client.state = State::Leaving { again: true },
            _ => {}
        }
    }

    /// Drops the connection at once.
    pub fn leave(&mut self, slot: u32) {
        match self.clients[slot as usize].state {
            State::Out => {}
            State::Waiting => self.clients[slot as usize].state = State::Out,
            State::Leaving { .. } => {
                self.clients[slot as usize].state = State::Leaving { again: false };
            }
            _ => self.detach(slot, false),
        }
    }

    pub fn is_open(&self, slot: u32) -> bool {
        self.clients[slot as usize].state == State::Open
    }

    /// Reads no more, or reads again.
    pub fn stall(&mut self, slot: u32, stalled: bool) {
        let client = &mut self.clients[slot as usize];
        client.stalled = stalled;
        if stalled && client.receiving {
            self.ring.stop_receiving(slot, client.life);
        } else if !stalled && !client.receiving && client.state == State::Open {
            self.receive(slot);
        }
    }

    /// Queues one frame; it leaves with the next turn, together with all
    /// others that are queued by then.
    pub fn send(&mut self, slot: u32, opcode: u8, payload: &[u8]) {
        let client = &mut self.clients[slot as usize];
        if client.out.len() < OUT_BYTES_MAX {
            let mask = fastrand::u32(..).to_ne_bytes();
            codec::write_frame(&mut client.out, opcode, payload, mask);
        }
    }

    /// Bytes that wait for the send under way to end.
    pub fn queued_bytes(&self, slot: u32) -> usize {
        self.clients[slot as usize].out.len()
    }

    /// Hands queued frames over, unless a send is under way; it goes on by
    /// itself when that is done.
    pub fn flush(&mut self, slot: u32) {
        let client = &mut self.clients[slot as usize];
        let may = matches!(client.state, State::Open | State::Shaking);
        if !may || client.sending || client.out.is_empty() {
            return;
        }
        client.sending = true;
        client.requests += 1;
        let bytes = std::mem::take(&mut client.out);
        let life = client.life;
        let old = self.ring.send(slot, life, bytes);
        self.clients[slot as usize].out = old;
    }

    /// Makes turns end when `wake` is written to.
    pub fn await_wake(&mut self, wake: BorrowedFd<'_>) {
        self.ring.await_wake(wake.as_raw_fd());
    }

    /// Whether the eventfd of `await_wake` was written to since the last look.
    pub fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Waits for something to happen, `wait` at most, and works it off.
    ///
    /// # Errors
    /// Those of `io_uring_enter`.
    pub fn turn(&mut self, wait: Duration, owner: &mut impl Owner) -> io::Result<()> {
        self.start_waiting(owner);
        self.ring.turn(wait)?;
        while let Some(done) = self.ring.poll() {
            match done.kind {
                Kind::Wake => self.woken = true,
                Kind::Other => {}
                _ => self.handle(done, owner),
            }
        }
        self.handle_time(owner);
        Ok(())
    }

    /// Until when the clients need no turn.
    pub fn next_ns(&self) -> Option<u64> {
        let retry = self.retries.front().map(|&(at, _)| at);
        let deadline = self.deadlines.front().map(|&(at, ..)| at);
        retry.into_iter().chain(deadline).min()
    }

    fn handle_time(&mut self, owner: &mut impl Owner) {
        let now = self.clock.now_ns();
        while let Some(&(_, slot)) = self.retries.front().filter(|&&(at, _)| at <= now) {
            self.retries.pop_front();
            self.open(slot);
        }
        while let Some(&(_, slot, life)) = self.deadlines.front().filter(|&&(at, ..)| at <= now) {
            self.deadlines.pop_front();
            let client = &self.clients[slot as usize];
            if client.life == life && matches!(client.state, State::Connecting | State::Shaking) {
                self.end(slot, End::Timeout, owner);
            }
        }
    }

    fn start_waiting(&mut self, owner: &mut impl Owner) {
        while self.in_flight < self.in_flight_max {
            let Some(slot) = self.waiting.pop_front() else {
                break;
            };
            if self.clients[slot as usize].state != State::Waiting {
                continue;
            }
            let number = self.clients[slot as usize].number;
            let client = &mut self.clients[slot as usize];
            client.state = State::Connecting;
            client.life = (client.life + 1) & 0xff_ffff;
            self.in_flight += 1;
            let life = client.life;
            let attached = self
                .sources
                .socket(number)
                .and_then(|socket| self.ring.attach(slot, &socket));
            if let Err(error) = attached {
                self.end(slot, End::Connect(error.to_string()), owner);
                continue;
            }
            self.clients[slot as usize].requests += 1;
            self.ring.connect(slot, life, &self.sources.to());
            let deadline = self.clock.now_ns() + HANDSHAKE_NS_MAX;
            self.deadlines.push_back((deadline, slot, life));
        }
    }

    fn handle(&mut self, done: Done, owner: &mut impl Owner) {
        let slot = done.slot;
        let client = &mut self.clients[slot as usize];
        assert_eq!(
            client.life, done.life,
            "a slot rests until its last completion"
        );
        if !done.more {
            client.requests -= 1;
        }
        let leaving = matches!(client.state, State::Leaving { .. });
        match done.kind {
            Kind::Connect if !leaving => self.handle_connect(slot, done.result, owner),
            Kind::Send => {
                client.sending = false;
                if done.result < 0 && !leaving {
                    self.end(slot, End::Broken(errno(done.result)), owner);
                } else if !leaving {
                    self.flush(slot);
                }
            }
            Kind::Receive => {
                client.receiving = done.more;
                if !leaving {
                    self.handle_receive(&done, owner);
                }
            }
            _ => {}
        }
        self.ring.release(&done);
        self.rest(slot);
    }

    /// A slot that has left and whose last completion has come may live again.
    fn rest(&mut self, slot: u32) {
        let client = &mut self.clients[slot as usize];
        if let (State::Leaving { again }, 0) = (client.state, client.requests) {
            client.state = State::Out;
            client.reader = Reader::default();
            client.out.clear();
            if again {
                self.open(slot);
            }
        }
    }

    fn handle_connect(&mut self, slot: u32, result: i32, owner: &mut impl Owner) {
        if result == -libc::EADDRNOTAVAIL && self.sources.skip() {
            self.detach(slot, true);
            return;
        }
        if result < 0 {
            return self.end(slot, End::Connect(errno(result)), owner);
        }
        let key = codec::new_key();
        let client = &mut self.clients[slot as usize];
        client.state = State::Shaking;
        let target = self.url.target(client.topic);
        client.out = codec::upgrade_request(&self.url.host, &target, &key);
        client.shaking = Some(Box::new(Shaking {
            key,
            answer: Vec::new(),
        }));
        self.receive(slot);
        self.flush(slot);
    }

    fn receive(&mut self, slot: u32) {
        let client = &mut self.clients[slot as usize];
        client.requests += 1;
        client.receiving = true;
        self.ring.receive(slot, client.life);
    }

    fn handle_receive(&mut self, done: &Done, owner: &mut impl Owner) {
        let slot = done.slot;
        match done.result {
            1.. => {
                let now_ns = self.clock.now_ns();
                if let Err(end) = self.handle_bytes(done, now_ns, owner) {
                    return self.end(slot, end, owner);
                }
                self.flush(slot);
            }
            // Out of buffers for a moment, or cancelled to stall.
            error if error == -libc::ENOBUFS || error == -libc::ECANCELED => {}
            0 => return self.end(slot, End::Broken("end of stream".into()), owner),
            error => return self.end(slot, End::Broken(errno(error)), owner),
        }
        let client = &self.clients[slot as usize];
        let alive = matches!(client.state, State::Open | State::Shaking);
        if alive && !client.receiving && !client.stalled {
            self.receive(slot);
        }
    }

    fn handle_bytes(
        &mut self,
        done: &Done,
        now_ns: u64,
        owner: &mut impl Owner,
    ) -> Result<(), End> {
        let slot = done.slot;
        let client = &mut self.clients[slot as usize];
        let mut bytes = self.ring.bytes(done);
        let rest;
        if let Some(shaking) = &mut client.shaking {
            shaking.answer.extend_from_slice(bytes);
            let read = codec::read_answer(&shaking.answer, &shaking.key).map_err(End::Refused)?;
            let Some(len) = read else {
                return if shaking.answer.len() > ANSWER_BYTES_MAX {
                    Err(End::Refused(codec::Refusal::NotHttp))
                } else {
                    Ok(())
                };
            };
            rest = shaking.answer.split_off(len);
            bytes = &rest;
            client.shaking = None;
            client.state = State::Open;
            self.in_flight -= 1;
            owner.handle_open(slot, now_ns);
        }
        let out = &mut client.out;
        let mut closed = None;
        let read = client.reader.handle_bytes(bytes, &mut |event| match event {
            Event::Message {
                opcode,
                head,
                last,
                len,
            } => {
                let message = Message {
                    opcode,
                    head,
                    last,
                    len,
                };
                owner.handle_message(slot, now_ns, message);
            }
            Event::Control { opcode, payload } => match opcode {
                codec::PING if out.len() < OUT_BYTES_MAX => {
                    let mask = fastrand::u32(..).to_ne_bytes();
                    codec::write_frame(out, codec::PONG, payload, mask);
                }
                codec::CLOSE => closed = Some(payload.first_chunk::<2>().copied()),
                _ => {}
            },
        });
        read.map_err(End::Fault)?;
        match closed {
            Some(Some(code)) => Err(End::Closed(u16::from_be_bytes(code))),
            Some(None) => Err(End::ClosedBare),
            None => Ok(()),
        }
    }

    fn end(&mut self, slot: u32, end: End, owner: &mut impl Owner) {
        let was_open = self.clients[slot as usize].state == State::Open;
        let again = owner.handle_end(slot, end, was_open);
        self.detach(slot, false);
        if again && !was_open {
            let at = self.clock.now_ns() + RETRY_NS;
            self.retries.push_back((at, slot));
        }
    }

    fn detach(&mut self, slot: u32, again: bool) {
        let client = &mut self.clients[slot as usize];
        if matches!(client.state, State::Connecting | State::Shaking) {
            self.in_flight -= 1;
        }
        client.state = State::Leaving { again };
        client.shaking = None;
        let life = client.life;
        // It fails only where there is nothing in the slot.
        let _ = self.ring.detach(slot, life);
        self.rest(slot);
    }
}

impl Client {
    fn new(number: u32, topic: u32) -> Self {
        Client {
            state: State::Out,
            life: 0,
            requests: 0,
            sending: false,
            receiving: false,
            stalled: false,
            number,
            topic,
            reader: Reader::default(),
            out: Vec::new(),
            shaking: None,
        }
    }
}

fn errno(result: i32) -> String {
    io::Error::from_raw_os_error(-result).to_string()
}

/// An eventfd that wakes a thread's turn.
pub type Wake = nix::sys::eventfd::EventFd;

/// The descriptor to await.
pub fn wake_fd(wake: &Wake) -> BorrowedFd<'_> {
    wake.as_fd()
}
