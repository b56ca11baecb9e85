//! The codec of the server API against tables of what is on the wire.

use super::*;
use crate::protocol::centrifugo::{BadRequest, Data, Publication};

fn one(method: Method, body: &str) -> Result<Call, Error> {
    match decode(method, body.as_bytes()).unwrap() {
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
            publish("c", json("{\"a\" : 1e400}")),
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
        (
            Method::Unavailable,
            r#"{"user":"u"}"#,
            Err(Error::NOT_AVAILABLE),
        ),
    ];
    for (method, body, call) in table {
        assert_eq!(one(method, body), call, "{body}");
    }
}

#[test]
fn the_calls_of_a_batch_keep_their_places() {
    let body = r#"{"commands":[{"info":{}},null,{"history":{},"publish":{"channel":"c","data":1}},
        {"batch":{"commands":[]}},{"presence":{}},{}],"parallel":true}"#;
    let calls = vec![
        Ok(Call::Info),
        Err(Error::BAD_REQUEST),
        publish("c", json("1")),
        Err(Error::NOT_FOUND),
        Err(Error::NOT_AVAILABLE),
        Err(Error::NOT_FOUND),
    ];
    assert_eq!(
        decode(Method::Batch, body.as_bytes()),
        Ok(Request::Batch(calls))
    );
}

#[test]
fn what_is_no_request_is_refused_whole() {
    let deep = "[".repeat(10_000);
    let long = |item: &str| vec![item; ITEMS_MAX + 1].join(",");
    let commands = format!(r#"{{"commands":[{}]}}"#, long("{}"));
    let channels = format!(r#"{{"channels":[{}],"data":1}}"#, long("\"c\""));
    for (method, body) in [
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
        (Method::Broadcast, &channels),
        (Method::History, r#"{"limit":"1"}"#),
        (Method::Batch, r#"{"commands":{}}"#),
        (Method::Batch, r#"{"commands":[1]}"#),
        (Method::Batch, r#"{"commands":[{"publish":{"channel":1}}]}"#),
        (Method::Batch, &commands),
    ] {
        let start = &body[..body.len().min(60)];
        assert_eq!(decode(method, body.as_bytes()), Err(BadRequest), "{start}");
    }
    assert_eq!(decode(Method::Info, b"{\"\xff\":1}"), Err(BadRequest));
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
    let outcomes: [(Outcome, &str); 7] = [
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
            Ok(Answer::Info(Node {
                uid: "u".to_owned(),
                name: "n".to_owned(),
                version: "v".to_owned(),
                num_clients: 1,
                num_users: 0,
                num_channels: 2,
                num_subs: 3,
                uptime_s: 4,
            })),
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
    replies.push(&Ok(Answer::Published(receipt(3))));
    replies.push(&Err(Error::NOT_FOUND));
    replies.push(&Ok(Answer::HistoryRemoved));
    assert_eq!(
        String::from_utf8(replies.finish()).unwrap(),
        r#"{"replies":[{"publish":{"offset":3,"epoch":"e"}},{"error":{"code":104,"message":"not found"}},{"history_remove":{}}]}"#
    );
    assert_eq!(Replies::default().finish(), b"{\"replies\":[]}");
}
