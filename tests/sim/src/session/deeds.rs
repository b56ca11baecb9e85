//! What sessions ask for, good and bad, as bytes on the wire.

use fanfare::protocol::centrifugo::Coding;
use fastrand::Rng;

use super::wire::{Ask, Since, command, pong};
use super::{Asked, Posted, Session};
use crate::client::Fate;
use crate::codec::client_frame;
use crate::truth::{Truth, posted_tag};

const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// The longest ids and names that a command has beside its payload.
const COMMAND_BYTES: usize = 150;

/// What a session may do wrong, with the close code that answers it.
const WRONGS: [(&str, u16); 6] = [
    ("a second connect", 3501),
    ("no command", 3501),
    ("half a command", 3501),
    ("a command without an id", 3501),
    ("unmasked", 1002),
    ("too big", 1009),
];

/// What is known where commands are written.
pub(super) struct Scene<'a> {
    pub(super) truths: &'a [Truth],
    pub(super) message_bytes_max: usize,
    pub(super) handovers: u64,
}

impl Session {
    /// Queues a message with some commands, or does wrong by its nature.
    pub(super) fn act(&mut self, rng: &mut Rng, scene: &Scene<'_>) {
        if self.fate != Fate::Open || self.outbox.len() > 2 * scene.message_bytes_max {
            return;
        }
        // Who never says who it is is not waited for.
        if !self.introduced && self.nature.rude && rng.u8(..) < 250 {
            return;
        }
        let mut message = Vec::new();
        if self.pings > 0 && rng.u8(..) < 150 {
            // Each ping has its answer, however late.
            for _ in 0..std::mem::take(&mut self.pings) {
                message.extend(pong(self.coding));
            }
        }
        match rng.u8(..) {
            0..=4 if self.nature.rogue => return self.do_wrong(rng, message, scene),
            5..=7 if self.nature.rogue => {
                self.fate = [Fate::HalfClosed, Fate::Reset][rng.usize(..2)];
            }
            8..=11 => {
                let code = [None, Some(1000), Some(3000)][rng.usize(..3)];
                self.send(rng, &message);
                self.say_close(rng, code);
                self.fate = Fate::SentClose(code);
                return;
            }
            12..=120 => {}
            _ => {
                for _ in 0..rng.usize(1..=6) {
                    self.ask(rng, &mut message, scene);
                }
            }
        }
        self.send(rng, &message);
    }

    /// Adds a command to a message, if it fits.
    fn ask(&mut self, rng: &mut Rng, message: &mut Vec<u8>, scene: &Scene<'_>) {
        let room = scene.message_bytes_max.saturating_sub(message.len());
        // What waits for room is kept, and of that too little is no fault of anybody's.
        if room < COMMAND_BYTES || self.topics.is_empty() || self.asked.len() > 60 {
            return;
        }
        let topic = rng.usize(..self.topics.len());
        let truth = &scene.truths[self.topics[topic].truth];
        let newest = truth.next() - 1;
        let ask = if !self.introduced {
            self.introduced = true;
            Ask::Connect
        } else {
            match rng.u8(..) {
                0..=90 => Ask::Subscribe {
                    topic,
                    since: self.since(rng, topic, truth),
                    whole: rng.u8(..) < 40,
                    joins: rng.bool(),
                },
                91..=120 => Ask::Unsubscribe { topic },
                121..=215 => self.post(rng, topic, room - COMMAND_BYTES),
                216..=230 => Ask::History {
                    topic,
                    limit: [-1, 0, 1, 3, 1000][rng.usize(..5)],
                    since: self.since(rng, topic, truth),
                    reverse: rng.u8(..) < 60,
                },
                231..=242 => Ask::Presence { topic },
                243..=252 => Ask::PresenceStats { topic },
                _ => Ask::Rpc,
            }
        };
        if let Ask::Subscribe { .. } = ask {
            self.topics[topic].asked += 1;
        }
        self.pages += u32::from(matches!(ask, Ask::History { .. }));
        self.last_id += 1;
        message.extend(command(self.coding, self.last_id, &ask, &self.names));
        self.asked.push_back(Asked {
            id: self.last_id,
            ask,
            newest,
            handovers: scene.handovers,
        });
    }

