//! The life of a connection: connect, handshake, open, leave, and back.
//!
//! What an open connection hears is in `hear`, how it ends in `leave`. Called by
//! the client thread's turn.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustls::ClientConfig;
use socket2::{Domain, SockAddr, Socket, Type};

use super::posts::Posts;
use super::{Client, start_of};
use crate::codec::{Decoder, Opcode, append_frame};
use crate::dialect::Position;
use crate::events::Events;
use crate::ring::Lease;
use crate::shared::{Group, Member};
use crate::stamp::STAMP_BYTES;
use crate::target::Target;
use crate::tls::Records;

/// Connections that are begun before what has happened to others is looked at.
const OPENS_MAX: usize = 4;
/// Turns running in which a thread that is behind opens none; it might be behind for good.
const TURNS_BEHIND_MAX: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    Connecting,
    Handshaking,
    /// It is a WebSocket, and its topics are asked for.
    Joining,
    Open,
    /// Being closed by us, or already ended by the server; the slot is free
    /// once no operation uses it.
    Leaving,
}

impl State {
    /// Under way to being open.
    pub(super) fn is_opening(self) -> bool {
        matches!(
            self,
            State::Connecting | State::Handshaking | State::Joining
        )
    }
}

pub(super) struct Conn {
    pub(super) state: State,
    pub(super) group: Group,
    pub(super) topic: u32,
    pub(super) publisher: Option<u32>,
    source: Option<IpAddr>,
    pub(super) key: [u8; 16],
    pub(super) answer: Vec<u8>,
    pub(super) began_ns: u64,
    pub(super) decoder: Decoder,
    /// Of a stream of events.
    pub(super) events: Events,
    /// The first bytes of a message that came in pieces.
    pub(super) head: [u8; STAMP_BYTES],
    pub(super) head_bytes: u8,
    pub(super) damaged: bool,
    /// A running hash over all that was heard, in the order it was heard.
    pub(super) order: u64,
    pub(super) close_code: Option<u16>,
    /// What came so far of a message of words.
    pub(super) words: Vec<u8>,
    /// Commands whose answers are awaited before it is open.
    pub(super) unanswered: u32,
    /// The number of its last command.
    pub(super) last_id: u32,
    /// Where it is in each of its topics; kept while it is away, and empty before.
    pub(super) positions: Vec<Position>,
    /// Of who publishes over HTTP.
    pub(super) posts: Option<Box<Posts>>,
    pub(super) out: Vec<u8>,
    /// Over TLS.
    pub(super) tls: Option<Box<Records>>,
    pub(super) tls_config: Option<Arc<ClientConfig>>,
    pub(super) connecting: bool,
    pub(super) receiving: bool,
    pub(super) sending: bool,
    pub(super) stalled: bool,
    pub(super) returns: bool,
}

impl Conn {
    pub(super) fn new(member: &Member, posts: bool) -> Conn {
        Conn {
            state: State::Idle,
            group: member.group,
            topic: member.topic,
            publisher: member.publisher,
            source: member.source,
            key: [0; 16],
            answer: Vec::new(),
            began_ns: 0,
            decoder: Decoder::default(),
            events: Events::default(),
            head: [0; STAMP_BYTES],
            head_bytes: 0,
            damaged: false,
            order: 0,
            close_code: None,
            words: Vec::new(),
            unanswered: 0,
            last_id: 0,
            positions: Vec::new(),
            posts: posts.then(Box::default),
            out: Vec::new(),
            tls: None,
            tls_config: None,
            connecting: false,
            receiving: false,
            sending: false,
            stalled: false,
            returns: false,
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        !self.connecting && !self.receiving && !self.sending
    }
}

impl Client {
    pub(super) fn order_open(&mut self, group: Group, in_flight: usize) {
        let now = self.shared.now_ns();
        self.opening_max = in_flight.max(1);
        self.open_order_ns[group as usize] = now;
        for slot in self.slots_of(group) {
            match self.conns[slot as usize].state {
                State::Idle => self.to_open.push_back((now, slot)),
                State::Leaving => self.conns[slot as usize].returns = true,
                _ => {}
            }
        }
    }

    /// Opens some of those that are waited for; returns when there is more of it to do. It is a few
    /// at a time, and what has happened to others comes first: a client's request follows as soon
    /// as it is connected, and does not wait until thousands are.
    pub(super) fn open_waiting(&mut self, now: u64) -> io::Result<u64> {
        if self.ring.is_behind() && self.turns_behind < TURNS_BEHIND_MAX {
            self.turns_behind += 1;
            return Ok(now);
        }
        self.turns_behind = 0;
        for _ in 0..OPENS_MAX {
            if self.opening >= self.opening_max {
                return Ok(u64::MAX);
            }
            match self.to_open.front() {
                Some((due, slot)) if *due <= now => {
                    let slot = *slot;
                    self.to_open.pop_front();
                    self.open(slot, now)?;
                }
                Some((due, _)) => return Ok(*due),
                None => return Ok(u64::MAX),
            }
        }
        Ok(now)
    }

