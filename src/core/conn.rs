//! One established connection: a small record in a slab. Idle, it owns nothing
//! else: no descriptor, no task, no buffer.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::lane::Lane;
use super::peer::{Peer, Rate};
use super::subs::{List, SubId, Subs, Subscription};
use crate::hub::{HistoryError, Origin, Past, Verdict};
use crate::log::{Lack, Reach, Start, Topic};
use crate::protocol::dialect::Dialect;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::Rights;
use crate::protocol::ws::Reader;
use crate::protocol::ws::deflate::Inflater;
use crate::ring::Errno;

/// Own messages that a publisher is yet to step over. Beyond: it publishes
/// faster than it reads, and is paused.
pub(super) const OWN_MAX: usize = 4096;

/// Beyond it a connection is closed, as servers that post in its name cannot be paused for it.
/// A publisher that is paused at half of that has what had already been read of it as well.
pub(super) const OWN_POSTED_MAX: usize = 2 * OWN_MAX;

/// Where a connection is in its life. Each phase but the first is entered by one
/// function, see `closing.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Messages go both ways.
    Open,
    /// It is sent what it is still owed, then the close frame.
    Draining,
    /// The close frame is in the lane or gone; the peer's end is awaited.
    Closing,
    /// Both directions are shut; what was asked of the ring is awaited.
    ShutDown,
}

/// What is outstanding or known about a connection, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags(u32);

impl Flags {
    /// A receive is armed.
    pub(super) const RECEIVING: u32 = 1;
    /// A run of one log is being sent, straight from it.
    pub(super) const SENDING_RUN: u32 = 1 << 1;
    /// The pieces in [`Extra::sending`] are being sent.
    pub(super) const SENDING_PIECES: u32 = 1 << 2;
    /// The socket is full; its readiness is awaited.
    pub(super) const AWAITING: u32 = 1 << 3;
    /// A shutdown or close is under way.
    pub(super) const SHUTTING: u32 = 1 << 4;
    /// The cursor of [`Conn::current`] may stand inside a frame.
    pub(super) const MID_FRAME: u32 = 1 << 5;
    /// It hears its own messages.
    pub(super) const ECHO: u32 = 1 << 6;
    /// It is in the room: its end is to be told where its dialect does so.
    pub(super) const PRESENT: u32 = 1 << 7;
    /// Zero copy does not pay on its route.
    pub(super) const COPIES: u32 = 1 << 8;
    /// It is in the list of those to be looked at in this turn.
    pub(super) const DIRTY: u32 = 1 << 9;
    /// The peer will send no more.
    pub(super) const ENDED: u32 = 1 << 10;
    /// The peer has sent its close frame.
    pub(super) const PEER_CLOSED: u32 = 1 << 11;
    /// What it is sent next is more than its first log: fan-out leaves it to the
    /// look that follows.
    pub(super) const ATTENTION: u32 = 1 << 12;
    /// The send direction has been shut down.
    pub(super) const SHUT_WRITE: u32 = 1 << 13;
    /// Both directions have been shut down.
    pub(super) const SHUT_BOTH: u32 = 1 << 14;
    /// It may not publish to its topic.
    pub(super) const READ_ONLY: u32 = 1 << 15;
    /// It follows, or has followed, more than one topic.
    pub(super) const MANY: u32 = 1 << 16;
    /// Its first subscription stands in the ready-ring.
    pub(super) const READY: u32 = 1 << 17;
    /// Its compressed messages may refer to earlier ones.
    pub(super) const TAKEOVER: u32 = 1 << 18;
    /// Its session, or a subscription of that, expires in the end.
    pub(super) const EXPIRES: u32 = 1 << 19;
    /// It has TLS, and a link.
    pub(super) const TLS: u32 = 1 << 20;
    /// The kernel sees whether its peer lives (`keepalive`).
    pub(super) const KEPT_ALIVE: u32 = 1 << 21;
    /// A record of its peer has come in part.
    pub(super) const IN_RECORD: u32 = 1 << 22;