    /// Where it has come to in a topic, mostly; sometimes it is mistaken.
    fn since(&self, rng: &mut Rng, topic: usize, truth: &Truth) -> Option<Since> {
        let epoch = format!("{:016x}", truth.epoch);
        match rng.u8(..) {
            0..=180 => self.topics[topic].known.clone(),
            181..=220 => Some((rng.u64(..truth.next() + 3), epoch)),
            221..=228 => Some((rng.u64(..truth.next() + 3), String::new())),
            229..=234 => Some((rng.u64(..truth.next() + 3), "0123456789abcdef".into())),
            _ => None,
        }
    }

    fn post(&mut self, rng: &mut Rng, topic: usize, bytes_max: usize) -> Ask {
        let n = self.posts.len();
        let len = [rng.usize(..60), rng.usize(..600)][usize::from(rng.u8(..) < 40)];
        let len = len.min(bytes_max.saturating_sub(40));
        let tag = posted_tag(self.id, n);
        let bytes = self.coding == Coding::Protobuf && rng.bool();
        // Newlines between values, which are no part of JSON's lines: others read them, this
        // protocol's readers do not.
        let space = match self.coding {
            Coding::Json => ["", " ", "\r\t"][rng.usize(..3)],
            Coding::Protobuf => ["", " ", "\n\r\n"][rng.usize(..3)],
        };
        let data = if bytes {
            let noise = (0..len).map(|_| rng.u8(..));
            tag.bytes().chain([b';']).chain(noise).collect()
        } else {
            let text = "ü\\u0001\\n,".repeat(len / 10);
            format!("{{\"{tag}\":{space}\"{text}\"}}").into_bytes()
        };
        let mut payload = data.clone();
        if self.coding == Coding::Json {
            payload.retain(|byte| *byte != b'\r');
        }
        self.posts.push(Posted {
            truth: self.topics[topic].truth,
            opcode: if bytes { BINARY } else { TEXT },
            payload,
            end: 0,
            published: false,
            accepted: None,
        });
        Ask::Publish { topic, n, data }
    }

    /// Queues a message, in one frame or more.
    fn send(&mut self, rng: &mut Rng, message: &[u8]) {
        if message.is_empty() {
            return;
        }
        let opcode = match self.coding {
            Coding::Json => TEXT,
            Coding::Protobuf => BINARY,
        };
        let at = match rng.u8(..) {
            0..=60 => rng.usize(..=message.len()),
            _ => message.len(),
        };
        let (first, rest) = message.split_at(at);
        let fin = if rest.is_empty() { FIN } else { 0 };
        self.put(&client_frame(fin | opcode, key(rng), first));
        if !rest.is_empty() {
            self.put(&client_frame(FIN, key(rng), rest));
        }
        for post in self.posts.iter_mut().rev().take_while(|post| post.end == 0) {
            post.end = self.queued;
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

    fn do_wrong(&mut self, rng: &mut Rng, before: Vec<u8>, scene: &Scene<'_>) {
        self.send(rng, &before);
        let (mut name, mut code) = WRONGS[rng.usize(..WRONGS.len())];
        if !self.introduced {
            // Whatever command it is: none comes before that one.
            (name, code) = ("a command without an id", 3501);
        }
        let message: &[u8] = match (name, self.coding) {
            ("a second connect", Coding::Json) => b"{\"id\":7,\"connect\":{}}",
            ("a second connect", Coding::Protobuf) => b"\x04\x08\x07\x22\x00",
            ("no command", Coding::Json) => b"{\"id\":7}",
            ("no command", Coding::Protobuf) => b"\x02\x08\x07",
            ("half a command", Coding::Json) => b"{\"id\":7,\"rpc\":{",
            ("half a command", Coding::Protobuf) => b"\x80",
            ("a command without an id", Coding::Json) => b"{\"rpc\":{}}",
            ("a command without an id", Coding::Protobuf) => b"\x02\x6a\x00",
            _ => b"",
        };
        match name {
            "unmasked" => self.put(&[FIN | TEXT, 2, b'{', b'}']),
            "too big" => {
                let len = (scene.message_bytes_max as u64 + 1)
                    .max(65536)
                    .to_be_bytes();
                self.put(&[&[FIN | TEXT, 0xFF][..], &len, &key(rng), b"bytes"].concat());
            }
            _ => self.send(rng, message),
        }
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
