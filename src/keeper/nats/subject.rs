//! Topics as NATS subjects, and back.
//!
//! A topic is one token of a subject: letters, digits and a few marks stand for themselves,
//! every other byte is written `%XX`. The escape is injective by byte, and only the one
//! spelling that it gives is read back, so that a topic has one subject.
//!
//! | subject | who publishes | what it is |
//! |---|---|---|
//! | `PREFIX.in.TOKEN` | nodes and programs | what the stream keeps; `PREFIX.in.STREAM.TOKEN` where there are several |
//! | `PREFIX.out.BUCKET.TOKEN` | the server alone | the same message once it is stored |
//! | `PREFIX.ctl.…` | nodes alone | what nodes tell each other |
//!
//! Streams and buckets are found by the hash that NATS's own `partition()` uses, so that
//! the server can be asked to compute it.

use std::borrow::Cow;

/// How many parts the *out* subjects are divided into. A node subscribes to the parts with
/// readers: a subscription costs the client library 4.9 KB and the server 0.7 KB, so that
/// one for each of 100,000 topics would cost 490 MB here and 72 MB there, and all buckets
/// cost 6 MB. See `docs/cluster.md`.
pub const BUCKETS: u32 = 1024;

const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The subjects of one cluster.
#[derive(Clone, Debug)]
pub struct Subjects {
    prefix: String,
    streams: u16,
}

impl Subjects {
    pub fn new(prefix: &str, streams: u16) -> Self {
        let prefix = prefix.to_owned();
        Subjects { prefix, streams }
    }

    /// Where a message of this topic is published, and under which the stream keeps it.
    pub fn stored(&self, topic: &str) -> String {
        let token = token(topic);
        match self.streams {
            1 => format!("{}.in.{token}", self.prefix),
            _ => format!("{}.in.{}.{token}", self.prefix, self.stream_of(&token)),
        }
    }

    /// The number of the stream that keeps this topic.
    pub fn stream(&self, topic: &str) -> u16 {
        match self.streams {
            1 => 0,
            _ => self.stream_of(&token(topic)),
        }
    }

    /// The bucket that this topic's stored messages come in.
    pub fn bucket(&self, topic: &str) -> u32 {
        hash(&token(topic)) % BUCKETS
    }

    /// All subjects of a bucket.
    pub(super) fn bucket_subject(&self, bucket: u32) -> String {
        format!("{}.out.{bucket}.*", self.prefix)
    }

    /// All subjects that this stream keeps.
    pub(super) fn source(&self, stream: u16) -> String {
        match self.streams {
            1 => format!("{}.in.*", self.prefix),
            _ => format!("{}.in.{stream}.*", self.prefix),
        }
    }

    /// What the stream's `republish` makes of them.
    pub(super) fn destination(&self) -> String {
        let prefix = &self.prefix;
        format!("{prefix}.out.{{{{partition({BUCKETS},1)}}}}.{{{{wildcard(1)}}}}")
    }

    /// A subject under *out* that no message comes on.
    pub(super) fn forbidden(&self, random: u64) -> String {
        format!("{}.out.check.{random:016x}", self.prefix)
    }

    /// A subject for nodes alone.
    pub(super) fn control(&self, rest: &str) -> String {
        format!("{}.ctl.{rest}", self.prefix)
    }

    fn stream_of(&self, token: &str) -> u16 {
        (hash(token) % u32::from(self.streams)) as u16
    }
}

/// The topic of a message by the last token of its subject; `None` if none is spelt so.
pub(super) fn topic_of(subject: &str) -> Option<Cow<'_, str>> {
    topic(subject.rsplit('.').next()?)
}

/// A topic as one token.
pub(super) fn token(topic: &str) -> String {
    let mut token = String::with_capacity(topic.len() + 8);
    for byte in topic.bytes() {
        if is_plain(byte) {
            token.push(char::from(byte));
        } else {
            token.push('%');
            token.push(char::from(UPPER_HEX[usize::from(byte >> 4)]));
            token.push(char::from(UPPER_HEX[usize::from(byte & 15)]));
        }
    }
    token
}

