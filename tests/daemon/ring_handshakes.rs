//! Connections that are accepted and opened in the ring, and those that go on from there.

use std::io::{Read, Write};
use std::net::Shutdown;

use nix::sys::signal::Signal;

use crate::common::{Daemon, OPEN, Raw, Witnesses, eventually, hear, masked, pass};

/// How many handshakes began and ended in the ring, and how many connections went on from there.
fn figures(daemon: &Daemon) -> (u64, u64) {
    let figure = |name| daemon.metric(name);
    (
        figure("fanfare_ring_handshakes_total"),
        figure("fanfare_ring_handed_on_total"),
    )
}

#[test]
fn an_opening_needs_neither_a_task_nor_a_descriptor() {
    let daemon = Daemon::start(&["--cores", "1"]);
    let before = daemon.metric("process_open_fds");
    let mut clients: Vec<_> = (0..50).map(|_| daemon.connect("/topic")).collect();
    assert_eq!(figures(&daemon), (50, 0));
    assert_eq!(daemon.metric("fanfare_handshakes_total"), 50);
    assert!(daemon.metric("process_open_fds") < before + 25);
    let (speaker, listeners) = clients.split_first_mut().unwrap();
    pass(speaker, &mut listeners[48], "hello");
    for listener in &mut listeners[..48] {
        assert_eq!(hear(listener), "hello");
    }
}

#[test]
fn a_head_may_come_byte_by_byte_and_bring_messages_along() {
    let daemon = Daemon::start(&[]);
    let mut witness = daemon.connect("/topic");
    let mut slow = daemon.raw();
    for byte in Raw::request("/topic", "").as_bytes() {
        slow.send(&[*byte]);
    }
    slow.expect_upgrade();
    let mut quick = daemon.raw();
    let mut all = Raw::request("/topic", "").into_bytes();
    all.extend(masked(0x81, b"one"));
    all.extend(masked(0x81, b"two"));
    quick.send(&all);
    quick.expect_upgrade();
    for wanted in ["one", "two"] {
        assert_eq!(hear(&mut witness), wanted);
        assert_eq!(slow.read_frame().unwrap(), (0x81, wanted.into()));
    }
    assert_eq!(figures(&daemon), (3, 0));
}

