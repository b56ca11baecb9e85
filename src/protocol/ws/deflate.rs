//! permessage-deflate (RFC 7692): negotiation, and one message at a time in both
//! directions.
//!
//! The server always compresses without context takeover, so that one frame is
//! right for every client that negotiated the extension. It keeps a client's window
//! between messages only where it was told to. Called by `http::upgrade` to
//! negotiate, by the reader to inflate, and by `hub::codec` to compress.

mod envelope;

pub use envelope::{WRAP_BYTES, wrap};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::fault::Fault;

/// What ends every message and is not sent (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// An empty final block (RFC 1951 section 3.2.4): a stream that takes it for one
/// stood between two blocks.
const FINAL: [u8; 5] = [1, 0, 0, 0xff, 0xff];
/// The largest window, 32 KiB.
pub const WINDOW_BITS_MAX: u8 = 15;
/// The smallest window the compressor can be held to; 8 is declined.
pub const WINDOW_BITS_MIN: u8 = 9;
/// Output comes in pieces of this size, so that a bomb is seen early.
const BLOCK_BYTES: usize = 8 << 10;

/// What the server is willing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Clients may refer to their earlier messages, which costs 32 KiB and more
    /// for each that sends.
    pub client_takeover: bool,
}

/// What was agreed with one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The largest window for what the server sends: 9 to 15.
    pub server_window_bits: u8,
    /// The client asked for `server_max_window_bits`, and is answered.
    says_server_bits: bool,
    /// The client may refer to its earlier messages.
    pub client_takeover: bool,
}

/// Finds the first offer in `extensions`, the joined values of all
/// `Sec-WebSocket-Extensions` headers, that can be agreed to.
///
/// An offer with an unknown, repeated or invalid parameter is declined; the
/// ones behind it still count (RFC 7692 section 7.1).
pub fn negotiate(extensions: &str, policy: Policy) -> Option<Agreement> {
    split_outside_quotes(extensions, ',').find_map(|offer| agree(offer, policy))
}

fn agree(offer: &str, policy: Policy) -> Option<Agreement> {
    let mut parts = split_outside_quotes(offer, ';');
    if parts.next() != Some("permessage-deflate") {
        return None;
    }
    let (mut server_bits, mut client_bits) = (None, None);
    let (mut server_plain, mut client_plain) = (false, false);
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquote(value.trim_start())?)),
            None => (part, None),
        };
        let repeated = match (name, value) {
            ("server_no_context_takeover", None) => std::mem::replace(&mut server_plain, true),
            ("client_no_context_takeover", None) => std::mem::replace(&mut client_plain, true),
            ("server_max_window_bits", Some(bits)) => {
                server_bits.replace(window_bits(bits)?).is_some()
            }
            // A hint that the client could do with less; it is not asked to.
            ("client_max_window_bits", None) => client_bits.replace(WINDOW_BITS_MAX).is_some(),
            ("client_max_window_bits", Some(bits)) => {
                client_bits.replace(window_bits(bits)?).is_some()
            }
            _ => return None,
        };
        if repeated {
            return None;
        }
    }
    if server_bits.is_some_and(|bits| bits < WINDOW_BITS_MIN) {
        return None;
    }
    Some(Agreement {
        server_window_bits: server_bits.unwrap_or(WINDOW_BITS_MAX),
        says_server_bits: server_bits.is_some(),
        client_takeover: policy.client_takeover && !client_plain,
    })
}

impl Agreement {
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub fn answer(&self) -> String {
        let mut answer = String::from("permessage-deflate; server_no_context_takeover");
        if !self.client_takeover {
            answer.push_str("; client_no_context_takeover");
        }
        if self.says_server_bits {
            answer.push_str("; server_max_window_bits=");
            answer.push_str(&self.server_window_bits.to_string());
        }
        answer
    }
}

/// 8 to 15 without leading zeros (RFC 7692 section 7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [b'8' | b'9'] | [b'1', b'0'..=b'5'] => value.parse().ok(),
        _ => None,
    }
}

fn unquote(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').filter(|inner| !inner.is_empty()),
        None => Some(value).filter(|value| !value.is_empty()),
    }
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .map(str::trim)
}

/// Compresses whole messages, each on its own.
pub struct Deflater {
    compress: Compress,
    level: Compression,
    window_bits: u8,
    out: Vec<u8>,
}

impl Deflater {
    /// `level` is 1, fast, to 9, small.
    pub fn new(level: u32) -> Self {
        let level = Compression::new(level);
        Deflater {
            compress: Compress::new_with_window_bits(level, false, WINDOW_BITS_MAX),
            level,
            window_bits: WINDOW_BITS_MAX,
            out: Vec::new(),
        }
    }

    /// Compresses at `level` from the next message on.
    pub fn set_level(&mut self, level: u32) {
        let level = Compression::new(level);
        if level != self.level {
            self.level = level;
            self.compress = Compress::new_with_window_bits(level, false, self.window_bits);
        }
    }

    /// Length of the message that was compressed last.
    pub fn total_in(&self) -> u64 {
        self.compress.total_in()
    }