/// The topic that [`token`] writes so.
fn topic(token: &str) -> Option<Cow<'_, str>> {
    if token.is_empty() {
        return None;
    }
    if token.bytes().all(is_plain) {
        return Some(Cow::Borrowed(token));
    }
    let mut topic = Vec::with_capacity(token.len());
    let mut bytes = token.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let byte = digit(bytes.next()?)? << 4 | digit(bytes.next()?)?;
            // A second spelling of the same topic would be a second subject.
            if is_plain(byte) {
                return None;
            }
            topic.push(byte);
        } else if is_plain(byte) {
            topic.push(byte);
        } else {
            return None;
        }
    }
    String::from_utf8(topic).ok().map(Cow::Owned)
}

fn digit(byte: u8) -> Option<u8> {
    let at = UPPER_HEX.iter().position(|digit| *digit == byte)?;
    Some(at as u8)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_/:@$=+,!~".contains(&byte)
}

/// FNV-1a of 32 bits, as NATS's `partition()` has it.
fn hash(token: &str) -> u32 {
    token.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const ODD: [&str; 12] = [
        "..", ".", "*", ">", "$", " ", "a b", "a.b", "%2E", "%", "täglich", "a\u{7f}b",
    ];

    /// Whether NATS takes it as one whole token.
    fn is_valid_token(token: &str) -> bool {
        let fits = |byte: u8| byte.is_ascii_graphic() && !b".*>".contains(&byte);
        !token.is_empty() && token.bytes().all(fits)
    }

    fn random_topic(random: &mut fastrand::Rng) -> String {
        let alphabet: Vec<char> = "ab.*>$% /é漢🎺%2E".chars().collect();
        let mut topic = String::new();
        let len = random.usize(1..=255);
        while topic.len() < len {
            topic.push(alphabet[random.usize(..alphabet.len())]);
        }
        while topic.len() > 255 {
            topic.pop();
        }
        topic
    }

    #[test]
    fn every_topic_is_one_token_of_its_own_and_is_read_back() {
        let mut random = fastrand::Rng::with_seed(7);
        let long = "漢".repeat(85);
        let mut seen: HashMap<String, String> = HashMap::new();
        let topics = (0..3000).map(|_| random_topic(&mut random));
        let short = (0..3000).map(|n| format!("{n:x}").replace('a', ".").replace('b', "%"));
        for topic in topics
            .chain(short)
            .chain(ODD.map(String::from))
            .chain([long])
        {
            let token = token(&topic);
            assert!(is_valid_token(&token), "{topic:?} became {token:?}");
            assert_eq!(super::topic(&token).as_deref(), Some(topic.as_str()));
            if let Some(other) = seen.insert(token, topic.clone()) {
                assert_eq!(other, topic, "two topics have one token");
            }
        }
    }

    #[test]
    fn a_second_spelling_is_no_topic() {
        for wrong in ["%41", "%2e", "%2", "%", "%FF", "a%zz", "a b", "", "é"] {
            assert_eq!(topic(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn subjects_hold_the_stream_only_where_there_are_several() {
        let one = Subjects::new("a.b", 1);
        assert_eq!(one.stored("x.y"), "a.b.in.x%2Ey");
        assert_eq!((one.stream("x.y"), one.source(0).as_str()), (0, "a.b.in.*"));
        let four = Subjects::new("f", 4);
        let stream = four.stream("x.y");
        assert_eq!(four.stored("x.y"), format!("f.in.{stream}.x%2Ey"));
        assert_eq!(four.source(3), "f.in.3.*");
    }

    #[test]
    fn buckets_are_those_that_the_server_computes() {
        // What nats-server 2.15 gave for this token.
        assert_eq!(Subjects::new("f", 1).bucket("a/b."), 813);
        assert_eq!(
            Subjects::new("f", 1).destination(),
            "f.out.{{partition(1024,1)}}.{{wildcard(1)}}"
        );
    }

    #[test]
    fn topics_spread_over_buckets_and_streams() {
        let subjects = Subjects::new("f", 4);
        let mut buckets = vec![0; BUCKETS as usize];
        let mut streams = [0; 4];
        for n in 0..100_000 {
            let topic = format!("room/{n}");
            buckets[subjects.bucket(&topic) as usize] += 1;
            streams[usize::from(subjects.stream(&topic))] += 1;
        }
        assert!(buckets.iter().all(|count| (20..400).contains(count)));
        assert!(streams.iter().all(|count| (20_000..30_000).contains(count)));
    }
}