    fn open(&mut self, slot: u32, now: u64) -> io::Result<()> {
        self.opening += 1;
        if let Err(error) = self.new_socket(slot) {
            self.problem(format!("cannot make a socket: {error}"));
            self.retry_later(slot, now);
            return Ok(());
        }
        let conn = &mut self.conns[slot as usize];
        conn.state = State::Connecting;
        conn.connecting = true;
        conn.began_ns = self.shared.now_ns();
        let target = usize::from(conn.publisher.is_some());
        self.ring.connect(slot, target)
    }

    fn new_socket(&mut self, slot: u32) -> io::Result<()> {
        let conn = &self.conns[slot as usize];
        let target = self.targets.of(conn.publisher.is_some());
        let domain = Domain::for_address(target.address);
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        // Closing resets: thousands of ports in TIME_WAIT would block the next run.
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(source) = conn.source {
            // The port is chosen at connect time, when the whole pair is known.
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        }
        self.ring.install(slot, socket.into())
    }

    pub(super) fn on_connected(
        &mut self,
        slot: u32,
        result: io::Result<()>,
        now: u64,
    ) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        conn.connecting = false;
        if conn.state != State::Connecting {
            return self.release(slot, now);
        }
        if let Err(error) = result {
            self.problem(format!("cannot connect: {error}"));
            return self.fail_opening(slot, now);
        }
        if !self.begin_tls(slot) {
            return self.fail_opening(slot, now);
        }
        let conn = &mut self.conns[slot as usize];
        if conn.posts.is_some() {
            return self.begin_posting(slot, now);
        }
        conn.state = State::Handshaking;
        conn.key = fastrand::u128(..).to_ne_bytes();
        let since = conn
            .positions
            .first()
            .filter(|_| !self.shared.plan.dialect.asks());
        let target = self.targets.of(conn.publisher.is_some());
        conn.out = match self.shared.plan.dialect.streams(conn.publisher.is_some()) {
            true => target.request_stream(conn.topic, since),
            false => target.request(conn.topic, &conn.key, since),
        };
        conn.receiving = true;
        self.ring.receive(slot)?;
        self.flush(slot)
    }

    /// Keeps the state of a slot's receive, and hands on what is to be read.
    pub(super) fn on_receive_state(
        &mut self,
        slot: u32,
        result: io::Result<Option<Lease>>,
        armed: bool,
        now: u64,
    ) -> io::Result<Option<Lease>> {
        let conn = &mut self.conns[slot as usize];
        conn.receiving = armed;
        let short = matches!(&result, Err(error) if error.raw_os_error() == Some(libc::ENOBUFS));
        let cancelled =
            matches!(&result, Err(error) if error.raw_os_error() == Some(libc::ECANCELED));
        if short {
            let counters = &self.shared.counters[self.me];
            counters.buffers_short.fetch_add(1, Ordering::Relaxed);
        }
        let lease = match result {
            Ok(Some(lease)) => Some(lease),
            Err(_) if short || (cancelled && conn.stalled) => None,
            _ => {
                self.on_end(slot, now)?;
                return Ok(None);
            }
        };
        let conn = &mut self.conns[slot as usize];
        let live = [State::Handshaking, State::Joining, State::Open];
        let listens = live.contains(&conn.state) && !conn.stalled;
        if listens && !armed {
            conn.receiving = true;
            self.ring.receive(slot)?;
        }
        if !armed {
            self.release(slot, now)?;
        }
        Ok(lease)
    }

    pub(super) fn on_bytes(&mut self, slot: u32, bytes: &[u8], now: u64) -> io::Result<()> {
        match self.conns[slot as usize].state {
            State::Joining | State::Open => self.hear(slot, bytes, now),
            State::Handshaking => self.on_answer(slot, bytes, now),
            _ => Ok(()),
        }
    }

