//! What a subscriber checks of all that it reads: events come without a hole, or with one that
//! it is told of; it does not hear its own; and who is in a channel is who it was told is there.

use fastrand::Rng;
use serde_json::Value;

use super::deeds::EVENT;
use super::{Channel, Counts, Next, Stand, Subscriber};
use crate::client::View;
use crate::codec::ServerFrame;
use crate::inflate::inflate;
use crate::socket::Socket;
use crate::targets::base64;
use crate::truth::{By, Message, Truth};

/// What a subscriber is told of the world around it, to judge what it reads.
pub(super) struct Around<'a> {
    pub(super) view: View<'a>,
    /// For each truth, how often somebody may have come to it, or gone.
    pub(super) comings: Vec<u64>,
    /// Nobody has come or gone untold, as happens for lack of room and where the daemon stops.
    pub(super) all_told: bool,
}

/// A message of the protocol.
struct Told {
    event: String,
    channel: String,
    data: Value,
    has_user: bool,
}

impl Told {
    /// What stands in the data, which is JSON in a string.
    fn inner(&self) -> Value {
        let text = self.data.as_str().expect("the data is a string");
        serde_json::from_str(text).expect("the data is JSON")
    }
}

fn read(bytes: &[u8]) -> Told {
    let mut value: Value = serde_json::from_slice(bytes).expect("a message is JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Told {
        event: text(&value["event"]),
        channel: text(&value["channel"]),
        has_user: value["user_id"].is_string(),
        data: value["data"].take(),
    }
}

impl Subscriber {
    pub(super) fn check_greeting(&mut self, head: &[u8]) {
        let head = std::str::from_utf8(head).expect("a head is text");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut lines = head.split("\r\n");
        let answer = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        assert_eq!(answer, self.deflate.as_ref().map(|(answer, _)| &answer[..]));
        self.greeted = true;
    }

    pub(super) fn check_frame(
        &mut self,
        rng: &mut Rng,
        frame: ServerFrame<'_>,
        socket: &Socket,
        around: &Around<'_>,
        counts: &mut Counts,
    ) {
        if frame.opcode == 8 {
            return self.check_close(rng, frame.payload, socket, around);
        }
        assert_eq!(frame.opcode, 1, "{} hears {frame:?}", self.name());
        let inflated;
        let bytes = match (frame.deflated, &self.deflate) {
            (false, _) => frame.payload,
            (true, None) => panic!("{} agreed to no compression", self.name()),
            (true, Some((_, bits))) => {
                inflated = inflate(frame.payload, *bits);
                &inflated
            }
        };
        let told = read(bytes);
        let context = format!("{}: {}", self.name(), bytes.escape_ascii());
        match &told.event[..] {
            "pusher:connection_established" => {
                assert_eq!(self.socket_id, None, "{context}");
                let id = told.inner()["socket_id"].as_str().map(str::to_owned);
                assert!(id.is_some(), "{context}");
                self.socket_id = id;
            }
            "pusher:ping" => (self.owes_pongs, self.was_pinged) = (1, true),
            "pusher:pong" => self.take_pong(&context),
            "pusher:error" => self.check_error(&told, &context, around),
            _ => {
                let at = self.channels.iter().position(|of| of.name == told.channel);
                let at = at.unwrap_or_else(|| panic!("{context}"));
                self.check_told(at, &told, &context, socket, around, counts);
            }
        }
    }

    fn take_pong(&mut self, context: &str) {
        self.pongs += 1;
        assert!(self.pongs <= self.pings, "{context}");
        for channel in &mut self.channels {
            if let Stand::Left(_, _, pongs) = channel.stand
                && pongs <= self.pongs
            {
                channel.stand = Stand::Out;
                channel.members.clear();
            }
        }
    }

    fn check_error(&mut self, told: &Told, context: &str, around: &Around<'_>) {
        match told.data["code"].as_u64() {
            None => {
                assert!(self.nonsense > 0, "{context}");
                self.nonsense -= 1;
            }
            Some(4301) => {
                self.refused += 1;
                assert!(self.refused <= self.posts.len(), "{context}");
                let text = told.data["message"].as_str().unwrap_or_default();
                let may_be = around.view.tight || around.view.refusing;
                assert!(text.contains("no room") && may_be, "{context}");
            }
            Some(_) => panic!("{context}"),
        }
    }