    pub(super) const SENDING: u32 = Self::SENDING_RUN | Self::SENDING_PIECES;
    /// Nothing can be sent while one of these is set.
    pub(super) const BUSY: u32 = Self::SENDING | Self::AWAITING;
    /// What the ring still has to answer before the slot can be emptied.
    pub(super) const OUTSTANDING: u32 =
        Self::RECEIVING | Self::SENDING | Self::AWAITING | Self::SHUTTING;

    #[inline]
    pub(super) fn any(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// These bits of it.
    pub(super) fn only(self, bits: u32) -> u32 {
        self.0 & bits
    }

    #[inline]
    pub(super) fn set(&mut self, bits: u32) {
        self.0 |= bits;
    }

    #[inline]
    pub(super) fn clear(&mut self, bits: u32) {
        self.0 &= !bits;
    }
}

/// How an open connection comes to its close frame.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    /// What it is still owed: each of its subscriptions up to a position. One
    /// that is not listed is owed nothing.
    pub(super) until: Vec<(SubId, u64)>,
    pub(super) reason: CloseReason,
    /// Of the close frame; 0 is none.
    pub(super) code: u16,
    /// In the close frame instead of those that go with the reason.
    pub(super) words: Option<Box<str>>,
}

impl Drain {
    /// How far a subscription is to go.
    pub(super) fn until(&self, id: SubId) -> u64 {
        let owed = self.until.iter().find(|(owed, _)| *owed == id);
        owed.map_or(0, |(_, position)| *position)
    }
}

/// What a publisher has sent that is not read from for now.
#[derive(Default)]
pub(super) struct Pause {
    /// A message that could not be dealt with yet, plain.
    pub(super) unpublished: Option<Unpublished>,
    /// What had come before the receive was called off.
    pub(super) unread: Vec<u8>,
    /// The receive has been called off.
    pub(super) called_off: bool,
    /// The peer has sent its last, and how that ended.
    pub(super) ended: Option<Option<Errno>>,
}

/// What a message waits for.
#[derive(Debug)]
pub(super) enum Wait {
    /// Room in the log. What there was none for is unknown where the message has come from
    /// another process.
    Room(Option<Lack>),
    /// Its turn to have its token checked.
    Turn,
    /// The check of its token that has this number.
    Check(u64),
    /// Nothing: its token has been checked.
    Checked(Verdict),
    /// The cluster to say which history a topic has, and to come to an offset of it.
    Known(Arc<Topic>, u64),
    /// The page of stored history that has this number.
    Read(u64),
    /// Nothing: the page has been read.
    HasRead(Box<Result<Past, HistoryError>>),
}

/// A message that waits for room in the log, or with its token.
pub(super) struct Unpublished {
    /// Since when it waits, by the core's patience.
    pub(super) since_ms: u64,
    /// When room was last looked for, likewise.
    pub(super) looked_ms: u64,
    pub(super) wait: Wait,
    pub(super) text: bool,
    pub(super) payload: Vec<u8>,
}

impl Pause {
    /// Bytes that are accounted as those of half-received messages.
    pub(super) fn held_bytes(&self) -> usize {
        let unpublished = self.unpublished.as_ref();
        self.unread.len() + unpublished.map_or(0, |message| message.payload.len())
    }
}

/// A part of what is sent in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes of the lane.
    Lane(u32),
    /// A run of a log. It ends at a boundary between messages.
    Run { id: SubId, from: u64, to: u64 },
}

/// A connection's subscriptions beyond the first.
#[derive(Default)]
pub(super) struct Many {
    pub(super) list: List,
    /// Those that may have something to send, in turn.
    pub(super) ready: VecDeque<SubId>,
    /// The one whose frame has been begun, or whose run is being sent.
    pub(super) current: Option<SubId>,
}

/// A subscription that is to begin further back.
pub(super) struct Reaching {
    pub(super) id: SubId,
    /// Where it is to begin, in the raw view: keeps what it was told that it gets.
    pub(super) raw: Start,
    /// None while another core writes for the same view.
    pub(super) run: Option<Reach>,
}

