//! Publishers that ask how their message was delivered.

use std::io::{Read, Write};
use std::net::TcpStream;

use simd_json::OwnedValue;
use simd_json::prelude::*;
use socket2::{Domain, Socket, Type};

use crate::client::{Daemon, Stream, next};

fn ack(daemon: &Daemon, query: &str) -> OwnedValue {
    let request = format!("POST /topics/t/messages?ack=delivered{query}");
    let answer = daemon.ask(&request, &[], b"x");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn counts(receipt: &OwnedValue) -> (u64, u64, bool) {
    let delivered = receipt.get("delivered").unwrap();
    (
        delivered.get_u64("subscribers").unwrap(),
        delivered.get_u64("written").unwrap(),
        delivered.get_f64("last_ms").is_some(),
    )
}

/// A subscriber that reads nothing, and whose socket soon takes nothing.
pub(crate) fn still(daemon: &Daemon) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address: std::net::SocketAddr = daemon.public.parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let head = "GET /t HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // It is one from the answer on.
    stream.read_exact(&mut [0; 12]).unwrap();
    stream
}

#[test]
fn a_publisher_is_told_how_many_have_it_on_all_cores() {
    let daemon = Daemon::start(&["--cores", "3"]);
    let receipt = ack(&daemon, "");
    assert_eq!(counts(&receipt), (0, 0, false));
    assert_eq!(receipt.get_u64("offset"), Some(1));
    let mut subscribers: Vec<_> = (0..20).map(|_| daemon.subscribe("t").0).collect();
    let (_other, _) = daemon.subscribe("other");
    // It returns when they have it, and not when the time is over.
    let receipt = ack(&daemon, "&within_ms=30000");
    assert_eq!(counts(&receipt), (20, 20, true));
    assert_eq!(receipt.get_u64("offset"), Some(2));
    for subscriber in &mut subscribers {
        next(subscriber);
    }
    let url = format!("ws://{}/connection/websocket", daemon.public);
    let (mut session, _) = tungstenite::connect(url).unwrap();
    for line in [
        r#"{"id":1,"connect":{}}"#,
        r#"{"id":2,"subscribe":{"channel":"t"}}"#,
    ] {
        session.send(tungstenite::Message::text(line)).unwrap();
        next(&mut session);
    }
    drop(subscribers.pop());
    while daemon.get("/topics/t").json().get_u64("subscribers") != Some(20) {
        std::thread::yield_now();
    }
    let receipt = ack(&daemon, "&within_ms=30000");
    assert_eq!(counts(&receipt), (20, 20, true));
    assert!(
        daemon
            .get("/metrics")
            .body
            .contains("fanfare_delivery_acks 0\n")
    );
}

#[test]
fn who_reads_nothing_does_not_count_as_having_it() {
    let daemon = Daemon::start(&["--lag-bytes-max", "14MiB"]);
    let mut subscribers: Vec<_> = (0..3).map(|_| daemon.subscribe("t").0).collect();
    let stream = still(&daemon);
    for _ in 0..8 {
        assert_eq!(daemon.post("t", &[b'x'; 1 << 20]).status, 200);
        for subscriber in &mut subscribers {
            next(subscriber);
        }
    }
    let receipt = ack(&daemon, "&within_ms=200");
    assert_eq!(counts(&receipt), (4, 3, true));
    // Nor does one who leaves before.
    let mut connection = daemon.connect();
    let head = "POST /topics/t/messages?ack=delivered&within_ms=30000 HTTP/1.1\r\n\
                Host: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    connection.write_all(head.as_bytes()).unwrap();
    while daemon.get("/topics/t").json().get_u64("offset") != Some(10) {
        std::thread::yield_now();
    }
    drop(stream);
    let answer = crate::client::Answer::read(&mut connection);
    assert_eq!(counts(&answer.json()), (4, 3, true));
}

#[test]
fn one_who_is_skipped_does_not_count_as_having_it() {
    let options = [
        "--lag-policy",
        "skip",
        "--lag-bytes-max",
        "1MiB",
        "--cores",
        "1",
    ];
    let daemon = Daemon::start(&options);
    let _still = still(&daemon);
    // What is left of the one that is under way is kept.
    let post = |megabytes: usize| {
        for _ in 0..64 * megabytes {
            assert_eq!(daemon.post("t", &[b'x'; 16 << 10]).status, 200);
        }
    };
    post(8);
    let mut connection: Box<dyn Stream> = daemon.connect();
    let head = "POST /topics/t/messages?ack=delivered&within_ms=30000 HTTP/1.1\r\n\
                Host: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    connection.write_all(head.as_bytes()).unwrap();
    while daemon.get("/topics/t").json().get_u64("offset") != Some(513) {
        std::thread::yield_now();
    }
    post(4);
    let answer = crate::client::Answer::read(&mut connection);
    assert_eq!(counts(&answer.json()), (1, 0, false));
}

#[test]
fn acks_are_bounded_in_time_and_number() {
    let daemon = Daemon::start(&["--delivery-acks-max", "1", "--lag-bytes-max", "14MiB"]);
    for query in [
        "&within_ms=0",
        "&within_ms=30001",
        "&within_ms=1000000000000",
    ] {
        let request = format!("POST /topics/t/messages?ack=delivered{query}");
        daemon.ask(&request, &[], b"x").refuses(400, "1 to 30000");
    }
    daemon
        .ask("POST /topics/t/messages?ack=stored", &[], b"x")
        .refuses(400, "not kept on disk");
    daemon
        .ask("POST /topics/t/messages?ack=written", &[], b"x")
        .refuses(400, "ack is delivered or stored");
    daemon
        .ask("POST /topics/t/messages?within_ms=5", &[], b"x")
        .refuses(400, "within_ms stands beside ack");
    let _still = still(&daemon);
    for _ in 0..8 {
        assert_eq!(daemon.post("t", &[b'x'; 1 << 20]).status, 200);
    }
    let mut first = daemon.connect();
    let head = "POST /topics/t/messages?ack=delivered&within_ms=30000 HTTP/1.1\r\n\
                Host: localhost\r\nContent-Length: 1\r\n\r\nx";
    first.write_all(head.as_bytes()).unwrap();
    while daemon.get("/topics/t").json().get_u64("offset") != Some(9) {
        std::thread::yield_now();
    }
    let second = daemon.ask("POST /topics/t/messages?ack=delivered", &[], b"x");
    second.refuses(503, "delivery_acks_max");
    assert_eq!(second.field("retry-after"), Some("2"));
    // Who asks for nothing has nothing to do with it, and who goes makes room.
    assert_eq!(daemon.post("t", b"x").status, 200);
    drop(first);
    while daemon
        .ask(
            "POST /topics/t/messages?ack=delivered&within_ms=1",
            &[],
            b"x",
        )
        .status
        == 503
    {
        std::thread::yield_now();
    }
}
