//! Simulated clients of the Pusher Channels protocol: each enters channels and leaves them, and
//! talks to the others in some. What it asks for is in `deeds`, what it checks of all that it is
//! told in `judging`, and of its end in `ending`; how it lives in the world in `living`.

mod deeds;
mod ending;
mod judging;
mod living;

use std::collections::{BTreeSet, VecDeque};

use fastrand::Rng;

use self::judging::Around;
pub(crate) use self::living::{Subscribers, app};
use crate::client::{Fate, Nature};
use crate::codec::server_frame;
use crate::socket::Socket;

/// The next message that it hears of a channel: one from the first offset to the last, and of
/// those behind that the first one which is not its own. It is not told where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    first: u64,
    last: u64,
}

/// How it stands to a channel, by what it has said and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Out,
    /// It has asked to be let in, behind the message with this offset at the earliest.
    Asked(u64),
    In(Next),
    /// It has left, and is out with so many pongs. Until then it hears what was on its way; `None`
    /// where it has not read yet that it was let in.
    Left(Option<Next>, u64, u64),
}

/// A channel that a subscriber may name.
pub(crate) struct Channel {
    name: String,
    pub(crate) truth: usize,
    stand: Stand,
    /// Who is there, in presence channels, as far as it has been told.
    members: BTreeSet<String>,
    /// How often it has asked to be let in.
    asked: u64,
}

/// An event that it has queued for the others in a channel.
pub(crate) struct Posted {
    pub(crate) truth: usize,
    pub(crate) payload: Vec<u8>,
    /// Where it ends in all that the client sends.
    pub(crate) end: u64,
    pub(crate) published: bool,
}

/// What all subscribers have seen.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Events that others have published.
    pub(crate) events: u64,
    pub(crate) entered: u64,
    pub(crate) gaps: u64,
    /// Members that came or went.
    pub(crate) moves: u64,
}

pub(crate) struct Subscriber {
    pub(crate) id: u32,
    pub(crate) core: usize,
    pub(crate) socket: usize,
    /// Who it is in presence channels; another connection may be the same user's.
    user: String,
    socket_id: Option<String>,
    /// What was agreed on compression: as the answer says it, and the window's bits.
    deflate: Option<(String, u8)>,
    nature: Nature,
    pub(crate) fate: Fate,
    pub(crate) asleep_until: usize,
    outbox: VecDeque<u8>,
    /// Bytes ever put into the outbox.
    queued: u64,
    inbox: Vec<u8>,
    pub(crate) channels: Vec<Channel>,
    pub(crate) posts: Vec<Posted>,
    /// Events of its that were refused.
    refused: usize,
    /// Messages of its that mean nothing, and have not been answered.
    nonsense: usize,
    /// Pings that it has sent, and had answered.
    pings: u64,
    pongs: u64,
    /// Pings that it has not answered.
    owes_pongs: usize,
    was_pinged: bool,
    greeted: bool,
    pub(crate) closed: bool,
    pub(crate) over: bool,
}

impl Subscriber {
    /// Writes at most `max` bytes. True if anything has happened.
    fn write(&mut self, socket: &mut Socket, max: usize) -> bool {
        self.fate
            .write(socket, &mut self.outbox, &mut self.over, max)
    }

    /// Reads at most `max` bytes and checks them. True if anything has happened.
    fn read(
        &mut self,
        rng: &mut Rng,
        socket: &mut Socket,
        max: usize,
        around: &Around<'_>,
        counts: &mut Counts,
    ) -> bool {
        if self.over {
            return false;
        }
        let len = max.min(socket.outbound.len());
        self.inbox.extend(socket.outbound.drain(..len));
        socket.taken += len as u64;
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        while !self.closed {
            if !self.greeted {
                let Some(end) = rest.windows(4).position(|w| w == b"\r\n\r\n") else {
                    break;
                };
                self.check_greeting(&rest[..end + 2]);
                rest = &rest[end + 4..];
            } else {
                let Some(frame) = server_frame(rest) else {
                    break;
                };
                self.check_frame(rng, frame, socket, around, counts);
                rest = &rest[frame.len..];
            }
        }
        self.inbox = rest.to_vec();
        if self.closed {
            assert!(self.inbox.is_empty(), "bytes behind the close frame");
        }
        if socket.outbound.is_empty() && (socket.server_fin || socket.reset) {
            self.over = true;
            socket.client_fin = true;
            self.check_end(socket, around);
        }
        len > 0 || self.over
    }

    /// The channels that it is in, as far as it has been told.
    fn entered(&self) -> impl Iterator<Item = (&Channel, Next)> {
        self.channels
            .iter()
            .filter_map(|channel| match channel.stand {
                Stand::In(next) => Some((channel, next)),
                _ => None,
            })
    }

    /// Who reads slowly reads no more.
    pub(crate) fn oversleep(&mut self) {
        self.asleep_until = match self.nature.sluggard {
            true => usize::MAX,
            false => 0,
        };
    }

    /// For people.
    fn name(&self) -> String {
        let at: Vec<_> = (self.channels.iter())
            .map(|channel| (&channel.name[..], channel.truth, channel.stand))
            .collect();
        format!(
            "subscriber {} ({}, core {}, {:?}, {:?}, channels {at:?})",
            self.id, self.user, self.core, self.fate, self.socket_id
        )
    }
}
