//! Requests that are sent again, with the same `Idempotency-Key`.

use simd_json::prelude::*;

use crate::client::{Answer, Daemon};

fn post(daemon: &Daemon, request: &str, key: &str, body: &[u8]) -> Answer {
    let key = format!("Idempotency-Key: {key}");
    daemon.ask(&format!("POST {request}"), &[&key], body)
}

fn is_replayed(answer: &Answer) -> bool {
    answer.field("idempotency-replayed") == Some("true")
}

fn offset(daemon: &Daemon) -> Option<u64> {
    daemon.get("/topics/t").json().get_u64("offset")
}

#[test]
fn what_is_sent_again_is_published_once_and_answered_as_before() {
    let daemon = Daemon::start(&[]);
    let lines = b"{\"topic\":\"t\",\"data\":1}\n{\"topic\":\"t\"}";
    let ndjson = "Content-Type: application/x-ndjson";
    let batch = || daemon.ask("POST /messages", &[ndjson, "Idempotency-Key: b"], lines);
    let call = || post(&daemon, "/api/publish", "c", br#"{"channel":"t","data":3}"#);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let hub = "POST /.well-known/mercure";
    let update = || daemon.ask(hub, &[form, "Idempotency-Key: u"], b"topic=t&data=4");
    let firsts = [
        post(&daemon, "/topics/t/messages", "a", b"x"),
        batch(),
        call(),
        update(),
    ];
    let agains = [
        post(&daemon, "/topics/t/messages", "a", b"x"),
        batch(),
        call(),
        update(),
    ];
    for (first, again) in firsts.iter().zip(&agains) {
        assert_eq!((first.status, again.status), (200, 200));
        assert!(!is_replayed(first) && is_replayed(again));
        assert_eq!(first.body, again.body);
        assert_eq!(first.field("content-type"), again.field("content-type"));
    }
    assert_eq!(offset(&daemon), Some(4));
    // Without a name, or with another one, it is another request.
    daemon.post("t", b"x");
    post(&daemon, "/topics/t/messages", "d", b"x");
    assert_eq!(offset(&daemon), Some(6));
    let figures = daemon.get("/metrics").body;
    assert!(
        figures.contains("fanfare_idempotency_keys 5\n"),
        "{figures}"
    );
    assert!(
        figures.contains("fanfare_idempotency_replays_total 4\n"),
        "{figures}"
    );
}

#[test]
fn a_name_stands_for_one_request_and_what_was_refused_may_be_tried_again() {
    let daemon = Daemon::start(&["--message-bytes-max", "1KiB"]);
    post(&daemon, "/topics/t/messages", "a", &[b'x'; 2000]).refuses(413, "1024");
    assert_eq!(post(&daemon, "/topics/t/messages", "a", b"x").status, 200);
    for (request, body) in [
        ("/topics/t/messages", &b"y"[..]),
        ("/topics/u/messages", b"x"),
        ("/topics/t/messages?ack=delivered", b"x"),
    ] {
        post(&daemon, request, "a", body).refuses(422, "another request");
    }
    let long = "k".repeat(10 << 10);
    for key in ["", &long, &"k".repeat(256)] {
        post(&daemon, "/topics/t/messages", key, b"x").refuses(400, "1 to 255 bytes");
    }
    let two = ["Idempotency-Key: a", "Idempotency-Key: b"];
    daemon
        .ask("POST /topics/t/messages", &two, b"x")
        .refuses(400, "at most once");
    assert_eq!(offset(&daemon), Some(1));
}

#[test]
fn names_are_kept_for_a_time_and_up_to_a_number() {
    let daemon = Daemon::start(&["--idempotency-keys-max", "1"]);
    for key in ["a", "b", "b", "a"] {
        assert_eq!(post(&daemon, "/topics/t/messages", key, b"x").status, 200);
    }
    assert_eq!(offset(&daemon), Some(3));
    let figures = daemon.get("/metrics").body;
    let evicted = "fanfare_idempotency_evictions_total 2\n";
    assert!(figures.contains(evicted), "{figures}");
    let daemon = Daemon::start(&["--idempotency-ms-max", "0"]);
    for _ in 0..2 {
        assert_eq!(post(&daemon, "/topics/t/messages", "a", b"x").status, 200);
    }
    assert_eq!(offset(&daemon), Some(2));
}

#[test]
fn a_message_with_a_key_is_published_once_in_each_channel_whatever_it_says() {
    let daemon = Daemon::start(&[]);
    let call = |method: &str, body: &str| {
        let answer = daemon.ask(&format!("POST /api/{method}"), &[], body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let publish = |channel: &str, key: &str, data: u32| {
        format!(r#"{{"channel":"{channel}","idempotency_key":"{key}","data":{data}}}"#)
    };
    let first = call("publish", &publish("t", "k", 1));
    assert!(first.contains(r#""offset":1"#), "{first}");
    assert_eq!(call("publish", &publish("t", "k", 2)), first);
    let receipt = first
        .strip_prefix(r#"{"result":"#)
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap();
    // The channel has had it, the other one not.
    let all = call(
        "broadcast",
        r#"{"channels":["t","u"],"idempotency_key":"k","data":3}"#,
    );
    let as_first =
        format!(r#"{{"result":{{"responses":[{{"result":{receipt}}},{{"result":{{"offset":1,"#);
    assert!(all.starts_with(&as_first), "{all}");
    let (one, other) = (publish("t", "k", 4), publish("t", "l", 5));
    let batch = format!(
        r#"{{"commands":[{{"publish":{one}}},{{"publish":{other}}},{{"publish":{other}}},
        {{"broadcast":{{"channels":["u"],"idempotency_key":"k","data":6}}}}]}}"#
    );
    let replies = call("batch", &batch);
    let begin = format!(r#"{{"replies":[{{"publish":{receipt}}},"#);
    assert!(replies.starts_with(&begin), "{replies}");
    assert_eq!(replies.matches(r#""offset":2"#).count(), 2, "{replies}");
    assert_eq!(offset(&daemon), Some(2));
    assert_eq!(daemon.get("/topics/u").json().get_u64("offset"), Some(1));
    // A request's own key is another one, and what was refused may be tried again.
    let body = publish("t", "", 7);
    for _ in 0..2 {
        assert_eq!(
            post(&daemon, "/api/publish", "k", body.as_bytes()).status,
            200
        );
    }
    let bad = publish("t", "m", 8).replace("data", "datum");
    assert!(call("publish", &bad).contains(r#""code":107"#));
    call("publish", &publish("t", "m", 8));
    assert_eq!(offset(&daemon), Some(4));
    let long = publish("t", &"k".repeat(256), 9);
    assert!(call("publish", &long).contains(r#""code":107"#));
    let figures = daemon.get("/metrics").body;
    let counted = "fanfare_idempotency_replays_total 6\n";
    assert!(figures.contains(counted), "{figures}");
}
