//! What clients are sent.

use super::*;

fn reply(coding: Coding, reply: &Reply<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_reply(coding, 3, reply, &mut out);
    out
}

fn info() -> ClientInfo {
    ClientInfo {
        user: "u\"".to_owned(),
        client: "x".to_owned(),
        conn_info: b"{\"a\":\n1}".to_vec(),
        chan_info: b"\xff".to_vec(),
    }
}

const INFO: &str = r#"{"user":"u\"","client":"x","conn_info":{"a":1},"chan_info":"/w=="}"#;

fn whole_publication() -> Publication {
    Publication {
        data: json("[1, 2]"),
        offset: 9,
        info: Some(info()),
        tags: vec![("k".to_owned(), "v".to_owned())],
        time_ms: 5,
        channel: "c".to_owned(),
    }
}

fn publications() -> String {
    format!(
        r#"[{{"data":[1, 2],"info":{INFO},"offset":9,"tags":{{"k":"v"}},"time":5,"channel":"c"}},{{"data":"AA=="}}]"#
    )
}

fn subscribed() -> SubscribeResult {
    SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch: "e".to_owned(),
        offset: 41,
        was_recovering: true,
        recovered: true,
        expires: true,
        ttl: 60,
        publications: vec![
            whole_publication(),
            Publication {
                data: bytes(b"\0"),
                ..Publication::default()
            },
        ],
        data: Some(json("{}")),
    }
}

#[test]
fn each_reply_is_a_line_of_json() {
    let subscribed = subscribed();
    let subscribe = format!(
        r#"{{"expires":true,"ttl":60,"recoverable":true,"epoch":"e","publications":{},"recovered":true,"offset":41,"positioned":true,"data":{{}},"was_recovering":true}}"#,
        publications()
    );
    let subs = [("c".to_owned(), subscribed.clone())];
    let data = json("{\r\n}");
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
    let none = SubscribeResult::default();
    let table = [
        (
            Reply::Connect(&connected),
            format!(
                r#""connect":{{"client":"id","version":"0.1","expires":true,"ttl":3600,"data":{{}},"subs":{{"c":{subscribe}}},"ping":25,"pong":true}}"#
            ),
        ),
        (
            Reply::Connect(&ConnectResult::default()),
            r#""connect":{}"#.to_owned(),
        ),
        (
            Reply::Subscribe(&subscribed),
            format!(r#""subscribe":{subscribe}"#),
        ),
        (Reply::Subscribe(&none), r#""subscribe":{}"#.to_owned()),
        (Reply::Unsubscribe, r#""unsubscribe":{}"#.to_owned()),
        (Reply::Publish, r#""publish":{}"#.to_owned()),
        (
            Reply::Presence(&[info()]),
            format!(r#""presence":{{"presence":{{"x":{INFO}}}}}"#),
        ),
        (
            Reply::Presence(&[]),
            r#""presence":{"presence":{}}"#.to_owned(),
        ),
        (
            Reply::PresenceStats {
                num_clients: 2,
                num_users: 0,
            },
            r#""presence_stats":{"num_clients":2,"num_users":0}"#.to_owned(),
        ),
        (
            Reply::History {
                publications: &subscribed.publications,
                epoch: "e",
                offset: 9,
            },
            format!(
                r#""history":{{"publications":{},"epoch":"e","offset":9}}"#,
                publications()
            ),
        ),
        (
            Reply::History {
                publications: &[],
                epoch: "e",
                offset: 0,
            },
            r#""history":{"publications":[],"epoch":"e","offset":0}"#.to_owned(),
        ),
        (
            Reply::Refresh {
                client: "id",
                version: "0.1",
                expires: true,
                ttl: 4294967295,
            },
            r#""refresh":{"client":"id","version":"0.1","expires":true,"ttl":4294967295}"#
                .to_owned(),
        ),
        (
            Reply::SubRefresh {
                expires: false,
                ttl: 0,
            },
            r#""sub_refresh":{}"#.to_owned(),
        ),
        (
            Reply::Error(Error::PERMISSION_DENIED),
            r#""error":{"code":103,"message":"permission denied"}"#.to_owned(),
        ),
        (
            Reply::Error(Error::INTERNAL),
            r#""error":{"code":100,"message":"internal server error","temporary":true}"#.to_owned(),
        ),
    ];
    for (what, expected) in table {
        let line = String::from_utf8(reply(Coding::Json, &what)).unwrap();
        assert_eq!(line, format!("{{\"id\":3,{expected}}}\n"));
    }
}

#[test]
fn each_push_is_a_line_of_json() {
    let (info, data) = (info(), json("[\"\\n\"]"));
    let table = [
        (
            Push::Join {
                channel: "c",
                info: &info,
            },
            format!(r#""channel":"c","join":{{"info":{INFO}}}"#),
        ),
        (
            Push::Leave {
                channel: "c",
                info: &info,
            },
            format!(r#""channel":"c","leave":{{"info":{INFO}}}"#),
        ),
        (
            Push::Unsubscribe {
                channel: "c\u{1}",
                code: 2500,
                reason: "insufficient state",
            },
            r#""channel":"c\u0001","unsubscribe":{"code":2500,"reason":"insufficient state"}"#
                .to_owned(),
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
            r#""channel":"c","subscribe":{"recoverable":true,"epoch":"e","offset":1,"positioned":true,"data":["\n"]}"#
                .to_owned(),
        ),
        (
            Push::Message { data: &data },
            r#""message":{"data":["\n"]}"#.to_owned(),
        ),
        (
            Push::Refresh {
                expires: true,
                ttl: 1,
            },
            r#""refresh":{"expires":true,"ttl":1}"#.to_owned(),
        ),
        (
            Push::Disconnect {
                code: 3005,
                reason: "expired",
                reconnect: true,
            },
            r#""disconnect":{"code":3005,"reason":"expired","reconnect":true}"#.to_owned(),
        ),
    ];
    for (push, expected) in table {
        let mut out = Vec::new();
        write_push(Coding::Json, &push, &mut out);
        let line = String::from_utf8(out).unwrap();
        assert_eq!(line, format!("{{\"push\":{{{expected}}}}}\n"));
    }
}

#[test]
fn errors_have_the_codes_of_the_protocol() {
    let all = [
        Error::INTERNAL,
        Error::UNAUTHORIZED,
        Error::UNKNOWN_CHANNEL,
        Error::PERMISSION_DENIED,
        Error::METHOD_NOT_FOUND,
        Error::ALREADY_SUBSCRIBED,
        Error::LIMIT_EXCEEDED,
        Error::BAD_REQUEST,
        Error::NOT_AVAILABLE,
        Error::TOKEN_EXPIRED,
        Error::EXPIRED,
        Error::TOO_MANY_REQUESTS,
        Error::UNRECOVERABLE_POSITION,
        Error::CONCURRENT_PAGINATION,
    ];
    for (error, code) in all.into_iter().zip(100..) {
        assert_eq!(error.code, code);
        assert_eq!(error.temporary, [100, 111, 113].contains(&code));
    }
}

#[test]
fn pings_are_the_shortest_messages() {
    assert_eq!(ping(Coding::Json), b"{}");
    assert_eq!(ping(Coding::Protobuf), [0]);
}
