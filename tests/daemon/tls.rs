//! What clients over TLS see: versions, certificates by name, protocols, sessions taken up
//! again, certificates of their own, and answers.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::common::{Daemon, OPEN, Raw, eventually};
use crate::tls_world::{
    Authority, TLS12, TLS13, VERSIONS, ask, dial, get, is_resumed, leaf, shake, start,
};

#[test]
fn a_page_and_a_refusal_are_whole_answers_over_each_version() {
    let (daemon, authority) = start(&[]);
    for version in VERSIONS {
        let client = Arc::new(authority.client_of(&[version]));
        let page = ask(
            &mut shake(&daemon, client.clone(), "localhost").unwrap(),
            &get("/"),
        );
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(page.contains("<html") && !page.contains("Strict-Transport-Security"));
        let refusal = ask(
            &mut shake(&daemon, client.clone(), "127.0.0.1").unwrap(),
            &get("/t"),
        );
        assert!(refusal.starts_with("HTTP/1.1 426 "), "{refusal}");
        let health = ask(
            &mut shake(&daemon, client, "localhost").unwrap(),
            &get("/healthz"),
        );
        assert!(health.ends_with("\r\n\r\nok\n"), "{health}");
    }
    let kinds = |kind| daemon.counter_of("fanfare_tls_handshakes_total", "kind", kind);
    assert!(kinds("tls13_full") > 0 && kinds("tls12_full") > 0);
    daemon.await_reason("no_upgrade");
}

#[test]
fn browsers_are_asked_to_come_over_tls_again_where_the_settings_say_so() {
    let (daemon, authority) = start(&["--hsts-max-age-s", "31536000"]);
    for path in ["/", "/healthz", "/t"] {
        let mut tls = shake(&daemon, authority.client(), "localhost").unwrap();
        let answer = ask(&mut tls, &get(path));
        let field = "\r\nStrict-Transport-Security: max-age=31536000\r\n";
        assert!(answer.contains(field), "{answer}");
    }
    // In the clear nobody would believe it.
    let mut raw = daemon.raw();
    raw.send(get("/").as_bytes());
    let answer = raw.read_answer();
    assert_eq!(answer.header("Strict-Transport-Security"), None);
}

#[test]
fn the_certificate_for_the_name_that_is_asked_for_is_shown() {
    let authority = Authority::new();
    let a = authority.sign("a", &["localhost", "a.example"]);
    let b = authority.sign("b", &["*.b.example"]);
    let (first, second) = (authority.table("a"), authority.table("b"));
    let daemon = Daemon::start(&[
        "--listen-tls",
        "127.0.0.1:0",
        "--tls-certificates",
        &first,
        "--tls-certificates",
        &second,
    ]);
    let shown = |host: &str| leaf(&shake(&daemon, authority.client(), host).unwrap());
    assert_eq!(shown("a.example"), a);
    assert_eq!(shown("x.b.example"), b);
    let error = shake(&daemon, authority.client(), "c.example").unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    // The client has told why it left.
    eventually("its alert is counted", || failures(&daemon, "alert") > 0);
}

