//! What clients are sent in the binary coding, as prost reads it.

use prost::Message as _;

use super::wire::{self, Nothing};
use super::*;

fn written(bytes: &[u8]) -> wire::Reply {
    let mut rest = bytes;
    let reply = wire::Reply::decode_length_delimited(&mut rest).unwrap();
    assert!(rest.is_empty());
    // Nothing was written that prost would leave out, or that it does not know.
    assert_eq!(reply.encode_length_delimited_to_vec().len(), bytes.len());
    reply
}

fn replied(reply: &Reply<'_>) -> wire::Reply {
    let mut out = Vec::new();
    write_reply(Coding::Protobuf, 300, reply, &mut out);
    let mut reply = written(&out);
    assert_eq!(std::mem::take(&mut reply.id), 300);
    reply
}

fn pushed(push: &Push<'_>) -> wire::Push {
    let mut out = Vec::new();
    write_push(Coding::Protobuf, push, &mut out);
    written(&out).push.unwrap()
}

fn channel() -> String {
    "c".to_owned()
}

fn info() -> ClientInfo {
    ClientInfo {
        user: "u".to_owned(),
        client: "x".to_owned(),
        conn_info: b"{\n}".to_vec(),
        chan_info: b"\xff".to_vec(),
    }
}

fn wire_info() -> Option<wire::ClientInfo> {
    Some(wire::ClientInfo {
        user: "u".to_owned(),
        client: "x".to_owned(),
        conn_info: b"{\n}".to_vec(),
        chan_info: b"\xff".to_vec(),
    })
}

fn publications() -> Vec<Publication> {
    let whole = Publication {
        data: json("x".repeat(300).as_str()),
        offset: 1 << 40,
        info: Some(info()),
        tags: vec![
            ("k".to_owned(), String::new()),
            ("l".to_owned(), "v".to_owned()),
        ],
        time_ms: 5,
        channel: channel(),
    };
    let small = Publication {
        data: bytes(b"\0"),
        offset: 1,
        ..Publication::default()
    };
    vec![whole, small]
}

fn wire_publications() -> Vec<wire::Publication> {
    let whole = wire::Publication {
        data: format!("\"{}\"", "x".repeat(300)).into_bytes(),
        info: wire_info(),
        offset: 1 << 40,
        tags: [
            ("k".to_owned(), String::new()),
            ("l".to_owned(), "v".to_owned()),
        ]
        .into(),
        delta: false,
        time: 5,
        channel: channel(),
    };
    let small = wire::Publication {
        data: vec![0],
        offset: 1,
        ..wire::Publication::default()
    };
    vec![whole, small]
}

#[test]
fn prost_reads_each_reply() {
    let subscribed = SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch: "e".to_owned(),
        offset: 41,
        was_recovering: true,
        recovered: true,
        expires: true,
        ttl: 60,
        publications: publications(),
        data: Some(json("{}")),
    };
    let wire_subscribed = wire::SubscribeResult {
        expires: true,
        ttl: 60,
        recoverable: true,
        epoch: "e".to_owned(),
        publications: wire_publications(),
        recovered: true,
        offset: 41,
        positioned: true,
        data: b"{}".to_vec(),
        was_recovering: true,
        delta: false,
        id: 0,
    };
    let subs = [(channel(), subscribed.clone())];
    let data = bytes(b"\xff");
    let connected = ConnectResult {
        client: "id",
        version: "0.1",
        ping_s: 25,
        pong: true,
        expires: true,
        ttl: 3600,
        data: Some(&data),
        subs: &subs,
    };
    let empty = wire::Reply::default;
    let table = [
        (
            Reply::Connect(&connected),
            wire::Reply {
                connect: Some(wire::ConnectResult {
                    client: "id".to_owned(),
                    version: "0.1".to_owned(),
                    expires: true,
                    ttl: 3600,
                    data: b"\xff".to_vec(),
                    subs: [(channel(), wire_subscribed.clone())].into(),
                    ping: 25,
                    pong: true,
                    flag: 0,
                }),
                ..empty()
            },
        ),
        (
            Reply::Subscribe(&subscribed),
            wire::Reply {
                subscribe: Some(wire_subscribed),
                ..empty()
            },
        ),
        (
            Reply::Subscribe(&SubscribeResult::default()),
            wire::Reply {
                subscribe: Some(wire::SubscribeResult::default()),
                ..empty()
            },
        ),
        (
            Reply::Unsubscribe,
            wire::Reply {
                unsubscribe: Some(Nothing {}),
                ..empty()
            },
        ),
        (
            Reply::Publish,
            wire::Reply {
                publish: Some(Nothing {}),
                ..empty()
            },
        ),
        (
            Reply::Presence(&[info()]),
            wire::Reply {
                presence: Some(wire::PresenceResult {
                    presence: [("x".to_owned(), wire_info().unwrap())].into(),
                }),
                ..empty()
            },
        ),
        (
            Reply::PresenceStats {
                num_clients: 2,
                num_users: 1,
            },
            wire::Reply {
                presence_stats: Some(wire::PresenceStatsResult {
                    num_clients: 2,
                    num_users: 1,
                }),
                ..empty()
            },
        ),
        (
            Reply::History {
                publications: &publications(),
                epoch: "e",
                offset: 9,
            },
            wire::Reply {
                history: Some(wire::HistoryResult {
                    publications: wire_publications(),
                    epoch: "e".to_owned(),
                    offset: 9,
                }),
                ..empty()
            },
        ),
        (
            Reply::Refresh {
                client: "id",
                version: "0.1",
                expires: true,
                ttl: u32::MAX,
            },
            wire::Reply {
                refresh: Some(wire::RefreshResult {
                    client: "id".to_owned(),
                    version: "0.1".to_owned(),
                    expires: true,
                    ttl: u32::MAX,
                }),
                ..empty()
            },
        ),
        (
            Reply::SubRefresh {
                expires: true,
                ttl: 1,
            },
            wire::Reply {
                sub_refresh: Some(wire::Expiry {
                    expires: true,
                    ttl: 1,
                }),
                ..empty()
            },
        ),
        (
            Reply::Error(Error::INTERNAL),
            wire::Reply {
                error: Some(wire::Error {
                    code: 100,
                    message: "internal server error".to_owned(),
                    temporary: true,
                }),
                ..empty()
            },
        ),
    ];
    for (reply, expected) in table {
        assert_eq!(replied(&reply), expected);
    }
}

