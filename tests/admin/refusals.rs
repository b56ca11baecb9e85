//! What is refused, and what a bad client does to others: nothing.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use crate::client::{Answer, Daemon};

#[test]
fn a_message_above_the_limit_is_refused_and_not_read() {
    let daemon = Daemon::start(&["--message-bytes-max", "1KiB"]);
    assert_eq!(daemon.post("t", &[b'x'; 1024]).status, 200);
    daemon.post("t", &[b'x'; 1025]).refuses(413, "1024 bytes");
    // It is refused for its length alone: none of the body is ever sent.
    let mut stream = daemon.connect();
    let head = "POST /topics/t/messages HTTP/1.1\r\nHost: [::1]\r\n\
                Content-Length: 99999999999999\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    Answer::read(&mut stream).refuses(413, "1024 bytes");
    // Without a length it is read beyond the limit, but not for ever.
    let mut body = Vec::new();
    for _ in 0..100 {
        body.extend_from_slice(b"100\r\n");
        body.extend_from_slice(&[b'x'; 256]);
        body.extend_from_slice(b"\r\n");
    }
    let answer = daemon.ask(
        "POST /topics/t/messages",
        &["Transfer-Encoding: chunked"],
        &body,
    );
    answer.refuses(413, "1024 bytes");
}

#[test]
fn a_message_above_the_limit_may_be_sent_to_its_end_and_is_told_so() {
    let daemon = Daemon::start(&["--message-bytes-max", "1KiB"]);
    let piece = [b'x'; 1024];
    let chunk = [&b"400\r\n"[..], &piece, b"\r\n"].concat();
    for (field, piece, end) in [
        ("Content-Length: 12288", &piece[..], &b""[..]),
        ("Transfer-Encoding: chunked", &chunk, b"0\r\n\r\n"),
    ] {
        let mut stream = daemon.connect();
        let head = format!("POST /topics/t/messages HTTP/1.1\r\nHost: [::1]\r\n{field}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..12 {
            stream.write_all(piece).expect("it is still read");
            thread::sleep(Duration::from_millis(20));
        }
        stream.write_all(end).unwrap();
        Answer::read(&mut stream).refuses(413, "1024 bytes");
    }
}

#[test]
fn bad_names_bad_text_and_bad_queries_are_told_why() {
    let daemon = Daemon::start(&[]);
    daemon.post("t", b"\xff").refuses(400, "UTF-8");
    daemon.post("t", b"cut \xf0\x9f\x8e").refuses(400, "UTF-8");
    for name in ["%00", "%zz", "%ff", &"x".repeat(256)] {
        daemon.post(name, b"x").refuses(400, "topic name");
        daemon
            .get(&format!("/topics/{name}"))
            .refuses(400, "topic name");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=1&limit=2",
        "what=1",
    ] {
        daemon
            .get(&format!("/topics?{query}"))
            .refuses(400, "limit");
    }
    let encoded = ["Content-Encoding: gzip"];
    daemon
        .ask("POST /topics/t/messages", &encoded, b"x")
        .refuses(415, "Content-Encoding");
    assert_eq!(
        daemon.get("/topics").body,
        "{\"topics\":[],\"next\":null}\n"
    );
}

