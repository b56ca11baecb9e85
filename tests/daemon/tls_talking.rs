//! Conversations over TLS: WebSockets, streams of events, the server API on the same port, and
//! the admin listener.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::common::{Daemon, PATIENCE, eventually, hear, pass};
use crate::tls_world::{Authority, Tls, VERSIONS, ask, get, shake, shake_over, start};

/// A WebSocket for `path`.
pub(crate) fn open(daemon: &Daemon, tls: Tls, path: &str) -> WebSocket<Tls> {
    let url = format!("ws://localhost:{}{path}", daemon.tls_addresses[0].port());
    let request = url.into_client_request().unwrap();
    tungstenite::client::client(request, tls).unwrap().0
}

#[test]
fn people_over_tls_and_in_the_clear_hear_one_another() {
    let (daemon, authority) = start(&[]);
    for version in VERSIONS {
        let client = authority.client_of(&[version]);
        let tls = shake(&daemon, client, "localhost").unwrap();
        let mut sealed = open(&daemon, tls, "/t");
        let mut plain = daemon.connect("/t");
        for text in ["short", &"long ".repeat(20_000)] {
            sealed.send(Message::text(text)).unwrap();
            assert_eq!(hear(&mut plain), text);
            plain.send(Message::text(text)).unwrap();
            let heard = sealed.read().unwrap();
            assert_eq!(heard, Message::text(text));
        }
        sealed.send(Message::Ping(b"x"[..].into())).unwrap();
        assert_eq!(sealed.read().unwrap(), Message::Pong(b"x"[..].into()));
        sealed.close(None).unwrap();
        while sealed.read().is_ok() {}
        let mut other = daemon.connect("/t");
        pass(&mut plain, &mut other, "still here");
    }
}

#[test]
fn a_stream_of_events_begins_over_tls() {
    let (daemon, authority) = start(&[]);
    let mut tls = shake(&daemon, authority.client(), "localhost").unwrap();
    let request = "GET /t HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    tls.write_all(request.as_bytes()).unwrap();
    let mut speaker = daemon.connect("/t");
    let mut heard = String::new();
    let read = |tls: &mut Tls, heard: &mut String, words: &str| {
        while !heard.contains(words) {
            let mut bytes = [0; 4096];
            let len = tls.read(&mut bytes).unwrap();
            assert!(len > 0, "{heard}");
            heard.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
        }
    };
    read(&mut tls, &mut heard, "\r\n\r\n");
    speaker.send(Message::text("to all")).unwrap();
    read(&mut tls, &mut heard, "data: to all\n");
}

/// One request of several on one connection; the answer has a length.
fn exchange(tls: &mut Tls, request: &str, body: &str) -> (String, String) {
    let len = body.len();
    let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n\r\n");
    tls.write_all((head + body).as_bytes()).unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let len = tls.read(&mut part).unwrap();
        assert!(
            len > 0,
            "it ends early: {}",
            String::from_utf8_lossy(&bytes)
        );
        bytes.extend_from_slice(&part[..len]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let wanted = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")
                .map(str::to_owned)
        });
        if wanted.and_then(|len| len.parse().ok()) == Some(body.len()) {
            return (head.to_owned(), body.to_owned());
        }
    }
}

fn start_with_api() -> (Daemon, Authority) {
    start(&["--api", "127.0.0.1:0", "--hsts-max-age-s", "60"])
}

