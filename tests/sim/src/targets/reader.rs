//! Frames of a client, in any pieces, against the naive reading of them.

use fanfare::protocol::ws::{Event, Fault, Limits, Payload, Reader};

use super::naive::{Meaning, meanings};
use super::{pieces, split};

/// Byte 0 chooses the limits, bytes 1 to 3 cut the rest, which is what a client
/// sends.
pub fn reader(data: &[u8]) {
    let (steering, bytes) = split(data, 4);
    let first = steering.first().copied().unwrap_or(0);
    let limits = Limits {
        message_bytes_max: [0, 10, 200, 70_000][usize::from(first & 3)],
        deflate: first & 4 > 0,
    };
    let wanted = meanings(bytes, limits.message_bytes_max, limits.deflate);
    assert_eq!(read(&[bytes], &limits), wanted, "in one piece");
    let cuts = steering.get(1..).unwrap_or_default();
    assert_eq!(read(&pieces(bytes, cuts), &limits), wanted, "in pieces");
}

fn read(pieces: &[&[u8]], limits: &Limits) -> Vec<Meaning> {
    let mut reader = Reader::new();
    let mut found = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            let meaning = match reader.next(&mut input, limits) {
                Ok(Some(event)) => meaning(event),
                Ok(None) => break,
                Err(fault) => Meaning::Fault(fault.code()),
            };
            let ended = matches!(meaning, Meaning::Fault(_) | Meaning::Close(_));
            found.push(meaning);
            if ended {
                return found;
            }
        }
        assert!(input.is_empty(), "all input is taken");
        let held = reader.buffered_bytes();
        assert!(
            held <= 2 * limits.message_bytes_max + 512,
            "{held} bytes held"
        );
    }
    found
}

fn meaning(event: Event<'_>) -> Meaning {
    match event {
        Event::Message(message) => {
            let payload: Vec<u8> = match message.payload {
                Payload::Whole(bytes) => bytes.to_vec(),
                Payload::Masked { bytes, key } => {
                    let keys = key.iter().cycle();
                    let plain: Vec<u8> = bytes.iter().zip(keys).map(|(b, k)| b ^ k).collect();
                    // Who takes a masked payload checks it.
                    if message.text && !message.deflated && std::str::from_utf8(&plain).is_err() {
                        return Meaning::Fault(Fault::Utf8.code());
                    }
                    plain
                }
            };
            Meaning::Message {
                text: message.text,
                deflated: message.deflated,
                payload,
            }
        }
        Event::Ping(ping) => Meaning::Ping(ping.bytes().to_vec()),
        Event::Pong(pong) => Meaning::Pong(pong.bytes().to_vec()),
        Event::Close(close) => Meaning::Close(close.map(|close| close.code)),
    }
}