#[test]
fn paths_and_methods_that_are_not_there_are_told_so() {
    let daemon = Daemon::start(&[]);
    for path in [
        "/nothing",
        "/docs/",
        "/docs/none.md",
        "/topics/",
        "/topics/a/b",
        "/healthz/",
    ] {
        daemon.get(path).refuses(404, "nothing at this path");
    }
    for (request, allowed) in [
        ("DELETE /topics", "GET,HEAD"),
        ("GET /topics/a/messages", "POST"),
        ("POST /metrics", "GET,HEAD"),
    ] {
        let answer = daemon.ask(request, &[], b"");
        answer.refuses(405, "does not apply");
        assert_eq!(answer.field("allow"), Some(allowed), "{request}");
    }
    let head = daemon.ask("HEAD /healthz", &[], b"");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn a_post_without_a_body_publishes_nothing() {
    let daemon = Daemon::start(&[]);
    daemon.post("first", b"").refuses(400, "the body is empty");
    let text = ["Content-Type: application/octet-stream"];
    let answer = daemon.ask("POST /topics/first/messages", &text, b"");
    answer.refuses(400, "the body is empty");
    assert_eq!(daemon.get("/topics/first").status, 404);
}

#[test]
fn a_topic_or_a_log_without_room_is_for_later() {
    let daemon = Daemon::start(&["--topics-max", "1", "--retry-after-s", "7"]);
    // Nobody reads it, so it makes room.
    assert_eq!(daemon.post("nobody-reads", b"x").status, 200);
    let _reader = daemon.subscribe("first");
    let answer = daemon.post("second", b"x");
    answer.refuses(503, "topics");
    assert_eq!(answer.field("retry-after"), Some("7"));
    assert_eq!(daemon.post("first", b"x").status, 200);
}

#[test]
fn the_history_of_others_makes_room_for_a_long_message() {
    let daemon = Daemon::start(&[
        "--message-bytes-max",
        "16KiB",
        "--lag-bytes-max",
        "16KiB",
        "--log-bytes-max",
        "64KiB",
        "--log-bytes-total-max",
        "64KiB",
        "--retain-bytes-max",
        "64KiB",
    ]);
    let message = [b'x'; 16 << 10];
    for topic in 0..100 {
        assert_eq!(daemon.post(&topic.to_string(), &message).status, 200);
    }
}

#[test]
fn the_token_opens_what_is_not_health() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let daemon = Daemon::start(&["--admin-token-file", file.to_str().unwrap()]);
    assert_eq!(daemon.get("/healthz").status, 200);
    assert_eq!(daemon.get("/readyz").status, 200);
    for request in [
        "GET /metrics",
        "GET /topics",
        "POST /topics/t/messages",
        "GET /nothing",
    ] {
        let without = daemon.ask(request, &[], b"");
        without.refuses(401, "missing");
        assert_eq!(
            without.field("www-authenticate"),
            Some("Bearer realm=\"fanfare\"")
        );
        let wrong = daemon.ask(request, &["Authorization: Bearer s3creT"], b"");
        wrong.refuses(401, "not the admin token");
    }
    let with = ["Authorization: Bearer s3cret"];
    assert_eq!(daemon.ask("GET /metrics", &with, b"").status, 200);
    assert_eq!(
        daemon.ask("POST /topics/t/messages", &with, b"x").status,
        200
    );
}

#[test]
fn pages_of_other_origins_get_nowhere() {
    let daemon = Daemon::start(&[]);
    let post = "POST /topics/t/messages";
    let foreign = ["Origin: http://evil.example", "Content-Type: text/plain"];
    daemon.ask(post, &foreign, b"x").refuses(403, "origins");
    let rebound = [
        "Host: evil.example:8001",
        "Origin: http://evil.example:8001",
    ];
    daemon.ask(post, &rebound, b"x").refuses(403, "Host");
    daemon
        .ask("GET /topics", &["Host: evil.example"], b"")
        .refuses(403, "Host");
    let own = ["Host: localhost:8001", "Origin: http://localhost:8001"];
    assert_eq!(daemon.ask(post, &own, b"x").status, 200);
    assert_eq!(
        daemon
            .get("/topics/t")
            .body
            .matches("\"offset\":1,")
            .count(),
        1
    );
}

#[test]
fn a_client_that_dawdles_holds_up_no_other() {
    let daemon = Daemon::start(&[]);
    let mut half_head = daemon.connect();
    half_head.write_all(b"GET /healthz HTTP/1.1\r\nHo").unwrap();
    let mut half_body = daemon.connect();
    let head = "POST /topics/t/messages HTTP/1.1\r\nHost: localhost\r\n\
                Connection: close\r\nContent-Length: 10\r\n\r\n12345";
    half_body.write_all(head.as_bytes()).unwrap();
    let mut unread = daemon.connect();
    unread
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert_eq!(daemon.post("t", b"meanwhile").status, 200);
    half_body.write_all(b"67890").unwrap();
    assert_eq!(Answer::read(&mut half_body).status, 200);
    half_head
        .write_all(b"st: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert_eq!(Answer::read(&mut half_head).status, 200);
}

#[test]
fn beyond_the_connections_served_the_next_waits_for_its_turn() {
    let daemon = Daemon::start(&[]);
    let mut silent: Vec<_> = (0..64).map(|_| daemon.connect()).collect();
    let mut waiting = daemon.connect();
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    waiting.write_all(request).unwrap();
    silent.pop();
    assert_eq!(Answer::read(&mut waiting).body, "ok\n");
    // Those that say nothing are let go of in time.
    for mut stream in silent {
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
    }
}

#[test]
fn what_is_no_http_is_refused_and_harms_nobody() {
    let daemon = Daemon::start(&[]);
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"GET\r\n\r\n",
    ] {
        let mut stream = daemon.connect();
        stream.write_all(garbage).unwrap();
        assert_eq!(Answer::read(&mut stream).status, 400);
    }
    let long = format!(
        "GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n",
        "y".repeat(64 << 10)
    );
    let mut stream = daemon.connect();
    let _ = stream.write_all(long.as_bytes());
    assert_eq!(Answer::read(&mut stream).status, 431);
    assert_eq!(daemon.get("/healthz").status, 200);
}
