//! Centrifugo's server API, word by word.

use tungstenite::{Message, connect};

use crate::client::{Answer, Daemon, Subscriber, next};

pub(crate) fn call(daemon: &Daemon, method: &str, body: &str) -> Answer {
    daemon.ask(&format!("POST /api/{method}"), &[], body.as_bytes())
}

/// The answer to a call that is carried out or answered with an error of the API's.
#[track_caller]
fn result(daemon: &Daemon, method: &str, body: &str) -> String {
    let answer = call(daemon, method, body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    answer.body
}

fn published(offset: u64, epoch: &str) -> String {
    format!(r#"{{"offset":{offset},"epoch":"{epoch}"}}"#)
}

fn refused(code: u32, message: &str) -> String {
    format!(r#"{{"error":{{"code":{code},"message":"{message}"}}}}"#)
}

/// The same in a batch: libraries look for it under the method's name.
fn refused_in(method: &str, code: u32, message: &str) -> String {
    let error = refused(code, message);
    format!(r#"{},"{method}":{error}}}"#, &error[..error.len() - 1])
}

/// A client of Centrifugo's protocol that follows some channels.
fn centrifugo_client(daemon: &Daemon, query: &str, channels: &[&str]) -> Subscriber {
    let url = format!("ws://{}/connection/websocket{query}", daemon.public);
    let (mut client, _) = connect(url).unwrap();
    let mut commands = vec![r#"{"id":1,"connect":{}}"#.to_owned()];
    for (number, channel) in channels.iter().enumerate() {
        let id = number + 2;
        commands.push(format!(
            r#"{{"id":{id},"subscribe":{{"channel":"{channel}"}}}}"#
        ));
    }
    client.send(Message::text(commands.join("\n"))).unwrap();
    for _ in commands {
        let answer = next(&mut client).into_text().unwrap();
        assert!(!answer.contains("error"), "{answer}");
    }
    client
}

fn heard(client: &mut Subscriber) -> String {
    next(client).into_text().unwrap().to_string()
}

#[test]
fn what_is_published_is_heard_by_all_with_its_tags() {
    let daemon = Daemon::start(&[]);
    let mut client = centrifugo_client(&daemon, "", &["news"]);
    let (mut raw, epoch) = daemon.subscribe("news");
    let body = "{\"channel\":\"news\",\"data\":{\"n\" :\n 1e400},\"tags\":{\"b\":\"2\",\"a\":\"\\\"\"},\
                \"idempotency_key\":\"k\",\"newer\":{\"than\":[\"this\"]}}";
    let receipt = format!(r#"{{"result":{}}}"#, published(1, &epoch));
    assert_eq!(result(&daemon, "publish", body), receipt);
    assert_eq!(
        heard(&mut client),
        r#"{"push":{"channel":"news","pub":{"data":{"n" : 1e400},"offset":1,"tags":{"a":"\"","b":"2"}}}}"#
    );
    assert_eq!(next(&mut raw), Message::text("{\"n\" : 1e400}"));
    let binary = r#"{"channel":"news","data":"","b64data":"AP8B"}"#;
    let receipt = format!(r#"{{"result":{}}}"#, published(2, &epoch));
    assert_eq!(result(&daemon, "publish", binary), receipt);
    assert_eq!(
        heard(&mut client),
        r#"{"push":{"channel":"news","pub":{"data":"AP8B","offset":2}}}"#
    );
    assert_eq!(next(&mut raw), Message::binary(vec![0, 255, 1]));
}

#[test]
fn what_is_wrong_with_a_call_is_told_by_code() {
    let daemon = Daemon::start(&["--message-bytes-max", "128KiB"]);
    let tags = format!(
        r#"{{"channel":"c","data":1,"tags":{{"t":"{}"}}}}"#,
        "x".repeat(64 << 10)
    );
    let long = format!(r#"{{"channel":"c","data":"{}"}}"#, "x".repeat(128 << 10));
    for (method, body, code, message) in [
        ("publish", r#"{"data":1}"#, 107, "bad request"),
        (
            "publish",
            r#"{"channel":"a\u0000","data":1}"#,
            107,
            "bad request",
        ),
        ("publish", r#"{"channel":"c"}"#, 107, "bad request"),
        (
            "publish",
            r#"{"channel":"c","b64data":"?"}"#,
            107,
            "bad request",
        ),
        ("publish", &tags, 107, "bad request"),
        ("publish", &long, 107, "bad request"),
        (
            "publish",
            r#"{"channel":"c","data":1,"skip_history":true}"#,
            108,
            "not available",
        ),
        (
            "broadcast",
            r#"{"channels":[],"data":1}"#,
            107,
            "bad request",
        ),
        ("history", "{}", 107, "bad request"),
        (
            "history",
            r#"{"channel":"c","since":{"offset":1,"epoch":"other"}}"#,
            112,
            "unrecoverable position",
        ),
        ("history_remove", "{}", 107, "bad request"),
        ("channels", r#"{"pattern":"["}"#, 107, "bad request"),
        ("subscribe", r#"{"user":"u"}"#, 107, "bad request"),
        (
            "subscribe",
            r#"{"channel":"c","b64info":"?"}"#,
            107,
            "bad request",
        ),
        ("unsubscribe", r#"{"user":"u"}"#, 107, "bad request"),
        (
            "disconnect",
            r#"{"user":"u","disconnect":{"code":1000}}"#,
            107,
            "bad request",
        ),
        (
            "disconnect",
            r#"{"user":"u","disconnect":{"code":5000,"reason":"r"}}"#,
            107,
            "bad request",
        ),
        ("presence", "{}", 107, "bad request"),
        ("presence", r#"{"channel":"c"}"#, 108, "not available"),
        ("presence_stats", "{}", 107, "bad request"),
    ] {
        let start = &body[..body.len().min(60)];
        let expected = refused(code, message);
        assert_eq!(result(&daemon, method, body), expected, "{method} {start}");
    }
    call(&daemon, "no_such_method", "{}").refuses(404, "nothing at this path");
    call(&daemon, "publish/more", "{}").refuses(404, "nothing at this path");
    daemon.ask("GET /api/info", &[], b"").refuses(405, "GET");
    // What cannot be read is no call at all.
    for body in ["{", "[]", "null", r#"{"channel":1}"#, &"[".repeat(10_000)] {
        let answer = call(&daemon, "publish", body);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.body, refused(107, "bad request"));
    }
    let answer = daemon.ask(
        "POST /api/publish",
        &[],
        b"{\"channel\":\"\xff\",\"data\":1}",
    );
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = call(&daemon, "publish", &"x".repeat((256 << 10) + 1));
    answer.refuses(413, "262144 bytes");
    // Nothing of all that was published.
    let history = result(&daemon, "history", r#"{"channel":"c","limit":-1}"#);
    assert!(
        history.starts_with(r#"{"result":{"publications":[],"#),
        "{history}"
    );
}

#[test]
fn errors_become_statuses_where_that_is_asked_for() {
    errors_become_statuses(&[], &["X-Centrifugo-Error-Mode: transport"]);
    errors_become_statuses(&["--api-error-mode", "transport"], &[]);
    // As in the official server, no other word of a request changes that.
    let words = ["X-Centrifugo-Error-Mode: body"];
    errors_become_statuses(&["--api-error-mode", "transport"], &words);
}

fn errors_become_statuses(settings: &[&str], fields: &[&str]) {
    let daemon = Daemon::start(settings);
    for (method, body, status, error) in [
        (
            "publish",
            "{}",
            400,
            r#"{"code":107,"message":"bad request"}"#,
        ),
        (
            "presence",
            r#"{"channel":"c"}"#,
            400,
            r#"{"code":108,"message":"not available"}"#,
        ),
        (
            "history",
            r#"{"channel":"c","since":{"epoch":"other"}}"#,
            416,
            r#"{"code":112,"message":"unrecoverable position"}"#,
        ),
    ] {
        let answer = daemon.ask(&format!("POST /api/{method}"), fields, body.as_bytes());
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.body, error);
    }
    let body = br#"{"channel":"c","data":1}"#;
    let answer = daemon.ask("POST /api/publish", fields, body);
    assert_eq!(answer.status, 200, "{answer:?}");
    // Each reply of a batch tells for itself.
    let answer = daemon.ask(
        "POST /api/batch",
        fields,
        br#"{"commands":[{"publish":{}}]}"#,
    );
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_broadcast_is_answered_channel_by_channel() {
    let daemon = Daemon::start(&[]);
    let mut client = centrifugo_client(&daemon, "", &["a", "b"]);
    let (_, a) = daemon.subscribe("a");
    let (_, b) = daemon.subscribe("b");
    let body = r#"{"channels":["a","","b"],"data":"x","tags":{"k":"v"}}"#;
    let expected = format!(
        r#"{{"result":{{"responses":[{{"result":{}}},{},{{"result":{}}}]}}}}"#,
        published(1, &a),
        refused(107, "bad request"),
        published(1, &b)
    );
    assert_eq!(result(&daemon, "broadcast", body), expected);
    let mut pushes = [heard(&mut client), heard(&mut client)];
    pushes.sort();
    let push = |channel| {
        format!(
            r#"{{"push":{{"channel":"{channel}","pub":{{"data":"x","offset":1,"tags":{{"k":"v"}}}}}}}}"#
        )
    };
    assert_eq!(pushes, [push("a"), push("b")]);
}

#[test]
fn a_batch_is_done_in_order_and_each_call_has_its_reply() {
    let daemon = Daemon::start(&[]);
    let (_reader, epoch) = daemon.subscribe("c");
    let body = r#"{"commands":[
        {"publish":{"channel":"c","data":1}},
        {"broadcast":{"channels":["c"],"data":2}},
        {"publish":{"data":3}},
        {"presence":{"channel":"c"}},
        {"history":{"channel":"c","limit":10}},
        {"no_such_call":{}},
        null,
        {"history_remove":{"channel":"c"}},
        {"channels":{}}
    ],"parallel":true}"#;
    let expected = format!(
        r#"{{"replies":[{{"publish":{}}},{{"broadcast":{{"responses":[{{"result":{}}}]}}}},{},{},{{"history":{{"publications":[{{"data":1,"offset":1}},{{"data":2,"offset":2}}],"epoch":"{epoch}","offset":2}}}},{},{},{{"history_remove":{{}}}},{{"channels":{{"channels":{{"c":{{"num_clients":1}}}}}}}}]}}"#,
        published(1, &epoch),
        published(2, &epoch),
        refused_in("publish", 107, "bad request"),
        refused_in("presence", 108, "not available"),
        refused(104, "not found"),
        refused(107, "bad request"),
    );
    assert_eq!(result(&daemon, "batch", body), expected);
    // If one cannot be read, none is done.
    let broken = r#"{"commands":[{"publish":{"channel":"d","data":1}},{"publish":1}]}"#;
    assert_eq!(call(&daemon, "batch", broken).status, 400);
    daemon.get("/topics/d").refuses(404, "no topic");
}

#[test]
fn the_answer_to_a_batch_has_an_end() {
    let daemon = Daemon::start(&["--answers-bytes-max", "16MiB"]);
    let body = format!(r#"{{"channel":"c","data":"{}"}}"#, "x".repeat(900 << 10));
    result(&daemon, "publish", &body);
    let history = vec![r#"{"history":{"channel":"c","limit":1}}"#; 30].join(",");
    let replies = result(
        &daemon,
        "batch",
        &format!(r#"{{"commands":[{history},{{"publish":{{"channel":"d","data":1}}}}]}}"#),
    );
    assert!(replies.len() < 18 << 20);
    let end = format!("{}]}}", refused_in("publish", 106, "limit exceeded"));
    assert!(
        replies.ends_with(&end),
        "{}",
        &replies[replies.len() - 100..]
    );
    // What was not done has its place too.
    assert_eq!(replies.matches(r#"{"history":"#).count(), 19);
    assert_eq!(replies.matches(r#",{"error":"#).count(), 12);
    daemon.get("/topics/d").refuses(404, "no topic");
}

#[test]
fn what_lists_more_than_may_be_is_refused_before_any_of_it_is_done() {
    let daemon = Daemon::start(&["--api-items-max", "2"]);
    for (method, body) in [
        ("broadcast", r#"{"channels":["a","b","c"],"data":1}"#),
        ("disconnect", r#"{"user":"u","whitelist":["a","b","c"]}"#),
        (
            "batch",
            r#"{"commands":[{"publish":{"channel":"a","data":1}},{"info":{}},{"info":{}}]}"#,
        ),
        (
            "batch",
            r#"{"commands":[{"publish":{"channel":"a","data":1}},{"broadcast":{"channels":["a","b","c"],"data":1}}]}"#,
        ),
    ] {
        call(&daemon, method, body).refuses(413, "api_items_max");
    }
    daemon.get("/topics/a").refuses(404, "no topic");
    let figures = daemon.get("/metrics").body;
    let counted = "fanfare_post_refusals_total{reason=\"api_items\"} 4\n";
    assert!(figures.contains(counted), "{figures}");
    let body = r#"{"channels":["a","b"],"data":1}"#;
    assert!(!result(&daemon, "broadcast", body).contains("error"));
}

#[test]
fn a_page_of_history_ends_where_the_settings_let_it() {
    let daemon = Daemon::start(&[
        "--history-page-messages-max",
        "3",
        "--history-page-bytes-max",
        "20",
    ]);
    for number in 0..5 {
        let body = format!(r#"{{"channel":"short","data":{number}}}"#);
        result(&daemon, "publish", &body);
        let body = format!(r#"{{"channel":"long","data":"123456789{number}"}}"#);
        result(&daemon, "publish", &body);
    }
    let page = |channel: &str, limit: i32| {
        let body = format!(r#"{{"channel":"{channel}","limit":{limit}}}"#);
        let page = result(&daemon, "history", &body);
        page.matches(r#"{"data":"#).count()
    };
    for (channel, limit, count) in [
        ("short", 1, 1),
        ("short", 3, 3),
        ("short", 4, 3),
        ("short", -1, 3),
        ("long", 1, 1),
        ("long", 2, 2),
        ("long", 3, 2),
    ] {
        assert_eq!(page(channel, limit), count, "{channel} {limit}");
    }
    let figures = daemon.get("/metrics").body;
    let counted = "fanfare_history_full_pages_total 3\n";
    assert!(figures.contains(counted), "{figures}");
}

#[test]
fn history_is_read_in_pages_from_either_end_and_removed() {
    let daemon = Daemon::start(&[]);
    let (mut reader, epoch) = daemon.subscribe("c");
    for number in 1..=5 {
        let body = format!(r#"{{"channel":"c","data":{number},"tags":{{"n":"{number}"}}}}"#);
        result(&daemon, "publish", &body);
        assert_eq!(next(&mut reader), Message::text(number.to_string()));
    }
    let page = |numbers: &[u64], offset: u64| {
        let publication = |n: &u64| format!(r#"{{"data":{n},"offset":{n},"tags":{{"n":"{n}"}}}}"#);
        let publications: Vec<_> = numbers.iter().map(publication).collect();
        format!(
            r#"{{"result":{{"publications":[{}],"epoch":"{epoch}","offset":{offset}}}}}"#,
            publications.join(",")
        )
    };
    let since = format!(r#""since":{{"offset":3,"epoch":"{epoch}"}}"#);
    for (fields, numbers) in [
        ("", &[][..]),
        (r#","limit":0"#, &[]),
        (r#","limit":-1"#, &[1, 2, 3, 4, 5]),
        (r#","limit":2"#, &[1, 2]),
        (r#","limit":2,"reverse":true"#, &[5, 4]),
        (&format!(r#","limit":9,{since}"#), &[4, 5]),
        (&format!(r#","limit":1,{since},"reverse":true"#), &[2]),
    ] {
        let body = format!(r#"{{"channel":"c"{fields}}}"#);
        assert_eq!(
            result(&daemon, "history", &body),
            page(numbers, 5),
            "{body}"
        );
    }
    assert_eq!(
        result(&daemon, "history_remove", r#"{"channel":"c"}"#),
        r#"{"result":{}}"#
    );
    let all = r#"{"channel":"c","limit":-1}"#;
    assert_eq!(result(&daemon, "history", all), page(&[], 5));
    // Epoch and offsets go on, and so do subscribers.
    let body = r#"{"channel":"c","data":6,"tags":{"n":"6"}}"#;
    let receipt = format!(r#"{{"result":{}}}"#, published(6, &epoch));
    assert_eq!(result(&daemon, "publish", body), receipt);
    assert_eq!(next(&mut reader), Message::text("6"));
    assert_eq!(result(&daemon, "history", all), page(&[6], 6));
    // What is not there need not be removed, nor made.
    result(&daemon, "history_remove", r#"{"channel":"other"}"#);
    daemon.get("/topics/other").refuses(404, "no topic");
}

#[test]
fn channels_are_those_that_somebody_follows() {
    let daemon = Daemon::start(&[]);
    let _two = [daemon.subscribe("game:1"), daemon.subscribe("game:1")];
    let _client = centrifugo_client(&daemon, "", &["game:2", "news"]);
    result(&daemon, "publish", r#"{"channel":"quiet","data":1}"#);
    let (one, two) = (
        r#""game:1":{"num_clients":2}"#,
        r#""game:2":{"num_clients":1}"#,
    );
    let news = r#""news":{"num_clients":1}"#;
    for (pattern, channels) in [
        ("{}", vec![one, two, news]),
        (r#"{"pattern":"game:*"}"#, vec![one, two]),
        (r#"{"pattern":"*[2-9]"}"#, vec![two]),
        (r#"{"pattern":"quiet"}"#, vec![]),
    ] {
        let expected = format!(r#"{{"result":{{"channels":{{{}}}}}}}"#, channels.join(","));
        assert_eq!(result(&daemon, "channels", pattern), expected);
    }
    let info = result(&daemon, "info", "");
    let counts = r#""num_clients":3,"num_users":1,"num_channels":3,"#;
    assert!(info.contains(counts), "{info}");
    assert!(info.contains(r#""num_subs":4"#), "{info}");
    assert!(info.contains(r#""version":"fanfare "#), "{info}");
}
