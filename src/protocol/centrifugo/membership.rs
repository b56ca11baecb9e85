//! Who comes to a topic and goes: the pushes that all who hear of them share.

use super::push::{ENVELOPE_BYTES_MAX, INFO_GROWTH};
use super::reply::Push;
use super::request::Coding;
use super::{json_out, protobuf_out};
use crate::protocol::encoding::Message;
use crate::protocol::json::{Slice, string_bound};
use crate::protocol::member::{Membership, read_membership};

/// An upper bound of what [`write_membership`] writes.
pub fn membership_bound(message: &Message<'_>) -> usize {
    ENVELOPE_BYTES_MAX
        + string_bound(message.topic.as_bytes())
        + INFO_GROWTH * message.payload.len()
}

/// Writes the push of what [`membership`](crate::protocol::member::membership) made to the start of `out`, which has as many bytes
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
    use crate::protocol::member::{ClientInfo, membership};

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