#[test]
fn the_server_api_is_served_over_tls_request_after_request() {
    let (daemon, authority) = start_with_api();
    for version in VERSIONS {
        let client = authority.client_of(&[version]);
        let mut tls = shake(&daemon, client, "127.0.0.1").unwrap();
        let mut listener = daemon.connect("/t");
        for text in ["first", "second", &"third ".repeat(30_000)] {
            let (head, _) = exchange(&mut tls, "POST /topics/t/messages", text);
            assert!(head.starts_with("HTTP/1.1 20"), "{head}");
            assert!(
                head.to_lowercase()
                    .contains("strict-transport-security: max-age=60")
            );
            assert_eq!(hear(&mut listener), text);
        }
        for number in 0..40 {
            exchange(
                &mut tls,
                &format!("POST /topics/{number}{}/messages", "x".repeat(200)),
                "x",
            );
        }
        // Longer than a record.
        let (_, body) = exchange(&mut tls, "GET /topics", "");
        assert!(body.len() > 8_000, "{}", body.len());
        let (head, _) = exchange(&mut tls, "GET /openapi.json", "");
        assert!(head.starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn the_server_api_says_goodbye_over_tls() {
    let (daemon, authority) = start_with_api();
    let mut tls = shake(&daemon, authority.client(), "localhost").unwrap();
    let answer = ask(&mut tls, &get("/topics"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // What is wrong ends it with an alert.
    let mut tls = shake_over(
        crate::tls_world::dial(&daemon),
        authority.client(),
        "localhost",
    )
    .unwrap();
    exchange(&mut tls, "GET /topics", "");
    tls.sock.write_all(&[23, 3, 3, 0, 40]).unwrap();
    tls.sock.write_all(&[7; 40]).unwrap();
    let error = tls.read(&mut [0; 8]).unwrap_err();
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    assert_eq!(daemon.counter("fanfare_tls_faults_total", "tls_bad_tag"), 1);
}

#[test]
fn a_client_that_changes_its_keys_goes_on_with_the_server_api() {
    let (daemon, authority) = start_with_api();
    let client = authority.client_of(&[crate::tls_world::TLS13]);
    let mut tls = shake(&daemon, client, "localhost").unwrap();
    for _ in 0..3 {
        let (head, _) = exchange(&mut tls, "GET /topics", "");
        assert!(head.starts_with("HTTP/1.1 200 "));
        tls.conn.refresh_traffic_keys().unwrap();
    }
}

#[test]
fn the_admin_listener_speaks_tls_if_it_is_to() {
    let (daemon, authority) = start(&["--admin-tls", "on", "--metrics", "127.0.0.1:0"]);
    let line = daemon.await_log("admin listener on https://", 1);
    let (_, rest) = line.split_once("https://").unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    let dial = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    for version in VERSIONS {
        let client = authority.client_of(&[version]);
        let mut tls = shake_over(dial(), client, "127.0.0.1").unwrap();
        let (head, body) = exchange(&mut tls, "GET /metrics", "");
        assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("fanfare_ready 1"));
        let answer = ask(&mut tls, &get("/healthz"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    // The Unix socket stays as it was.
    let (status, _) = daemon.ask("GET /healthz");
    assert!(status.contains("200"), "{status}");
    let mut plain = dial();
    plain.write_all(get("/healthz").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"));
    let count = |family, label, value| daemon.counter_of(family, label, value);
    for kind in ["tls13_full", "tls12_full"] {
        assert_eq!(count("fanfare_tls_handshakes_total", "kind", kind), 1);
    }
    let failures = "fanfare_tls_handshake_failures_total";
    eventually("it is counted", || {
        count(failures, "reason", "not_tls") == 1
    });
    // Who leaves in the midst of it is, too.
    let mut left = dial();
    left.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    drop(left);
    eventually("it is counted", || count(failures, "reason", "left") == 1);
}

#[test]
fn a_burst_of_handshakes_is_answered_while_a_topic_is_live() {
    let (daemon, authority) = start(&[]);
    let client = Arc::new({
        let mut client = authority.client();
        client.resumption = rustls::client::Resumption::disabled();
        client
    });
    let (mut speaker, mut listener) = (daemon.connect("/t"), daemon.connect("/t"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let mut tls = shake(&daemon, client.clone(), "localhost").unwrap();
                    assert!(ask(&mut tls, &get("/healthz")).ends_with("ok\n"));
                }
            });
        }
        for number in 0..50 {
            pass(&mut speaker, &mut listener, &number.to_string());
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let full = daemon.counter_of("fanfare_tls_handshakes_total", "kind", "tls13_full");
    assert_eq!(full, 100);
    assert!(daemon.metric("fanfare_tls_steps_aside_total") >= 100);
}
