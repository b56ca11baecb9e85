//! permessage-deflate: what is offered, and what is inflated.

use fanfare::protocol::ws::Fault;
use fanfare::protocol::ws::deflate::{Deflater, Inflater, Policy, negotiate};

use flate2::{Decompress, FlushDecompress, Status};

use super::{pieces, split};
use crate::inflate::inflate as plainly;

/// Byte 0 chooses the policy, the rest is the header's value.
pub fn negotiation(data: &[u8]) {
    let (steering, bytes) = split(data, 1);
    let policy = Policy {
        client_takeover: steering.first().is_some_and(|byte| byte & 1 > 0),
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let agreed = negotiate(text, policy);
    if let Some(agreed) = agreed {
        assert!((9..=15).contains(&agreed.server_window_bits));
        assert!(policy.client_takeover || !agreed.client_takeover);
        let answer = agreed.answer();
        assert!(answer.starts_with("permessage-deflate; server_no_context_takeover"));
        // What is answered was offered, but for what a server may add.
        if answer.contains("server_max_window_bits") {
            assert!(text.contains("server_max_window_bits"));
        } else {
            assert_eq!(agreed.server_window_bits, 15);
        }
        // The answer is itself an offer that would be agreed to alike.
        let again = negotiate(&answer, policy).expect("it is well-formed");
        assert_eq!(again.server_window_bits, agreed.server_window_bits);
        assert_eq!(again.client_takeover, agreed.client_takeover);
    }
    // Quotes aside, the first offer in order that keeps to the rules is taken.
    if !text.contains('"') {
        let bits = text.split(',').find_map(rightly_offered);
        assert_eq!(agreed.map(|agreed| agreed.server_window_bits), bits);
    }
}

/// The server's window of an offer that RFC 7692 section 7.1 allows and this
/// server takes.
fn rightly_offered(offer: &str) -> Option<u8> {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next()? != "permessage-deflate" {
        return None;
    }
    let (mut seen, mut bits) = (Vec::new(), 15);
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
            None => (part, None),
        };
        let number = || {
            let known = ["8", "9", "10", "11", "12", "13", "14", "15"];
            let number = value.filter(|value| known.contains(value))?;
            number.parse::<u8>().ok()
        };
        match name {
            "server_no_context_takeover" | "client_no_context_takeover" if value.is_none() => {}
            "client_max_window_bits" if value.is_none() || number().is_some() => {}
            "server_max_window_bits" => bits = number().filter(|bits| *bits > 8)?,
            _ => return None,
        }
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    Some(bits)
}

/// Byte 0 chooses the window, bytes 1 to 3 cut messages from the rest.
pub fn inflate(data: &[u8]) {
    let (steering, bytes) = split(data, 4);
    let first = steering.first().copied().unwrap_or(0);
    let bits = 9 + first % 7;
    let mut out = Vec::new();
    // Whatever is compressed comes back, and keeps to the window.
    let mut deflater = Deflater::new(u32::from(1 + first / 7 % 9));
    let mut inflater = Inflater::default();
    for message in pieces(bytes, steering.get(1..).unwrap_or_default()) {
        // Long enough for matches, some of them from afar.
        let message = message.repeat(1 + usize::from(first));
        if let Some(payload) = deflater.deflate(&message, bits) {
            assert!(payload.len() < message.len());
            assert!(plainly(payload, bits) == message);
            inflater.reset();
            inflater
                .inflate(payload, message.len(), &mut out)
                .expect("it fits");
            assert!(out == message);
            inflater.reset();
            let short = inflater.inflate(payload, message.len() - 1, &mut out);
            assert_eq!(short, Err(Fault::TooBig));
        }
    }
    // Whatever is claimed to be compressed is taken or refused, within bounds.
    let limit = 100 + 50 * usize::from(first);
    let mut keeping = Inflater::resume(&[]);
    let mut window = Vec::new();
    for message in pieces(bytes, steering.get(1..).unwrap_or_default()) {
        if !is_whole(&window, message) {
            // Where a window is kept, nobody notices at once.
            return;
        }
        let mut resumed = Inflater::resume(keeping.window());
        let mut other = Vec::new();
        let mut out = Vec::new();
        let taken = keeping.inflate(message, limit, &mut out);
        assert!(out.len() <= limit && out.capacity() <= 2 * limit + 64);
        assert_eq!(resumed.inflate(message, limit, &mut other), taken);
        if taken.is_err() {
            return;
        }
        assert_eq!(out, other, "as if it had never been written down");
        assert_eq!(keeping.window(), resumed.window());
        window.extend_from_slice(&out);
        let newest = window.len().saturating_sub(1 << 15);
        if ends_a_stream(&window[..window.len() - out.len()], message) {
            // Only what came behind that end may be referred to.
            assert!(keeping.window().len() <= out.len() && out.ends_with(keeping.window()));
        } else {
            assert_eq!(keeping.window(), &window[newest..], "all that came before");
        }
        window = keeping.window().to_vec();
    }
}

/// Whether a compressed message that is known to be a good one has a final block.
fn ends_a_stream(window: &[u8], message: &[u8]) -> bool {
    let mut stream = Decompress::new(false);
    let mut out = Vec::with_capacity(1 << 17);
    // The tail that every message lacks may be what ends it.
    for input in [&stored(window)[..], message, &[0, 0, 0xFF, 0xFF]] {
        let status = stream.decompress_vec(input, &mut out, FlushDecompress::Sync);
        if status.expect("a good one") == Status::StreamEnd {
            return true;
        }
    }
    false
}

/// What came before, as a stored block (RFC 1951 section 3.2.4).
fn stored(window: &[u8]) -> Vec<u8> {
    let len = window.len() as u16;
    let lens = [len.to_le_bytes(), (!len).to_le_bytes()].concat();
    [&[0], &lens[..], window].concat()
}

/// Whether a compressed message ends between two blocks, as it must.
fn is_whole(window: &[u8], message: &[u8]) -> bool {
    let all = [&stored(window)[..], message].concat();
    let whole = Inflater::default().inflate(&all, usize::MAX, &mut Vec::new());
    whole.is_ok()
}
