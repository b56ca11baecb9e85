//! Handshakes of TLS that are slow, cut, too long, or none; and records that are wrong before
//! a request has been answered.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::common::{Daemon, Raw, Witnesses, eventually};
use crate::tls::failures;
use crate::tls_world::{Authority, TLS13, VERSIONS, ask, dial, get, shake, shake_over, start};

/// What comes until the end.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut rest);
    rest
}

/// The first flight of a client.
fn hello(authority: &Authority) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut conn = ClientConnection::new(Arc::new(authority.client()), name).unwrap();
    let mut hello = Vec::new();
    conn.write_tls(&mut hello).unwrap();
    hello
}

/// The daemon serves others as ever.
fn is_well(daemon: &Daemon, authority: &Authority) {
    let mut tls = shake(daemon, authority.client(), "localhost").unwrap();
    assert!(ask(&mut tls, &get("/healthz")).ends_with("ok\n"));
}

#[test]
fn what_is_neither_tls_nor_http_gets_an_alert() {
    let (daemon, authority) = start(&[]);
    for bytes in [
        &b"\x00\x01\x02\x03\x04\x05"[..],
        b"\x80\x2e\x01\x03\x01",
        &[23; 64],
    ] {
        let mut stream = dial(&daemon);
        stream.write_all(bytes).unwrap();
        assert_eq!(rest(stream), [21, 3, 3, 0, 2, 2, 10]);
    }
    eventually("each is counted", || failures(&daemon, "not_tls") == 3);
    is_well(&daemon, &authority);
}

#[test]
fn a_client_that_is_slow_to_shake_hands_is_cut_and_costs_nobody_else_anything() {
    let (daemon, authority) = start(&["--handshake-ms-max", "700"]);
    let mut witnesses = Witnesses::new(&daemon, "/t");
    let hello = hello(&authority);
    let silent = dial(&daemon);
    let mut half = dial(&daemon);
    half.write_all(&hello[..hello.len() / 2]).unwrap();
    // Everything but the client's last word.
    let mut unfinished = dial(&daemon);
    unfinished.write_all(&hello).unwrap();
    witnesses.check();
    assert!(rest(silent).is_empty());
    assert!(rest(half).is_empty());
    // It has heard the server's part.
    assert_eq!(rest(unfinished)[0], 22);
    eventually("each is counted", || failures(&daemon, "timeout") == 3);
    witnesses.check();
    is_well(&daemon, &authority);
}

#[test]
fn half_handshakes_are_bounded_and_more_are_told_so_at_once() {
    let options = ["--handshakes-max", "4", "--handshake-ms-max", "2000"];
    let (daemon, authority) = start(&options);
    let half = || {
        let mut stream = dial(&daemon);
        stream.write_all(&hello(&authority)[..50]).unwrap();
        stream
    };
    let held: Vec<_> = (0..4).map(|_| half()).collect();
    eventually("they are there", || {
        daemon.metric("fanfare_handshakes_in_flight") == 4
    });
    // Internal error: the server itself cannot.
    assert_eq!(rest(half()), [21, 3, 3, 0, 2, 2, 80]);
    assert!(daemon.counter("fanfare_rejects_total", "handshakes_max") > 0);
    drop(held);
    eventually("they are gone", || {
        daemon.metric("fanfare_handshakes_in_flight") == 0
    });
    is_well(&daemon, &authority);
}

#[test]
fn a_handshake_that_comes_byte_by_byte_is_one_all_the_same() {
    let (daemon, authority) = start(&[]);
    let mut stream = dial(&daemon);
    let name = ServerName::try_from("localhost").unwrap();
    let mut conn = ClientConnection::new(Arc::new(authority.client()), name).unwrap();
    let mut hello = Vec::new();
    conn.write_tls(&mut hello).unwrap();
    for byte in hello {
        stream.write_all(&[byte]).unwrap();
        sleep(Duration::from_micros(200));
    }
    let mut tls = rustls::StreamOwned::new(conn, stream);
    assert!(ask(&mut tls, &get("/healthz")).ends_with("ok\n"));
}

#[test]
fn the_last_word_of_the_handshake_may_come_with_the_request() {
    let (daemon, authority) = start(&[]);
    for version in VERSIONS {
        let client = Arc::new(authority.client_of(&[version]));
        // The second time the client has the last word in both versions.
        for _ in 0..2 {
            let mut stream = dial(&daemon);
            let name = ServerName::try_from("localhost").unwrap();
            let mut conn = ClientConnection::new(client.clone(), name).unwrap();
            conn.writer().write_all(get("/healthz").as_bytes()).unwrap();
            let mut answer = Vec::new();
            loop {
                let mut out = Vec::new();
                while conn.wants_write() {
                    conn.write_tls(&mut out).unwrap();
                }
                stream.write_all(&out).unwrap();
                if conn.read_tls(&mut stream).unwrap() == 0 {
                    break;
                }
                let state = conn.process_new_packets().unwrap();
                let had = answer.len();
                answer.resize(had + state.plaintext_bytes_to_read(), 0);
                conn.reader().read_exact(&mut answer[had..]).unwrap();
                if state.peer_has_closed() {
                    break;
                }
            }
            assert!(answer.ends_with(b"ok\n"));
        }
    }
}

