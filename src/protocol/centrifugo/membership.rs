//! Who comes to a topic and goes: messages of their own log, and the pushes that all who
//! hear of them share.

use prost::Message as _;

use super::push::{ENVELOPE_BYTES_MAX, INFO_GROWTH};
use super::reply::{ClientInfo, Push};
use super::request::Coding;
use super::{json_out, protobuf_out};
use crate::protocol::encoding::Message;
use crate::protocol::json::{Slice, string_bound};

/// What has become of somebody in a topic: the first byte of a message; what follows is the
/// [`ClientInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Membership {
    /// Gone, though the user has other connections there, or nobody counts them.
    Left = 0,
    /// Come, though the user had connections there before, or nobody counts them.
    Joined = 1,
    /// Gone, with the user's last connection.
    LastLeft = 2,
    /// Come, as the user's first connection.
    FirstJoined = 3,
}

impl Membership {
    const ALL: [Membership; 4] = [
        Membership::Left,
        Membership::Joined,
        Membership::LastLeft,
        Membership::FirstJoined,
    ];

    pub fn joins(is_first: bool) -> Membership {
        match is_first {
            true => Membership::FirstJoined,
            false => Membership::Joined,
        }
    }

    pub fn leaves(is_last: bool) -> Membership {
        match is_last {
            true => Membership::LastLeft,
            false => Membership::Left,
        }
    }
}

/// A message that says that a client has come, or gone.
pub fn membership(what: Membership, info: &ClientInfo) -> Vec<u8> {
    let mut message = vec![what as u8];
    info.encode(&mut message).expect("a vector takes all");
    message
}

/// What such a message says.
pub(in crate::protocol) fn read_membership(payload: &[u8]) -> Option<(Membership, ClientInfo)> {
    let (what, info) = payload.split_first()?;
    let what = Membership::ALL.get(usize::from(*what))?;
    Some((*what, ClientInfo::decode(info).ok()?))
}

/// An upper bound of what [`write_membership`] writes.
pub fn membership_bound(message: &Message<'_>) -> usize {
    ENVELOPE_BYTES_MAX
        + string_bound(message.topic.as_bytes())
        + INFO_GROWTH * message.payload.len()
}

/// Writes the push of what [`membership`] made to the start of `out`, which has as many bytes
/// as [`membership_bound`] said, and returns how many were written.
pub fn write_membership(coding: Coding, message: &Message<'_>, out: &mut [u8]) -> usize {
    let read = read_membership(message.payload);
    let (what, info) = &read.expect("only `membership` makes them");
    let channel = message.topic;
    let push = match what {
        Membership::Joined | Membership::FirstJoined => Push::Join { channel, info },
        Membership::Left | Membership::LastLeft => Push::Leave { channel, info },
    };
    let mut sink = Slice::new(out);
    match coding {
        Coding::Json => json_out::push(&mut sink, &push),
        Coding::Protobuf => protobuf_out::push(&mut sink, &push),
    }
    sink.written().len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::centrifugo::write_push;

    #[test]
    fn a_shared_push_is_the_bytes_of_one_for_a_single_client() {
        let infos = [
            ClientInfo::default(),
            ClientInfo {
                user: "\u{1}\"".repeat(40),
                client: "c".into(),
                conn_info: br#"{"name":"Ann"}"#.to_vec(),
                chan_info: vec![0xff; 70],
            },
        ];
        for info in &infos {
            for what in Membership::ALL {
                let payload = membership(what, info);
                let message = Message {
                    topic: "room\n1",
                    epoch: 1,
                    offset: 1,
                    time_ms: 1,
                    text: false,
                    payload: &payload,
                    extras: None,
                };
                let channel = message.topic;
                let push = match what {
                    Membership::Joined | Membership::FirstJoined => Push::Join { channel, info },
                    Membership::Left | Membership::LastLeft => Push::Leave { channel, info },
                };
                for coding in [Coding::Json, Coding::Protobuf] {
                    let mut alone = Vec::new();
                    write_push(coding, &push, &mut alone);
                    let mut out = vec![0; membership_bound(&message)];
                    let len = write_membership(coding, &message, &mut out);
                    assert_eq!(out[..len], alone);
                }
            }
        }
    }
}
