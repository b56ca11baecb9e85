//! How payloads look in JSON.
//!
//! A payload is JSON, other text or bytes. JSON readers get JSON as it is, other
//! text as a JSON string and bytes as a JSON string of base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::reader::is_json;
use super::scan::{line_len, plain_len};
use super::sink::Sink;

/// A payload of which is known what it is.
#[derive(Clone, Copy)]
pub(in crate::protocol) enum Payload<'a> {
    Json(&'a [u8]),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// `text`: the bytes are UTF-8 that was meant as text.
    pub(in crate::protocol) fn new(text: bool, bytes: &'a [u8]) -> Payload<'a> {
        match text {
            true if is_json(bytes) => Payload::Json(bytes),
            true => Payload::Text(bytes),
            false => Payload::Bytes(bytes),
        }
    }

    /// What is known of a client: JSON mostly, but nothing says so. `None` if
    /// nothing is known.
    pub(in crate::protocol) fn guess(bytes: &'a [u8]) -> Option<Payload<'a>> {
        let text = simdutf8::basic::from_utf8(bytes).is_ok();
        (!bytes.is_empty()).then(|| Payload::new(text, bytes))
    }

    pub(in crate::protocol) fn put_json(self, sink: &mut dyn Sink) {
        match self {
            Payload::Json(bytes) => put_without_newlines(sink, bytes),
            Payload::Text(bytes) => put_string(sink, bytes),
            Payload::Bytes(bytes) => put_base64(sink, bytes),
        }
    }

    /// The most bytes that either coding writes for such a payload. Cheaper than
    /// to find out what it is.
    pub(in crate::protocol) fn bound(text: bool, bytes: &[u8]) -> usize {
        match text {
            true => string_bound(bytes),
            false => 2 + base64_len(bytes.len()),
        }
    }
}

/// A newline ends a message, and inside a JSON string there is none.
pub(in crate::protocol) fn put_without_newlines(sink: &mut dyn Sink, json: &[u8]) {
    let mut rest = json;
    loop {
        let (line, after) = rest.split_at(line_len(rest));
        sink.put(line);
        let Some((_, after)) = after.split_first() else {
            return;
        };
        rest = after;
    }
}

/// Writes UTF-8 as a JSON string.
pub(in crate::protocol) fn put_string(sink: &mut dyn Sink, text: &[u8]) {
    sink.put(b"\"");
    let mut rest = text;
    loop {
        let (plain, after) = rest.split_at(plain_len(rest));
        sink.put(plain);
        let Some((special, after)) = after.split_first() else {
            break;
        };
        match special {
            b'"' => sink.put(b"\\\""),
            b'\\' => sink.put(b"\\\\"),
            b'\n' => sink.put(b"\\n"),
            b'\r' => sink.put(b"\\r"),
            b'\t' => sink.put(b"\\t"),
            control => {
                let digit = |nibble| b"0123456789abcdef"[usize::from(nibble)];
                sink.put(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    digit(control >> 4),
                    digit(control & 15),
                ]);
            }
        }
        rest = after;
    }
    sink.put(b"\"");
}

/// [`put_string`] writes at most so many bytes.
pub(in crate::protocol) fn string_bound(text: &[u8]) -> usize {
    // Simple enough to be counted many bytes at a time.
    let escaped = text.iter().filter(|byte| matches!(byte, b'"' | b'\\'));
    let controls = text.iter().filter(|byte| **byte < 0x20);
    2 + text.len() + escaped.count() + 5 * controls.count()
}

fn put_base64(sink: &mut dyn Sink, bytes: &[u8]) {
    if sink.count(0) {
        sink.count(2 + base64_len(bytes.len()));
        return;
    }
    sink.put(b"\"");
    let mut encoded = [0; 1024];
    for piece in bytes.chunks(768) {
        let len = BASE64.encode_slice(piece, &mut encoded);
        sink.put(&encoded[..len.expect("four characters for three bytes")]);
    }
    sink.put(b"\"");
}

fn base64_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}