    /// The payload of a frame with RSV1 that stands for `message`, if it is
    /// shorter. It refers back at most 2^`window_bits` bytes.
    pub fn deflate(&mut self, message: &[u8], window_bits: u8) -> Option<&[u8]> {
        if window_bits != self.window_bits {
            self.window_bits = window_bits;
            self.compress = Compress::new_with_window_bits(self.level, false, window_bits);
        } else {
            self.compress.reset();
        }
        // There is room for all that comes out, though longer than the message is
        // of no use: what a stream could not write stays in it when it is reset,
        // and after some such messages it panics for lack of room.
        let room = message.len() + message.len() / 16 + 64;
        self.out.clear();
        self.out.reserve(room);
        let status = self
            .compress
            .compress_vec(message, &mut self.out, FlushCompress::Sync)
            .ok()?;
        let all_in = self.compress.total_in() == message.len() as u64;
        let flushed = status == Status::Ok && self.out.ends_with(&TAIL);
        if !(all_in && flushed) {
            // It holds something back.
            self.compress = Compress::new_with_window_bits(self.level, false, window_bits);
        }
        let len = self.out.len().checked_sub(TAIL.len())?;
        let shorter = all_in && flushed && len < message.len();
        shorter.then(|| &self.out[..len])
    }
}

/// Inflates whole messages of one client, or of many that send without
/// context takeover.
pub struct Inflater {
    decompress: Decompress,
    /// The last bytes that came out, where the window outlives a message.
    window: Option<Vec<u8>>,
    /// Where in the present message its last stream began.
    fresh_from: usize,
}

impl Default for Inflater {
    fn default() -> Self {
        Inflater {
            decompress: Decompress::new_with_window_bits(false, WINDOW_BITS_MAX),
            window: None,
            fresh_from: 0,
        }
    }
}

impl Inflater {
    /// One whose client keeps its window and has sent `window` last, as
    /// [`Inflater::window`] told.
    pub fn resume(window: &[u8]) -> Self {
        let mut inflater = Inflater {
            window: Some(Vec::new()),
            ..Inflater::default()
        };
        // Stored blocks say the same again, and bring the window along (RFC
        // 1951 section 3.2.4).
        for part in window.chunks(usize::from(u16::MAX)) {
            let len = part.len() as u16;
            let mut block = vec![0];
            block.extend_from_slice(&len.to_le_bytes());
            block.extend_from_slice(&(!len).to_le_bytes());
            block.extend_from_slice(part);
            let fed = inflater.feed(&block, usize::MAX, &mut Vec::new());
            fed.expect("a stored block is valid");
        }
        inflater.keep(window);
        inflater
    }

    /// What the client's next message may refer to: the last 32 KiB it sent.
    pub fn window(&self) -> &[u8] {
        self.window.as_deref().unwrap_or_default()
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(window) = &mut self.window {
            const WINDOW_BYTES: usize = 1 << WINDOW_BITS_MAX;
            let bytes = &bytes[bytes.len().saturating_sub(WINDOW_BYTES)..];
            let kept = WINDOW_BYTES - bytes.len();
            window.drain(..window.len().saturating_sub(kept));
            window.extend_from_slice(bytes);
        }
    }

    /// Forgets the window: the next message stands alone.
    pub fn reset(&mut self) {
        self.decompress.reset(false);
    }

    /// Puts the message that `payload` stands for into `out`, which is emptied
    /// first and never holds more than `message_bytes_max` bytes.
    ///
    /// # Errors
    /// [`Fault::TooBig`] as soon as the limit is passed, [`Fault::Deflate`] if
    /// the payload is not deflate data.
    pub fn inflate(
        &mut self,
        payload: &[u8],
        message_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        out.clear();
        self.fresh_from = 0;
        let mut ended = self.feed(payload, message_bytes_max, out)?;
        if !ended {
            ended = self.feed(&TAIL, message_bytes_max, out)?;
        }
        // A message that breaks off inside a block is no shorter message. With
        // a window to keep this cannot be asked: the question ends the stream.
        let asked = self.window.is_none() && !ended;
        if asked && !self.feed(&FINAL, message_bytes_max, out)? {
            return Err(Fault::Deflate);
        }
        self.keep(&out[self.fresh_from..]);
        Ok(())
    }

    /// True if the input ended with a final block.
    fn feed(
        &mut self,
        mut input: &[u8],
        message_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, Fault> {
        let mut block = [0; BLOCK_BYTES];
        loop {
            let before = (self.decompress.total_in(), self.decompress.total_out());
            let status = self
                .decompress
                .decompress(input, &mut block, FlushDecompress::Sync)
                .map_err(|_| Fault::Deflate)?;
            let consumed = (self.decompress.total_in() - before.0) as usize;
            let produced = (self.decompress.total_out() - before.1) as usize;
            if out.len() + produced > message_bytes_max {
                return Err(Fault::TooBig);
            }
            out.extend_from_slice(&block[..produced]);
            input = &input[consumed..];
            let ended = status == Status::StreamEnd;
            if ended {
                // What follows begins a new stream (RFC 7692 section 7.2.3.5
                // shows one), which refers to nothing before.
                self.decompress.reset(false);
                self.fresh_from = out.len();
                if let Some(window) = &mut self.window {
                    window.clear();
                }
            }
            if input.is_empty() && (ended || produced < block.len()) {
                return Ok(ended);
            }
            if consumed == 0 && produced == 0 && !ended {
                return Err(Fault::Deflate);
            }
        }
    }
}

#[cfg(test)]
mod tests;
