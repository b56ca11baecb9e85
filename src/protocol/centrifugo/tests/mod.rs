//! The codec against tables of what is on the wire, byte for byte, and against
//! plain readers of the same.

mod commands;
mod payloads;
mod properties;
mod protobuf_commands;
mod protobuf_replies;
mod replies;
mod wire;

use super::*;
use crate::protocol::encoding::{Extras, Message};

/// A message of the log.
fn message<'a>(text: bool, payload: &'a [u8]) -> Message<'a> {
    Message {
        topic: "news",
        epoch: 7,
        offset: 42,
        time_ms: 1_700_000_000_000,
        text,
        payload,
        extras: None,
    }
}

/// A publication as subscribers get it, within its bound.
fn published(coding: Coding, message: &Message<'_>) -> Vec<u8> {
    let bound = publication_bound(coding, message);
    let mut out = vec![0xAA; bound];
    let len = write_publication(coding, message, &mut out).len;
    out.truncate(len);
    out
}

fn json(text: &str) -> Data {
    Data {
        text: true,
        bytes: text.as_bytes().to_vec(),
    }
}

fn bytes(bytes: &[u8]) -> Data {
    Data {
        text: false,
        bytes: bytes.to_vec(),
    }
}
