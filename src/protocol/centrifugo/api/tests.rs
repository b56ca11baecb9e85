//! The codec of the server API against tables of what is on the wire.

use super::*;
use crate::protocol::centrifugo::{ClientInfo, Data, Publication};

const ITEMS_MAX: usize = 100;

fn one(method: Method, body: &str) -> Result<Call, Error> {
    match decode(method, body.as_bytes(), ITEMS_MAX).unwrap() {
        Request::One(call) => call,
        request @ Request::Batch(_) => panic!("{request:?}"),
    }
}

fn json(text: &str) -> Post {
    Post {
        data: Data {
            text: true,
            bytes: text.as_bytes().to_vec(),
        },
        ..Post::default()
    }
}

fn publish(channel: &str, post: Post) -> Result<Call, Error> {
    Ok(Call::Publish {
        channel: channel.to_owned(),
        post,
    })
}

#[test]
fn each_call_is_read() {
    let named = Post {
        idempotency_key: "k".to_owned(),
        ..json("{\"a\" : 1e400}")
    };
    let tagged = Post {
        tags: r#"{"a":"","b":"\"2\""}"#.to_owned(),
        ..json("1")
    };
    let binary = Post {
        data: Data {
            text: false,
            bytes: vec![1, 2, 3],
        },
        skip_history: true,
        ..Post::default()
    };
    let table = [
        (
            Method::Publish,
            "{\"channel\":\"c\",\"data\":{\"a\" :\r\n 1e400},\"idempotency_key\":\"k\",\"new\":[]}",
            publish("c", named),
        ),
        (
            Method::Publish,
            r#"{"data":null,"tags":null}"#,
            publish("", json("null")),
        ),
        (
            Method::Publish,
            r#"{"channel":"c","data":1,"tags":{"b":"\"2\"","a":null}}"#,
            publish("c", tagged),
        ),
        (
            Method::Publish,
            r#"{"channel":"c","data":"","b64data":"AQID","skip_history":true}"#,
            publish("c", binary),
        ),
        (
            Method::Publish,
            r#"{"channel":"c","b64data":"="}"#,
            Err(Error::BAD_REQUEST),
        ),
        (
            Method::Publish,
            r#"{"channel":"c"}"#,
            Err(Error::BAD_REQUEST),
        ),
        (
            Method::Broadcast,
            r#"{"channels":["a","b"],"data":"x"}"#,
            Ok(Call::Broadcast {
                channels: vec!["a".to_owned(), "b".to_owned()],
                post: json("\"x\""),
            }),
        ),
        (
            Method::Broadcast,
            r#"{"channels":[],"data":1}"#,
            Err(Error::BAD_REQUEST),
        ),
        (
            Method::History,
            r#"{"channel":"c","limit":-1,"since":{"offset":3,"epoch":"e"},"reverse":true}"#,
            Ok(Call::History {
                channel: "c".to_owned(),
                limit: -1,
                since: Some((3, "e".to_owned())),
                reverse: true,
            }),
        ),
        (
            Method::HistoryRemove,
            r#"{"channel":"c"}"#,
            Ok(Call::HistoryRemove {
                channel: "c".to_owned(),
            }),
        ),
        (
            Method::Channels,
            r#"{"pattern":"a*"}"#,
            Ok(Call::Channels {
                pattern: "a*".to_owned(),
            }),
        ),
        (Method::Info, " \n", Ok(Call::Info)),
    ];
    for (method, body, call) in table {
        assert_eq!(one(method, body), call, "{body}");
    }
}

