//! A simulated client: what it is, and how it writes and reads. What it checks of that
//! is in `judging`, what it does in `deeds`.

use std::collections::VecDeque;
use std::net::SocketAddr;

use fanfare::config::Settings;
use fastrand::Rng;

use flate2::Compress;

use crate::codec::server_frame;
use crate::socket::Socket;
use crate::truth::Truth;

/// Client `n` has this port and `n` more.
pub(crate) const FIRST_PORT: u16 = 1000;

/// How a client is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nature {
    /// It may do wrong.
    pub(crate) rogue: bool,
    /// It stops reading for long.
    pub(crate) sluggard: bool,
    /// It does not answer a close.
    pub(crate) rude: bool,
    /// Bytes that it reads, and writes, at a time.
    pub(crate) read_max: usize,
    pub(crate) write_max: usize,
}

/// What a client has done to end its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    SentClose(Option<u16>),
    /// It broke a rule that is answered with this code.
    Wrong(u16, &'static str),
    Quit,
    HalfClosed,
    Reset,
}

impl Fate {
    /// Who has this fate writes at most `max` bytes of its outbox, or resets the connection, after
    /// which it is `over`. True if anything has happened.
    pub(crate) fn write(
        self,
        socket: &mut Socket,
        outbox: &mut VecDeque<u8>,
        over: &mut bool,
        max: usize,
    ) -> bool {
        if socket.reset || socket.client_fin {
            return false;
        }
        if self == Fate::Reset {
            (socket.reset, *over) = (true, true);
            return true;
        }
        socket.write(outbox, max, self == Fate::HalfClosed)
    }
}

/// What a client is to hear of a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follow {
    pub(crate) truth: usize,
    /// The first offset it was promised.
    pub(crate) first: u64,
    /// Offset of the next message it is to hear.
    pub(crate) next: u64,
    /// Where what was under way ended when it left the topic.
    pub(crate) left_at: Option<u64>,
}

impl Follow {
    pub(crate) fn new(truth: usize, first: u64) -> Self {
        Follow {
            truth,
            first,
            next: first,
            left_at: None,
        }
    }
}

/// What a client and the server agreed to on compression.
pub(crate) struct Agreed {
    /// What the answer says of it.
    pub(crate) answer: String,
    /// The client's window.
    pub(crate) bits: u8,
    /// It may refer to what it has sent before.
    pub(crate) takeover: bool,
    pub(crate) compressor: Option<Compress>,
}

/// What is known of a client that comes in through a ring.
pub(crate) struct ByDoor {
    /// All of its request.
    pub(crate) head: Vec<u8>,
    /// It asks for a page, which it does not get in this world.
    pub(crate) is_page: bool,
    /// It says something before it is answered.
    pub(crate) is_early: bool,
}

/// A message that a client has queued.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
    /// Where it ends in all that the client sends.
    pub(crate) end: u64,
}

/// What a client is told of the world around it, to judge what it reads.
pub(crate) struct View<'a> {
    pub(crate) truths: &'a [Truth],
    pub(crate) settings: &'a Settings,
    pub(crate) now_ms: u64,
    /// Memory for logs is so short that readers may be made to give way.
    pub(crate) tight: bool,
    /// Some reader has found no room for what it wanted written compressed.
    pub(crate) uncompressed: bool,
    /// History may come from a store.
    pub(crate) stored: bool,
    /// A cluster decides on what is published, later; it may refuse it.
    pub(crate) shared: bool,
    pub(crate) refusing: bool,
    /// For each truth, its newest offset when the client's core began to drain.
    pub(crate) drained: Option<&'a [u64]>,
}

pub(crate) struct Client {
    pub(crate) id: u32,
    pub(crate) core: usize,
    pub(crate) peer: SocketAddr,
    pub(crate) socket: usize,
    /// What it follows. The first one is where it speaks, and stays.
    pub(crate) follows: Vec<Follow>,
    /// What it followed once, and the newest message there when it left.
    pub(crate) left: Vec<(Follow, u64)>,
    pub(crate) echo: bool,
    pub(crate) chat: bool,
    pub(crate) nature: Nature,
    pub(crate) fate: Fate,
    pub(crate) deflate: Option<Agreed>,
    /// How it has come, if not to the acceptor.
    pub(crate) by_door: Option<ByDoor>,
    /// Until this step it does not read.
    pub(crate) asleep_until: usize,
    pub(crate) outbox: VecDeque<u8>,
    /// Bytes ever put into the outbox.
    pub(crate) queued: u64,
    pub(crate) said: Vec<Said>,
    /// How many of them were published.
    pub(crate) published: usize,
    pub(crate) welcomed: u32,
    pub(crate) logged_out: u32,
    /// Pings that want an answer, and where they end.
    pub(crate) pings: VecDeque<(Vec<u8>, u64)>,
    /// Ends of pings that the socket is to note.
    pub(crate) new_marks: Vec<u64>,
    inbox: Vec<u8>,
    /// Bytes that it has read and understood.
    pub(crate) position: u64,
    /// Bytes of logs among them.
    pub(crate) log_bytes: u64,
    /// It has been asked whether it lives.
    pub(crate) asked: bool,
    pub(crate) greeted: bool,
    pub(crate) closed: bool,
    /// What the close frame said.
    pub(crate) closed_with: Option<u16>,
    /// It has seen the end of the connection.
    pub(crate) over: bool,
}

