//! A message as an event. What ends a line in its text ends a line of the event, so that each
//! line is a field `data` of its own; clients join them with line feeds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::id::Place;
use crate::protocol::encoding::Message;
use crate::protocol::numbered::{topical_bound, write_topical};

const ID: &[u8] = b"id: ";
const EVENT: &[u8] = b"event: ";
const DATA: &[u8] = b"data: ";

/// The event by which the server itself tells that something is missing.
pub const GAP: &str = "gap";

/// [`write_event`] and [`write_plain_event`] write at most so many bytes.
pub fn event_bound(message: &Message<'_>) -> usize {
    let data = match message.text {
        true => {
            let ends = message.payload.iter().filter(|byte| ends_line(**byte));
            let lines = 1 + ends.count();
            message.payload.len() + lines * (DATA.len() + 1)
        }
        false => DATA.len() + base64_len(message.payload.len()) + 1,
    };
    ID.len() + Place::BYTES_MAX + 1 + name_bound(message) + data + 1
}

/// Writes a message as an event with its id to the start of `out`, and returns how long that
/// is. Bytes are one line of base64.
pub fn write_event(message: &Message<'_>, out: &mut [u8]) -> usize {
    let Message { epoch, offset, .. } = *message;
    let mut event = Event { out, len: 0 };
    event.put(ID);
    Place { epoch, offset }.write(&mut event);
    event.put(b"\n");
    event.put_plain(message);
    event.len
}

/// Writes the same without the id.
pub fn write_plain_event(message: &Message<'_>, out: &mut [u8]) -> usize {
    let mut event = Event { out, len: 0 };
    event.put_plain(message);
    event.len
}

/// [`write_events`] writes at most so many bytes.
pub fn events_bound(message: &Message<'_>) -> usize {
    name_bound(message) + DATA.len() + topical_bound(message) + 2
}

/// Writes a message as an event of one of many topics: JSON with the topic, the offset and the
/// payload.
pub fn write_events(message: &Message<'_>, out: &mut [u8]) -> usize {
    let mut event = Event { out, len: 0 };
    event.put_name(message);
    event.put(DATA);
    event.len += write_topical(message, &mut event.out[event.len..]);
    event.put(b"\n\n");
    event.len
}

fn name_bound(message: &Message<'_>) -> usize {
    name(message).map_or(0, |name| EVENT.len() + name.len() + 1)
}

/// The name of its event. An empty one is that of events without a name, and what the server
/// says itself is not for publishers to say.
fn name<'a>(message: &Message<'a>) -> Option<&'a str> {
    let name = message.extras?.event?;
    (!name.is_empty() && name != GAP).then_some(name)
}

fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn base64_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

/// The start of a slice that is long enough.
struct Event<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Event<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The name and the payload, and the end of the event.
    fn put_plain(&mut self, message: &Message<'_>) {
        self.put_name(message);
        match message.text {
            true => self.put_lines(message.payload),
            false => {
                self.put(DATA);
                let room = &mut self.out[self.len..];
                let len = BASE64.encode_slice(message.payload, room);
                self.len += len.expect("four characters for three bytes");
                self.put(b"\n");
            }
        }
        self.put(b"\n");
    }

    fn put_name(&mut self, message: &Message<'_>) {
        let Some(name) = name(message) else { return };
        self.put(EVENT);
        let begins = self.len;
        self.put(name.as_bytes());
        // Names are checked where they come in. One that ended the line would make what is
        // behind it a field of the publisher's own.
        for byte in &mut self.out[begins..self.len] {
            if ends_line(*byte) {
                *byte = b' ';
            }
        }
        self.put(b"\n");
    }

    fn put_lines(&mut self, text: &[u8]) {
        let mut rest = text;
        loop {
            let len = rest.iter().position(|byte| ends_line(*byte));
            let (line, behind) = rest.split_at(len.unwrap_or(rest.len()));
            self.put(DATA);
            self.put(line);
            self.put(b"\n");
            rest = match behind {
                [] => return,
                [b'\r', b'\n', behind @ ..] | [_, behind @ ..] => behind,
            };
        }
    }
}

impl std::io::Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