    fn on_answer(&mut self, slot: u32, bytes: &[u8], now: u64) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        conn.answer.extend_from_slice(bytes);
        let target = self.targets.of(conn.publisher.is_some());
        let checked = match self.shared.plan.dialect.streams(conn.publisher.is_some()) {
            true => Target::check_stream(&conn.answer),
            false => target.check_answer(&conn.answer, &conn.key),
        };
        match checked {
            Ok(None) => Ok(()),
            Err(error) => {
                self.problem(error.to_string());
                self.fail_opening(slot, now)
            }
            Ok(Some(length)) => {
                let answer = std::mem::take(&mut conn.answer);
                self.on_upgraded(slot, &answer[..length], now)?;
                self.hear(slot, &answer[length..], now)
            }
        }
    }

    /// It is a WebSocket now.
    fn on_upgraded(&mut self, slot: u32, head: &[u8], now: u64) -> io::Result<()> {
        let shared = self.shared.clone();
        let conn = &mut self.conns[slot as usize];
        conn.decoder = Decoder::default();
        conn.events = Events::default();
        conn.head_bytes = 0;
        conn.damaged = false;
        conn.order = 0;
        conn.close_code = None;
        conn.words.clear();
        // Who has been away goes on where it was.
        if !shared.plan.recover || conn.positions.is_empty() {
            for (publisher, stream) in shared.heard_from(conn.topic) {
                let start = start_of(conn, publisher, &shared.plan);
                self.ledger.begin(slot as usize, stream, start);
            }
        }
        if shared.plan.dialect.asks() {
            return self.join(slot);
        }
        if shared.plan.recover {
            self.take_up(slot, head);
        }
        self.on_open(slot, now)
    }

    /// It hears its topics from now on.
    pub(super) fn on_open(&mut self, slot: u32, now: u64) -> io::Result<()> {
        let shared = self.shared.clone();
        self.opening -= 1;
        let conn = &mut self.conns[slot as usize];
        conn.state = State::Open;
        let group = conn.group as usize;
        let counters = &shared.counters[self.me];
        counters.open[group].fetch_add(1, Ordering::Relaxed);
        counters.opened[group].fetch_add(1, Ordering::Relaxed);
        let handshake_ns = now.saturating_sub(conn.began_ns);
        self.interval.handshakes.record(handshake_ns);
        let return_ns = now.saturating_sub(self.open_order_ns[group]);
        self.interval.returns.record(return_ns);
        if let Some(hello) = &shared.plan.hello
            && !shared.plan.dialect.streams(conn.publisher.is_some())
        {
            let text = hello.replace("{topic}", &conn.topic.to_string());
            let key = fastrand::u32(..).to_ne_bytes();
            append_frame(&mut conn.out, Opcode::Text, text.as_bytes(), key);
            self.flush(slot)?;
        }
        Ok(())
    }

    /// A connect or handshake that came to nothing: clean up and try again.
    pub(super) fn fail_opening(&mut self, slot: u32, now: u64) -> io::Result<()> {
        let counters = &self.shared.counters[self.me];
        counters.refused.fetch_add(1, Ordering::Relaxed);
        self.opening -= 1;
        let conn = &mut self.conns[slot as usize];
        conn.returns = true;
        self.close(slot, now)
    }

    pub(super) fn stall(&mut self, slot: u32) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        if conn.state == State::Open && !conn.stalled {
            conn.stalled = true;
            self.ring.cancel_receive(slot)?;
        }
        Ok(())
    }

    pub(super) fn resume(&mut self, slot: u32) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        if conn.stalled {
            conn.stalled = false;
            if conn.state == State::Open && !conn.receiving {
                conn.receiving = true;
                self.ring.receive(slot)?;
            }
        }
        Ok(())
    }

    /// Sends what waits, unless a send is under way.
    pub(super) fn flush(&mut self, slot: u32) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        if conn.sending {
            return Ok(());
        }
        let bytes = match &mut conn.tls {
            None => std::mem::take(&mut conn.out),
            Some(tls) => tls.seal(&mut conn.out),
        };
        if bytes.is_empty() {
            return Ok(());
        }
        conn.sending = true;
        self.ring.send(slot, bytes)
    }

    pub(super) fn on_sent(
        &mut self,
        slot: u32,
        mut bytes: Vec<u8>,
        result: io::Result<usize>,
    ) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        conn.sending = false;
        match result {
            Ok(count) if count < bytes.len() => {
                bytes.drain(..count);
                match &mut conn.tls {
                    Some(tls) => tls.put_back(bytes),
                    None => {
                        bytes.append(&mut conn.out);
                        conn.out = bytes;
                    }
                }
            }
            Ok(_) if conn.out.is_empty() && conn.publisher.is_some() && conn.tls.is_none() => {
                // Its room serves the next burst.
                bytes.clear();
                conn.out = bytes;
            }
            Ok(_) => {}
            // The receive side hears of the end too, and books it.
            Err(_) => conn.out = Vec::new(),
        }
        let publisher = conn.publisher;
        let leaving = conn.state == State::Leaving;
        self.flush(slot)?;
        if let Some(publisher) = publisher {
            self.publishers.unblock(publisher);
        }
        if leaving {
            let now = self.shared.now_ns();
            self.release(slot, now)?;
        }
        Ok(())
    }
}
