//! One established connection: a small record in a slab. Idle, it owns nothing
//! else: no descriptor, no task, no buffer.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use crate::protocol::reason::CloseReason;
use crate::protocol::ws::Reader;
use crate::protocol::ws::deflate::Inflater;
use crate::ring::Errno;

/// Bytes of answers that wait for one peer. Beyond: it asks faster than it
/// reads, and is cut off as a control flood.
pub(super) const LANE_BYTES_MAX: usize = 64 << 10;
/// Own messages that a publisher is yet to step over. Beyond: it publishes
/// faster than it reads, and is paused.
pub(super) const OWN_MAX: usize = 4096;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Messages go both ways.
    Open,
    /// It is sent what it is still owed, then the close frame.
    Finishing,
    /// The close frame is in the lane or gone; the peer's end is awaited.
    Closing,
    /// Both directions are shut; what was asked of the ring is awaited.
    Ending,
}

/// What is outstanding or known about a connection, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags(u16);

impl Flags {
    /// A receive is armed.
    pub(super) const RECEIVING: u16 = 1;
    /// A run of the log is being sent.
    pub(super) const SENDING_LOG: u16 = 1 << 1;
    /// The lane is being sent.
    pub(super) const SENDING_LANE: u16 = 1 << 2;
    /// The socket is full; its readiness is awaited.
    pub(super) const AWAITING: u16 = 1 << 3;
    /// A shutdown or close is under way.
    pub(super) const SHUTTING: u16 = 1 << 4;
    /// The cursor may stand inside a frame.
    pub(super) const MID_FRAME: u16 = 1 << 5;
    /// It hears its own messages.
    pub(super) const ECHO: u16 = 1 << 6;
    /// It speaks the chat subprotocol.
    pub(super) const CHAT: u16 = 1 << 7;
    /// Zero copy does not pay on its route.
    pub(super) const COPIES: u16 = 1 << 8;
    /// It is in the list of those to be looked at in this turn.
    pub(super) const DIRTY: u16 = 1 << 9;
    /// The peer will send no more.
    pub(super) const ENDED: u16 = 1 << 10;
    /// The peer has sent its close frame.
    pub(super) const PEER_CLOSED: u16 = 1 << 11;
    /// There is something in [`Conn::extra`] that fan-out must mind.
    pub(super) const SPECIAL: u16 = 1 << 12;
    /// The send direction has been shut down.
    pub(super) const SHUT_WRITE: u16 = 1 << 13;
    /// Both directions have been shut down.
    pub(super) const SHUT_BOTH: u16 = 1 << 14;
    /// It reads history from the raw view, and moves to its own once it has
    /// caught up.
    pub(super) const CATCHING_UP: u16 = 1 << 15;

    const SENDING: u16 = Self::SENDING_LOG | Self::SENDING_LANE;
    /// Nothing can be sent while one of these is set.
    pub(super) const BUSY: u16 = Self::SENDING | Self::AWAITING;
    /// What the ring still has to answer before the slot can be emptied.
    pub(super) const OUTSTANDING: u16 =
        Self::RECEIVING | Self::SENDING | Self::AWAITING | Self::SHUTTING;

    #[inline]
    pub(super) fn any(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// These bits of it.
    pub(super) fn only(self, bits: u16) -> u16 {
        self.0 & bits
    }

    #[inline]
    pub(super) fn set(&mut self, bits: u16) {
        self.0 |= bits;
    }

    #[inline]
    pub(super) fn clear(&mut self, bits: u16) {
        self.0 &= !bits;
    }
}

/// A peer's address in 18 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    ip: [u8; 16],
    port: u16,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Peer {
            ip: ip.octets(),
            port: address.port(),
        }
    }
}

impl Peer {
    pub(super) fn address(self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), self.port)
    }
}

/// What came in during the present second, for the rate limit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    second: u32,
    messages: u32,
    bytes: u64,
}

impl Rate {
    /// Counts one message; false when it is one too many in this second.
    #[inline]
    pub(super) fn admit(
        &mut self,
        now_ms: u64,
        len: usize,
        messages_max: u64,
        bytes_max: u64,
    ) -> bool {
        let second = (now_ms / 1000) as u32;
        if second != self.second {
            *self = Rate {
                second,
                ..Rate::default()
            };
        }
        self.messages = self.messages.saturating_add(1);
        self.bytes += len as u64;
        (messages_max == 0 || u64::from(self.messages) <= messages_max)
            && (bytes_max == 0 || self.bytes <= bytes_max)
    }
}

