//! Simulated clients of Centrifugo's protocol: each has a session, in JSON or Protobuf, and
//! follows several topics, from where it had come to when it was last there. What such a
//! client asks for is in `deeds`, what it checks of that and of all it is told in `judging`,
//! and of its end in `ending`; how both are written in `wire`, how it lives in the world in
//! `living`.

mod deeds;
mod ending;
mod judging;
mod living;
mod wire;

use std::collections::{BTreeMap, VecDeque};

use fanfare::protocol::centrifugo::Coding;
use fastrand::Rng;

use self::judging::{Around, Pushes};
pub(crate) use self::living::Sessions;
use self::wire::{Ask, Since};
use crate::client::{Fate, Nature};
use crate::codec::server_frame;
use crate::socket::Socket;

/// A topic that a session may name.
pub(crate) struct Topic {
    pub(crate) truth: usize,
    /// Offset of the next message that it is to hear, while it is subscribed.
    pub(crate) next: Option<u64>,
    /// Up to where it has heard all, now or at some time before.
    pub(crate) known: Option<Since>,
    /// Of whom it has heard that they came, and whether they are still there; `None` where
    /// it did not ask.
    joins: Option<BTreeMap<String, bool>>,
    /// The step in which it heard that its subscription has begun.
    began: usize,
    /// How often it has asked for a subscription.
    asked: u64,
}

impl Topic {
    fn new(truth: usize) -> Self {
        Topic {
            truth,
            next: None,
            known: None,
            joins: None,
            began: 0,
            asked: 0,
        }
    }
}

/// A command without an answer yet.
struct Asked {
    id: u32,
    ask: Ask,
    /// The newest offset of its topic when it was written.
    newest: u64,
    /// How many daemons had handed over by then.
    handovers: u64,
}

/// A message that a session has queued.
pub(crate) struct Posted {
    pub(crate) truth: usize,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
    /// Where it ends in all that the client sends.
    pub(crate) end: u64,
    pub(crate) published: bool,
    /// What the answer said.
    pub(crate) accepted: Option<bool>,
}

pub(crate) struct Session {
    pub(crate) id: u32,
    pub(crate) core: usize,
    pub(crate) socket: usize,
    coding: Coding,
    /// What was agreed on compression: as the answer says it, and the window's bits.
    deflate: Option<(String, u8)>,
    pub(crate) nature: Nature,
    pub(crate) fate: Fate,
    pub(crate) asleep_until: usize,
    outbox: VecDeque<u8>,
    /// Bytes ever put into the outbox.
    queued: u64,
    inbox: Vec<u8>,
    pub(crate) topics: Vec<Topic>,
    /// Their names, in the same order.
    names: Vec<String>,
    asked: VecDeque<Asked>,
    last_id: u32,
    /// Pages of history that it has asked for.
    pages: u32,
    pub(crate) posts: Vec<Posted>,
    /// Pings that it has not answered.
    pings: usize,
    /// It has been asked whether it lives.
    was_pinged: bool,
    /// It has said, or means to say, who it is.
    introduced: bool,
    /// What the server calls it, once it has been welcomed.
    pub(crate) client: Option<String>,
    /// The step in which it came, and the time.
    came: usize,
    came_ms: u64,
    pub(crate) greeted: bool,
    pub(crate) closed: bool,
    pub(crate) over: bool,
}

impl Session {
    fn new(
        id: u32,
        core: usize,
        socket: usize,
        coding: Coding,
        names: Vec<String>,
        topics: Vec<Topic>,
    ) -> Self {
        Session {
            id,
            core,
            socket,
            coding,
            deflate: None,
            nature: Nature {
                rogue: false,
                sluggard: false,
                rude: false,
                read_max: usize::MAX,
                write_max: usize::MAX,
            },
            fate: Fate::Open,
            asleep_until: 0,
            outbox: VecDeque::new(),
            queued: 0,
            inbox: Vec::new(),
            topics,
            names,
            asked: VecDeque::new(),
            last_id: 0,
            pages: 0,
            posts: Vec::new(),
            pings: 0,
            was_pinged: false,
            introduced: false,
            client: None,
            came: 0,
            came_ms: 0,
            greeted: false,
            closed: false,
            over: false,
        }
    }

    /// Writes at most `max` bytes. True if anything has happened.
    pub(crate) fn write(&mut self, socket: &mut Socket, max: usize) -> bool {
        self.fate
            .write(socket, &mut self.outbox, &mut self.over, max)
    }

    /// Reads at most `max` bytes and checks them. True if anything has happened.
    pub(crate) fn read(
        &mut self,
        rng: &mut Rng,
        socket: &mut Socket,
        max: usize,
        around: &Around<'_>,
        pushes: &mut Pushes,
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
                self.check_frame(rng, frame, socket, around, pushes);
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

    /// The topics that it follows, as far as it has been told.
    pub(crate) fn followed(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().filter(|topic| topic.next.is_some())
    }

    /// How many commands want an answer.
    pub(crate) fn awaited(&self) -> usize {
        self.asked.len()
    }

    /// For people.
    pub(crate) fn name(&self) -> String {
        let at: Vec<_> = self.topics.iter().map(|t| (t.truth, t.next)).collect();
        format!(
            "session {} ({:?}, core {}, {:?}, {:?} topics {at:?}, awaits {:?})",
            self.id,
            self.coding,
            self.core,
            self.fate,
            self.client,
            self.asked.front().map(|asked| (asked.id, &asked.ask)),
        )
    }
}