#[test]
fn whatever_is_no_opening_goes_on_with_what_was_read() {
    let daemon = Daemon::start(&["--api", "127.0.0.1:0"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let (_, before) = figures(&daemon);
    // A page, a refusal, a body for the server API, and what is no HTTP; each in two pieces.
    let body = "x".repeat(100_000);
    let post = format!(
        "POST /topics/topic HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let asked = [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("GET /topic HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        ("GET /topic HTTP/1.1\r\n\r\n", 400),
        ("\x16\x03\x01 what is this", 400),
    ];
    for (request, status) in asked {
        let mut raw = daemon.raw();
        let (first, rest) = request.split_at(3);
        raw.send(first.as_bytes());
        // It may have been refused by then.
        let _ = raw.stream.write_all(rest.as_bytes());
        assert_eq!(raw.read_head().status, status, "{request}");
    }
    assert_eq!(figures(&daemon).1, before + 4);
    let mut raw = daemon.raw();
    raw.send(post.as_bytes());
    let answer = raw.read_head();
    assert!(answer.status < 500, "{answer:?}");
    witnesses.check();
}

#[test]
fn a_head_that_is_long_or_slow_goes_on_and_is_answered() {
    let daemon = Daemon::start(&["--handshake-ms-max", "700"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let cookie = format!("Cookie: {}\r\n", "c".repeat(20_000));
    let mut long = daemon.raw();
    let request = Raw::request("/topic", &cookie);
    let (first, rest) = request.split_at(12_000);
    long.send(first.as_bytes());
    eventually("it is handed on", || figures(&daemon).1 == 1);
    long.send(rest.as_bytes());
    long.expect_upgrade();
    // Half a head is answered when its time is up, and silence as well.
    for begun in ["GET /topic HTTP/1.1\r\n", ""] {
        let mut slow = daemon.raw();
        slow.send(begun.as_bytes());
        assert_eq!(slow.read_answer().status, 408);
    }
    daemon.await_reason("timeout");
    witnesses.check();
}

#[test]
fn who_leaves_before_it_has_asked_leaves_nothing_behind() {
    let daemon = Daemon::start(&["--handshake-ms-max", "60000"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    for round in 0..30 {
        let mut raw = daemon.raw();
        raw.send(&b"GET /topic HTTP/1.1\r\n"[..round % 20]);
        match round % 3 {
            0 => raw.reset(),
            1 => drop(raw),
            _ => {
                raw.stream.shutdown(Shutdown::Write).unwrap();
                let mut end = Vec::new();
                raw.stream.read_to_end(&mut end).unwrap();
                assert_eq!(end, b"", "it has not asked for anything");
            }
        }
    }
    eventually("nobody is in its handshake", || {
        daemon.metric("fanfare_handshakes_in_flight") == 0
    });
    assert_eq!(figures(&daemon).1, 0);
    witnesses.check();
}

#[test]
fn who_ends_its_direction_with_its_request_is_let_go() {
    let daemon = Daemon::start(&[]);
    let mut raw = daemon.raw();
    raw.send(Raw::request("/topic", "").as_bytes());
    raw.stream.shutdown(Shutdown::Write).unwrap();
    let mut end = Vec::new();
    raw.stream.read_to_end(&mut end).unwrap();
    eventually("nobody is connected", || {
        daemon.metric("fanfare_connections") == 0
    });
    assert_eq!(daemon.metric("fanfare_handshakes_in_flight"), 0);
}

#[test]
fn the_acceptor_does_all_of_it_where_the_ring_is_not_to_and_the_setting_can_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, "ring_handshakes = \"never\"\n").unwrap();
    let daemon = Daemon::start(&["--config", path.to_str().unwrap()]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    assert_eq!(figures(&daemon), (0, 0));
    std::fs::write(&path, "ring_handshakes = \"auto\"\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    eventually("the ring accepts", || {
        daemon.connect("/topic");
        figures(&daemon).0 > 0
    });
    witnesses.check();
    std::fs::write(&path, "ring_handshakes = \"never\"\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    eventually("the acceptor accepts", || {
        let before = figures(&daemon).0;
        daemon.connect("/topic");
        figures(&daemon).0 == before
    });
    witnesses.check();
}

#[test]
fn proxies_and_tls_are_the_acceptors() {
    let options = ["--trusted-proxies", "127.0.0.1"];
    let header = ["--proxy-header", "x-forwarded-for"];
    let daemon = Daemon::start(&[&options[..], &header, &OPEN].concat());
    daemon.connect("/topic");
    assert_eq!(figures(&daemon), (0, 0));
}

#[test]
fn many_who_come_while_the_daemon_hands_over_are_all_let_in_by_one_or_the_other() {
    let mut daemon = Daemon::start(&["--cores", "2"]);
    let address = daemon.addresses[0];
    let come = std::thread::spawn(move || {
        let mut clients = Vec::new();
        for _ in 0..400 {
            let mut raw = Raw::new(std::net::TcpStream::connect(address).unwrap());
            raw.stream
                .set_read_timeout(Some(crate::common::PATIENCE))
                .unwrap();
            raw.send(Raw::request("/topic", "").as_bytes());
            raw.expect_upgrade();
            clients.push(raw);
        }
        clients
    });
    daemon.hand_over(1);
    daemon.hand_over(2);
    let mut clients = come.join().unwrap();
    let mut speaker = daemon.connect("/topic");
    speaker
        .send(tungstenite::Message::text("to all of you"))
        .unwrap();
    for client in &mut clients {
        assert_eq!(
            client.read_frame().unwrap(),
            (0x81, b"to all of you".to_vec())
        );
    }
}
