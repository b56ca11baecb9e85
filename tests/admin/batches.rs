//! Topics in the query, and batches: a message a line, for any topics.

use simd_json::prelude::*;
use tungstenite::Message;

use crate::client::{Answer, Daemon, next};

const LINES: &str = "Content-Type: application/x-ndjson";

fn batch(daemon: &Daemon, body: &[u8]) -> Answer {
    daemon.ask("POST /messages", &[LINES], body)
}

/// The status of each line, and its offset or the words of its error.
fn told(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/x-ndjson"));
    let lines = answer.body.lines().map(|line| {
        let mut bytes = line.as_bytes().to_vec();
        let line = simd_json::to_owned_value(&mut bytes).unwrap();
        match (line.get_u64("offset"), line.get_u64("status")) {
            (Some(offset), None) => {
                assert_eq!(line.get_str("epoch").unwrap().len(), 16);
                format!("{offset}")
            }
            (None, Some(status)) => format!("{status} {}", line.get_str("error").unwrap()),
            _ => panic!("{line:?}"),
        }
    });
    lines.collect()
}

#[test]
fn a_topic_may_stand_in_the_query() {
    let daemon = Daemon::start(&[]);
    let (mut subscriber, _) = daemon.subscribe("a/b%20c");
    let answer = daemon.ask("POST /messages?topic=a%2Fb%20c", &[], b"x");
    assert_eq!(answer.json().get_str("topic"), Some("a/b c"));
    assert_eq!(next(&mut subscriber), Message::text("x"));
    for (request, words) in [
        ("POST /messages", "?topic="),
        ("POST /messages?topic=", "empty"),
        ("POST /messages?topic=a&topic=b", "each once"),
        ("POST /messages?tpic=a", "topic, ack and within_ms"),
        ("POST /topics/a/messages?topic=a", "named once"),
    ] {
        daemon.ask(request, &[], b"x").refuses(400, words);
    }
    // What is called otherwise is no batch.
    let json = ["Content-Type: application/json"];
    let line = br#"{"topic":"a","data":1}"#;
    daemon
        .ask("POST /messages", &json, line)
        .refuses(400, "application/x-ndjson");
}

#[test]
fn each_line_of_a_batch_is_a_message_and_has_its_answer() {
    let daemon = Daemon::start(&["--cores", "2"]);
    let (mut a, _) = daemon.subscribe("a");
    let (mut b, _) = daemon.subscribe("b%2Fc");
    let body = b"{\"topic\":\"a\",\"data\":{\"goal\":1}}\n\
        \r\n\
        {\"topic\":\"b/c\",\"text\":\"Kick-off!\"}\r\n\
        {\"topic\":\"a\",\"b64data\":\"AAE=\"}\n\
        {\"topic\":\"a\",\"data\":\"last\"}";
    assert_eq!(told(&batch(&daemon, body)), ["1", "1", "2", "3"]);
    assert_eq!(next(&mut a), Message::text("{\"goal\":1}"));
    assert_eq!(next(&mut a), Message::binary(&b"\0\x01"[..]));
    assert_eq!(next(&mut a), Message::text("\"last\""));
    assert_eq!(next(&mut b), Message::text("Kick-off!"));
    assert_eq!(batch(&daemon, b"").body, "");
}

#[test]
fn a_line_that_is_wrong_spoils_no_other() {
    let daemon = Daemon::start(&["--message-bytes-max", "1KiB"]);
    let (mut subscriber, _) = daemon.subscribe("a");
    let long = format!("{{\"topic\":\"a\",\"text\":\"{}\"}}", "x".repeat(1025));
    let lines = [
        &b"{\"topic\":\"a\",\"data\":1}"[..],
        b"not JSON",
        b"{\"topic\":\"\",\"data\":1}",
        b"{\"topic\":\"a\",\"text\":\"\xff\"}",
        long.as_bytes(),
        b"{\"topic\":\"a\",\"dta\":1}",
        b"{\"topic\":\"a\",\"data\":2}",
        // The rest has got lost.
        b"{\"topic\":\"a\",\"data\":",
    ];
    let answer = batch(&daemon, &lines.join(&b"\n"[..]));
    let told = told(&answer);
    for (line, words) in told.iter().zip([
        "1",
        "400 the line is no JSON object",
        "400 a topic name must not be empty",
        "400 the line is not UTF-8",
        "413 the message is larger",
        "400 the line has a member that is none",
        "2",
        "400 the line is no JSON object",
    ]) {
        assert!(line.starts_with(words), "{told:?}");
    }
    assert_eq!(told.len(), lines.len());
    assert_eq!(next(&mut subscriber), Message::text("1"));
    assert_eq!(next(&mut subscriber), Message::text("2"));
}

#[test]
fn a_batch_that_is_too_long_publishes_nothing() {
    let daemon = Daemon::start(&["--batch-lines-max", "3", "--batch-bytes-max", "1KiB"]);
    let line = "{\"topic\":\"a\",\"data\":1}\n";
    assert_eq!(told(&batch(&daemon, line.repeat(3).as_bytes())).len(), 3);
    batch(&daemon, line.repeat(4).as_bytes()).refuses(413, "at most 3 lines");
    batch(&daemon, line.repeat(100).as_bytes()).refuses(413, "at most 1024 bytes");
    assert_eq!(daemon.get("/topics/a").json().get_u64("offset"), Some(3));
    let figures = daemon.get("/metrics").body;
    for reason in ["batch_lines", "batch_bytes"] {
        let counted = format!("fanfare_post_refusals_total{{reason=\"{reason}\"}} 1\n");
        assert!(figures.contains(&counted), "{figures}");
    }
    daemon
        .ask("POST /messages?ack=delivered", &[LINES], line.as_bytes())
        .refuses(400, "the query takes ack=stored");
}

#[test]
fn a_line_names_an_event_for_those_who_hear_events() {
    let daemon = Daemon::start(&[]);
    let (mut subscriber, _) = daemon.subscribe("a?offsets=true");
    let lines = b"{\"topic\":\"a\",\"event\":\"goal\",\"data\":{\"by\":9}}\n{\"topic\":\"a\",\"event\":\"\",\"data\":1}\n";
    let answer = batch(&daemon, lines);
    let told = told(&answer);
    assert_eq!(told[0], "1");
    assert!(told[1].starts_with("400 event is"), "{told:?}");
    let wanted = r#"{"offset":1,"event":"goal","data":{"by":9}}"#;
    assert_eq!(next(&mut subscriber), Message::text(wanted));
}

#[test]
fn in_order_nothing_is_published_behind_a_line_without_room() {
    let daemon = Daemon::start(&["--topics-max", "1", "--publish-wait-ms-max", "0"]);
    let (_follower, _) = daemon.subscribe("a");
    let lines = b"{\"topic\":\"a\",\"text\":\"1\"}\n{\"topic\":\"b\",\"text\":\"2\"}\n{\"topic\":\"a\",\"text\":\"3\"}\n";
    let answer = daemon.ask("POST /messages?in_order=true", &[LINES], lines);
    let halted = told(&answer);
    assert_eq!(halted[0], "1");
    assert!(
        halted[1].starts_with("503 there are as many topics"),
        "{halted:?}"
    );
    assert_eq!(
        halted[2],
        "503 a line before this one was not published (in_order)"
    );
    // Without it each line is for itself.
    assert_eq!(told(&batch(&daemon, lines))[2], "3");
    let single = daemon.ask("POST /messages?topic=a&in_order=true", &[], b"x");
    single.refuses(400, "in_order is for a batch");
}