/// When and why a connection is to be closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish {
    /// It is owed the log up to here.
    pub(super) position: u64,
    pub(super) reason: CloseReason,
    /// Of the close frame; 0 is none.
    pub(super) code: u16,
}

/// What a publisher has sent that is not read from for now.
#[derive(Default)]
pub(super) struct Pause {
    /// What had come before the receive was called off.
    pub(super) unread: Vec<u8>,
    /// The receive has been called off.
    pub(super) called_off: bool,
    /// The peer has sent its last, and how that ended.
    pub(super) ended: Option<Option<Errno>>,
}

/// What only few connections have at a time.
#[derive(Default)]
pub(super) struct Extra {
    /// Frames for this peer alone, ahead of the log.
    pub(super) lane: Vec<u8>,
    /// Positions of its own messages that it must not hear, oldest first.
    pub(super) own: VecDeque<Range<u64>>,
    pub(super) finish: Option<Finish>,
    /// When patience with a closing peer ends.
    pub(super) deadline_ms: Option<u64>,
    /// Its window, where it may refer to its earlier messages.
    pub(super) inflater: Option<Box<Inflater>>,
    /// It is not read from for now.
    pub(super) pause: Option<Pause>,
}

impl Extra {
    fn is_empty(&self) -> bool {
        self.is_at_rest() && self.inflater.is_none() && self.pause.is_none()
    }

    /// Nothing in it is about what the peer is sent.
    pub(super) fn is_at_rest(&self) -> bool {
        self.lane.is_empty()
            && self.own.is_empty()
            && self.finish.is_none()
            && self.deadline_ms.is_none()
    }
}

/// One established connection.
pub(super) struct Conn {
    /// Position in its topic's log of the next byte it gets.
    pub(super) cursor: u64,
    /// Its topic, by the core's own number.
    pub(super) topic: u32,
    /// Its place among the topic's subscribers here, while it is one.
    pub(super) place: u32,
    /// When it was last heard, in milliseconds of the hub's clock, wrapping.
    pub(super) heard_ms: u32,
    /// When the message began that it has sent a part of, likewise. Without
    /// meaning while there is none.
    pub(super) begun_ms: u32,
    /// How much the send under way offers.
    pub(super) offered: u32,
    pub(super) rate: Rate,
    pub(super) flags: Flags,
    /// Zero-copy sends whose bytes are not released.
    pub(super) unreleased: u16,
    pub(super) peer: Peer,
    pub(super) phase: Phase,
    /// Pings since it was last heard.
    pub(super) pings: u8,
    /// The window it inflates with, in bits; 0 without permessage-deflate.
    pub(super) window_bits: u8,
    pub(super) reader: Reader,
    pub(super) extra: Option<Box<Extra>>,
}

const _: () = assert!(size_of::<Conn>() <= 96, "an idle connection stays small");

/// The place of a connection that is not among the subscribers.
pub(super) const NO_PLACE: u32 = u32::MAX;

impl Conn {
    pub(super) fn extra(&mut self) -> &mut Extra {
        self.flags.set(Flags::SPECIAL);
        self.extra.get_or_insert_default()
    }

    #[inline]
    pub(super) fn pause(&mut self) -> Option<&mut Pause> {
        self.extra.as_mut()?.pause.as_mut()
    }

    /// Lets go of what is used up.
    pub(super) fn tidy_extra(&mut self) {
        if self.extra.as_ref().is_some_and(|extra| extra.is_empty()) {
            self.extra = None;
            self.flags.clear(Flags::SPECIAL);
        }
    }

    /// Steps over own messages that start at the cursor, and says where the
    /// next one ahead begins.
    pub(super) fn step_over_own(&mut self) -> Option<u64> {
        let extra = self.extra.as_mut()?;
        while let Some(own) = extra.own.front() {
            if own.start > self.cursor {
                return Some(own.start);
            }
            self.cursor = self.cursor.max(own.end);
            extra.own.pop_front();
        }
        None
    }
}