/// What only few connections have at a time.
#[derive(Default)]
pub(super) struct Extra {
    /// What is for this peer alone.
    pub(super) lane: Lane,
    /// Its own messages that it must not hear, oldest first for each
    /// subscription.
    pub(super) own: VecDeque<(SubId, Range<u64>)>,
    /// What is being sent, where that is more than one run of one log.
    pub(super) sending: Vec<Piece>,
    /// Subscriptions that end with the frame that is under way.
    pub(super) leaving: Vec<SubId>,
    /// Subscriptions that have not begun: their history is being written.
    pub(super) reaching: Vec<SubId>,
    pub(super) drain: Option<Box<Drain>>,
    /// When patience with a closing peer ends.
    pub(super) deadline_ms: Option<u64>,
    /// Its window, where it may refer to its earlier messages.
    pub(super) inflater: Option<Box<Inflater>>,
    /// It is not read from for now.
    pub(super) pause: Option<Box<Pause>>,
    pub(super) many: Option<Box<Many>>,
    /// What its token gives it, if it came with one.
    pub(super) rights: Option<Arc<Rights>>,
    /// What it has proposed to the cluster.
    pub(super) proposed: Option<Box<Proposed>>,
}

/// Who has proposed something to the cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) slot: u32,
    /// The command that is to be answered.
    pub(super) reply: Option<u32>,
}

/// A publisher to topics on whose messages a cluster decides.
#[derive(Debug)]
pub(super) struct Proposed {
    /// By it its messages keep their order.
    pub(super) publisher: u64,
    /// By it its messages are known, if it is not to hear them.
    pub(super) origin: Option<Origin>,
    /// What has not been decided on, in this order.
    pub(super) tickets: VecDeque<Ticket>,
}

/// One message of such a publisher.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// See [`Topic::id`].
    pub(super) topic: u64,
    /// A later one to the same topic is stored: this one would come too late.
    pub(super) is_overtaken: bool,
}

impl Extra {
    fn is_empty(&self) -> bool {
        !self.wants_attention()
            && self.deadline_ms.is_none()
            && self.inflater.is_none()
            && self.pause.is_none()
            && self.rights.is_none()
            && self.proposed.is_none()
    }

    /// Something in it bears on what the peer is sent next.
    pub(super) fn wants_attention(&self) -> bool {
        !self.lane.is_empty()
            || !self.own.is_empty()
            || !self.sending.is_empty()
            || !self.leaving.is_empty()
            || !self.reaching.is_empty()
            || self.drain.is_some()
            || self.many.is_some()
    }

    /// A subscription reads another view: `there` is the place in it of a position.
    pub(super) fn move_positions(&mut self, id: SubId, there: impl Fn(u64) -> u64) {
        for (_, own) in self.own.iter_mut().filter(|(of, _)| *of == id) {
            *own = there(own.start)..there(own.end);
        }
        if let Some(drain) = &mut self.drain {
            for (_, until) in drain.until.iter_mut().filter(|(of, _)| *of == id) {
                *until = there(*until);
            }
        }
        self.lane.move_positions(id, there);
    }

    /// Where the next own message of a subscription ahead of `position` begins,
    /// and `position` moved over those that begin there.
    pub(super) fn over_own(&self, id: SubId, mut position: u64) -> (u64, u64) {
        for (owner, own) in &self.own {
            if *owner != id {
                continue;
            }
            if own.start > position {
                return (position, own.start);
            }
            position = position.max(own.end);
        }
        (position, u64::MAX)
    }
}

/// One established connection.
pub(super) struct Conn {
    /// Its first subscription.
    pub(super) sub: Subscription,
    /// When it was last heard, by the core's patience, wrapping.
    pub(super) heard_ms: u32,
    /// When the message began that it has sent a part of, likewise; without meaning
    /// while there is none. Once it is no longer open: when its close began.
    pub(super) begun_ms: u32,
    /// Since when its socket has taken nothing, likewise. Without meaning while
    /// it is not awaited.
    pub(super) stalled_ms: u32,
    /// How much the send under way offers.
    pub(super) offered: u32,
    pub(super) rate: Rate,
    pub(super) flags: Flags,
    /// Zero-copy sends whose bytes are not released.
    pub(super) unreleased: u16,
    pub(super) peer: Peer,
    pub(super) phase: Phase,
    pub(super) dialect: Dialect,
    /// Pings since it was last heard.
    pub(super) pings: u8,
    /// The window it inflates with, in bits; 0 without permessage-deflate.
    pub(super) window_bits: u8,
    pub(super) reader: Reader,
    pub(super) extra: Option<Box<Extra>>,
}

