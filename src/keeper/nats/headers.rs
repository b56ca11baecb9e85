//! A message as NATS headers and payload, and back.
//!
//! | header | what it says | who may set it |
//! |---|---|---|
//! | `Nats-Msg-Id` | which message this is; the same one is stored once | all |
//! | `Fanfare-Kind` | `text` or `binary`; without it, what the payload is | all |
//! | `Fanfare-Event` | name of an event, percent-encoded | all |
//! | `Fanfare-Tag` | `name=value`, both percent-encoded; once for each tag | all |
//! | `Fanfare-Origin` | which connection of which node it came from | nodes |
//! | `Fanfare-Info` | who published it, Base64 | nodes |
//! | `Fanfare-Sign` | that a node says so, Base64 | nodes |
//!
//! Origin and info are believed only with a signature: HMAC-SHA256 over topic, id, origin,
//! info and payload, with a key that all nodes know. All subjects of a topic form one
//! chain, so what nodes publish cannot have a subject prefix of its own.

use async_nats::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use ring::hmac;

/// What a subscriber is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    pub payload: Bytes,
    pub event: Option<String>,
    /// About the publisher, in the caller's own form.
    pub info: Option<Bytes>,
    pub tags: Vec<(String, String)>,
    pub origin: Option<Origin>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Text,
    Binary,
}

/// The connection that a message came from, for as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A random number of the process that the connection first published in.
    pub node: u64,
    /// That process's number of the connection.
    pub connection: u64,
}

/// Identifies a message: the same id is stored once.
pub(super) type Id = u128;

pub(super) const MSG_ID: &str = "Nats-Msg-Id";
const KIND: &str = "Fanfare-Kind";
const BINARY: &str = "binary";
const EVENT: &str = "Fanfare-Event";
const TAG: &str = "Fanfare-Tag";
const ORIGIN: &str = "Fanfare-Origin";
const INFO: &str = "Fanfare-Info";
const SIGN: &str = "Fanfare-Sign";

/// Room for headers beside the longest payload: event, tags and info have bounds of their
/// own where they come in.
pub(super) const HEADER_BYTES_MAX: usize = 16 << 10;

/// Percent-encoded in events and tags; spaces because their ends would be trimmed.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b' ').add(b'=');

/// Proves that a node speaks.
pub(super) struct Signer {
    key: hmac::Key,
    /// See [`Settings::homes`](super::Settings::homes).
    homes: Box<[u64]>,
}

impl Signer {
    pub(super) fn new(secret: &[u8], homes: &[u64]) -> Self {
        Signer {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            homes: homes.into(),
        }
    }

    fn context(
        &self,
        message: &Message,
        origin: Option<Origin>,
        topic: &str,
        id: &str,
    ) -> hmac::Context {
        let mut context = hmac::Context::with_key(&self.key);
        let origin = origin.map(|origin| origin.to_string());
        let info = message.info.as_deref();
        let parts: [Option<&[u8]>; 5] = [
            Some(topic.as_bytes()),
            Some(id.as_bytes()),
            origin.as_deref().map(str::as_bytes),
            info,
            Some(&message.payload),
        ];
        // Each part follows its length, so that no two messages have the same bytes.
        for part in parts {
            let len = part.map_or(u64::MAX, |part| part.len() as u64);
            context.update(&len.to_be_bytes());
            context.update(part.unwrap_or_default());
        }
        context
    }
}

/// The id of a message by a publisher's own key, so that a retry by any node is known again.
pub(super) fn id_of(topic: &str, publisher: &str, key: &str) -> Id {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in [topic, publisher, key] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    let (half, _) = digest.as_ref().split_first_chunk().expect("32 bytes");
    u128::from_be_bytes(*half)
}

pub(super) fn spell_id(id: Id) -> String {
    let mut spelt = String::with_capacity(32);
    for byte in id.to_be_bytes() {
        for digit in [byte >> 4, byte & 15] {
            spelt.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    spelt
}

/// The headers that a message of this topic is published with. Its origin is said where it is to
/// be: it costs as much as all else of a message.
pub(super) fn write(
    message: &Message,
    origin: Option<Origin>,
    topic: &str,
    id: Id,
    signer: &Signer,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let id = spell_id(id);
    // What a payload is need not be said where it is seen.
    if message.kind == Kind::Binary && is_text(&message.payload) {
        headers.insert(KIND, BINARY);
    }
    if let Some(event) = &message.event {
        headers.insert(EVENT, escape(event));
    }
    for (name, value) in &message.tags {
        headers.append(TAG, format!("{}={}", escape(name), escape(value)));
    }
    if origin.is_some() || message.info.is_some() {
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.to_string());
        }
        if let Some(info) = &message.info {
            headers.insert(INFO, STANDARD.encode(info));
        }
        let sign = signer.context(message, origin, topic, &id).sign();
        headers.insert(SIGN, STANDARD.encode(sign));
    }
    headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
    headers
}

