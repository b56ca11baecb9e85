//! What a client checks of all that it reads: each message is the next one, in its own
//! encoding, and what else it is told has its reason.

use fanfare::config::LagPolicy;
use fastrand::Rng;

use crate::client::{Client, Fate, Follow, View};
use crate::codec::ServerFrame;
use crate::inflate::inflate;
use crate::plan::LATE_MS_MAX;
use crate::socket::Socket;
use crate::store::PAGE_BYTES_MAX;
use crate::truth::{By, Message, Truth, marked};

/// What of stored history may stand before a pong: a page behind another one.
const STORED_AHEAD: u64 = (64 << 10) + 2 * (80 << 10);
const _: () = assert!(PAGE_BYTES_MAX < 80 << 10);

impl Client {
    pub(crate) fn check_greeting(&mut self, head: &[u8], view: &View<'_>) {
        let head = std::str::from_utf8(head).expect("a head is text");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let epoch = format!(
            "\r\nFanfare-Epoch: {:016x}\r\n",
            view.truths[self.home()].epoch
        );
        if let Some(by_door) = &self.by_door {
            assert!(!by_door.is_page, "a page is no WebSocket");
            // It begins with what was next when its request was read.
            let (_, rest) = head.split_once("\r\nFanfare-Next: ").expect("an offset");
            let next = rest.split("\r\n").next().and_then(|next| next.parse().ok());
            let home = &mut self.follows[0];
            let next = next.expect("an offset is a number");
            let newest = view.truths[home.truth].next();
            assert!((home.first..=newest).contains(&next), "{next} of {newest}");
            (home.first, home.next) = (next, next);
        }
        let offset = format!("\r\nFanfare-Next: {}\r\n", self.follows[0].first);
        assert!(head.contains(&epoch), "{head} lacks {epoch}");
        assert!(head.contains(&offset), "{head} lacks {offset}");
        let chat = head.contains("\r\nSec-WebSocket-Protocol: chat\r\n");
        assert_eq!(chat, self.chat);
        let agreed = self.deflate.as_ref().map(|agreed| agreed.answer.as_str());
        let lines = || head.split("\r\n");
        let answer = lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        match (&self.by_door, answer) {
            // Its address is known for what it has done to compression before.
            (Some(_), None) => self.deflate = None,
            _ => assert_eq!(answer, agreed),
        }
        self.greeted = true;
    }

    pub(crate) fn check_frame(
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
                    frame.deflated || !worth_it || view.uncompressed,
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
        let behind = truth.head - truth.position(began) + 8 * marked + socket.uncounted_bytes();
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
        let (now_ms, ms_max) = (view.now_ms, view.settings.message_ms_max);
        begun.is_some_and(|(_, at_ms)| now_ms - at_ms + LATE_MS_MAX >= ms_max)
            || socket.lacks_rest(now_ms, ms_max)
    }

    fn check_gap(&mut self, payload: &[u8], socket: &Socket, view: &View<'_>) {
        assert_ne!(view.settings.lag_policy, LagPolicy::Close);
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
            // A page of stored history is on its way like an answer.
            let limit = limit + u64::from(view.stored) * STORED_AHEAD;
            // It is paused where it is ahead, and where there is no room for what it has said.
            let pauses = view.settings.ahead_bytes_max < 1 << 20 || view.tight;
            let may_be_paused = pauses && !self.said.is_empty();
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
        // What is on its way to a cluster is not taken back when its publisher goes.
        let all_published = self.published == self.said.len() || view.shared;
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
            (Some(1001), r) if r.starts_with("come back for new keys") => socket.uses_up_keys(),
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
                    LagPolicy::Skip | LagPolicy::Latest => view.settings.message_bytes_max,
                    LagPolicy::Close => 0,
                };
                pongs + rest > 60_000
            }
            (Some(1013), r) if r.starts_with("not stored:") => view.refusing,
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
    pub(crate) fn check_end(&self, socket: &Socket, view: &View<'_>) {
        let settings = view.settings;
        let cause = self.is_newcomer()
            || socket.reset
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
            || view.refusing
            || settings.partial_bytes_max < 1 << 20;
        assert!(self.closed || cause, "{} is cut off", self.name());
    }
}