#[test]
fn a_client_that_offers_other_protocols_only_is_told_so() {
    let (daemon, authority) = start(&[]);
    let offering = |protocols: &[&str]| {
        let mut client = authority.client();
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        client.alpn_protocols = protocols.collect();
        shake(&daemon, client, "localhost")
    };
    let both = offering(&["h2", "http/1.1"]).unwrap();
    assert_eq!(both.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let error = offering(&["h2"]).unwrap_err();
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
    await_failures(&daemon, "protocol", 1);
}

#[test]
fn an_old_version_is_refused_where_the_settings_say_so() {
    let (daemon, authority) = start(&["--tls-version-min", "1.3"]);
    shake(&daemon, authority.client_of(&[TLS13]), "localhost").unwrap();
    shake(&daemon, authority.client_of(&[TLS12]), "localhost").unwrap_err();
    await_failures(&daemon, "version", 1);
}

#[test]
fn a_session_is_taken_up_again() {
    let (daemon, authority) = start(&[]);
    for (version, kind) in [(TLS13, "tls13_resumed"), (TLS12, "tls12_resumed")] {
        let client = Arc::new(authority.client_of(&[version]));
        let mut first = shake(&daemon, client.clone(), "localhost").unwrap();
        assert!(!is_resumed(&first));
        ask(&mut first, &get("/healthz"));
        if version == TLS13 {
            assert_eq!(first.conn.tls13_tickets_received(), 1);
        }
        let mut second = shake(&daemon, client, "localhost").unwrap();
        assert!(is_resumed(&second));
        assert!(ask(&mut second, &get("/healthz")).ends_with("ok\n"));
        assert_eq!(
            daemon.counter_of("fanfare_tls_handshakes_total", "kind", kind),
            1
        );
    }
}

#[test]
fn clients_show_certificates_where_an_authority_for_them_is_named() {
    let (clients, strangers) = (Authority::new(), Authority::new());
    let root = clients.write_root();
    let root = root.to_str().unwrap();
    for (auth, may_go_without) in [("required", false), ("optional", true)] {
        let (daemon, authority) = start(&["--tls-client-ca", root, "--tls-client-auth", auth]);
        for version in VERSIONS {
            // In TLS 1.3 a client knows only from the answer.
            let answered = |client: Arc<rustls::ClientConfig>| -> Result<String, std::io::Error> {
                use std::io::Write;
                let mut tls = shake(&daemon, client, "localhost")?;
                tls.write_all(get("/healthz").as_bytes())?;
                let mut answer = String::new();
                tls.read_to_string(&mut answer)?;
                Ok(answer)
            };
            let known = Arc::new(authority.client_with(&clients, &[version]));
            assert!(answered(known.clone()).unwrap().ends_with("ok\n"));
            let mut again = shake(&daemon, known, "localhost").unwrap();
            assert!(is_resumed(&again));
            assert!(ask(&mut again, &get("/healthz")).ends_with("ok\n"));
            let unknown = Arc::new(authority.client_with(&strangers, &[version]));
            answered(unknown).unwrap_err();
            let without = answered(Arc::new(authority.client_of(&[version])));
            assert_eq!(without.is_ok(), may_go_without, "{without:?}");
        }
        await_failures(&daemon, "certificate", 2);
        let missing = if may_go_without { 0 } else { 2 };
        await_failures(&daemon, "certificate_missing", missing);
    }
}

#[test]
fn http_in_the_clear_is_told_that_tls_is_spoken() {
    let (daemon, _) = start(&[]);
    let mut raw = Raw::new(dial(&daemon));
    raw.send(get("/").as_bytes());
    let answer = raw.read_answer();
    assert_eq!(answer.status, 400);
    let body = String::from_utf8(answer.body).unwrap();
    assert!(body.contains("https://"), "{body}");
    let mut raw = Raw::new(dial(&daemon));
    raw.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(raw.read_head().status, 400);
    daemon.await_reason("plain_http");
}

#[test]
fn a_unix_socket_may_speak_tls_too() {
    let authority = Authority::new();
    authority.sign("own", &["localhost"]);
    let (table, place) = (authority.table("own"), authority.path("public"));
    let place = format!("unix:{}", place.display());
    let daemon = Daemon::start(&["--listen-tls", &place, "--tls-certificates", &table]);
    let mut stream = std::os::unix::net::UnixStream::connect(authority.path("public")).unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut conn = rustls::ClientConnection::new(Arc::new(authority.client()), name).unwrap();
    let mut tls = rustls::Stream::new(&mut conn, &mut stream);
    use std::io::Write;
    tls.write_all(get("/healthz").as_bytes()).unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
    drop(daemon);
}

#[test]
fn a_proxys_header_comes_in_the_clear_before_the_handshake() {
    use std::io::Write;
    let mut options = vec![
        "--trusted-proxies",
        "127.0.0.1",
        "--proxy-header",
        "proxy-protocol",
        "--connections-per-address-max",
        "1",
    ];
    options.extend(OPEN);
    let (daemon, authority) = start(&options);
    let proxied = |ip: &str| {
        let mut stream = dial(&daemon);
        let header = format!("PROXY TCP4 {ip} 10.0.0.9 5000 443\r\n");
        stream.write_all(header.as_bytes()).unwrap();
        stream
    };
    let client = Arc::new(authority.client());
    let asked = |stream| {
        let mut tls = crate::tls_world::shake_over(stream, client.clone(), "localhost").unwrap();
        ask(&mut tls, &get("/"))
    };
    assert!(asked(proxied("203.0.113.7")).starts_with("HTTP/1.1 200 "));
    // One that is refused by its address is told so over TLS.
    // Once hands are shaken it is known whose it is.
    let held = proxied("203.0.113.8");
    let _held = crate::tls_world::shake_over(held, client.clone(), "localhost").unwrap();
    let answer = asked(proxied("203.0.113.8"));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // A health check of the proxy's own has no header.
    let mut tls = shake(&daemon, client.clone(), "localhost").unwrap();
    assert!(ask(&mut tls, &get("/healthz")).ends_with("ok\n"));
}

#[test]
fn pages_of_the_host_may_connect_if_they_came_over_tls_as_well() {
    let (daemon, authority) = start(&[]);
    let port = daemon.tls_addresses[0].port();
    let opened = |origin: &str| {
        let mut tls = shake(&daemon, authority.client(), "localhost").unwrap();
        let request = Raw::request("/t", &format!("Origin: {origin}\r\n"));
        let request = request.replace("Host: localhost", &format!("Host: localhost:{port}"));
        use std::io::Write;
        tls.write_all(request.as_bytes()).unwrap();
        let mut begin = [0; 12];
        tls.read_exact(&mut begin).unwrap();
        String::from_utf8(begin.to_vec()).unwrap()
    };
    assert_eq!(opened(&format!("https://localhost:{port}")), "HTTP/1.1 101");
    assert_eq!(opened(&format!("http://localhost:{port}")), "HTTP/1.1 403");
    assert_eq!(opened("https://localhost"), "HTTP/1.1 403");
}

#[test]
fn who_finds_the_server_full_is_told_so_over_tls() {
    let (daemon, authority) = start(&["--connections-max", "1"]);
    let _first = daemon.connect("/t");
    let mut tls = shake(&daemon, authority.client(), "localhost").unwrap();
    let answer = ask(&mut tls, &get("/"));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: "));
}

#[test]
fn a_successor_listens_as_its_predecessor_did() {
    let (mut daemon, authority) = start(&[]);
    let shown: CertificateDer<'_> = leaf(&shake(&daemon, authority.client(), "localhost").unwrap());
    for time in 1..3 {
        daemon.hand_over(time);
        let mut tls = shake(&daemon, authority.client(), "localhost").unwrap();
        assert_eq!(leaf(&tls), shown);
        assert!(ask(&mut tls, &get("/healthz")).ends_with("ok\n"));
        let mut raw = daemon.raw();
        raw.send(get("/healthz").as_bytes());
        assert_eq!(raw.read_answer().status, 200);
    }
}

#[test]
fn a_socket_of_the_service_manager_that_is_called_tls_speaks_it() {
    let authority = Authority::new();
    authority.sign("own", &["localhost"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // As a service manager passes it.
    let script = r#"export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=tls; exec 3<&0 "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_fanfare")]);
    command.args(["--cores", "2", "--listen", "127.0.0.1:0", "--log", "debug"]);
    command.args(["--listen-tls", &address]);
    command.args(["--tls-certificates", &authority.table("own")]);
    command.stdin(std::os::fd::OwnedFd::from(listener));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut daemon = Daemon::start_as(command);
    for time in 1..3 {
        let mut tls = shake(&daemon, authority.client(), "localhost").unwrap();
        assert!(ask(&mut tls, &get("/healthz")).ends_with("ok\n"));
        let mut raw = daemon.raw();
        raw.send(get("/healthz").as_bytes());
        assert_eq!(raw.read_answer().status, 200);
        daemon.hand_over(time);
    }
    let mut tls = shake(&daemon, authority.client(), "localhost").unwrap();
    assert!(ask(&mut tls, &get("/healthz")).ends_with("ok\n"));
}

/// They are counted once they have been told.
fn await_failures(daemon: &Daemon, reason: &str, wanted: u64) {
    eventually("they are counted", || failures(daemon, reason) == wanted);
}

/// How many handshakes have failed for that reason.
pub(crate) fn failures(daemon: &Daemon, reason: &str) -> u64 {
    daemon.counter("fanfare_tls_handshake_failures_total", reason)
}