impl Client {
    pub(crate) fn new(
        id: u32,
        core: usize,
        peer: SocketAddr,
        socket: usize,
        home: Follow,
        (echo, chat): (bool, bool),
        nature: Nature,
    ) -> Self {
        Client {
            id,
            core,
            peer,
            socket,
            follows: vec![home],
            left: Vec::new(),
            echo,
            chat,
            nature,
            fate: Fate::Open,
            deflate: None,
            by_door: None,
            asleep_until: 0,
            outbox: VecDeque::new(),
            queued: 0,
            said: Vec::new(),
            published: 0,
            welcomed: 0,
            logged_out: 0,
            pings: VecDeque::new(),
            new_marks: Vec::new(),
            inbox: Vec::new(),
            position: 0,
            log_bytes: 0,
            asked: false,
            greeted: false,
            closed: false,
            closed_with: None,
            over: false,
        }
    }

    /// Writes at most `max` bytes. True if anything has happened.
    pub(crate) fn write(&mut self, socket: &mut Socket, max: usize) -> bool {
        if socket.reset || socket.client_fin {
            return false;
        }
        socket
            .marks
            .extend(self.new_marks.drain(..).map(|end| (end, None)));
        if self.fate == Fate::Reset {
            socket.reset = true;
            self.over = true;
            return true;
        }
        socket.write(&mut self.outbox, max, self.fate == Fate::HalfClosed)
    }

    /// Reads at most `max` bytes and checks them. True if anything has
    /// happened.
    pub(crate) fn read(
        &mut self,
        rng: &mut Rng,
        socket: &mut Socket,
        max: usize,
        view: &View<'_>,
    ) -> bool {
        if self.over {
            return false;
        }
        let len = max.min(socket.outbound.len());
        self.inbox.extend(socket.outbound.drain(..len));
        socket.taken += len as u64;
        let mut at = 0;
        while let Some(used) = self.take(rng, at, socket, view) {
            at += used;
        }
        self.inbox.drain(..at);
        if self.closed {
            assert!(self.inbox.is_empty(), "bytes behind the close frame");
        }
        if socket.outbound.is_empty() && (socket.server_fin || socket.reset) {
            self.over = true;
            socket.client_fin = true;
            self.check_end(socket, view);
        }
        len > 0 || self.over
    }

    /// Takes the answer to the handshake, or one frame, at `at` of the inbox.
    fn take(
        &mut self,
        rng: &mut Rng,
        at: usize,
        socket: &mut Socket,
        view: &View<'_>,
    ) -> Option<usize> {
        let inbox = std::mem::take(&mut self.inbox);
        let bytes = &inbox[at..];
        let used = if !self.greeted {
            let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
            end.map(|end| {
                self.check_greeting(&bytes[..end + 2], view);
                end + 4
            })
        } else if self.closed {
            None
        } else {
            server_frame(bytes).map(|frame| {
                self.forget_left();
                self.check_frame(rng, frame, socket, view);
                frame.len
            })
        };
        self.position += used.unwrap_or(0) as u64;
        self.inbox = inbox;
        used
    }

    /// What it has left is heard no more once all has come that was under way.
    fn forget_left(&mut self) {
        let position = self.position;
        let may_come = |limit: u64| position < limit;
        self.follows
            .retain(|follow| follow.left_at.is_none_or(may_come));
    }

    /// It may do what clients do.
    pub(crate) fn may_act(&self) -> bool {
        let waits = self.by_door.as_ref().is_some_and(|of| !of.is_early);
        !self.closed && (self.greeted || !waits)
    }

    /// It has come in through a ring, and has not been answered.
    pub(crate) fn is_newcomer(&self) -> bool {
        self.by_door.is_some() && !self.greeted
    }

    /// The topic where it speaks.
    pub(crate) fn home(&self) -> usize {
        self.follows[0].truth
    }

    /// What it follows now.
    pub(crate) fn following(&self) -> impl Iterator<Item = &Follow> {
        self.follows.iter().filter(|f| f.left_at.is_none())
    }

    /// For people.
    pub(crate) fn name(&self) -> String {
        let kind = match (self.chat, self.echo) {
            (true, _) => "chat",
            (_, true) => "echo",
            _ => "raw",
        };
        format!(
            "client {} ({kind}, core {}, topic {}, {:?})",
            self.id,
            self.core,
            self.home(),
            self.fate
        )
    }
}
