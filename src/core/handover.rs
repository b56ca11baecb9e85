//! A reactor's connections on their way to another process, and back in.
//!
//! Frozen, a reactor asks nothing of its ring and waits until the ring owes it
//! nothing. Its connections can then be written down, their sockets handed
//! out, and everything taken up again elsewhere, or here if that fails.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::conn::{Conn, Extra, Finish, Flags, NO_PLACE, Phase, Rate};
use super::reactor::{Reactor, State};
use crate::hub::codec::view_of;
use crate::log::{Segment, Topic, ViewKind};
use crate::protocol::reason::CloseReason;
use crate::protocol::ws::deflate::Inflater;
use crate::protocol::ws::{Reader, SavedReader};
use crate::ring::Ring;

/// One connection, written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedConn {
    /// SO_COOKIE: tells which socket belongs to it, in any process.
    pub cookie: u64,
    /// The core it was on.
    pub core: u32,
    pub topic: String,
    peer: SocketAddr,
    flags: u16,
    closing: bool,
    finish: Option<(u64, u16, u16)>,
    deadline_in_ms: Option<u64>,
    cursor: u64,
    window_bits: u8,
    silent_ms: u32,
    /// How long ago the message began that has come in part.
    begun_ms: u32,
    pings: u8,
    lane: Vec<u8>,
    own: Vec<(u64, u64)>,
    reader: SavedReader,
    /// The client's window, if it keeps one.
    window: Option<Vec<u8>>,
}

/// Flags that hold in any process.
const KEPT: u16 = Flags::MID_FRAME
    | Flags::ECHO
    | Flags::CHAT
    | Flags::COPIES
    | Flags::ENDED
    | Flags::PEER_CLOSED
    | Flags::CATCHING_UP;

/// All that a frozen core holds, but for the sockets.
pub struct SavedCore {
    /// Slot and connection; without a cookie yet.
    pub conns: Vec<(u32, SavedConn)>,
    /// The segments that its subscribers of each topic still need.
    pub held: Vec<(Arc<Topic>, ViewKind, Arc<Segment>)>,
}

impl<R: Ring> Reactor<R> {
    /// Stops asking for anything. Turns still take what comes.
    pub fn freeze(&mut self) {
        self.state.frozen = true;
        // What has been taken from a socket is this process's to publish.
        self.state.resume_paused();
        let slots: Vec<u32> = self.state.conns.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let flags = self.state.conns.at(slot).flags;
            if flags.any(Flags::RECEIVING) {
                self.ring.cancel_receive(slot);
            }
            if flags.any(Flags::AWAITING) {
                self.ring.cancel_await(slot);
            }
        }
    }

    /// Nothing is under way any more: the connections can be written down.
    pub fn is_still(&self) -> bool {
        let mut conns = self.state.conns.iter();
        self.ring.queued() == 0
            && conns.all(|(_, conn)| !conn.flags.any(Flags::OUTSTANDING) && conn.unreleased == 0)
    }

    /// Goes on as if nothing had been.
    pub fn thaw(&mut self) {
        self.state.frozen = false;
        let slots: Vec<u32> = self.state.conns.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.state.mark(slot);
        }
        let numbers: Vec<u32> = self.state.locals.numbers().collect();
        for number in numbers {
            self.state.grow(number);
        }
    }

    /// Writes down everything. Only when [`Reactor::is_still`].
    pub fn save(&mut self) -> SavedCore {
        assert!(self.state.frozen && self.is_still());
        self.state.save()
    }

    /// Asks for plain descriptors of the sockets in these slots; they are to
    /// be had by [`Reactor::plain`] after the next turns.
    pub fn install(&mut self, slots: &[u32]) {
        for slot in slots {
            self.ring.install(*slot);
        }
    }

    /// The plain descriptors made since the last call.
    pub fn plain(&mut self) -> Vec<(u32, io::Result<OwnedFd>)> {
        self.ring.plain()
    }

    /// Takes up a connection where another process left it. Nothing is asked
    /// of the socket before [`Reactor::thaw`].
    ///
    /// # Errors
    /// What is wrong with the record, or kept the socket out of the ring.
    pub fn restore(
        &mut self,
        socket: &impl AsRawFd,
        saved: SavedConn,
        topic: Option<Arc<Topic>>,
    ) -> Result<(), String> {
        self.state.frozen = true;
        let slot = self.state.restore(saved, topic)?;
        let attached = self.ring.attach(slot, socket);
        attached.map_err(|error| format!("cannot register a connection: {error}"))
    }
}