/// The message of this topic with these headers, its id if a node gave it one, and whether
/// it claims an origin or an info that no node has signed, which are left out. So is an origin
/// that is of no use: a connection of another node, or of a message that is known here by its id.
pub(super) fn read(
    headers: Option<&HeaderMap>,
    payload: Bytes,
    topic: &str,
    signer: &Signer,
    is_own: impl FnOnce(Id) -> bool,
) -> (Message, Option<Id>, bool) {
    // One pass: to look for a header costs more than to see it.
    let (mut spelt, mut sign, mut is_binary) = ("", None, false);
    let mut message = Message {
        payload,
        ..Message::default()
    };
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        let name: &str = name.as_ref();
        let Some(value) = values.first().map(HeaderValue::as_str) else {
            continue;
        };
        match name {
            MSG_ID => spelt = value,
            KIND => is_binary = value == BINARY,
            EVENT => message.event = unescape(value),
            ORIGIN => message.origin = Origin::parse(value),
            INFO => message.info = STANDARD.decode(value).ok().map(Bytes::from),
            SIGN => sign = STANDARD.decode(value).ok(),
            TAG => {
                let tags = values.iter().filter_map(|tag| split(tag.as_str()));
                message.tags = tags.collect();
            }
            _ => {}
        }
    }
    // Whoever says text and sends something else would break every subscriber.
    if is_binary || !is_text(&message.payload) {
        message.kind = Kind::Binary;
    }
    let id = (spelt.len() == 32).then(|| Id::from_str_radix(spelt, 16).ok());
    let id = id.flatten();
    let mut is_forged = false;
    let is_wanted = message
        .origin
        .is_some_and(|origin| signer.homes.contains(&origin.node) && !id.is_some_and(is_own));
    // A signature takes as long to verify as much else of a message together.
    if is_wanted || message.info.is_some() {
        let context = || signer.context(&message, message.origin, topic, spelt);
        let is_right = sign.is_some_and(|sign| context().verify(&sign));
        if !is_right {
            (message.origin, message.info) = (None, None);
            is_forged = true;
        }
    }
    message.origin = message.origin.filter(|_| is_wanted);
    (message, id, is_forged)
}

trait Verify {
    fn verify(self, sign: &[u8]) -> bool;
}

impl Verify for hmac::Context {
    /// In a time that does not depend on where they differ.
    fn verify(self, sign: &[u8]) -> bool {
        let right = self.sign();
        let right = right.as_ref();
        let differs = right.iter().zip(sign).fold(0, |all, (a, b)| all | (a ^ b));
        right.len() == sign.len() && differs == 0
    }
}

