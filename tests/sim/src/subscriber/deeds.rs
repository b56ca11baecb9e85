//! What subscribers ask for, good and bad, as bytes on the wire.

use fastrand::Rng;
use serde_json::json;

use super::living::app;
use super::{Posted, Stand, Subscriber};
use crate::client::Fate;
use crate::codec::client_frame;
use crate::truth::{Truth, event_tag};

const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// What is said beside the data of an event.
const ENVELOPE_BYTES: usize = 100;
/// What is said to enter a channel, at most.
const ENTER_BYTES: usize = 400;

/// What clients call their events here.
pub(super) const EVENT: &str = "client-note";

/// What a subscriber may do wrong, with the close code that answers it.
const WRONGS: [(&str, u16); 3] = [("unmasked", 1002), ("bad text", 1007), ("too big", 1009)];

impl Subscriber {
    /// Queues a message, or does wrong by its nature.
    pub(super) fn act(&mut self, rng: &mut Rng, truths: &[Truth], message_bytes_max: usize) {
        let is_quiet = self.socket_id.is_none() || self.closed;
        if is_quiet || self.fate != Fate::Open || self.outbox.len() > 2 * message_bytes_max {
            return;
        }
        if self.owes_pongs > 0 && rng.u8(..) < 150 {
            self.owes_pongs = 0;
            self.say(rng, &json!({"event": "pusher:pong", "data": {}}));
        }
        match rng.u8(..) {
            0..=4 if self.nature.rogue => self.do_wrong(rng, message_bytes_max),
            5..=7 if self.nature.rogue => {
                self.fate = [Fate::HalfClosed, Fate::Reset][rng.usize(..2)];
            }
            8..=11 => {
                let code = [None, Some(1000), Some(3000)][rng.usize(..3)];
                self.say_close(rng, code);
                self.fate = Fate::SentClose(code);
            }
            12..=18 => {
                self.nonsense += 1;
                self.send(rng, br#"{"event":"no-event-of-clients","data":1}"#);
            }
            19..=40 => self.ping(rng),
            41..=100 => {
                let at = rng.usize(..self.channels.len());
                match self.channels[at].stand {
                    Stand::Out if message_bytes_max >= ENTER_BYTES => self.enter(rng, at, truths),
                    Stand::In(_) | Stand::Asked(_) if rng.u8(..) < 90 => self.leave(rng, at),
                    _ => {}
                }
            }
            101..=190 => self.post(rng, message_bytes_max),
            _ => {}
        }
    }

    fn enter(&mut self, rng: &mut Rng, at: usize, truths: &[Truth]) {
        let channel = &mut self.channels[at];
        let (name, app) = (channel.name.clone(), app());
        let id = self.socket_id.as_deref().expect("it has been greeted");
        let sign = |what: String| format!("{}:{}", app.key, app.secrets.sign(what.as_bytes()));
        let data = if name.starts_with("presence-") {
            let member = json!({"user_id": self.user, "user_info": {"n": self.id}}).to_string();
            let auth = sign(format!("{id}:{name}:{member}"));
            json!({"channel": name, "auth": auth, "channel_data": member})
        } else if name.starts_with("private-") {
            json!({"channel": name, "auth": sign(format!("{id}:{name}"))})
        } else {
            json!({"channel": name})
        };
        channel.stand = Stand::Asked(truths[channel.truth].next() - 1);
        channel.asked += 1;
        self.say(rng, &json!({"event": "pusher:subscribe", "data": data}));
    }

    /// Leaves a channel, and asks for a pong, with which it is out.
    fn leave(&mut self, rng: &mut Rng, at: usize) {
        let channel = &mut self.channels[at];
        channel.stand = match channel.stand {
            Stand::Asked(newest) => Stand::Left(None, newest, self.pings + 1),
            Stand::In(next) => Stand::Left(Some(next), 0, self.pings + 1),
            other => other,
        };
        let data = json!({"channel": channel.name});
        self.say(rng, &json!({"event": "pusher:unsubscribe", "data": data}));
        self.ping(rng);
    }

    fn ping(&mut self, rng: &mut Rng) {
        self.pings += 1;
        self.say(rng, &json!({"event": "pusher:ping", "data": {}}));
    }

    /// Publishes to the others in some channel where clients may.
    fn post(&mut self, rng: &mut Rng, message_bytes_max: usize) {
        let entered = self.entered().map(|(channel, _)| channel);
        let takes: Vec<_> = entered
            .filter(|channel| !channel.name.starts_with("topic-"))
            .map(|channel| (channel.name.clone(), channel.truth))
            .collect();
        if takes.is_empty() || message_bytes_max < 2 * ENVELOPE_BYTES {
            return;
        }
        let (name, truth) = takes[rng.usize(..takes.len())].clone();
        let tag = event_tag(self.id, self.posts.len());
        let len = [rng.usize(..60), rng.usize(..600)][usize::from(rng.u8(..) < 40)];
        let len = len.min((message_bytes_max - ENVELOPE_BYTES) / 3);
        let text = format!("{tag};{}", "ü\"\\\n".repeat(len / 8));
        self.say(rng, &json!({"event": EVENT, "channel": name, "data": text}));
        self.posts.push(Posted {
            truth,
            payload: text.into_bytes(),
            end: self.queued,
            published: false,
        });
    }

    fn say(&mut self, rng: &mut Rng, message: &serde_json::Value) {
        self.send(rng, message.to_string().as_bytes());
    }

    /// Queues a message, in one frame or more.
    fn send(&mut self, rng: &mut Rng, message: &[u8]) {
        let at = match rng.u8(..) {
            0..=60 => rng.usize(..=message.len()),
            _ => message.len(),
        };
        let (first, rest) = message.split_at(at);
        let fin = if rest.is_empty() { FIN } else { 0 };
        self.put(&client_frame(fin | TEXT, key(rng), first));
        if !rest.is_empty() {
            self.put(&client_frame(FIN, key(rng), rest));
        }
    }

    pub(super) fn say_close(&mut self, rng: &mut Rng, code: Option<u16>) {
        let mut payload = Vec::new();
        if let Some(code) = code {
            payload.extend(code.to_be_bytes());
            payload.extend(b"bye");
        }
        self.put(&client_frame(FIN | CLOSE, key(rng), &payload));
    }

    fn do_wrong(&mut self, rng: &mut Rng, message_bytes_max: usize) {
        let (name, code) = WRONGS[rng.usize(..WRONGS.len())];
        let bytes = match name {
            "unmasked" => vec![FIN | TEXT, 2, b'{', b'}'],
            "bad text" => client_frame(FIN | TEXT, key(rng), b"\xE2\x28\xA1 is no text"),
            _ => {
                let len = (message_bytes_max as u64 + 1).max(65536).to_be_bytes();
                [&[FIN | TEXT, 0xFF][..], &len, &key(rng), b"bytes"].concat()
            }
        };
        self.put(&bytes);
        self.fate = Fate::Wrong(code, name);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.outbox.extend(bytes);
        self.queued += bytes.len() as u64;
    }
}

fn key(rng: &mut Rng) -> [u8; 4] {
    rng.u32(..).to_le_bytes()
}
