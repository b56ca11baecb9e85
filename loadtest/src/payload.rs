//! What the messages say: who sent them, which one it is, and when it was
//! meant to go out.

use crate::codec::{BINARY, TEXT};

/// Bytes of the stamp in a binary message.
pub const STAMP_BYTES: usize = 24;
/// A text message carries the same in hexadecimal.
pub const STAMP_CHARS: usize = 2 * STAMP_BYTES;
/// What fills a message up to its size.
const FILLER: u8 = b'.';

/// The stamp that each message starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Random per run, so that leftovers of another run are not taken for ours.
    pub run: u32,
    pub publisher: u32,
    /// From 0, without gaps, per publisher.
    pub sequence: u64,
    /// Nanoseconds since the run began at which the message was meant to be
    /// sent; latency counts from there, even when it left later.
    pub intended_ns: u64,
}

/// Messages of one kind and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub text: bool,
    pub bytes: usize,
}

impl Shape {
    /// The smallest message that has room for a stamp.
    pub fn bytes_min(text: bool) -> usize {
        if text { STAMP_CHARS } else { STAMP_BYTES }
    }

    pub fn opcode(self) -> u8 {
        if self.text { TEXT } else { BINARY }
    }

    /// Writes a message to `out`, replacing what was there.
    pub fn write(self, stamp: Stamp, out: &mut Vec<u8>) {
        let mut raw = [0; STAMP_BYTES];
        raw[..4].copy_from_slice(&stamp.run.to_be_bytes());
        raw[4..8].copy_from_slice(&stamp.publisher.to_be_bytes());
        raw[8..16].copy_from_slice(&stamp.sequence.to_be_bytes());
        raw[16..].copy_from_slice(&stamp.intended_ns.to_be_bytes());
        out.clear();
        if self.text {
            for byte in raw {
                out.push(HEX[(byte >> 4) as usize]);
                out.push(HEX[(byte & 15) as usize]);
            }
        } else {
            out.extend_from_slice(&raw);
        }
        out.resize(self.bytes.max(out.len()), FILLER);
    }

    /// The stamp of a message that arrived, or `None` if it is not one that
    /// was sent: another kind, another length, another filling.
    #[inline]
    pub fn read(self, opcode: u8, head: &[u8], last: u8, len: u64) -> Option<Stamp> {
        let stamp_len = Self::bytes_min(self.text);
        if opcode != self.opcode() || len != self.bytes as u64 || head.len() < stamp_len {
            return None;
        }
        if self.bytes > stamp_len
            && (last != FILLER || head[stamp_len..].iter().any(|&b| b != FILLER))
        {
            return None;
        }
        let mut raw = [0; STAMP_BYTES];
        if self.text {
            for (byte, pair) in raw.iter_mut().zip(head.chunks_exact(2)) {
                *byte = digit(pair[0])? << 4 | digit(pair[1])?;
            }
        } else {
            raw.copy_from_slice(&head[..STAMP_BYTES]);
        }
        let word = |at: usize| u64::from_be_bytes(raw[at..at + 8].try_into().expect("8 bytes"));
        Some(Stamp {
            run: (word(0) >> 32) as u32,
            publisher: word(0) as u32,
            sequence: word(8),
            intended_ns: word(16),
        })
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn digit(char: u8) -> Option<u8> {
    (char as char).to_digit(16).map(|digit| digit as u8)
}

/// When messages are due: evenly spread, from a fixed start, no matter how
/// late earlier ones were. That is what keeps coordinated omission out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    pub start_ns: u64,
    /// Between two messages of one publisher.
    pub interval_ns: f64,
}

impl Schedule {
    /// The schedule of one of `publishers`, which together send `per_s`
    /// messages per second and take turns.
    pub fn new(start_ns: u64, per_s: f64, publisher: u32, publishers: u32) -> Self {
        let interval_ns = 1e9 * publishers as f64 / per_s;
        let turn = publisher as f64 / publishers as f64 * interval_ns;
        Schedule {
            start_ns: start_ns + turn as u64,
            interval_ns,
        }
    }

    /// When the `nth` message is meant to go out.
    pub fn intended_ns(&self, nth: u64) -> u64 {
        self.start_ns + (nth as f64 * self.interval_ns) as u64
    }
}