#[test]
fn calls_about_sessions_are_read() {
    let of = || Sessions {
        user: "u".to_owned(),
        client: "c1".to_owned(),
        session: String::new(),
    };
    let terms = Terms {
        info: r#"{"a":1}"#.to_owned(),
        data: Data {
            text: false,
            bytes: vec![1, 2, 3],
        },
        expire_at: 9,
        recover_since: Some((3, "e".to_owned())),
    };
    let disconnect = |code, reason: &str, whitelist: &[&str], revoke| Call::Disconnect {
        of: of(),
        code,
        reason: reason.to_owned(),
        whitelist: whitelist.iter().map(ToString::to_string).collect(),
        revoke,
    };
    let refresh = |expire_at, info: &str| Call::Refresh {
        of: of(),
        expired: true,
        expire_at,
        info: info.to_owned(),
    };
    let table = [
        (
            Method::Subscribe,
            r#""channel":"c","b64info":"eyJhIjoxfQ==","b64data":"AQID","expire_at":9,"override":{},
                "recover_since":{"offset":3,"epoch":"e"}"#,
            Ok(Call::Subscribe {
                of: of(),
                channel: "c".to_owned(),
                terms,
            }),
        ),
        (
            Method::Subscribe,
            r#""channel":"c","info":null,"data":null,"expire_at":-1"#,
            Ok(Call::Subscribe {
                of: of(),
                channel: "c".to_owned(),
                terms: Terms {
                    data: json("null").data,
                    ..Terms::default()
                },
            }),
        ),
        (
            Method::Subscribe,
            r#""channel":"c","b64info":"AQID""#,
            Err(Error::BAD_REQUEST),
        ),
        (
            Method::Unsubscribe,
            r#""channel":"c""#,
            Ok(Call::Unsubscribe {
                of: of(),
                channel: "c".to_owned(),
            }),
        ),
        (
            Method::Disconnect,
            r#""disconnect":{"code":4000,"reason":"r"},"whitelist":["c2"]"#,
            Ok(disconnect(4000, "r", &["c2"], Revoke::default())),
        ),
        (
            Method::Disconnect,
            r#""jti":"j","not_before":8,"expire_at":9,"disconnect":null"#,
            Ok(disconnect(
                0,
                "",
                &[],
                Revoke {
                    jti: "j".to_owned(),
                    not_before: 8,
                    expire_at: 9,
                },
            )),
        ),
        (
            Method::Refresh,
            r#""expired":true,"expire_at":9,"info":[1]"#,
            Ok(refresh(9, "[1]")),
        ),
        (
            Method::PresenceStats,
            r#""channel":"c""#,
            Ok(Call::PresenceStats {
                channel: "c".to_owned(),
            }),
        ),
    ];
    for (method, members, call) in table {
        let body = format!(r#"{{"user":"u","client":"c1",{members}}}"#);
        assert_eq!(one(method, &body), call, "{body}");
    }
}

#[test]
fn the_calls_of_a_batch_keep_their_places() {
    let body = r#"{"commands":[{"info":{}},null,{"history":{},"publish":{"channel":"c","data":1}},
        {"batch":{"commands":[]}},{"presence":{}},{},{"publish":{}}],"parallel":true}"#;
    let item = |method, call| Item { method, call };
    let presence = Call::Presence {
        channel: String::new(),
    };
    let calls = vec![
        item(Some(Method::Info), Ok(Call::Info)),
        item(None, Err(Error::BAD_REQUEST)),
        item(Some(Method::Publish), publish("c", json("1"))),
        item(None, Err(Error::NOT_FOUND)),
        item(Some(Method::Presence), Ok(presence)),
        item(None, Err(Error::NOT_FOUND)),
        item(Some(Method::Publish), Err(Error::BAD_REQUEST)),
    ];
    assert_eq!(
        decode(Method::Batch, body.as_bytes(), ITEMS_MAX),
        Ok(Request::Batch(calls))
    );
}