#[test]
fn prost_reads_each_push() {
    let (info, data) = (info(), json("[1]"));
    let on_channel = || wire::Push {
        channel: channel(),
        ..wire::Push::default()
    };
    let table = [
        (
            Push::Join {
                channel: "c",
                info: &info,
            },
            wire::Push {
                join: Some(wire::Info { info: wire_info() }),
                ..on_channel()
            },
        ),
        (
            Push::Leave {
                channel: "c",
                info: &info,
            },
            wire::Push {
                leave: Some(wire::Info { info: wire_info() }),
                ..on_channel()
            },
        ),
        (
            Push::Unsubscribe {
                channel: "c",
                code: 2500,
                reason: "r",
            },
            wire::Push {
                unsubscribe: Some(wire::Unsubscribe {
                    code: 2500,
                    reason: "r".to_owned(),
                }),
                ..on_channel()
            },
        ),
        (
            Push::Subscribe {
                channel: "c",
                recoverable: true,
                positioned: true,
                epoch: "e",
                offset: 1,
                data: Some(&data),
            },
            wire::Push {
                subscribe: Some(wire::Subscribe {
                    recoverable: true,
                    epoch: "e".to_owned(),
                    offset: 1,
                    positioned: true,
                    data: b"[1]".to_vec(),
                }),
                ..on_channel()
            },
        ),
        (
            Push::Message { data: &data },
            wire::Push {
                message: Some(wire::Payload {
                    data: b"[1]".to_vec(),
                }),
                ..wire::Push::default()
            },
        ),
        (
            Push::Refresh {
                expires: true,
                ttl: 1,
            },
            wire::Push {
                refresh: Some(wire::Expiry {
                    expires: true,
                    ttl: 1,
                }),
                ..wire::Push::default()
            },
        ),
        (
            Push::Disconnect {
                code: 3005,
                reason: "expired",
                reconnect: true,
            },
            wire::Push {
                disconnect: Some(wire::Disconnect {
                    code: 3005,
                    reason: "expired".to_owned(),
                    reconnect: true,
                }),
                ..wire::Push::default()
            },
        ),
    ];
    for (push, expected) in table {
        assert_eq!(pushed(&push), expected);
    }
}

#[test]
fn protobuf_readers_get_json_and_bytes_as_they_are_and_other_text_as_json() {
    let table: [(bool, &[u8], &[u8]); 8] = [
        (true, b"{\"a\":\n1}", b"{\"a\":\n1}"),
        (true, b"Kick-off!", b"\"Kick-off!\""),
        (true, b"\"", b"\"\\\"\""),
        (true, b"", b"\"\""),
        (false, b"", b""),
        (false, b"{}", b"{}"),
        (false, b"Kick-off!", b"Kick-off!"),
        (false, b"\xff\0", b"\xff\0"),
    ];
    let encoded = encode_info(&info());
    let extras = Extras {
        info: &encoded,
        tags: "{\"b\":\"2\",\"a\":\"\"}",
        ..Extras::default()
    };
    for (text, payload, data) in table {
        let message = Message {
            extras: Some(extras),
            ..message(text, payload)
        };
        let push = written(&published(Coding::Protobuf, &message))
            .push
            .unwrap();
        let expected = wire::Publication {
            data: data.to_vec(),
            info: wire_info(),
            offset: 42,
            tags: [
                ("a".to_owned(), String::new()),
                ("b".to_owned(), "2".to_owned()),
            ]
            .into(),
            ..wire::Publication::default()
        };
        assert_eq!(push.channel, "news");
        assert_eq!(push.publication.as_ref(), Some(&expected));
        let again = Reply::History {
            publications: &[publication(&message)],
            epoch: "",
            offset: 0,
        };
        assert_eq!(replied(&again).history.unwrap().publications, [expected]);
    }
}
