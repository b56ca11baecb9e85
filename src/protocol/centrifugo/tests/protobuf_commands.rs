//! What clients write in the binary coding, as prost writes it.

use prost::Message as _;

use super::wire::{self, Nothing};
use super::*;

fn decoded(command: &wire::Command) -> Result<Vec<Request>, BadRequest> {
    decode(Coding::Protobuf, &command.encode_length_delimited_to_vec())
}

fn one(id: u32, command: Command) -> Result<Vec<Request>, BadRequest> {
    Ok(vec![Request { id, command }])
}

fn channel() -> String {
    "c".to_owned()
}

fn channel_message() -> Option<wire::Channel> {
    Some(wire::Channel { channel: channel() })
}

#[test]
fn each_command_is_read_from_protobuf() {
    let subscribe = wire::SubscribeRequest {
        channel: channel(),
        token: "t".to_owned(),
        recover: true,
        epoch: "e".to_owned(),
        offset: u64::MAX,
        data: b"x".to_vec(),
        positioned: true,
        recoverable: true,
        join_leave: true,
        delta: "fossil".to_owned(),
        tf: Some(wire::FilterNode::default()),
        flag: -3,
        kind: 1,
        phase: 1,
        cursor: "x".to_owned(),
        limit: 1,
        asc: true,
    };
    let read = Subscribe {
        channel: channel(),
        token: "t".to_owned(),
        recover: true,
        epoch: "e".to_owned(),
        offset: u64::MAX,
        positioned: true,
        recoverable: true,
        join_leave: true,
        flag: -3,
        delta: "fossil".to_owned(),
        tf: true,
        kind: 1,
    };
    let empty = wire::Command::default;
    let table = [
        (empty(), Command::Pong),
        (
            wire::Command {
                connect: Some(wire::ConnectRequest {
                    token: "t".to_owned(),
                    data: b"\xff".to_vec(),
                    subs: [(channel(), subscribe.clone())].into(),
                    name: "dart".to_owned(),
                    version: "1".to_owned(),
                    headers: [("x".to_owned(), "y".to_owned())].into(),
                    flag: 1,
                    dict: "d".to_owned(),
                    profile: "p".to_owned(),
                }),
                ..empty()
            },
            Command::Connect(Connect {
                token: "t".to_owned(),
                data: bytes(b"\xff"),
                name: "dart".to_owned(),
                version: "1".to_owned(),
                subs: vec![(channel(), read.clone())],
            }),
        ),
        (
            wire::Command {
                subscribe: Some(subscribe),
                ..empty()
            },
            Command::Subscribe(read),
        ),
        (
            wire::Command {
                unsubscribe: channel_message(),
                ..empty()
            },
            Command::Unsubscribe { channel: channel() },
        ),
        (
            wire::Command {
                publish: Some(wire::PublishRequest {
                    channel: channel(),
                    data: b"{\n}".to_vec(),
                    ..wire::PublishRequest::default()
                }),
                ..empty()
            },
            Command::Publish {
                channel: channel(),
                data: json("{\n}"),
            },
        ),
        (
            wire::Command {
                publish: Some(wire::PublishRequest {
                    data: b"Kick-off!".to_vec(),
                    ..wire::PublishRequest::default()
                }),
                ..empty()
            },
            Command::Publish {
                channel: String::new(),
                data: bytes(b"Kick-off!"),
            },
        ),
        (
            wire::Command {
                publish: Some(wire::PublishRequest {
                    kind: 1,
                    key: "k".to_owned(),
                    ..wire::PublishRequest::default()
                }),
                ..empty()
            },
            Command::Unknown,
        ),
        (
            wire::Command {
                presence: channel_message(),
                ..empty()
            },
            Command::Presence { channel: channel() },
        ),
        (
            wire::Command {
                presence_stats: channel_message(),
                ..empty()
            },
            Command::PresenceStats { channel: channel() },
        ),
        (
            wire::Command {
                history: Some(wire::HistoryRequest {
                    channel: channel(),
                    limit: -1,
                    since: Some(wire::StreamPosition {
                        offset: 5,
                        epoch: "e".to_owned(),
                    }),
                    reverse: true,
                }),
                ..empty()
            },
            Command::History {
                channel: channel(),
                limit: -1,
                since: Some((5, "e".to_owned())),
                reverse: true,
            },
        ),
        (
            wire::Command {
                rpc: Some(wire::RpcRequest {
                    data: b"x".to_vec(),
                    method: "m".to_owned(),
                }),
                ..empty()
            },
            Command::Rpc,
        ),
        (
            wire::Command {
                send: Some(wire::Payload {
                    data: b"1".to_vec(),
                }),
                ..empty()
            },
            Command::Send { data: json("1") },
        ),
        (
            wire::Command {
                refresh: Some(wire::RefreshRequest {
                    token: "t".to_owned(),
                }),
                ..empty()
            },
            Command::Refresh {
                token: "t".to_owned(),
            },
        ),
        (
            wire::Command {
                sub_refresh: Some(wire::SubRefreshRequest {
                    channel: channel(),
                    token: "t".to_owned(),
                    kind: 0,
                }),
                ..empty()
            },
            Command::SubRefresh {
                channel: channel(),
                token: "t".to_owned(),
            },
        ),
        (
            wire::Command {
                sub_refresh: Some(wire::SubRefreshRequest {
                    kind: 2,
                    ..wire::SubRefreshRequest::default()
                }),
                ..empty()
            },
            Command::Unknown,
        ),
        (
            wire::Command {
                ping: Some(Nothing {}),
                ..empty()
            },
            Command::Unknown,
        ),
        (
            wire::Command {
                newer: Some(Nothing {}),
                ..empty()
            },
            Command::Unknown,
        ),
        (
            wire::Command {
                unsubscribe: channel_message(),
                rpc: Some(wire::RpcRequest::default()),
                newer: Some(Nothing {}),
                ..empty()
            },
            Command::Unsubscribe { channel: channel() },
        ),
    ];
    for (mut message, command) in table {
        let without_id = match &command {
            Command::Pong | Command::Unknown if message.known_commands() == 0 => {
                one(0, Command::Pong)
            }
            Command::Send { .. } => one(0, command.clone()),
            _ => Err(BadRequest),
        };
        assert_eq!(decoded(&message), without_id, "{message:?}");
        message.id = u32::MAX;
        let with_id = match command {
            Command::Pong => Err(BadRequest),
            command => one(u32::MAX, command),
        };
        assert_eq!(decoded(&message), with_id, "{message:?}");
    }
}