/// A connection whose client sends its last word of the handshake, and `request`, in one piece, and
/// reads until `words` have come.
fn ask_at_once(
    daemon: &Daemon,
    client: &Authority,
    request: &str,
    words: &str,
) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    let client = Arc::new(client.client_of(&[TLS13]));
    let mut conn = ClientConnection::new(client, name).unwrap();
    let mut stream = dial(daemon);
    conn.writer().write_all(request.as_bytes()).unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(words) {
        let mut out = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut out).unwrap();
        }
        stream.write_all(&out).unwrap();
        assert!(conn.read_tls(&mut stream).unwrap() > 0, "it ended early");
        let state = conn.process_new_packets().unwrap();
        let had = heard.len();
        heard.resize(had + state.plaintext_bytes_to_read(), 0);
        conn.reader().read_exact(&mut heard[had..]).unwrap();
    }
    conn
}

#[test]
fn who_asks_with_its_last_word_of_the_handshake_has_a_ticket_with_the_answer() {
    let (daemon, authority) = start(&["--api", "127.0.0.1:0"]);
    let stream = "GET /t HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let post = "POST /topics/t/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
    for (request, words) in [
        (&*get("/healthz"), "ok\n"),
        (&*get("/no/such\x01"), "HTTP/1.1 400 "),
        (&*Raw::request("/t", ""), "HTTP/1.1 101 "),
        (&*Raw::request("/app/unknown", ""), "HTTP/1.1 "),
        (stream, "retry: "),
        (post, "HTTP/1.1 20"),
    ] {
        let conn = ask_at_once(&daemon, &authority, request, words);
        assert_eq!(conn.tls13_tickets_received(), 1, "{request}");
    }
    is_well(&daemon, &authority);
}

#[test]
fn a_hello_in_records_of_a_byte_each_is_one_step_for_a_helper() {
    let (daemon, authority) = start(&[]);
    let name = ServerName::try_from("localhost").unwrap();
    let mut conn = ClientConnection::new(Arc::new(authority.client()), name).unwrap();
    let mut hello = Vec::new();
    conn.write_tls(&mut hello).unwrap();
    let (head, content) = hello.split_at(5);
    let records = content
        .iter()
        .flat_map(|byte| [head[0], head[1], head[2], 0, 1, *byte]);
    let mut stream = dial(&daemon);
    stream.write_all(&records.collect::<Vec<u8>>()).unwrap();
    let mut tls = rustls::StreamOwned::new(conn, stream);
    assert!(ask(&mut tls, &get("/healthz")).ends_with("ok\n"));
    assert_eq!(daemon.metric("fanfare_tls_steps_aside_total"), 1);
}

#[test]
fn a_handshake_that_is_too_long_is_refused() {
    let (daemon, authority) = start(&[]);
    // A record that is longer than any may be.
    let mut stream = dial(&daemon);
    stream.write_all(&[22, 3, 1, 0xff, 0xff, 1]).unwrap();
    assert_eq!(rest(stream), [21, 3, 3, 0, 2, 2, 22]);
    // One message in many records, of a length that rustls lets pass at first.
    let mut stream = dial(&daemon);
    let message = [&[1, 0, 0xff, 0x00][..], &[0; 16380]].concat();
    let record = |content: &[u8]| {
        let len = (content.len() as u16).to_be_bytes();
        [&[22, 3, 1, len[0], len[1]][..], content].concat()
    };
    let _ = stream.write_all(&record(&message));
    for _ in 0..5 {
        let _ = stream.write_all(&record(&[0; 16384]));
    }
    rest(stream);
    let refused = || failures(&daemon, "too_long") + failures(&daemon, "misbehaved");
    eventually("both are counted", || refused() == 2);
    is_well(&daemon, &authority);
}

#[test]
fn handshakes_cut_or_changed_anywhere_cost_nobody_anything() {
    let (daemon, authority) = start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/t");
    let whole = hello(&authority);
    for at in (0..whole.len()).step_by(7) {
        let mut cut = dial(&daemon);
        cut.write_all(&whole[..at]).unwrap();
        drop(cut);
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        let mut stream = dial(&daemon);
        stream.write_all(&changed).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        rest(stream);
    }
    witnesses.check();
    is_well(&daemon, &authority);
    eventually("nobody is left", || {
        daemon.metric("fanfare_handshakes_in_flight") == 0
    });
}

#[test]
fn a_wrong_record_behind_the_handshake_gets_an_alert_and_is_counted() {
    let (daemon, authority) = start(&[]);
    for version in VERSIONS {
        let client = authority.client_of(&[version]);
        let mut tls = shake_over(dial(&daemon), client, "localhost").unwrap();
        tls.sock.write_all(&[23, 3, 3, 0, 40]).unwrap();
        tls.sock.write_all(&[7; 40]).unwrap();
        let error = tls.read(&mut [0; 8]).unwrap_err();
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
    }
    let faults = || daemon.counter("fanfare_tls_faults_total", "tls_bad_tag");
    eventually("it is counted", || faults() == 2);
    is_well(&daemon, &authority);
}

#[test]
fn a_client_that_changes_its_keys_before_it_asks_is_answered() {
    let (daemon, authority) = start(&[]);
    let client = authority.client_of(&[crate::tls_world::TLS13]);
    let mut tls = shake(&daemon, client, "localhost").unwrap();
    // It asks for new ones of the server as well.
    tls.conn.refresh_traffic_keys().unwrap();
    let request = get("/healthz");
    tls.write_all(&request.as_bytes()[..10]).unwrap();
    tls.flush().unwrap();
    sleep(Duration::from_millis(50));
    tls.conn.refresh_traffic_keys().unwrap();
    let answer = ask(&mut tls, &request[10..]);
    assert!(answer.ends_with("ok\n"), "{answer}");
}
