//! The log as a whole, against a plain list of messages.

mod model;
mod order;
mod room;
mod saved;
mod views;

use std::convert::Infallible;
use std::sync::Arc;

use fastrand::Rng;

use super::*;
use crate::protocol::encoding::{self, Encoding, Extras, Format, HEADER_BYTES_MAX, Message};
use crate::protocol::ws::Opcode;
use crate::protocol::ws::frame;

const RETAIN_ALL: Retention = Retention {
    messages_max: u64::MAX,
    bytes_max: u64::MAX,
    age_ms_max: u64::MAX,
    bounds: Bounds {
        log_bytes_max: u64::MAX,
        log_bytes_total_max: u64::MAX,
    },
};

const SMALL: Format = Format::Deflated(encoding::Plain::Raw, 9);
const LARGE: Format = Format::Deflated(encoding::Plain::Raw, 15);

/// Under Miri, which is hundreds of times slower, a few rounds will do.
const fn rounds(count: u32) -> u32 {
    if cfg!(miri) {
        count.div_ceil(100)
    } else {
        count
    }
}

fn topic() -> (Arc<Topic>, Arc<Arenas>) {
    let arenas = Arenas::new();
    let topic = Topic::new("t".into(), 7, 1, arenas.clone());
    (Arc::new(topic), arenas)
}

/// Raw messages as frames; in other formats half of the payload, the offset and
/// how long the rare parts are, or nothing for what begins with a zero.
struct Plain;

impl Encoding for Plain {
    fn header(&self, text: bool, len: usize, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let out = out.first_chunk_mut().unwrap();
        frame::encode(out, opcode, false, len)
    }

    fn bound(&mut self, _: Format, message: &Message<'_>) -> usize {
        message.payload.len() + 17
    }

    fn write(&mut self, format: Format, message: &Message<'_>, out: &mut [u8]) -> usize {
        let bytes = written(format, message);
        out[..bytes.len()].copy_from_slice(&bytes);
        bytes.len()
    }
}

fn written(format: Format, message: &Message<'_>) -> Vec<u8> {
    if message.payload.first() == Some(&0) {
        return Vec::new();
    }
    let half = &message.payload[..message.payload.len() / 2];
    let extras = message.extras.map_or(0, |extras| extras.encoded_len());
    let mut bytes = vec![format.index()];
    bytes.extend_from_slice(half);
    bytes.extend_from_slice(&message.offset.to_le_bytes());
    bytes.extend_from_slice(&(extras as u64).to_le_bytes());
    bytes
}

fn draft(len: usize) -> Draft<'static> {
    Draft {
        text: false,
        len,
        now_ms: 0,
        offset: None,
        extras: None,
    }
}

fn publish_as(
    topic: &Topic,
    draft: Draft<'_>,
    payload: &[u8],
    retention: &Retention,
) -> Result<Committed, AppendError<Infallible>> {
    let draft = Draft {
        len: payload.len(),
        ..draft
    };
    topic.publish(&draft, retention, &mut Plain, |room| {
        room.copy_from_slice(payload);
        Ok(())
    })
}

fn publish_at(
    topic: &Topic,
    payload: &[u8],
    now_ms: u64,
    retention: &Retention,
) -> Result<Committed, AppendError<Infallible>> {
    let draft = Draft { now_ms, ..draft(0) };
    publish_as(topic, draft, payload, retention)
}

fn publish(topic: &Topic, payload: &[u8], retention: &Retention) -> Committed {
    publish_at(topic, payload, 0, retention).unwrap()
}

/// The frame of a message, as everyone is to read it.
fn frame_of(payload: &[u8]) -> Vec<u8> {
    let mut header = [0; 10];
    let len = frame::encode(&mut header, Opcode::Binary, false, payload.len());
    [&header[..len], payload].concat()
}

fn window(topic: &Topic, since: u64, retention: &Retention) -> (Window, u64, u64) {
    let start = topic.start(Format::Raw, Some(since), retention).unwrap();
    (Window::new(start.segments), start.position, start.offset)
}

/// All bytes from `position` to the present end.
fn read(window: &mut Window, mut position: u64) -> Vec<u8> {
    let end = window.advance();
    let mut bytes = Vec::new();
    while position < end {
        let run = window.slice(position, end);
        assert!(run.len > 0, "a run leads on");
        bytes.extend_from_slice(run.as_bytes());
        position += u64::from(run.len);
    }
    bytes
}

/// Lengths that lie around everything that matters.
fn random_payload(random: &mut Rng) -> Vec<u8> {
    let len = match random.u8(..8) {
        0 => random.usize(..4),
        1 => random.usize(120..130),
        2 => random.usize(4070..4100),
        3 => random.usize(SEGMENT_BYTES_MIN - 40..SEGMENT_BYTES_MIN + 20),
        4 if random.u8(..20) == 0 => random.usize(SEGMENT_BYTES_MAX - 40..SEGMENT_BYTES_MAX + 99),
        4 => random.usize(65_500..65_545),
        _ => random.usize(..300),
    };
    vec![random.u8(..); len]
}

/// Reaches back as far as it goes, with `between` after each step.
fn reach(
    topic: &Arc<Topic>,
    format: Format,
    since: u64,
    retention: &Retention,
    mut between: impl FnMut(),
) -> Start {
    let raw = topic.start_held(Format::Raw, since);
    let mut run = topic.reach(format, &raw).expect("nobody else");
    loop {
        match run.step(&mut Plain, 1000, &retention.bounds) {
            Reached::Done(start) => break start,
            Reached::NotYet => between(),
        }
    }
}