impl wire::Command {
    /// How many of its commands this codec knows.
    fn known_commands(&self) -> usize {
        let known = wire::Command {
            id: 0,
            ping: None,
            newer: None,
            ..self.clone()
        };
        usize::from(known != wire::Command::default())
    }
}

#[test]
fn several_commands_are_read_in_order() {
    let rpc = |id| wire::Command {
        id,
        rpc: Some(wire::RpcRequest::default()),
        ..wire::Command::default()
    };
    let mut message = rpc(1).encode_length_delimited_to_vec();
    message.push(0);
    message.extend(rpc(2).encode_length_delimited_to_vec());
    let requests = decode(Coding::Protobuf, &message).unwrap();
    let ids: Vec<u32> = requests.iter().map(|request| request.id).collect();
    assert_eq!(ids, [1, 0, 2]);
}

#[test]
fn what_is_no_command_is_refused() {
    // A command with a nested group, so deep that no reader follows.
    let mut groups = [0xA3, 0x06].repeat(200);
    groups.extend([0xA4, 0x06].repeat(200));
    let mut deep = Vec::new();
    prost::encoding::encode_varint(groups.len() as u64, &mut deep);
    deep.extend(groups);
    let messages: [&[u8]; 12] = [
        b"",
        // Half a varint, one too long, and one of more than 64 bits.
        b"\x80",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        // A length beyond the end, of the message and of a field.
        b"\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
        b"\x04\x08\x01\x3a\x01",
        // A field with tag 0, and with a wire type that there is not.
        b"\x02\x00\x01",
        b"\x02\x0f\x01",
        // An id that is text, a channel that is no UTF-8.
        b"\x03\x0a\x01\x31",
        b"\x07\x08\x01\x32\x03\x0a\x01\xff",
        &deep,
    ];
    for message in messages {
        assert_eq!(
            decode(Coding::Protobuf, message),
            Err(BadRequest),
            "{message:?}"
        );
    }
}
