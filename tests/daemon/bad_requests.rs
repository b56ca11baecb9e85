//! Requests that are no handshake, or a wrong one, get an HTTP answer that says
//! so. Each test shows that others go on as before.

use crate::common::{Answer, Daemon, Raw, Witnesses, eventually, hear, masked};

/// Sends `request` and returns the answer, which must be a refusal for
/// `reason`.
fn refusal(request: &[u8], status: u16, reason: &str) -> Answer {
    let daemon = Daemon::start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut raw = daemon.raw();
    raw.send(request);
    let answer = raw.read_answer();
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.header("Connection").unwrap().starts_with("close"));
    assert!(answer.body.len() > 10, "it says why: {answer:?}");
    daemon.await_reason(reason);
    witnesses.check();
    answer
}

/// A handshake on `/topic` with `from` replaced by `to`.
fn handshake(from: &str, to: &str) -> Vec<u8> {
    let right = Raw::request("/topic", "");
    let request = right.replace(from, to);
    assert_ne!(request, right);
    request.into_bytes()
}

macro_rules! refused {
    ($( $name:ident: $request:expr => $status:literal, $reason:literal; )*) => { $(
        #[test]
        fn $name() {
            refusal(AsRef::<[u8]>::as_ref(&$request), $status, $reason);
        }
    )* };
}

const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const HOST: &str = "Host: localhost\r\n";

refused! {
    bytes_that_are_no_http: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" => 400, "not_http";
    words_that_are_no_http: b"hello there\r\n\r\n" => 400, "not_http";
    a_head_that_is_too_long:
        Raw::request("/topic", &format!("X: {}\r\n", "x".repeat(40_000))).into_bytes()
        => 431, "head_bytes";
    a_method_that_is_not_served: b"POST /topic HTTP/1.1\r\nHost: a\r\n\r\n" => 405, "method";
    a_path_that_names_no_topic_asked_for_as_a_page:
        b"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n" => 404, "not_found";
    a_target_that_is_no_path:
        handshake("GET /topic", "GET topic") => 400, "target";
    http_1_0: handshake("HTTP/1.1", "HTTP/1.0") => 505, "http_version";
    no_host: handshake(HOST, "") => 400, "missing_host";
    two_hosts: handshake(HOST, "Host: a\r\nHost: b\r\n") => 400, "duplicate_host";
    no_connection_header:
        handshake("Connection: Upgrade", "Connection: keep-alive")
        => 426, "no_connection_upgrade";
    no_key: handshake(KEY, "") => 400, "missing_key";
    a_key_that_is_no_base64:
        handshake("dGhlIHNhbXBsZSBub25jZQ==", "????????????????????????") => 400, "bad_key";
    a_key_of_fifteen_bytes:
        handshake("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j") => 400, "bad_key";
    two_keys: handshake(KEY, &format!("{KEY}{KEY}")) => 400, "duplicate_key";
    a_body: Raw::request("/topic", "Content-Length: 5\r\n").into_bytes() => 400, "body";
    a_chunked_body:
        Raw::request("/topic", "Transfer-Encoding: chunked\r\n").into_bytes() => 400, "body";
    a_topic_with_a_control_character:
        handshake("/topic", "/a%00b") => 400, "topic";
    a_topic_that_is_too_long:
        handshake("/topic", &format!("/{}", "a".repeat(256))) => 400, "topic";
    a_topic_that_is_no_utf8: handshake("/topic", "/%ff") => 400, "topic";
    a_topic_with_a_broken_escape: handshake("/topic", "/a%4") => 400, "topic";
    an_offset_that_is_no_number: handshake("/topic", "/topic?since=now") => 400, "query";
    an_epoch_without_an_offset: handshake("/topic", "/topic?epoch=ab") => 400, "query";
    an_epoch_that_is_no_number: handshake("/topic", "/topic?since=1&epoch=x") => 400, "query";
    offsets_for_a_chat:
        Raw::request("/topic?offsets=true", "Sec-WebSocket-Protocol: chat\r\n").into_bytes()
        => 400, "query";
    a_topic_that_is_kept_for_other_protocols:
        handshake("/topic", "/events/today") => 404, "reserved";
    the_same_in_the_query: handshake("/topic", "/?topic=api") => 404, "reserved";
    an_echo_that_is_neither: handshake("/topic", "/topic?echo=maybe") => 400, "query";
    a_page_of_another_host:
        Raw::request("/topic", "Origin: https://elsewhere.example\r\n").into_bytes()
        => 403, "origin";
}

#[test]
fn a_head_request_opens_no_websocket() {
    let daemon = Daemon::start(&[]);
    let mut raw = daemon.raw();
    raw.send(&handshake("GET", "HEAD"));
    assert_eq!(raw.read_head().status, 405);
    raw.expect_end();
    daemon.await_reason("method");
}

#[test]
fn a_plain_request_for_a_topic_is_told_to_upgrade() {
    let request = b"GET /topic HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = refusal(request, 426, "no_upgrade");
    assert_eq!(answer.header("Upgrade"), Some("websocket"));
    assert_eq!(answer.header("Sec-WebSocket-Version"), Some("13"));
}

#[test]
fn another_version_or_none_is_told_the_right_one() {
    for other in [
        "",
        "Sec-WebSocket-Version: 8\r\n",
        "Sec-WebSocket-Version: 13\r\n".repeat(2).as_str(),
    ] {
        let answer = refusal(&handshake(VERSION, other), 426, "websocket_version");
        assert_eq!(answer.header("Sec-WebSocket-Version"), Some("13"));
    }
}

#[test]
fn the_page_and_its_health_are_plain_answers() {
    let daemon = Daemon::start(&[]);
    for (path, kind) in [("/", "text/html"), ("/healthz", "text/plain")] {
        let mut raw = daemon.raw();
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let answer = raw.read_answer();
        assert_eq!(answer.status, 200);
        assert!(answer.header("Content-Type").unwrap().starts_with(kind));
    }
}

#[test]
fn a_handshake_may_come_one_byte_at_a_time() {
    let daemon = Daemon::start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut listener = daemon.connect("/slow");
    let mut raw = daemon.raw();
    for byte in Raw::request("/slow", "").as_bytes() {
        raw.send(&[*byte]);
    }
    raw.expect_upgrade();
    for byte in masked(0x81, "drip".as_bytes()) {
        raw.send(&[byte]);
    }
    assert_eq!(hear(&mut listener), "drip");
    witnesses.check();
}

#[test]
fn peers_that_leave_before_they_have_asked_cost_nothing() {
    let daemon = Daemon::start(&["--handshakes-max", "8"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    for n in 0..64 {
        let mut raw = daemon.raw();
        match n % 4 {
            0 => {}
            1 => raw.send(b"GET /topic HT"),
            2 => {
                raw.send(b"GET /topic HT");
                raw.reset();
                continue;
            }
            _ => raw.send(b"\r\n\r\n"),
        }
        drop(raw);
    }
    // Their places are free again, once the daemon has seen them leave.
    eventually("there is room", || daemon.open("/topic", &[]).is_ok());
    witnesses.check();
}

#[test]
fn garbage_behind_a_right_handshake_is_a_fault_of_the_open_connection() {
    let daemon = Daemon::start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut raw = daemon.raw();
    let mut bytes = Raw::request("/topic", "").into_bytes();
    bytes.extend(b"GET / HTTP/1.1\r\n\r\n");
    raw.send(&bytes);
    raw.expect_upgrade();
    assert_eq!(raw.expect_close().0, 1002);
    witnesses.check();
}
