//! The server API on the public port.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use simd_json::prelude::*;
use tungstenite::Message;

use crate::client::{Admin, Answer, Daemon, next};

/// With the role `api` on the public port, whose address is asked for as port 0.
const ON_THE_PUBLIC_PORT: [&str; 2] = ["--api", "127.0.0.1:0"];

fn public(daemon: &Daemon) -> Admin {
    Admin::Tcp(daemon.public.clone())
}

#[test]
fn a_backend_publishes_on_the_port_that_subscribers_connect_to() {
    let daemon = Daemon::start(&ON_THE_PUBLIC_PORT);
    let api = public(&daemon);
    let (mut subscriber, _) = daemon.subscribe("topics/news");
    let answer = api.ask(
        "POST /api/publish",
        &[],
        br#"{"channel":"topics/news","data":{"goal":1}}"#,
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(next(&mut subscriber), Message::text(r#"{"goal":1}"#));
    let answer = api.ask("POST /topics/topics%2Fnews/messages", &[], b"second");
    assert_eq!(answer.json().get_u64("offset"), Some(2));
    assert_eq!(next(&mut subscriber), Message::text("second"));
    assert_eq!(api.ask("GET /topics", &[], b"").status, 200);
    // What else is there on the port is as it was.
    assert_eq!(api.ask("GET /healthz", &[], b"").status, 200);
    for (path, status) in [("/metrics", 426), ("/upgrade", 426), ("/news", 426)] {
        let answer = api.ask(&format!("GET {path}"), &[], b"");
        assert_eq!(answer.status, status, "{path}");
    }
}

#[test]
fn without_the_role_the_public_port_has_no_api() {
    let daemon = Daemon::start(&[]);
    let api = public(&daemon);
    assert_eq!(api.ask("POST /api/info", &[], b"{}").status, 405);
    assert_eq!(api.ask("GET /topics", &[], b"").status, 426);
}

#[test]
fn the_key_is_asked_for_there_and_no_page_is_let_in_but_a_listed_one() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "k3y\n").unwrap();
    let mut options = ON_THE_PUBLIC_PORT.to_vec();
    options.extend(["--api-key-file", key.to_str().unwrap()]);
    options.extend(["--origins", "https://live.example.com"]);
    options.extend(["--anonymous", "match = \"**\""]);
    let daemon = Daemon::start(&options);
    let api = public(&daemon);
    let key = "X-API-Key: k3y";
    let refused = api.ask("POST /topics/a/messages", &[], b"x");
    refused.refuses(401, "X-API-Key");
    // Strangers are not waited for.
    assert_eq!(refused.field("connection"), Some("close"));
    let wrong = api.ask("POST /api/info", &["X-API-Key: other"], b"{}");
    wrong.refuses(401, "not the API key");
    let two = ["X-API-Key: k3y", "Authorization: apikey k3y"];
    api.ask("POST /api/info", &two, b"{}")
        .refuses(400, "one key or token");
    assert_eq!(api.ask("POST /api/info", &[key], b"{}").status, 200);
    let own = format!("Origin: http://{}", daemon.public);
    for origin in [own.as_str(), "Origin: null", "Origin: http://evil.example"] {
        api.ask("POST /api/info", &[key, origin], b"{}")
            .refuses(403, "origins");
    }
    let listed = "Origin: https://live.example.com";
    let answer = api.ask("POST /api/info", &[key, listed], b"{}");
    assert_eq!(answer.status, 200);
    let allowed = answer.field("access-control-allow-origin");
    assert_eq!(allowed, Some("https://live.example.com"));
    let asks = ["Access-Control-Request-Method: POST", listed];
    let answer = api.ask("OPTIONS /messages?topic=a", &asks, b"");
    assert_eq!(answer.status, 204);
    let headers = answer.field("access-control-allow-headers").unwrap();
    assert!(headers.contains("authorization"), "{headers}");
}

/// Reads one answer with a `Content-Length`.
fn read_one(stream: &mut BufReader<TcpStream>) -> (u16, String) {
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest.split(' ').next().unwrap().parse().unwrap();
        } else if let Some(rest) = line.strip_prefix("content-length: ") {
            length = rest.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (status, String::from_utf8(body).unwrap())
}

#[test]
fn requests_that_come_together_are_answered_in_their_order() {
    let daemon = Daemon::start(&ON_THE_PUBLIC_PORT);
    let stream = TcpStream::connect(&daemon.public).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let request =
        "POST /topics/t/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\n";
    let mut all = String::new();
    for number in 0..10 {
        all += &format!("{request}{number}");
    }
    // The first head comes in two pieces, and what follows with the second.
    (&stream).write_all(&all.as_bytes()[..30]).unwrap();
    (&stream).write_all(&all.as_bytes()[30..]).unwrap();
    for offset in 1..=10 {
        let (status, body) = read_one(&mut reader);
        assert_eq!(status, 200);
        assert!(body.contains(&format!("\"offset\":{offset},")), "{body}");
    }
    // The connection has become the API's.
    (&stream)
        .write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .unwrap();
    let (status, body) = read_one(&mut reader);
    assert_eq!(status, 421, "{body}");
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

#[test]
fn those_who_ask_the_api_are_counted_and_bounded() {
    let mut options = ON_THE_PUBLIC_PORT.to_vec();
    options.extend(["--api-connections-max", "1"]);
    let daemon = Daemon::start(&options);
    let mut first = TcpStream::connect(&daemon.public).unwrap();
    let request = b"GET /topics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    first.write_all(request).unwrap();
    let mut reader = BufReader::new(first.try_clone().unwrap());
    assert_eq!(read_one(&mut reader).0, 200);
    let figures = daemon.get("/metrics").body;
    assert!(figures.contains("fanfare_api_connections 1\n"), "{figures}");
    let mut second = TcpStream::connect(&daemon.public).unwrap();
    second.write_all(request).unwrap();
    let refused = Answer::read(&mut second);
    assert_eq!(refused.status, 503);
    assert_eq!(refused.field("retry-after"), Some("2"));
    let figures = daemon.get("/metrics").body;
    let counted = "fanfare_rejects_total{reason=\"api_connections_max\"} 1\n";
    assert!(figures.contains(counted), "{figures}");
    drop((first, reader));
    // Nothing tells when its end has been seen.
    loop {
        let mut third = TcpStream::connect(&daemon.public).unwrap();
        third.write_all(request).unwrap();
        let mut reader = BufReader::new(third);
        if read_one(&mut reader).0 == 200 {
            break;
        }
    }
}

#[test]
fn a_proxys_connection_ends_with_the_first_answer() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "k3y\n").unwrap();
    let mut options = ON_THE_PUBLIC_PORT.to_vec();
    options.extend(["--api-key-file", key.to_str().unwrap()]);
    options.extend(["--trusted-proxies", "127.0.0.1"]);
    options.extend(["--anonymous", "match = \"**\""]);
    let daemon = Daemon::start(&options);
    let stream = TcpStream::connect(&daemon.public).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let request = b"GET /topics HTTP/1.1\r\nHost: localhost\r\nX-API-Key: k3y\r\n\r\n";
    (&stream).write_all(request).unwrap();
    assert_eq!(read_one(&mut reader).0, 200);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_public_unix_socket_may_have_the_role_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("public");
    let word = format!("unix:{}", path.display());
    let daemon = Daemon::start(&["--listen", &word, "--api", &word]);
    let answer = Admin::Unix(path).ask("POST /messages?topic=a", &[], b"x");
    assert_eq!(answer.json().get_u64("offset"), Some(1));
    // The role is that address's alone.
    let answer = public(&daemon).ask("POST /messages?topic=a", &[], b"x");
    assert_eq!(answer.status, 405);
}
