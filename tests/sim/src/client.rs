//! A simulated client, and what it checks of all that it reads.

use std::collections::VecDeque;
use std::net::SocketAddr;

use fanfare::config::{LagPolicy, Settings};
use fastrand::Rng;

use flate2::Compress;

use crate::codec::{ServerFrame, server_frame};
use crate::inflate::inflate;
use crate::kernel::Socket;
use crate::plan::LATE_MS_MAX;
use crate::truth::{By, Message, Truth};
use crate::world::marked;

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
    position: u64,
    /// Bytes of logs among them.
    log_bytes: u64,
    /// It has been asked whether it lives.
    asked: bool,
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
        let room = socket.inbound_max - socket.inbound.len().min(socket.inbound_max);
        let len = max.min(room).min(self.outbox.len());
        socket.inbound.extend(self.outbox.drain(..len));
        let fin = self.outbox.is_empty() && self.fate == Fate::HalfClosed;
        socket.client_fin |= fin;
        len > 0 || fin
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

    /// The topic where it speaks.
    pub(crate) fn home(&self) -> usize {
        self.follows[0].truth
    }

    /// What it follows now.
    pub(crate) fn following(&self) -> impl Iterator<Item = &Follow> {
        self.follows.iter().filter(|f| f.left_at.is_none())
    }

    fn check_greeting(&mut self, head: &[u8], view: &View<'_>) {
        let head = std::str::from_utf8(head).expect("a head is text");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let epoch = format!(
            "\r\nFanfare-Epoch: {:016x}\r\n",
            view.truths[self.home()].epoch
        );
        let offset = format!("\r\nFanfare-Offset: {}\r\n", self.follows[0].first);
        assert!(head.contains(&epoch), "{head} lacks {epoch}");
        assert!(head.contains(&offset), "{head} lacks {offset}");
        let chat = head.contains("\r\nSec-WebSocket-Protocol: chat\r\n");
        assert_eq!(chat, self.chat);
        let agreed = self.deflate.as_ref().map(|agreed| agreed.answer.as_str());
        let lines = || head.split("\r\n");
        let answer = lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        assert_eq!(answer, agreed);
        self.greeted = true;
    }

    fn check_frame(
        &mut self,
        rng: &mut Rng,
        frame: ServerFrame<'_>,
        socket: &mut Socket,
        view: &View<'_>,
    ) {
        let inflated;
        let payload = match (frame.deflated, &self.deflate) {
            (false, _) => frame.payload,
            (true, None) => panic!("{} agreed to no compression", self.name()),
            (true, Some(agreed)) => {
                assert!(frame.opcode < 8, "control frames are never compressed");
                inflated = inflate(frame.payload, agreed.bits);
                &inflated
            }
        };
        match frame.opcode {
            1 if frame.payload.starts_with(b"{\"gap\":") => {
                self.check_gap(frame.payload, socket, view)
            }
            1 | 2 => {
                let worth_it = self.hear(frame.opcode, payload, view);
                assert!(
                    frame.deflated || !worth_it,
                    "{} hears what could be compressed: {frame:?}",
                    self.name()
                );
                self.log_bytes += frame.len as u64;
            }
            8 => self.check_close(rng, frame.payload, socket, view),
            9 => {
                assert!(frame.payload.is_empty(), "a ping of ours is empty");
                self.asked = true;
            }
            10 => self.check_pong(frame.payload, socket, view),
            other => panic!("the server sends opcode {other}"),
        }
    }

    /// A message is the next one of some topic that it follows. True if it must
    /// come compressed: whatever the client's offset, its encoding is its own.
    fn hear(&mut self, opcode: u8, payload: &[u8], view: &View<'_>) -> bool {
        // Who inflates with a small window may find what was meant for a larger.
        let widest = self
            .deflate
            .as_ref()
            .is_some_and(|agreed| agreed.bits == 15);
        let long = payload.len() >= view.settings.deflate_bytes_min.max(64);
        let before = self.follows[0].next;
        self.step_over_own(view.truths);
        let stepped = std::mem::replace(&mut self.follows[0].next, before);
        for (at, follow) in self.follows.iter_mut().enumerate() {
            if at == 0 {
                follow.next = stepped;
            }
            let next = view.truths[follow.truth].message(follow.next);
            let lines = self.chat;
            let is_next = |m: &Message| {
                m.opcode == opcode
                    && match lines && opcode == 1 && !m.by.is_line() {
                        true => payload == marked(&m.payload).as_bytes(),
                        false => payload == m.payload,
                    }
            };
            if let Some(message) = next.filter(|message| is_next(message)) {
                follow.next += 1;
                return widest && long && message.by == By::Admin && !lines;
            }
            if at == 0 {
                follow.next = before;
            }
        }
        let next: Vec<_> = self
            .follows
            .iter()
            .map(|follow| {
                let message = view.truths[follow.truth].message(follow.next);
                (follow, message.map(|message| message.by))
            })
            .collect();
        panic!(
            "{} is at {next:?}, but hears {:?}",
            self.name(),
            String::from_utf8_lossy(payload)
        );
    }

    /// Its own messages are not to be heard.
    pub(crate) fn step_over_own(&mut self, truths: &[Truth]) {
        let own = |message: &Message| matches!(message.by, By::Client { id, .. } if id == self.id);
        let home = &mut self.follows[0];
        let truth = &truths[home.truth];
        while !self.echo && !self.chat && truth.message(home.next).is_some_and(own) {
            home.next += 1;
        }
    }

    /// It may have been found too far behind in one of its topics.
    fn is_behind(&self, socket: &Socket, view: &View<'_>) -> bool {
        self.follows.iter().any(|f| self.lags(f, socket, view))
    }

    fn lags(&self, follow: &Follow, socket: &Socket, view: &View<'_>) -> bool {
        // It may since have been sent the rest of the frame that it was in.
        let began = follow.next.saturating_sub(1).max(follow.first);
        let truth = &view.truths[follow.truth];
        // A chat reads what is none of its lines with a mark, in a frame with a longer header.
        let marked = if self.chat { truth.next() - began } else { 0 };
        let behind = truth.head - truth.position(began) + 8 * marked;
        behind > view.settings.lag_bytes_max as u64
            || (behind > 0 && (view.tight || self.stalls(socket, view)))
    }

    /// Its socket has taken nothing for long.
    fn stalls(&self, socket: &Socket, view: &View<'_>) -> bool {
        let stalled_ms = socket.stalled_ms_max.max(view.now_ms - socket.accepted_ms);
        stalled_ms + LATE_MS_MAX >= view.settings.stall_ms_max
    }

    /// What it has begun to say behind its last whole message came long ago.
    fn is_slow(&self, socket: &Socket, view: &View<'_>) -> bool {
        let whole = self.said[..self.published].last();
        let whole_end = whole.map_or(0, |said| said.end);
        let mut later = socket.deliveries.iter();
        let begun = later.find(|(delivered, _)| *delivered > whole_end);
        begun.is_some_and(|(_, at_ms)| {
            view.now_ms - at_ms + LATE_MS_MAX >= view.settings.message_ms_max
        })
    }

    fn check_gap(&mut self, payload: &[u8], socket: &Socket, view: &View<'_>) {
        assert_eq!(view.settings.lag_policy, LagPolicy::Skip);
        let text = std::str::from_utf8(payload).expect("a notice is text");
        let number = |name: &str| -> u64 {
            let (_, rest) = text.split_once(name).expect(name);
            let end = rest.find(|c: char| !c.is_ascii_digit()).expect("an end");
            rest[..end].parse().expect("a number")
        };
        let (from, to) = (number("\"from\":"), number("\"to\":"));
        let names = |follow: &Follow| {
            let epoch = view.truths[follow.truth].epoch;
            text.contains(&format!("\"epoch\":\"{epoch:016x}\""))
        };
        // A notice may have been on its way when it left the topic.
        let is_late = |(follow, newest): &(Follow, u64)| names(follow) && to <= *newest;
        let late = self.left.iter().any(is_late);
        let before = self.follows.clone();
        self.step_over_own(view.truths);
        let stepped = std::mem::replace(&mut self.follows, before);
        let at = (0..stepped.len()).find(|at| {
            let (before, now) = (&self.follows[*at], &stepped[*at]);
            names(now) && (before.next..=now.next).contains(&from)
        });
        let Some(at) = at else {
            assert!(late, "{} is at {:?}: {text}", self.name(), self.follows);
            return;
        };
        assert!(
            self.lags(&self.follows[at], socket, view) || late,
            "{} skips but is not behind",
            self.name()
        );
        let follow = &mut self.follows[at];
        assert!(
            from <= to && to < view.truths[follow.truth].next(),
            "{text}"
        );
        assert_eq!(number("\"missed\":"), to + 1 - from, "{text}");
        follow.next = to + 1;
    }

    /// Pongs come in order, and no backlog holds them up: between a ping's
    /// arrival and its pong comes no more of the log than was under way, and
    /// the rest of a frame. Only behind what a paused publisher has said does
    /// the ping itself wait.
    fn check_pong(&mut self, payload: &[u8], socket: &mut Socket, view: &View<'_>) {
        let ping = self.pings.pop_front();
        let (wanted, end) = ping.unwrap_or_else(|| panic!("{} is ponged at will", self.name()));
        assert_eq!(payload, wanted, "a pong says what the ping said");
        while let Some((mark, limit)) = socket.marks.pop_front() {
            if mark != end {
                continue;
            }
            let truths = self.follows.iter().map(|follow| &view.truths[follow.truth]);
            let frame_bytes_max = truths.map(|truth| truth.frame_bytes_max).max();
            let limit =
                limit.expect("the ping has been received") + frame_bytes_max.unwrap_or(0) as u64;
            let may_be_paused = !self.said.is_empty() && view.settings.ahead_bytes_max < 1 << 20;
            assert!(
                self.log_bytes <= limit || may_be_paused,
                "{}: a pong waits behind the log, at {} though {limit} at most",
                self.name(),
                self.log_bytes
            );
            return;
        }
    }

    fn check_close(&mut self, rng: &mut Rng, payload: &[u8], socket: &Socket, view: &View<'_>) {
        self.closed = true;
        let code = payload.first_chunk::<2>().map(|c| u16::from_be_bytes(*c));
        self.closed_with = code;
        let reason = std::str::from_utf8(payload.get(2..).unwrap_or_default());
        let reason = reason.expect("a reason is text");
        let all_published = self.published == self.said.len();
        let silent_ms = socket.silent_ms_max.max(view.now_ms - socket.delivered_ms);
        let explained = match (code, reason) {
            (code, "") => self.fate == Fate::SentClose(code) && all_published,
            (Some(1000), "bye") => self.fate == Fate::Quit && all_published,
            (Some(1001), reason) if reason.starts_with("the server is stopping, retry in ") => {
                // The lag policy holds to the end.
                let behind = self.is_behind(socket, view);
                self.step_over_own(view.truths);
                let drained = view.drained.expect("nobody else says goodbye");
                let reached = |follow: &Follow| {
                    let newest = drained.get(follow.truth).copied().unwrap_or(0);
                    follow.next > newest || behind
                };
                assert!(
                    self.following().all(reached),
                    "{} is owed more: {:?}",
                    self.name(),
                    self.follows
                );
                true
            }
            (Some(1008), r) if r.starts_with("idle:") => {
                silent_ms + LATE_MS_MAX >= view.settings.idle_ms_max && self.asked
            }
            (Some(1013), r) if r.starts_with("stall:") => self.stalls(socket, view),
            (Some(1008), r) if r.starts_with("slow:") => self.is_slow(socket, view),
            (Some(1008), r) if r.starts_with("rate:") => {
                view.settings.inbound_messages_per_s_max > 0
            }
            (Some(1008), r) if r.starts_with("control flood:") => {
                let pongs: usize = self.pings.iter().map(|(ping, _)| ping.len() + 2).sum();
                // The rest of a frame in the midst of which it was skipped waits with them.
                let rest = match view.settings.lag_policy {
                    LagPolicy::Skip => view.settings.message_bytes_max,
                    LagPolicy::Close => 0,
                };
                pongs + rest > 60_000
            }
            (Some(1013), "lag: too far behind the topic") => self.is_behind(socket, view),
            // A message that waits for room is one that has come in part.
            (Some(1013), r) if r.contains("partial messages") || r.contains("log is used up") => {
                view.settings.partial_bytes_max < 1 << 20
            }
            (Some(code), _) => {
                let fault = matches!(self.fate, Fate::Wrong(wanted, _) if wanted == code);
                fault && all_published
            }
            (None, _) => false,
        };
        assert!(
            explained,
            "{} is closed with {code:?} {reason:?}, it has said {} of which {} were published, \
             silent {silent_ms} ms, behind: {}, {:?}",
            self.name(),
            self.said.len(),
            self.published,
            self.is_behind(socket, view),
            (&self.follows, &self.left)
        );
        let answers = matches!(self.fate, Fate::Open | Fate::Quit | Fate::Wrong(..));
        if answers && !self.nature.rude {
            // What is half written must be finished before the answer.
            if rng.bool() {
                self.fate = Fate::HalfClosed;
            } else {
                self.say_close(rng, code);
            }
        }
    }

    /// A connection ends with a close frame, or there is a cause.
    fn check_end(&self, socket: &Socket, view: &View<'_>) {
        let settings = view.settings;
        let cause = socket.reset
            || socket.died
            || self.fate != Fate::Open
            || self.nature.sluggard
            || self.stalls(socket, view)
            || view.drained.is_some()
            || self.is_behind(socket, view)
            || self.is_slow(socket, view)
            || socket.silent_ms_max.max(view.now_ms - socket.delivered_ms) + LATE_MS_MAX
                >= settings.idle_ms_max
            || settings.inbound_messages_per_s_max > 0
            || settings.partial_bytes_max < 1 << 20;
        assert!(self.closed || cause, "{} is cut off", self.name());
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
