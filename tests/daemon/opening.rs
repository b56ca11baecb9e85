//! What a request becomes, and what whoever refuses it is told.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use tungstenite::Message;

use crate::common::{Answer, Daemon, OPEN, Raw, Witnesses, eventually, hear, masked};

const LOOPBACK_PROXY: [&str; 4] = ["--trusted-proxies", "127.0.0.1", OPEN[0], OPEN[1]];

fn ask(daemon: &Daemon, request: &str) -> Answer {
    ask_over(daemon.raw(), request)
}

fn ask_over(mut raw: Raw, request: &str) -> Answer {
    raw.send(request.as_bytes());
    raw.read_answer()
}

/// Shakes hands on `/topic`, having called the server `host`, as a page of its own.
fn call(daemon: &Daemon, host: &str) -> Answer {
    let request = Raw::request("/topic", &format!("Origin: http://{host}\r\n"));
    let mut raw = daemon.raw();
    raw.send(
        request
            .replace("Host: localhost", &format!("Host: {host}"))
            .as_bytes(),
    );
    raw.read_head()
}

/// A connection from another address than other tests' clients have.
fn stream_from(daemon: &Daemon, source: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let source: SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(&source.into()).unwrap();
    socket.connect(&daemon.addresses[0].into()).unwrap();
    socket.into()
}