    fn check_told(
        &mut self,
        at: usize,
        told: &Told,
        context: &str,
        socket: &Socket,
        around: &Around<'_>,
        counts: &mut Counts,
    ) {
        let truth = &around.view.truths[self.channels[at].truth];
        match &told.event[..] {
            "pusher_internal:subscription_succeeded" => {
                counts.entered += 1;
                let (user, presence) = (self.user.clone(), told.inner()["presence"].take());
                self.channels[at].enter(truth, &presence, &user, context);
            }
            "pusher:subscription_error" => {
                let others = self.channels.iter().filter(|of| of.stand != Stand::Out);
                let full = others.count() > around.view.settings.topics_per_connection_max;
                let status = told.data["status"].as_u64();
                let fits = match status {
                    Some(429) => full,
                    // What waits for the cluster in vain finds no room either.
                    Some(503) => around.view.settings.topics_max < 100 || around.view.shared,
                    _ => false,
                };
                assert!(fits, "{context}");
                let channel = &mut self.channels[at];
                channel.stand = match channel.stand {
                    Stand::Asked(_) => Stand::Out,
                    // Nothing of it is on its way.
                    Stand::Left(None, ..) => Stand::Out,
                    other => panic!("{context}: {other:?}"),
                };
            }
            "pusher_internal:member_added" => {
                counts.moves += 1;
                let inner = told.inner();
                let user = inner["user_id"].as_str().expect("it has a name").to_owned();
                let channel = &mut self.channels[at];
                assert!(channel.hears(), "{context}");
                let is_new = channel.members.insert(user) || !around.all_told;
                assert!(is_new, "{context}: it is there");
            }
            "pusher_internal:member_removed" => {
                counts.moves += 1;
                let inner = told.inner();
                let user = inner["user_id"].as_str().expect("it has a name");
                let channel = &mut self.channels[at];
                assert!(channel.hears(), "{context}");
                let was_there = channel.members.remove(user) || !around.all_told;
                assert!(was_there, "{context}: it is not there");
            }
            "fanfare:gap" => {
                counts.gaps += 1;
                let inner = told.inner();
                let number = |name: &str| inner[name].as_u64().expect("a number");
                let (from, to) = (number("from"), number("to"));
                assert!(self.may_miss(at, socket, around), "{context}");
                let id = self.id;
                let next = self.channels[at].next(context);
                // Its own may be among those that it is told of.
                let known = next.last.min(from)..from;
                let own = |offset: u64| truth.message(offset).is_some_and(|of| is_own(id, of));
                assert!(from >= next.first && { known }.all(own), "{context}");
                assert!(from <= to && to < truth.next(), "{context}");
                *next = Next::at(to + 1);
            }
            event => {
                counts.events += 1;
                let data = told.data.as_str().expect("the data is a string");
                let id = self.id;
                let next = self.channels[at].next(context);
                let offset = next.hear(id, data, truth, context);
                let by = truth.message(offset).expect("just heard").by;
                let wanted = match by {
                    By::Subscriber { .. } => EVENT,
                    _ => "message",
                };
                assert_eq!(event, wanted, "{context}");
                let shows_user = event == EVENT && told.channel.starts_with("presence-");
                assert_eq!(told.has_user, shows_user, "{context}");
            }
        }
    }
}

impl Channel {
    /// What it reads may be on its way to it.
    fn hears(&self) -> bool {
        matches!(self.stand, Stand::In(_) | Stand::Left(Some(_), ..))
    }

    fn next(&mut self, context: &str) -> &mut Next {
        match &mut self.stand {
            Stand::In(next) | Stand::Left(Some(next), ..) => next,
            other => panic!("{context}: {other:?}"),
        }
    }

    /// It is told that it is in, and where that is known who else is.
    fn enter(&mut self, truth: &Truth, presence: &Value, user: &str, context: &str) {
        let from = |newest: u64| Next {
            first: newest + 1,
            last: truth.next(),
        };
        self.stand = match self.stand {
            Stand::Asked(newest) => Stand::In(from(newest)),
            Stand::Left(None, newest, pongs) => Stand::Left(Some(from(newest)), newest, pongs),
            other => panic!("{context}: {other:?}"),
        };
        assert_eq!(presence.is_object(), self.name.starts_with("presence-"));
        self.members.clear();
        for id in presence["ids"].as_array().into_iter().flatten() {
            let id = id.as_str().expect("a user is a text");
            assert!(self.members.insert(id.to_owned()), "{context}: twice");
            assert!(presence["hash"].get(id).is_some(), "{context}");
        }
        if let Some(count) = presence["count"].as_u64() {
            assert_eq!(count, self.members.len() as u64, "{context}");
            assert!(self.members.contains(user), "{context}: it is there itself");
        }
    }

    /// It has heard all that there is to hear.
    pub(super) fn is_at_head(&self, id: u32, truth: &Truth) -> bool {
        let Stand::In(next) = self.stand else {
            return true;
        };
        next.has_heard_up_to(id, truth, truth.next())
    }
}

impl Next {
    fn at(offset: u64) -> Next {
        Next {
            first: offset,
            last: offset,
        }
    }

    /// It has heard all before an offset, but for its own.
    pub(super) fn has_heard_up_to(self, id: u32, truth: &Truth, end: u64) -> bool {
        let mut offsets = self.last..end;
        offsets.all(|offset| truth.message(offset).is_some_and(|of| is_own(id, of)))
    }

    /// The offset of a message that it hears.
    fn hear(&mut self, id: u32, data: &str, truth: &Truth, context: &str) -> u64 {
        let fits = |offset: &u64| {
            let message = truth.message(*offset).expect("it is there");
            !is_own(id, message) && shown(message) == data
        };
        let heard = (self.first..truth.next()).find(fits);
        let heard = heard.unwrap_or_else(|| panic!("{context} was never said"));
        assert!(
            self.has_heard_up_to(id, truth, heard),
            "{context} comes as {heard}, behind a hole"
        );
        // Empty ones cannot be told from each other while it is not known where it begins.
        let later = (heard + 1..self.last.min(truth.next() - 1) + 1).rfind(fits);
        *self = Next {
            first: heard + 1,
            last: later.unwrap_or(heard) + 1,
        };
        heard
    }
}

fn is_own(id: u32, message: &Message) -> bool {
    matches!(message.by, By::Subscriber { id: by, .. } if by == id)
}

/// A message as the data of an event has it.
fn shown(message: &Message) -> String {
    match std::str::from_utf8(&message.payload) {
        Ok(text) if message.opcode == 1 => text.to_owned(),
        _ => base64::as_standard(&message.payload),
    }
}
