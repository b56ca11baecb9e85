//! What a topic really says: every message as it stands in the log, noted once
//! when it was published.

use std::net::SocketAddr;
use std::sync::Arc;

use fanfare::log::{Topic, Window};
use fanfare::protocol::encoding::Format;

use crate::codec::server_frame;

/// Who published a message, told from its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Message `n` of a client that is no chat user.
    Client {
        id: u32,
        n: u32,
    },
    /// Message `n` of a chat user, as the line that all see.
    Said {
        id: u32,
        n: u32,
    },
    /// Message `n` of a session.
    Session {
        id: u32,
        n: u32,
    },
    /// Event `n` of a client of an app.
    Subscriber {
        id: u32,
        n: u32,
    },
    Welcome(u16),
    Logout(u16),
    Admin,
    /// An empty message says nothing of itself.
    Unknown,
}

impl By {
    /// It is a line of a chat.
    pub(crate) fn is_line(self) -> bool {
        matches!(self, By::Said { .. } | By::Welcome(_) | By::Logout(_))
    }
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) start: u64,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) by: By,
}

/// One history of one topic.
pub(crate) struct Truth {
    pub(crate) name: String,
    pub(crate) epoch: u64,
    /// In the order of their offsets, from 1.
    pub(crate) messages: Vec<Message>,
    /// Where the next message will lie.
    pub(crate) head: u64,
    pub(crate) frame_bytes_max: usize,
    /// Its own look at the log; without one the topic may be forgotten.
    pub(crate) watch: Option<(Arc<Topic>, Window)>,
}

impl Truth {
    pub(crate) fn new(name: &str, topic: &Arc<Topic>) -> Self {
        let mut truth = Truth {
            name: name.to_owned(),
            epoch: topic.epoch(),
            messages: Vec::new(),
            head: 0,
            frame_bytes_max: 0,
            watch: None,
        };
        truth.watch(topic.clone());
        truth
    }

    /// Begins to watch again.
    pub(crate) fn watch(&mut self, topic: Arc<Topic>) {
        let start = topic.start(Format::Raw, Some(self.next()), &EVERYTHING);
        let start = start.expect("all that the raw view has is in its reach");
        assert_eq!(start.position, self.head, "the log has moved");
        assert_eq!(start.offset, self.next(), "offsets have moved");
        self.watch = Some((topic, Window::new(start.segments)));
    }

    /// Offset of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.messages.len() as u64 + 1
    }

    pub(crate) fn message(&self, offset: u64) -> Option<&Message> {
        self.messages.get(offset as usize - 1)
    }

    /// Position of a message, or of the one to come.
    pub(crate) fn position(&self, offset: u64) -> u64 {
        self.message(offset).map_or(self.head, |m| m.start)
    }

    /// Notes what has been published since. Returns the offsets of that.
    pub(crate) fn look(&mut self) -> std::ops::Range<u64> {
        let first = self.next();
        let Some((_, window)) = &mut self.watch else {
            return first..first;
        };
        let end = window.advance();
        while self.head < end {
            let run = window.slice(self.head, end);
            let mut bytes = &run.bytes[run.from as usize..(run.from + run.len) as usize];
            while !bytes.is_empty() {
                let frame = server_frame(bytes).expect("the log holds whole frames");
                self.frame_bytes_max = self.frame_bytes_max.max(frame.len);
                self.messages.push(Message {
                    start: self.head,
                    opcode: frame.opcode,
                    payload: frame.payload.to_vec(),
                    by: who(frame.payload),
                });
                self.head += frame.len as u64;
                bytes = &bytes[frame.len..];
            }
        }
        window.release(end);
        first..self.next()
    }
}

const EVERYTHING: fanfare::log::Retention = fanfare::log::Retention {
    messages_max: u64::MAX,
    bytes_max: u64::MAX,
    age_ms_max: u64::MAX,
    bounds: fanfare::log::Bounds {
        log_bytes_max: u64::MAX,
        log_bytes_total_max: u64::MAX,
    },
};

/// What a client puts first into its message `n`.
pub(crate) fn tag(id: u32, n: usize) -> String {
    format!("m{id}.{n};")
}

/// What a session puts first into its message `n`, or into its first name if that is JSON.
pub(crate) fn posted_tag(id: u32, n: usize) -> String {
    format!("s{id}.{n}")
}

/// What a client of an app puts first into its event `n`.
pub(crate) fn event_tag(id: u32, n: usize) -> String {
    format!("e{id}.{n}")
}

/// What the admin puts first.
pub(crate) const ADMIN: &str = "admin;";

fn who(payload: &[u8]) -> By {
    if let Some((id, n)) = read_tag(payload) {
        return By::Client { id, n };
    }
    if let Some((id, n)) = read_posted_tag(payload) {
        return By::Session { id, n };
    }
    if let Some((id, n)) = numbers(payload, 'e') {
        return By::Subscriber { id, n };
    }
    if payload.starts_with(ADMIN.as_bytes()) {
        return By::Admin;
    }
    let Ok(line) = std::str::from_utf8(payload) else {
        return By::Unknown;
    };
    let port = |address: &str| address.parse().map(|a: SocketAddr| a.port()).ok();
    if let Some(port) = line
        .strip_prefix("Welcome, ")
        .and_then(|rest| port(rest.strip_suffix(" !")?))
    {
        return By::Welcome(port);
    }
    if let Some(port) = line.strip_suffix(" Logout").and_then(port) {
        return By::Logout(port);
    }
    let said = line.split_once(" say: ").and_then(|(_, text)| {
        let (id, n) = read_tag(text.as_bytes())?;
        Some(By::Said { id, n })
    });
    said.unwrap_or(By::Unknown)
}

fn read_tag(payload: &[u8]) -> Option<(u32, u32)> {
    numbers(payload, 'm')
}

/// The two numbers of a tag that begins with a letter.
fn numbers(payload: &[u8], letter: char) -> Option<(u32, u32)> {
    let end = payload.iter().take(24).position(|b| *b == b';')?;
    let tag = std::str::from_utf8(&payload[..end]).ok()?;
    let (id, n) = tag.strip_prefix(letter)?.split_once('.')?;
    Some((id.parse().ok()?, n.parse().ok()?))
}

fn read_posted_tag(payload: &[u8]) -> Option<(u32, u32)> {
    let tag = payload.strip_prefix(b"{\"").unwrap_or(payload);
    let is_end = |byte: &u8| matches!(byte, b';' | b'"');
    let end = tag.iter().take(24).position(is_end)?;
    let tag = std::str::from_utf8(&tag[..end]).ok()?;
    let (id, n) = tag.strip_prefix('s')?.split_once('.')?;
    Some((id.parse().ok()?, n.parse().ok()?))
}

/// What a chat shows of a text that is none of its lines.
pub(crate) fn marked(payload: &[u8]) -> String {
    format!(
        "[raw] {}",
        as_shown(std::str::from_utf8(payload).expect("it is text"))
    )
}

/// What a chat shows of a text, sign by sign. The clients say no signs beyond these.
pub(crate) fn as_shown(text: &str) -> String {
    let mut shown = String::new();
    for sign in text.trim_end_matches(['\r', '\n']).chars() {
        shown.push(match u32::from(sign) {
            9..=13 => ' ',
            0..=31 | 127 => '?',
            _ => sign,
        });
    }
    shown
}