const _: () = assert!(size_of::<Conn>() <= 88, "an idle connection stays small");
const _: () = assert!(size_of::<Option<Conn>>() == size_of::<Conn>());

impl Conn {
    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// The extra part, where something is about to be put that bears on what
    /// the peer is sent next.
    pub(super) fn attend(&mut self) -> &mut Extra {
        self.flags.set(Flags::ATTENTION);
        self.extra()
    }

    #[inline]
    pub(super) fn pause(&mut self) -> Option<&mut Pause> {
        self.extra.as_mut()?.pause.as_deref_mut()
    }

    /// What it is sent next is more than a run of its first log.
    pub(super) fn wants_attention(&self) -> bool {
        self.flags.any(Flags::ATTENTION) || self.phase != Phase::Open
    }

    /// It is asked whether it lives when it has been silent for long: the kernel does not do so,
    /// or clients of its dialect wait for that.
    pub(super) fn is_pinged(&self) -> bool {
        !self.flags.any(Flags::KEPT_ALIVE) || self.dialect.has_pings()
    }

    /// Its peer has sent something in part: a message, or a record, which holds no more than that.
    pub(super) fn is_in_message(&self) -> bool {
        !self.reader.is_between() || self.flags.any(Flags::IN_RECORD)
    }

    /// Something of it is awaited for which its peer has only so much time.
    pub(super) fn is_to_be_watched(&self) -> bool {
        self.flags.any(Flags::AWAITING | Flags::EXPIRES)
            || matches!(self.phase, Phase::Draining | Phase::Closing)
            || (self.phase == Phase::Open && self.is_in_message())
    }

    pub(super) fn many(&self) -> Option<&Many> {
        self.extra.as_ref()?.many.as_deref()
    }

    pub(super) fn many_mut(&mut self) -> &mut Many {
        let many = self.extra().many.as_deref_mut();
        many.expect("it follows many")
    }

    /// The subscription whose frame has been begun, or whose run is being sent.
    #[inline]
    pub(super) fn current(&self, slot: u32) -> SubId {
        if self.flags.any(Flags::MANY) {
            let current = self.many().and_then(|many| many.current);
            return current.unwrap_or(SubId::first(slot));
        }
        SubId::first(slot)
    }

    /// Puts one of many subscriptions into the ready-ring, once.
    pub(super) fn make_ready(&mut self, id: SubId, subs: &mut Subs) {
        let new = match id.slot() {
            Some(_) => {
                let ready = self.flags.any(Flags::READY);
                self.flags.set(Flags::READY);
                !ready
            }
            None => subs.make_ready(id),
        };
        if new {
            self.many_mut().ready.push_back(id);
        }
    }

    pub(super) fn set_current(&mut self, id: SubId) {
        if let Some(many) = self.extra.as_mut().and_then(|extra| extra.many.as_mut()) {
            many.current = Some(id);
        }
    }

    /// What its token gives it, if it came with one.
    pub(super) fn rights(&self) -> Option<&Arc<Rights>> {
        self.extra.as_ref()?.rights.as_ref()
    }

    pub(super) fn drain(&self) -> Option<&Drain> {
        self.extra.as_ref()?.drain.as_deref()
    }

    /// A subscription ends with the frame that is under way.
    pub(super) fn leaves(&self, id: SubId) -> bool {
        let extra = self.extra.as_deref();
        extra.is_some_and(|extra| extra.leaving.contains(&id))
    }

    pub(super) fn lane_is_empty(&self) -> bool {
        let extra = self.extra.as_ref();
        extra.is_none_or(|extra| extra.lane.is_empty())
    }

    /// Lets go of what is used up.
    pub(super) fn tidy(&mut self) {
        let Some(extra) = &self.extra else {
            return self.flags.clear(Flags::ATTENTION);
        };
        if !extra.wants_attention() {
            self.flags.clear(Flags::ATTENTION);
        }
        if extra.is_empty() {
            self.extra = None;
        }
    }
}
