//! Every limit of connections, heads and topics, small: who goes beyond is told so, and others
//! go on as before. Those of messages are in `message_limits`.

use tungstenite::Message;

use crate::common::{Client, Daemon, OPEN, Raw, Witnesses, eventually, hear, masked, pass};

/// The status and the `Retry-After` of a refused handshake.
fn refusal(outcome: tungstenite::Result<(Client, impl Sized)>) -> (u16, Option<String>) {
    match outcome {
        Err(tungstenite::Error::Http(answer)) => {
            let wait = answer.headers().get("Retry-After");
            let wait = wait.map(|value| value.to_str().unwrap().to_owned());
            (answer.status().as_u16(), wait)
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[test]
fn beyond_connections_max_the_answer_is_503_until_one_leaves() {
    let daemon = Daemon::start(&["--connections-max", "3", "--retry-after-s", "7"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let third = daemon.connect("/topic");
    let refused = refusal(daemon.open("/topic", &[]));
    assert_eq!(refused, (503, Some("7".to_owned())));
    daemon.await_reason("connections_max");
    drop(third);
    eventually("there is room", || daemon.open("/topic", &[]).is_ok());
    witnesses.check();
}

#[test]
fn beyond_connections_per_address_max_the_answer_is_503() {
    let daemon = Daemon::start(&["--connections-per-address-max", "2"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let refused = refusal(daemon.open("/topic", &[]));
    assert_eq!(refused, (503, Some("2".to_owned())));
    daemon.await_reason("address_connections_max");
    // Another address is another matter.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let elsewhere: std::net::SocketAddr = "127.0.1.9:0".parse().unwrap();
    socket.bind(&elsewhere.into()).unwrap();
    socket.connect(&daemon.addresses[0].into()).unwrap();
    daemon.open_over(socket.into(), "/topic", &[]).unwrap();
    witnesses.check();
}

#[test]
fn beyond_handshakes_max_the_answer_is_503_at_once() {
    // On one core they are accepted in the order in which they come.
    let options = [
        "--cores",
        "1",
        "--handshakes-max",
        "2",
        "--handshake-ms-max",
        "60000",
    ];
    let daemon = Daemon::start(&options);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut slow = [daemon.raw(), daemon.raw()];
    for raw in &mut slow {
        raw.send(b"GET /topic HTTP/1.1\r\n");
    }
    let mut third = daemon.raw();
    let answer = third.read_answer();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("Retry-After"), Some("2"));
    daemon.await_reason("handshakes_max");
    witnesses.check();
    for raw in &mut slow {
        let request = Raw::request("/topic", "");
        raw.send(request.split_once("\r\n").unwrap().1.as_bytes());
        raw.expect_upgrade();
    }
}

#[test]
fn a_handshake_that_takes_too_long_is_told_408() {
    let daemon = Daemon::start(&["--handshake-ms-max", "100"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    for begin in ["", "GET /topic HTTP/1.1\r\nHost: a\r\n"] {
        let mut raw = daemon.raw();
        raw.send(begin.as_bytes());
        assert_eq!(raw.read_answer().status, 408);
    }
    daemon.await_log("reason=\"timeout\"", 2);
    witnesses.check();
}

#[test]
fn a_head_as_long_as_head_bytes_max_is_read_and_a_longer_one_is_told_431() {
    let daemon = Daemon::start(&["--head-bytes-max", "512"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let len = Raw::request("/topic", "X: \r\n").len();
    let head = |bytes| Raw::request("/topic", &format!("X: {}\r\n", "x".repeat(bytes - len)));
    let mut raw = daemon.raw();
    raw.send(head(512).as_bytes());
    raw.expect_upgrade();
    let mut raw = daemon.raw();
    raw.send(head(513).as_bytes());
    assert_eq!(raw.read_answer().status, 431);
    daemon.await_reason("head_bytes");
    witnesses.check();
}

#[test]
fn beyond_topics_max_the_answer_is_503() {
    let daemon = Daemon::start(&["--topics-max", "2"]);
    let mut witnesses = Witnesses::new(&daemon, "/one");
    let _two = daemon.connect("/two");
    let refused = refusal(daemon.open("/three", &[]));
    assert_eq!(refused, (503, Some("2".to_owned())));
    daemon.await_reason("topics_max");
    daemon.connect("/two");
    witnesses.check();
}

#[test]
fn names_that_nobody_reads_shut_no_new_topic_out() {
    let daemon = Daemon::start(&["--topics-max", "4"]);
    let mut witnesses = Witnesses::new(&daemon, "/one");
    for n in 0..20 {
        let path = format!("/flood-{n}?echo=1");
        let mut flood = daemon.connect(&path);
        flood.send(Message::text("x")).unwrap();
        assert_eq!(hear(&mut flood), "x");
        flood.close(None).unwrap();
        while flood.read().is_ok() {}
    }
    let (mut speaker, mut listener) = (daemon.connect("/new"), daemon.connect("/new"));
    pass(&mut speaker, &mut listener, "there is room");
    assert!(daemon.metric("fanfare_topic_evictions_total") >= 17);
    witnesses.check();
}

#[test]
fn a_small_log_still_carries_any_number_of_messages() {
    let daemon = Daemon::start(&[
        "--log-bytes-max",
        "64KiB",
        "--lag-bytes-max",
        "16KiB",
        "--message-bytes-max",
        "8KiB",
        "--retain-bytes-max",
        "16KiB",
    ]);
    let (mut speaker, mut listener) = (daemon.connect("/small"), daemon.connect("/small"));
    for n in 0..400 {
        pass(
            &mut speaker,
            &mut listener,
            &format!("{n:0len$}", len = 1 + n * 41 % 8192),
        );
    }
}

#[test]
fn where_all_logs_are_full_history_makes_room() {
    let daemon = Daemon::start(&[
        "--log-bytes-total-max",
        "1MiB",
        "--log-bytes-max",
        "256KiB",
        "--lag-bytes-max",
        "64KiB",
        "--message-bytes-max",
        "32KiB",
        "--retain-bytes-max",
        "128KiB",
    ]);
    let text = |topic: usize, n: usize| format!("{topic} {n:0>1000}");
    let mut held = Vec::new();
    for topic in 0..40 {
        let path = format!("/topic-{topic}");
        let (mut speaker, mut listener) = (daemon.connect(&path), daemon.connect(&path));
        for n in 0..100 {
            pass(&mut speaker, &mut listener, &text(topic, n));
        }
        // Some topics are still listened to, others are history only.
        if topic % 2 == 0 {
            held.push((topic, speaker, listener));
        }
    }
    assert!(daemon.metric("fanfare_log_sheds_total") > 0);
    assert!(daemon.metric("fanfare_log_bytes") <= 1 << 20);
    for (topic, mut speaker, mut listener) in held {
        pass(&mut speaker, &mut listener, &text(topic, 100));
    }
    // The newest is there, and all of what there is is in order.
    let (mut late, response) = daemon.open("/topic-39?since=1", &[]).unwrap();
    let first: usize = response.headers()["Fanfare-Next"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    for n in first - 1..100 {
        assert_eq!(hear(&mut late), text(39, n));
    }
    assert_eq!(daemon.counter("fanfare_closes_total", "log_full"), 0);
}

#[test]
fn a_silent_peer_is_pinged_and_then_closed_with_1008() {
    let daemon = Daemon::start(&["--idle-ms-max", "1500", "--ping-interval-ms", "300"]);
    let mut silent = daemon.raw_on("/topic");
    let mut pings = 0;
    let close = loop {
        match silent.read_frame().expect("a close comes") {
            (0x89, payload) => {
                assert_eq!(payload, b"");
                pings += 1;
            }
            other => break other,
        }
    };
    assert!((1..=4).contains(&pings), "{pings} pings");
    assert_eq!(close.0, 0x88);
    assert_eq!(close.1[..2], 1008u16.to_be_bytes());
    daemon.await_reason("idle");
}

#[test]
fn a_quiet_peer_that_answers_pings_outlives_a_silent_one() {
    let daemon = Daemon::start(&["--idle-ms-max", "2000", "--ping-interval-ms", "250"]);
    let mut quiet = daemon.raw_on("/topic");
    let mut silent = daemon.raw_on("/topic");
    // It says nothing but pongs, for longer than two silent ones live.
    for _ in 0..2 {
        while silent.stream.peek(&mut [0; 64]).unwrap() < 30 {
            let frame = quiet.read_frame();
            assert_eq!(frame, Some((0x89, Vec::new())), "no close");
            quiet.send(&masked(0x8a, b""));
        }
        silent = daemon.raw_on("/topic");
    }
    daemon.await_log("reason=\"idle\"", 2);
    // It is there still.
    let mut speaker = daemon.connect("/topic");
    speaker.send(Message::text("you there?")).unwrap();
    while quiet.read_frame() != Some((0x81, b"you there?".to_vec())) {}
}

#[test]
fn pages_of_the_host_itself_may_connect_and_no_others_by_default() {
    let daemon = Daemon::start(&[]);
    let host = daemon.addresses[0].to_string();
    let open = |origin: &str| daemon.open("/topic", &[("Origin", origin)]);
    open(&format!("http://{host}")).unwrap();
    for origin in ["https://elsewhere.example", "http://127.0.0.1:1", "null"] {
        assert_eq!(refusal(open(origin)), (403, None), "{origin}");
    }
    daemon.await_log("reason=\"origin\"", 3);
}

#[test]
fn an_allow_list_of_origins_takes_the_place_of_the_host() {
    let daemon = Daemon::start(&[
        "--origins",
        "https://a.example,https://*.b.example",
        OPEN[0],
        OPEN[1],
    ]);
    let open = |origin: &str| daemon.open("/topic", &[("Origin", origin)]);
    open("https://a.example").unwrap();
    open("https://www.b.example").unwrap();
    // Programs send no Origin.
    daemon.connect("/topic");
    for origin in [
        "https://b.example",
        "http://a.example",
        "https://a.example.evil",
    ] {
        assert_eq!(refusal(open(origin)), (403, None), "{origin}");
    }
}