fn is_text(payload: &[u8]) -> bool {
    simdutf8::basic::from_utf8(payload).is_ok()
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn unescape(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    Some(text.into_owned())
}

fn split(tag: &str) -> Option<(String, String)> {
    let (name, value) = tag.split_once('=')?;
    Some((unescape(name)?, unescape(value)?))
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (node, connection) = text.split_once('-')?;
        Some(Origin {
            node: u64::from_str_radix(node, 16).ok()?,
            connection: u64::from_str_radix(connection, 16).ok()?,
        })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{:016x}", self.node, self.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Message {
        Message {
            kind: Kind::Text,
            payload: Bytes::from_static(b"hello"),
            event: Some(" new=message %\r\n é".into()),
            info: Some(Bytes::from_static(b"{\"user\":\"a\"}\0\xff")),
            tags: vec![("a=b".into(), "c d".into()), ("a".into(), "".into())],
            origin: Some(Origin {
                node: 7,
                connection: u64::MAX,
            }),
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        let signer = Signer::new(b"key", &[7]);
        let plain = Message {
            kind: Kind::Binary,
            payload: Bytes::from_static(b"text too"),
            ..Message::default()
        };
        for message in [whole(), plain] {
            let headers = write(&message, message.origin, "a/b", 42, &signer);
            let (read, id, is_forged) = read(
                Some(&headers),
                message.payload.clone(),
                "a/b",
                &signer,
                |_| false,
            );
            assert_eq!((read, id, is_forged), (message, Some(42), false));
        }
    }

    #[test]
    fn origin_and_info_are_believed_from_nodes_only() {
        let (signer, other) = (Signer::new(b"key", &[7]), Signer::new(b"another", &[7]));
        let message = whole();
        let headers = write(&message, message.origin, "a", 1, &signer);
        let look = |headers: &HeaderMap, payload: &'static str, topic: &str, signer: &Signer| {
            let (message, _, is_forged) = read(
                Some(headers),
                Bytes::from_static(payload.as_bytes()),
                topic,
                signer,
                |_| false,
            );
            assert_eq!(message.event, whole().event);
            (
                message.origin.is_some() || message.info.is_some(),
                is_forged,
            )
        };
        assert_eq!(look(&headers, "hello", "a", &signer), (true, false));
        assert_eq!(look(&headers, "hallo", "a", &signer), (false, true));
        assert_eq!(look(&headers, "hello", "b", &signer), (false, true));
        assert_eq!(look(&headers, "hello", "a", &other), (false, true));
        let changes: [fn(&mut HeaderMap); 4] = [
            |map| map.insert(ORIGIN, "1-1"),
            |map| map.insert(INFO, "AAAA"),
            |map| map.insert(MSG_ID, spell_id(2)),
            |map| map.insert(SIGN, "AAAA"),
        ];
        for change in changes {
            let mut changed = headers.clone();
            change(&mut changed);
            assert_eq!(look(&changed, "hello", "a", &signer), (false, true));
        }
    }

    /// The headers as nodes of all versions of the stream's format write them. Another version may
    /// add some, and other kinds.
    #[test]
    fn the_headers_of_a_message_keep_their_form() {
        let signer = Signer::new(b"key", &[7]);
        let mut headers = write(&whole(), whole().origin, "a/b", 42, &signer);
        let lines = |(name, values): (&async_nats::HeaderName, &Vec<HeaderValue>)| {
            let name: &str = name.as_ref();
            let lines = values
                .iter()
                .map(move |of| format!("{name}: {}", of.as_str()));
            lines.collect::<Vec<_>>()
        };
        let mut spelt: Vec<String> = headers.iter().flat_map(lines).collect();
        spelt.sort_unstable();
        let wanted = [
            "Fanfare-Event: %20new%3Dmessage%20%25%0D%0A%20%C3%A9",
            "Fanfare-Info: eyJ1c2VyIjoiYSJ9AP8=",
            "Fanfare-Origin: 0000000000000007-ffffffffffffffff",
            "Fanfare-Sign: rDTc3W9tTmeglZ9q6NETKeXqbWExEahtM1xQHmX7BaY=",
            "Fanfare-Tag: a%3Db=c%20d",
            "Fanfare-Tag: a=",
            "Nats-Msg-Id: 0000000000000000000000000000002a",
        ];
        assert_eq!(spelt, wanted);
        headers.insert("Fanfare-Later", "x");
        headers.insert(KIND, "rhyme");
        let payload = whole().payload;
        let read = read(Some(&headers), payload, "a/b", &signer, |_| false);
        assert_eq!(read, (whole(), Some(42), false));
    }

    #[test]
    fn an_origin_is_given_on_where_it_is_of_use() {
        let (signer, other) = (Signer::new(b"key", &[6, 7]), Signer::new(b"key", &[8]));
        for info in [None, whole().info] {
            let message = Message { info, ..whole() };
            let headers = write(&message, message.origin, "a", 1, &signer);
            let look = |signer, is_own| {
                let payload = message.payload.clone();
                let (read, _, is_forged) = read(Some(&headers), payload, "a", signer, |_| is_own);
                assert!(!is_forged && read.info == message.info);
                read.origin
            };
            assert_eq!(look(&signer, false), message.origin);
            assert_eq!(look(&signer, true), None);
            assert_eq!(look(&other, false), None);
        }
    }

    #[test]
    fn a_plain_publish_is_a_message_too() {
        let signer = Signer::new(b"key", &[7]);
        let read = |headers: Option<&HeaderMap>, payload: &'static [u8]| {
            super::read(headers, Bytes::from_static(payload), "a", &signer, |_| {
                false
            })
        };
        let (message, id, _) = read(None, "é".as_bytes());
        assert_eq!((message.kind, id), (Kind::Text, None));
        let (message, ..) = read(None, b"\xff");
        assert_eq!(message.kind, Kind::Binary);
        let mut wrong = HeaderMap::new();
        wrong.insert(KIND, "text");
        wrong.insert(MSG_ID, "order 17");
        let (message, id, _) = read(Some(&wrong), b"\xff");
        assert_eq!((message.kind, id), (Kind::Binary, None));
    }

    #[test]
    fn the_same_key_of_the_same_publisher_on_the_same_topic_is_the_same_id() {
        let id = id_of("topic", "anna", "1");
        assert_eq!(id, id_of("topic", "anna", "1"));
        for other in [
            id_of("topi", "canna", "1"),
            id_of("topic", "anna", "2"),
            id_of("topic", "ben", "1"),
        ] {
            assert_ne!(id, other);
        }
    }
}