#[test]
fn what_is_no_request_is_refused_whole() {
    let deep = "[".repeat(10_000);
    for (method, body) in [
        (Method::Info, "\x0c"),
        (Method::Publish, "null"),
        (Method::Publish, "[]"),
        (Method::Publish, "{"),
        (Method::Publish, "{} {}"),
        (Method::Publish, r#"{"channel":1}"#),
        (Method::Publish, r#"{"channel":"c","data":}"#),
        (Method::Publish, r#"{"tags":{"a":1}}"#),
        (Method::Publish, &deep),
        (Method::Broadcast, r#"{"channels":"c"}"#),
        (Method::Broadcast, r#"{"channels":["c",null]}"#),
        (Method::History, r#"{"limit":"1"}"#),
        (Method::Disconnect, r#"{"disconnect":{"code":-1}}"#),
        (Method::Disconnect, r#"{"whitelist":[1]}"#),
        (Method::Refresh, r#"{"expired":1}"#),
        (Method::Batch, r#"{"commands":{}}"#),
        (Method::Batch, r#"{"commands":[1]}"#),
        (Method::Batch, r#"{"commands":[{"publish":{"channel":1}}]}"#),
    ] {
        let start = &body[..body.len().min(60)];
        let read = decode(method, body.as_bytes(), ITEMS_MAX);
        assert_eq!(read, Err(Unreadable::BadRequest), "{start}");
    }
    let no_text = b"{\"\xff\":1}";
    assert_eq!(
        decode(Method::Info, no_text, 1),
        Err(Unreadable::BadRequest)
    );
}

#[test]
fn lists_have_so_many_items_and_no_more() {
    let list = |count, item: &str| vec![item; count].join(",");
    let bodies = |count| {
        let clients = list(count, "\"c\"");
        let broadcast = format!(r#"{{"channels":[{clients}],"data":1}}"#);
        let disconnect = format!(r#"{{"whitelist":[{clients}]}}"#);
        let commands = format!(r#"{{"commands":[{}]}}"#, list(count, "{}"));
        let inner = format!(r#"{{"commands":[{{"broadcast":{broadcast}}}]}}"#);
        [
            (Method::Broadcast, broadcast),
            (Method::Disconnect, disconnect),
            (Method::Batch, commands),
            (Method::Batch, inner),
        ]
    };
    for (method, body) in bodies(ITEMS_MAX) {
        assert!(
            decode(method, body.as_bytes(), ITEMS_MAX).is_ok(),
            "{method:?}"
        );
    }
    for (method, body) in bodies(ITEMS_MAX + 1) {
        let read = decode(method, body.as_bytes(), ITEMS_MAX);
        assert_eq!(read, Err(Unreadable::TooManyItems), "{method:?}");
    }
}

#[test]
fn answers_are_written_as_the_official_server_writes_them() {
    let receipt = |offset| Receipt {
        offset,
        epoch: "e".to_owned(),
    };
    let publication = Publication {
        data: json("{}").data,
        offset: 3,
        tags: vec![("a".to_owned(), "b".to_owned())],
        ..Publication::default()
    };
    let anna = ClientInfo {
        user: "anna".to_owned(),
        client: "x".to_owned(),
        conn_info: b"1".to_vec(),
        chan_info: Vec::new(),
    };
    let outcomes: [(Outcome, &str); 10] = [
        (Ok(Answer::Disconnected), r#"{"result":{}}"#),
        (
            Ok(Answer::Presence([anna].into())),
            r#"{"result":{"presence":{"x":{"user":"anna","client":"x","conn_info":1}}}}"#,
        ),
        (
            Ok(Answer::PresenceStats {
                num_clients: 2,
                num_users: 0,
            }),
            r#"{"result":{"num_clients":2,"num_users":0}}"#,
        ),
        (
            Ok(Answer::Published(receipt(3))),
            r#"{"result":{"offset":3,"epoch":"e"}}"#,
        ),
        (
            Ok(Answer::Broadcast(vec![
                Ok(receipt(1)),
                Err(Error::BAD_REQUEST),
            ])),
            r#"{"result":{"responses":[{"result":{"offset":1,"epoch":"e"}},{"error":{"code":107,"message":"bad request"}}]}}"#,
        ),
        (
            Ok(Answer::History {
                publications: vec![publication],
                epoch: "e".to_owned(),
                offset: 3,
            }),
            r#"{"result":{"publications":[{"data":{},"offset":3,"tags":{"a":"b"}}],"epoch":"e","offset":3}}"#,
        ),
        (Ok(Answer::HistoryRemoved), r#"{"result":{}}"#),
        (
            Ok(Answer::Channels(vec![("a\"".into(), 2), ("b".into(), 1)])),
            r#"{"result":{"channels":{"a\"":{"num_clients":2},"b":{"num_clients":1}}}}"#,
        ),
        (
            Ok(Answer::Info(vec![Node {
                uid: "u".to_owned(),
                name: "n".to_owned(),
                version: "v".to_owned(),
                num_clients: 1,
                num_users: 0,
                num_channels: 2,
                num_subs: 3,
                uptime_s: 4,
            }])),
            r#"{"result":{"nodes":[{"uid":"u","name":"n","version":"v","num_clients":1,"num_users":0,"num_channels":2,"uptime":4,"num_subs":3}]}}"#,
        ),
        (
            Err(Error::INTERNAL),
            r#"{"error":{"code":100,"message":"internal server error"}}"#,
        ),
    ];
    for (outcome, text) in outcomes {
        let mut out = Vec::new();
        write_outcome(&outcome, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
    let mut replies = Replies::default();
    let publish = Some(Method::Publish);
    replies.push(publish, &Ok(Answer::Published(receipt(3))));
    replies.push(None, &Err(Error::NOT_FOUND));
    replies.push(Some(Method::HistoryRemove), &Ok(Answer::HistoryRemoved));
    replies.push(publish, &Err(Error::BAD_REQUEST));
    assert_eq!(
        String::from_utf8(replies.finish()).unwrap(),
        r#"{"replies":[{"publish":{"offset":3,"epoch":"e"}},{"error":{"code":104,"message":"not found"}},{"history_remove":{}},{"error":{"code":107,"message":"bad request"},"publish":{"error":{"code":107,"message":"bad request"}}}]}"#
    );
    assert_eq!(Replies::default().finish(), b"{\"replies\":[]}");
}