impl State {
    fn save(&mut self) -> SavedCore {
        let mut saved = Vec::new();
        for (slot, conn) in self.conns.iter() {
            if conn.phase == Phase::Ending {
                continue;
            }
            let topic = self.locals.topic_of(conn.topic, conn.place);
            saved.push((slot, self.save_conn(conn, topic)));
        }
        let mut held = Vec::new();
        for local in self.locals.iter_mut() {
            for segment in local.window.iter() {
                held.push((local.topic.clone(), local.kind, segment.clone()));
            }
        }
        SavedCore { conns: saved, held }
    }

    fn save_conn(&self, conn: &Conn, topic: Option<&Arc<Topic>>) -> SavedConn {
        let extra = conn.extra.as_deref();
        let finish = extra.and_then(|extra| extra.finish);
        let deadline_ms = extra.and_then(|extra| extra.deadline_ms);
        SavedConn {
            cookie: 0,
            core: self.core as u32,
            topic: topic.map_or_else(String::new, |topic| topic.name().to_string()),
            peer: conn.peer.address(),
            flags: conn.flags.only(KEPT),
            closing: conn.phase == Phase::Closing,
            finish: finish.map(|f| (f.position, f.reason.index() as u16, f.code)),
            deadline_in_ms: deadline_ms.map(|at| at.saturating_sub(self.now_ms)),
            cursor: conn.cursor,
            window_bits: conn.window_bits,
            silent_ms: (self.now_ms as u32).wrapping_sub(conn.heard_ms),
            begun_ms: (self.now_ms as u32).wrapping_sub(conn.begun_ms),
            pings: conn.pings,
            lane: extra.map_or_else(Vec::new, |extra| extra.lane.clone()),
            own: extra.map_or_else(Vec::new, |extra| {
                extra.own.iter().map(|own| (own.start, own.end)).collect()
            }),
            reader: conn.reader.save(),
            window: extra.and_then(|extra| Some(extra.inflater.as_ref()?.window().to_vec())),
        }
    }

    fn restore(&mut self, saved: SavedConn, topic: Option<Arc<Topic>>) -> Result<u32, String> {
        let reader = Reader::restore(saved.reader).ok_or("a reader's state makes no sense")?;
        let finish = match saved.finish {
            None => None,
            Some((position, reason, code)) => Some(Finish {
                position,
                reason: CloseReason::all()
                    .nth(reason.into())
                    .ok_or("a close reason is unknown")?,
                code,
            }),
        };
        let mut flags = Flags::default();
        flags.set(saved.flags & KEPT);
        let extra = Extra {
            lane: saved.lane,
            own: saved
                .own
                .iter()
                .map(|(start, end)| *start..*end)
                .collect::<VecDeque<_>>(),
            finish,
            deadline_ms: saved.deadline_in_ms.map(|ms| self.now_ms + ms),
            inflater: saved
                .window
                .map(|window| Box::new(Inflater::resume(&window))),
            pause: None,
        };
        let phase = match (saved.closing, finish) {
            (true, _) => Phase::Closing,
            (false, Some(_)) => Phase::Finishing,
            (false, None) => Phase::Open,
        };
        let kind = match flags.any(Flags::CATCHING_UP) {
            true => ViewKind::Raw,
            false => view_of(saved.window_bits),
        };
        let mut conn = Conn {
            cursor: saved.cursor,
            topic: 0,
            place: NO_PLACE,
            heard_ms: (self.now_ms as u32).wrapping_sub(saved.silent_ms),
            begun_ms: (self.now_ms as u32).wrapping_sub(saved.begun_ms),
            offered: 0,
            rate: Rate::default(),
            flags,
            unreleased: 0,
            peer: saved.peer.into(),
            phase,
            pings: saved.pings,
            window_bits: saved.window_bits,
            reader,
            extra: None,
        };
        let held = conn.reader.buffered_bytes();
        *conn.extra() = extra;
        conn.tidy_extra();
        let slot = self
            .conns
            .insert(conn)
            .ok_or("there are more connections than slots")?;
        self.hub.account_partial(0, held);
        self.hub.admission().resume(saved.peer.ip());
        if phase != Phase::Closing {
            let topic = topic.ok_or("a connection's topic is missing")?;
            if saved.window_bits > 0 {
                topic.add_inflating_reader(saved.window_bits);
            }
            let seat = self
                .locals
                .resume(self.core, topic, kind, slot, saved.cursor);
            self.take_seat(slot, seat.ok_or("a cursor lies outside its log")?);
        }
        self.metrics().connections.set(self.conns.len() as u64);
        Ok(slot)
    }
}
