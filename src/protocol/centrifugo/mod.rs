//! The codec of Centrifugo's client protocol, in both of its codings: the bytes of
//! a message become commands ([`Requests`]), replies and pushes become bytes.
//!
//! It says what is written, never whether it may be: it knows no connection, no
//! rights and no order. How payloads look to whom stands in `payload`.
//!
//! Messages and field numbers are those of `definitions/client.proto` of
//! centrifugal/protocol. What belongs to subscriptions to maps and shared polls, to
//! deltas, filters and compression by dictionary is neither kept nor written.

pub mod api;
mod json_in;
mod json_out;
mod membership;
mod payload;
mod protobuf_in;
mod protobuf_out;
mod push;
mod reply;
mod request;
mod requests;
#[cfg(test)]
mod tests;
mod view;

pub(in crate::protocol) use self::api::tags;

pub use super::json::{BadRequest, Written};
pub use super::member::{ClientInfo, Membership, encode_info, membership};
pub(in crate::protocol) use json_in::data;
pub(in crate::protocol) use json_out::strings;
pub use membership::{membership_bound, write_membership};
pub use payload::written;
pub use push::{publication, publication_bound, write_publication};
pub use reply::{ConnectResult, Error, Publication, Push, Reply, SubscribeResult};
pub use request::{Coding, Command, Connect, Data, Request, Subscribe};
pub use requests::Requests;

/// All commands of one WebSocket message, in order, if each can be read.
pub fn decode(coding: Coding, message: &[u8]) -> Result<Vec<Request>, BadRequest> {
    Requests::of(coding, message).collect()
}

/// Appends the reply to the command with that id.
pub fn write_reply(coding: Coding, id: u32, reply: &Reply<'_>, out: &mut Vec<u8>) {
    match coding {
        Coding::Json => json_out::reply(out, id, reply),
        Coding::Protobuf => protobuf_out::reply(out, id, reply),
    }
}

/// What has been written without the end of its last line: in JSON that stands between
/// lines, and none follows in a message.
pub fn alone(coding: Coding, message: &[u8]) -> &[u8] {
    match coding {
        Coding::Json => message.strip_suffix(b"\n").unwrap_or(message),
        Coding::Protobuf => message,
    }
}

/// Appends a push.
pub fn write_push(coding: Coding, push: &Push<'_>, out: &mut Vec<u8>) {
    match coding {
        Coding::Json => json_out::push(out, push),
        Coding::Protobuf => protobuf_out::push(out, push),
    }
}

/// What the server sends to hear whether a client is there.
pub const fn ping(coding: Coding) -> &'static [u8] {
    match coding {
        Coding::Json => b"{}",
        Coding::Protobuf => b"\0",
    }
}
