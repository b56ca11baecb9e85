//! Connections that are accepted and opened in the ring, and those that go on from there.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};
use tungstenite::Message;

use crate::common::{Daemon, OPEN, Raw, Witnesses, eventually, hear, masked, pass};
use crate::tls_world::{Authority, shake};

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
fn who_connects_and_says_nothing_is_kept_by_the_kernel_for_a_moment_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    let write = |defers: &str| {
        std::fs::write(&path, format!("defer_accept = \"{defers}\"\n")).unwrap();
    };
    write("on");
    // One core lets people in as they come.
    let daemon = Daemon::start(&["--cores", "1", "--config", path.to_str().unwrap()]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    // Whether who says nothing has been let in when who comes later has been answered.
    let is_let_in = || {
        let _silent = daemon.raw();
        drop(daemon.connect("/topic"));
        daemon.metric("fanfare_handshakes_in_flight") > 0
    };
    for defers in ["on", "off", "on"] {
        write(defers);
        daemon.signal(Signal::SIGHUP);
        eventually(defers, || is_let_in() == (defers == "off"));
    }
    // It is seen in the end, and what it says then is heard.
    let mut silent = daemon.raw();
    let seen = || daemon.metric("fanfare_handshakes_in_flight") > 0;
    eventually("it is seen", seen);
    silent.send(Raw::request("/topic", "").as_bytes());
    silent.expect_upgrade();
    witnesses.check();
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
fn who_says_much_along_with_its_request_is_heard_in_full() {
    let daemon = Daemon::start(&["--cores", "1"]);
    let mut witness = daemon.connect("/topic");
    let texts: Vec<String> = (0..60)
        .map(|n| format!("{n} {}", "x".repeat(10_000)))
        .collect();
    for _ in 0..3 {
        let mut all = Raw::request("/topic", "").into_bytes();
        for text in &texts {
            all.extend(masked(0x81, text.as_bytes()));
        }
        let mut raw = daemon.raw();
        raw.send(&all);
        raw.expect_upgrade();
        for text in &texts {
            assert_eq!(&hear(&mut witness), text);
        }
        // It goes on as anybody does.
        raw.send(&masked(0x81, b"more"));
        assert_eq!(hear(&mut witness), "more");
    }
    assert_eq!(figures(&daemon), (4, 0));
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
    assert_eq!(
        answer.status, 405,
        "the server API is elsewhere: {answer:?}"
    );
    assert_eq!(figures(&daemon).1, before + 5);
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
    eventually("it has come and gone", || {
        daemon.counter("fanfare_closes_total", "gone") == 1
    });
    assert_eq!(daemon.metric("fanfare_handshakes_total"), 1);
    assert_eq!(daemon.connections(), 0);
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
    let authority = Authority::new();
    authority.sign("own", &["localhost"]);
    let table = authority.table("own");
    let tls = ["--listen-tls", "127.0.0.1:0", "--tls-certificates", &table];
    let daemon = Daemon::start(&tls);
    shake(&daemon, authority.client(), "localhost").unwrap();
    assert_eq!(figures(&daemon), (0, 0));
    daemon.connect("/topic");
    assert_eq!(figures(&daemon), (1, 0));
}

/// How each of those requests is answered, each on a connection of its own.
fn answers(daemon: &Daemon, requests: &[String]) -> Vec<String> {
    let answer = |request: &String| {
        let mut raw = daemon.raw();
        raw.send(request.as_bytes());
        let answer = raw.read_head();
        let fields = [
            "Allow",
            "Content-Type",
            "Sec-WebSocket-Extensions",
            "Sec-WebSocket-Protocol",
            "Access-Control-Allow-Origin",
        ];
        let fields: Vec<_> = fields.iter().map(|name| answer.header(name)).collect();
        format!("{} {fields:?}", answer.status)
    };
    requests.iter().map(answer).collect()
}

#[test]
fn whatever_is_asked_is_answered_alike_in_the_ring_and_by_the_acceptor() {
    let socket = |path: &str, lines: &str| Raw::request(path, lines);
    let plain = |method: &str, path: &str, lines: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
    };
    let events = "Accept: text/event-stream\r\n";
    let foreign = "Origin: https://elsewhere.example\r\n";
    let mut requests = vec![
        socket("/topic", ""),
        socket("/topic?offsets=true&since=1", ""),
        socket("/topic", "Sec-WebSocket-Protocol: superchat, chat\r\n"),
        socket("/topic", "Sec-WebSocket-Protocol: superchat\r\n"),
        socket("/topic", "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        socket("/topic", foreign),
        socket("/topic?since=x", ""),
        socket(
            "/connection/websocket",
            "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n",
        ),
        socket("/app/key", ""),
        plain("OPTIONS", "*", ""),
        plain(
            "OPTIONS",
            "/topic",
            &format!("{foreign}Access-Control-Request-Method: GET\r\n"),
        ),
        plain("PUT", "/topic", ""),
        plain("POST", "/topics/topic", "Content-Length: 0\r\n"),
        plain(
            "GET",
            "/topic",
            "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        ),
        "GET /topic HTTP/1.0\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\n".to_owned(),
    ];
    let paths = [
        "/",
        "/topic",
        "/healthz",
        "/topics",
        "/topics/topic",
        "/messages",
        "/connections",
        "/api/publish",
        "/apps/app/channels",
        "/openapi.json",
        "/.well-known/mercure?topic=topic",
        "/%zz",
    ];
    for path in paths {
        requests.push(socket(path, ""));
        for lines in ["", events, &format!("{events}{foreign}")] {
            requests.push(plain("GET", path, lines));
            requests.push(plain("HEAD", path, lines));
        }
    }
    for api in [&[][..], &["--api", "127.0.0.1:0"]] {
        let by_ring = Daemon::start(api);
        let by_acceptor = Daemon::start(&[api, &["--ring-handshakes", "never"]].concat());
        let both = answers(&by_ring, &requests).into_iter();
        let both = both.zip(answers(&by_acceptor, &requests));
        for (request, (ring, acceptor)) in requests.iter().zip(both) {
            assert_eq!(ring, acceptor, "{api:?} {request}");
        }
        assert!(figures(&by_ring).0 > 0 && figures(&by_ring).1 > 0);
        assert_eq!(figures(&by_acceptor), (0, 0));
    }
}

/// A daemon that a service manager gives this socket.
fn activated(listener: impl Into<OwnedFd>, options: &[&str]) -> Daemon {
    let listener = TcpListener::from(listener.into());
    let address = listener.local_addr().unwrap().to_string();
    let script = r#"export LISTEN_PID=$$ LISTEN_FDS=1; exec 3<&0 "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_fanfare")]);
    command.args(["--listen", &address, "--log", "debug"]);
    command.args(options);
    command.stdin(OwnedFd::from(listener));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Daemon::start_as(command)
}

#[test]
fn cores_that_share_a_socket_of_the_service_managers_share_out_who_comes() {
    // With `ReusePort=yes` and fewer sockets than there are cores.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(64).unwrap();
    let daemon = activated(socket, &["--cores", "2"]);
    let clients: Vec<_> = (0..80).map(|_| daemon.connect("/topic")).collect();
    let of_core = |core| daemon.metric(&format!("fanfare_connections{{core=\"{core}\"}}"));
    let each = [of_core(0), of_core(1)];
    assert_eq!(each[0] + each[1], 80);
    // One may be ahead by 16 and an eighth, and the accepts that are under way by then.
    assert!(each.iter().all(|held| *held >= 11), "{each:?}");
    // But for those who came before the cores had begun.
    assert!(figures(&daemon).0 > 40);
    drop(clients);
}

#[test]
fn what_somebody_is_owed_who_has_waited_for_the_daemon_waits_in_the_log_and_not_in_the_kernel() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let early = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    early.set_recv_buffer_size(4096).unwrap();
    early
        .connect(&listener.local_addr().unwrap().into())
        .unwrap();
    let mut early = Raw::new(early.into());
    early.send(Raw::request("/topic", "").as_bytes());
    let daemon = activated(listener, &["--cores", "1", "--unsent-bytes-max", "4KiB"]);
    early.expect_upgrade();
    let mut publisher = daemon.connect("/topic");
    let mut listener = daemon.connect("/topic");
    let text = "x".repeat(1024);
    for _ in 0..1024 {
        publisher.send(Message::text(text.as_str())).unwrap();
        assert_eq!(hear(&mut listener), text);
    }
    eventually("nearly all is still owed", || {
        daemon.metric("fanfare_lag_bytes") > 960 << 10
    });
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