#[test]
fn a_page_whose_name_was_pointed_here_is_refused_and_the_log_says_so() {
    let daemon = Daemon::start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    assert_eq!(call(&daemon, "evil.example:8000").status, 403);
    daemon.await_reason("host");
    let line = daemon.await_log("add it to hosts", 1);
    assert!(line.contains("evil.example:8000"), "{line}");
    for local in ["localhost:8000", "127.0.0.1:8000", "[::1]"] {
        assert_eq!(call(&daemon, local).status, 101, "{local}");
    }
    let page = ask(&daemon, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(page.status, 403);
    let health = ask(
        &daemon,
        "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    );
    assert_eq!(health.status, 200);
    witnesses.check();
}

#[test]
fn names_in_hosts_are_answered_to_behind_a_proxy_too() {
    let hosts = ["--hosts", "live.example,*.example.org"];
    for proxy in [&[][..], &LOOPBACK_PROXY] {
        let daemon = Daemon::start(&[&hosts[..], &OPEN, proxy].concat());
        assert_eq!(call(&daemon, "live.example").status, 101);
        assert_eq!(call(&daemon, "a.example.org:8443").status, 101);
        assert_eq!(call(&daemon, "evil.example").status, 403);
    }
    let daemon = Daemon::start(&LOOPBACK_PROXY);
    assert_eq!(call(&daemon, "live.example").status, 403);
}

#[test]
fn a_page_of_a_foreign_origin_leaves_a_line_in_the_log() {
    let daemon = Daemon::start(&[]);
    for _ in 0..3 {
        let mut raw = daemon.raw();
        let lines = "Origin: https://elsewhere.example\r\n";
        raw.send(Raw::request("/topic", lines).as_bytes());
        assert_eq!(raw.read_answer().status, 403);
    }
    let line = daemon.await_log("add it to origins", 1);
    assert!(line.contains("https://elsewhere.example"), "{line}");
    assert!(line.contains("localhost"), "{line}");
}

#[test]
fn the_checks_of_load_balancers_are_answered() {
    let daemon = Daemon::start(&[]);
    for request in [
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 10.0.0.7:8000\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\r\n",
    ] {
        assert_eq!(ask(&daemon, request).status, 200, "{request}");
    }
    let answer = ask(&daemon, "OPTIONS / HTTP/1.0\r\n\r\n");
    assert_eq!(answer.header("Allow"), Some("GET, HEAD, OPTIONS"));
}

#[test]
fn a_check_needs_no_proxy_header_and_a_websocket_does() {
    let options = [&LOOPBACK_PROXY[..], &["--proxy-header", "proxy-protocol"]].concat();
    let daemon = Daemon::start(&options);
    for request in [
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: fanfare\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        // HAProxy's own checks say that they are its own.
        "PROXY UNKNOWN\r\nOPTIONS / HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(ask(&daemon, request).status, 200, "{request}");
    }
    for request in [&Raw::request("/topic", "")[..], "\x16\x03\x01\r\n\r\n"] {
        let refused = ask(&daemon, request);
        assert_eq!(refused.status, 400);
        let body = String::from_utf8(refused.body).unwrap();
        assert!(body.contains("PROXY protocol"), "{body}");
    }
    let mut named = daemon.raw();
    let request = Raw::request("/topic", "");
    named.send(format!("PROXY TCP4 192.0.2.7 127.0.0.1 81 80\r\n{request}").as_bytes());
    named.expect_upgrade();
    eventually("nobody is left over", || {
        daemon.metric("fanfare_handshakes_in_flight") == 0
    });
}

#[test]
fn an_answer_to_head_has_no_body_though_it_is_a_refusal() {
    let daemon = Daemon::start(&["--handshake-ms-max", "200"]);
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        ("HEAD /topic HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        ("HEAD / HTTP/1.1\r\n\r\n", 400),
        ("HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("HEAD / HTTP/1.1\r\nHost: slow", 408),
    ] {
        let mut raw = daemon.raw();
        raw.send(request.as_bytes());
        let head = raw.read_head();
        assert_eq!(head.status, status, "{request}");
        assert!(head.header("Date").unwrap().ends_with(" GMT"));
        assert!(head.header("Content-Length").is_some());
        raw.expect_end();
    }
}

#[test]
fn an_answer_to_head_has_no_body_though_it_was_refused_unread() {
    let behind_proxy = [&LOOPBACK_PROXY[..], &["--proxy-header", "proxy-protocol"]].concat();
    let full = ["--connections-max", "1"];
    let full_for_one = ["--connections-per-address-max", "1"];
    let proxied = "PROXY TCP4 192.0.2.7 127.0.0.1 81 80\r\n";
    for (options, header) in [
        (&full[..], ""),
        (&full_for_one, ""),
        (&[&full[..], &behind_proxy].concat(), proxied),
        (&[&full_for_one[..], &behind_proxy].concat(), proxied),
    ] {
        let daemon = Daemon::start(options);
        let mut only = daemon.raw();
        only.send(format!("{header}{}", Raw::request("/topic", "")).as_bytes());
        only.expect_upgrade();
        // In one piece, and in two.
        for cut in [0, header.len(), header.len() + 3] {
            let request = format!("{header}HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let mut raw = daemon.raw();
            raw.send(&request.as_bytes()[..cut]);
            thread::sleep(Duration::from_millis(20));
            raw.send(&request.as_bytes()[cut..]);
            let head = raw.read_head();
            assert_eq!(head.status, 503, "{options:?}, cut at {cut}");
            assert_ne!(head.header("Content-Length"), Some("0"));
            raw.expect_end();
            let mut raw = daemon.raw();
            raw.send(request.replacen("HEAD", "GET", 1).as_bytes());
            assert_ne!(raw.read_answer().body, b"");
        }
        // Who says nothing is told as well, where no proxy is to say who that is.
        if header.is_empty() {
            assert_eq!(daemon.raw().read_answer().status, 503);
        }
    }
}

#[test]
fn a_page_that_a_browser_has_is_not_sent_again() {
    let daemon = Daemon::start(&[]);
    let get = |lines: &str| format!("GET / HTTP/1.1\r\nHost: localhost:8000\r\n{lines}\r\n");
    let page = ask(&daemon, &get(""));
    assert_eq!(page.status, 200);
    let tag = page.header("ETag").unwrap();
    let policy = page.header("Content-Security-Policy").unwrap();
    // Safari before 15.4 wants the sockets named.
    assert!(policy.contains("connect-src 'self' ws://localhost:8000 wss://localhost:8000;"));
    let mut raw = daemon.raw();
    raw.send(get(&format!("If-None-Match: \"other\", {tag}\r\n")).as_bytes());
    let known = raw.read_head();
    assert_eq!((known.status, known.header("ETag")), (304, Some(tag)));
    raw.expect_end();
}

#[test]
fn what_was_too_much_in_a_head_is_named() {
    let daemon = Daemon::start(&[]);
    // As single sign-on and a mesh of proxies make them.
    let cookie = format!("Cookie: session={}\r\n", "x".repeat(9 << 10));
    let fields = "X-Mesh: y\r\n".repeat(100);
    let mut raw = daemon.raw();
    raw.send(Raw::request("/topic", &(cookie + &fields)).as_bytes());
    raw.expect_upgrade();
    let told = |lines: String| {
        let answer = ask(&daemon, &Raw::request("/topic", &lines));
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    let (status, body) = told(format!("Cookie: {}\r\n", "x".repeat(33 << 10)));
    assert_eq!(
        (status, body.contains("32768 bytes")),
        (431, true),
        "{body}"
    );
    let (status, body) = told("A: b\r\n".repeat(129));
    assert_eq!(
        (status, body.contains("128 header fields")),
        (431, true),
        "{body}"
    );
    let daemon = Daemon::start(&["--head-fields-max", "8"]);
    let answer = ask(&daemon, &Raw::request("/topic", &"A: b\r\n".repeat(4)));
    assert_eq!(answer.status, 431);
    daemon.await_reason("head_fields");
}

#[test]
fn a_topic_may_be_named_in_the_query() {
    let daemon = Daemon::start(&[]);
    let mut by_path = daemon.connect("/a%2Fb");
    let mut by_query = daemon.connect("/?topic=a%2Fb");
    by_path.send(Message::text("by path")).unwrap();
    assert_eq!(hear(&mut by_query), "by path");
    by_query.send(Message::text("by query")).unwrap();
    assert_eq!(hear(&mut by_path), "by query");
}

#[test]
fn what_a_query_means_by_mistake_is_told() {
    let daemon = Daemon::start(&[]);
    for (path, words) in [
        ("/topic?sicne=5", "did you mean \"since\"?"),
        (
            "/topic?key=secret",
            "there are echo, epoch, hello, offsets, page, since, token, topic",
        ),
        (
            "/topic?echo=yes",
            "echo, hello, offsets and page are true, false, 1 or 0",
        ),
        ("/topic?topic=other", "named once"),
    ] {
        let answer = ask(&daemon, &Raw::request(path, ""));
        let body = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 400);
        assert!(body.contains(words), "{body}");
        assert!(!body.contains("secret"), "{body}");
    }
    daemon.await_reason("query_key");
    daemon.connect("/topic?echo=1");
}

#[test]
fn an_offer_of_unknown_subprotocols_is_told_which_are_spoken() {
    let daemon = Daemon::start(&[]);
    let answer = ask(
        &daemon,
        &Raw::request("/topic", "Sec-WebSocket-Protocol: mqtt\r\n"),
    );
    let body = String::from_utf8(answer.body).unwrap();
    assert_eq!(
        (answer.status, body.contains("\"chat\"")),
        (400, true),
        "{body}"
    );
    daemon.await_reason("subprotocol");
}

#[test]
fn one_address_leaves_room_for_the_handshakes_of_others() {
    let options = [
        "--handshakes-per-address-max",
        "2",
        "--handshake-ms-max",
        "60000",
    ];
    let daemon = Daemon::start(&options);
    let mut slow = [daemon.raw(), daemon.raw()];
    for raw in &mut slow {
        raw.send(b"GET /topic HTTP/1.1\r\n");
    }
    eventually("both are counted", || {
        daemon.metric("fanfare_handshakes_in_flight") == 2
    });
    let mut third = daemon.raw();
    assert_eq!(third.read_answer().status, 503);
    daemon.await_reason("address_handshakes_max");
    let line = daemon.await_log("name it in trusted_proxies", 1);
    assert!(line.contains("handshakes_per_address_max"), "{line}");
    let elsewhere = stream_from(&daemon, "127.0.1.9");
    daemon.open_over(elsewhere, "/topic", &[]).unwrap();
    // Those that are through their handshake are not counted.
    drop(slow);
    eventually("there is room", || daemon.open("/topic", &[]).is_ok());
    let _open: Vec<_> = (0..4).map(|_| daemon.connect("/topic")).collect();
}

#[test]
fn an_address_at_its_limit_is_named_in_the_log_with_the_likely_cause() {
    let daemon = Daemon::start(&["--connections-per-address-max", "1"]);
    let _first = daemon.connect("/topic");
    for _ in 0..3 {
        assert!(daemon.open("/topic", &[]).is_err());
    }
    let line = daemon.await_log("if it is a proxy, name it in trusted_proxies", 1);
    assert!(
        line.contains("127.0.0.1") && line.contains("connections_per_address_max"),
        "{line}"
    );
}

#[test]
fn a_browser_that_compresses_against_the_agreement_goes_without() {
    const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    const SAFARI: &str = "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) \
        AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.1 Safari/605.1.15\r\n";
    let daemon = Daemon::start(&[]);
    let agreed = |lines: &str| {
        let mut raw = daemon.raw();
        raw.send(Raw::request("/topic", lines).as_bytes());
        let answer = raw.read_head();
        assert_eq!(answer.status, 101);
        (raw, answer.header("Sec-WebSocket-Extensions").is_some())
    };
    assert!(!agreed(&format!("{OFFER}{SAFARI}")).1);
    // One that nobody knows by name refers to a message before.
    let (mut unknown, deflates) = agreed(OFFER);
    assert!(deflates);
    // A block of fixed codes: a match that reaches back before the beginning.
    unknown.send(&masked(0xc1, &[0x02, 0x02, 0x00]));
    assert_eq!(unknown.expect_close().0, 1007);
    daemon.await_log("reason=\"bad_deflate\"", 1);
    // It comes back and stays.
    let (mut again, deflates) = agreed(OFFER);
    assert!(!deflates);
    let mut listener = daemon.connect("/topic");
    again.send(&masked(0x81, b"at last"));
    assert_eq!(hear(&mut listener), "at last");
    // Others are offered compression as before.
    let mut elsewhere = Raw::new(stream_from(&daemon, "127.0.1.8"));
    elsewhere.send(Raw::request("/topic", OFFER).as_bytes());
    assert!(
        elsewhere
            .read_head()
            .header("Sec-WebSocket-Extensions")
            .is_some()
    );
}

#[test]
fn the_page_is_told_what_this_server_offers() {
    let get = "GET /fanfare.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let daemon = Daemon::start(&["--centrifugo", "off"]);
    let told = ask(&daemon, get);
    assert_eq!(told.status, 200);
    let body = String::from_utf8(told.body).unwrap();
    let start = r#"{"centrifugo":false,"event_streams":true,"apps":[],"http":"#;
    assert!(body.starts_with(start), "{body}");
    // A WebSocket may be on a topic of that name.
    let request = Raw::request("/fanfare.json", "");
    let mut raw = daemon.raw();
    raw.send(request.as_bytes());
    assert_eq!(raw.read_head().status, 101);
}
