//! Connections over TLS that live on: slow readers, new keys, wrong records, ends of either side, and other
//! processes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tungstenite::{Message, WebSocket};

use crate::common::{Client, Daemon, Witnesses, eventually, hear, masked};
use crate::tls_talking::open;
use crate::tls_world::{
    Authority, TLS12, TLS13, Tls, VERSIONS, ask, dial, get, is_resumed, shake, shake_over, start,
};

/// Reads on until it hears what is said to it once it has been told that something was skipped: what is
/// published before that may be skipped as well.
pub(crate) fn hear_past_skips(slow: &mut WebSocket<Tls>, speaker: &mut Client) {
    loop {
        let heard = slow.read().unwrap().into_text().unwrap();
        if heard.contains("\"missed\"") {
            speaker.send(Message::text("last")).unwrap();
        }
        if heard.contains("last") {
            break;
        }
    }
}

/// A WebSocket of a client whose socket takes little at a time.
pub(crate) fn open_narrow(daemon: &Daemon, client: ClientConfig, path: &str) -> WebSocket<Tls> {
    let stream = daemon.narrow_stream_to(daemon.tls_addresses[0]);
    let tls = shake_over(stream, client, "localhost").unwrap();
    open(daemon, tls, path)
}

pub(crate) fn closes(daemon: &Daemon, reason: &str) -> u64 {
    daemon.counter("fanfare_closes_total", reason)
}

/// Messages of different lengths, each of them known by its beginning.
fn texts(count: usize, len: usize) -> Vec<String> {
    let text = |n: usize| format!("{n} ") + &"x".repeat(len + n % 7 * len);
    (0..count).map(text).collect()
}

#[test]
fn a_reader_that_takes_little_at_a_time_hears_all_in_order() {
    let (daemon, authority) = start(&["--lag-bytes-max", "64MiB", "--log-bytes-max", "128MiB"]);
    for version in VERSIONS {
        let mut slow = open_narrow(&daemon, authority.client_of(&[version]), "/t");
        let mut speaker = daemon.connect("/t");
        let texts = texts(300, 3_000);
        for text in &texts {
            speaker.send(Message::text(text)).unwrap();
        }
        // Its own question comes between.
        slow.send(Message::Ping(b"?"[..].into())).unwrap();
        let mut pongs = 0;
        for text in &texts {
            let mut heard = slow.read().unwrap();
            if heard.is_pong() {
                pongs += 1;
                heard = slow.read().unwrap();
            }
            assert!(heard == Message::text(text), "{heard:.20}");
        }
        speaker.send(Message::text("last")).unwrap();
        while slow.read().unwrap() != Message::text("last") {
            pongs += 1;
        }
        assert_eq!(pongs, 1);
    }
    assert!(daemon.metric("fanfare_short_writes_total") > 0);
}

#[test]
fn a_reader_over_tls_that_is_skipped_is_told_and_hears_on() {
    let options = ["--lag-policy", "skip", "--lag-bytes-max", "256KiB"];
    let (daemon, authority) = start(&options);
    for version in VERSIONS {
        let path = "/t?offsets=true";
        let mut slow = open_narrow(&daemon, authority.client_of(&[version]), path);
        let mut speaker = daemon.connect("/t");
        let skips = daemon.metric("fanfare_lag_skips_total");
        let mut sent = 0;
        while daemon.metric("fanfare_lag_skips_total") == skips {
            for _ in 0..50 {
                sent += 1;
                let text = format!("{sent} {}", "x".repeat(20_000));
                speaker.send(Message::text(text)).unwrap();
            }
        }
        hear_past_skips(&mut slow, &mut speaker);
    }
}

#[test]
fn new_keys_may_be_taken_at_any_time_by_the_client() {
    let (daemon, authority) = start(&[]);
    let tls = shake(&daemon, authority.client_of(&[TLS13]), "localhost").unwrap();
    let mut sealed = open(&daemon, tls, "/t");
    let mut plain = daemon.connect("/t");
    for n in 0..100 {
        // It asks for new ones of the server as well.
        sealed.get_mut().conn.refresh_traffic_keys().unwrap();
        let text = format!("{n} {}", "y".repeat(n * 500));
        sealed.send(Message::text(&text)).unwrap();
        assert_eq!(hear(&mut plain), text);
        plain.send(Message::text(&text)).unwrap();
        assert_eq!(sealed.read().unwrap(), Message::text(&text));
    }
}

#[test]
fn a_wrong_record_ends_its_connection_with_an_alert_and_nobody_elses() {
    let (daemon, authority) = start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/t");
    for version in VERSIONS {
        let wrong = [
            (
                "tls_bad_tag",
                &[&[23, 3, 3, 0, 40][..], &[7; 40]].concat()[..],
            ),
            ("tls_too_long", &[23, 3, 3, 0xff, 0xff]),
            ("tls_content_type", &[99, 3, 3, 0, 40]),
            ("tls_version", &[23, 2, 0, 0, 40]),
            ("tls_too_short", &[23, 3, 3, 0, 1]),
        ];
        for (reason, bytes) in wrong {
            let before = closes(&daemon, reason);
            let tls = shake(&daemon, authority.client_of(&[version]), "localhost").unwrap();
            let mut sealed = open(&daemon, tls, "/t");
            sealed.get_mut().sock.write_all(bytes).unwrap();
            let error = sealed.read().unwrap_err().to_string();
            assert!(error.contains("fatal alert"), "{reason}: {error}");
            eventually(reason, || closes(&daemon, reason) == before + 1);
            witnesses.check();
        }
    }
}

#[test]
fn a_record_that_comes_twice_is_not_heard_twice() {
    let (daemon, authority) = start(&[]);
    let mut listener = daemon.connect("/t");
    let tls = shake(&daemon, authority.client(), "localhost").unwrap();
    let mut sealed = open(&daemon, tls, "/t");
    let tls = sealed.get_mut();
    tls.conn.writer().write_all(&masked(0x81, b"once")).unwrap();
    let mut record = Vec::new();
    tls.conn.write_tls(&mut record).unwrap();
    tls.sock.write_all(&record.repeat(2)).unwrap();
    assert_eq!(hear(&mut listener), "once");
    eventually("it is found", || closes(&daemon, "tls_bad_tag") == 1);
    let mut other = daemon.connect("/t");
    crate::common::pass(&mut other, &mut listener, "next");
}

#[test]
fn both_sides_say_that_no_more_comes() {
    let (daemon, authority) = start(&[]);
    for version in VERSIONS {
        let tls = shake(&daemon, authority.client_of(&[version]), "localhost").unwrap();
        let mut sealed = open(&daemon, tls, "/t");
        sealed.close(None).unwrap();
        while sealed.read().is_ok() {}
        // An end without a word would be an error.
        let tls = sealed.get_mut();
        assert_eq!(tls.read(&mut [0; 8]).unwrap(), 0);
        tls.conn.send_close_notify();
        tls.flush().unwrap();
    }
    for (n, version) in VERSIONS.into_iter().enumerate() {
        let tls = shake(&daemon, authority.client_of(&[version]), "localhost").unwrap();
        let mut sealed = open(&daemon, tls, "/t");
        let tls = sealed.get_mut();
        tls.conn.send_close_notify();
        tls.flush().unwrap();
        assert_eq!(tls.read(&mut [0; 8]).unwrap(), 0);
        eventually("it is gone", || closes(&daemon, "gone") == n as u64 + 1);
    }
    assert_eq!(daemon.metric("fanfare_tls_truncated_total"), 0);
}

#[test]
fn who_is_cut_off_without_a_word_is_counted() {
    let (daemon, authority) = start(&[]);
    let tls = shake(&daemon, authority.client(), "localhost").unwrap();
    let sealed = open(&daemon, tls, "/t");
    sealed.get_ref().sock.shutdown(Shutdown::Write).unwrap();
    let truncated = || daemon.metric("fanfare_tls_truncated_total");
    eventually("it is counted", || truncated() == 1);
    eventually("it is gone", || closes(&daemon, "gone") == 1);
}

#[test]
fn another_process_goes_on_with_sessions_wherever_they_are() {
    let (mut daemon, authority) = start(&["--lag-bytes-max", "64MiB", "--log-bytes-max", "128MiB"]);
    let mut all: Vec<WebSocket<Tls>> = VERSIONS
        .into_iter()
        .flat_map(|version| {
            let client = || authority.client_of(&[version]);
            let quick = shake(&daemon, client(), "localhost").unwrap();
            [
                open(&daemon, quick, "/t"),
                // It stands inside a record that it does not take.
                open_narrow(&daemon, client(), "/t"),
            ]
        })
        .collect();
    let mut speaker = daemon.connect("/t");
    let texts = texts(100, 5_000);
    for (n, text) in texts.iter().enumerate() {
        speaker.send(Message::text(text)).unwrap();
        if n % 30 == 20 {
            daemon.hand_over(n / 30 + 1);
        }
    }
    for client in &mut all {
        for text in &texts {
            assert!(client.read().unwrap() == Message::text(text));
        }
    }
    // And they can speak, with half of a record sent before.
    let client = &mut all[0];
    let tls = client.get_mut();
    let frame = masked(0x81, "z".repeat(3000).as_bytes());
    tls.conn.writer().write_all(&frame).unwrap();
    let mut record = Vec::new();
    tls.conn.write_tls(&mut record).unwrap();
    tls.sock.write_all(&record[..1000]).unwrap();
    daemon.hand_over(4);
    all[0].get_mut().sock.write_all(&record[1000..]).unwrap();
    assert_eq!(hear(&mut speaker), "z".repeat(3000));
    for (n, client) in all.iter_mut().enumerate() {
        client.close(None).unwrap();
        while client.read().is_ok() {}
        let rest = client.get_mut().read(&mut [0; 8]);
        assert_eq!(rest.unwrap(), 0, "client {n} is told that no more comes");
    }
    assert_eq!(
        daemon.metric("fanfare_not_taken_over_total{kind=\"connection\"}"),
        0
    );
}

#[test]
fn tickets_are_good_for_another_process_too() {
    let (mut daemon, authority) = start(&[]);
    for version in [TLS13, TLS12] {
        let client = std::sync::Arc::new(authority.client_of(&[version]));
        let mut tls = shake(&daemon, client.clone(), "localhost").unwrap();
        assert!(!is_resumed(&tls));
        ask(&mut tls, &get("/healthz"));
        daemon.hand_over(if version == TLS13 { 1 } else { 2 });
        let tls = shake(&daemon, client, "localhost").unwrap();
        assert!(is_resumed(&tls), "{version:?}");
    }
}

#[test]
fn many_small_records_are_read_as_one_message() {
    let (daemon, authority) = start(&[]);
    let mut listener = daemon.connect("/t");
    let tls = shake(&daemon, authority.client(), "localhost").unwrap();
    let mut sealed = open(&daemon, tls, "/t");
    let tls = sealed.get_mut();
    for byte in masked(0x81, "by bytes ".repeat(100).as_bytes()) {
        tls.write_all(&[byte]).unwrap();
    }
    assert_eq!(hear(&mut listener), "by bytes ".repeat(100));
}

#[test]
fn records_that_come_in_part_are_bounded_together() {
    let (daemon, authority) = start(&[
        "--partial-bytes-max",
        "64KiB",
        "--message-bytes-max",
        "32KiB",
    ]);
    let mut witnesses = Witnesses::new(&daemon, "/w");
    let mut held = Vec::new();
    for _ in 0..8 {
        let tls = shake(&daemon, authority.client(), "localhost").unwrap();
        let mut sealed = open(&daemon, tls, "/t");
        let stream = &mut sealed.get_mut().sock;
        stream.write_all(&[23, 3, 3, 0x40, 0]).unwrap();
        stream.write_all(&[7; 15_000]).unwrap();
        held.push(sealed);
    }
    daemon.await_reason("partial_bytes");
    drop(held);
    eventually("all is given back", || {
        daemon.metric("fanfare_partial_bytes") == 0
    });
    witnesses.check();
}

#[test]
fn a_record_that_never_comes_whole_ends_what_nobody_pings_as_well() {
    let stream = "GET /t HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    let part = [23, 3, 3, 0x40, 0, 7];
    for is_stream in [false, true] {
        let (daemon, authority) = start(&["--message-ms-max", "300", "--keepalive", "kernel"]);
        let mut tls = shake(&daemon, authority.client(), "localhost").unwrap();
        if is_stream {
            tls.write_all(stream.as_bytes()).unwrap();
            assert!(tls.read(&mut [0; 4096]).unwrap() > 0);
            tls.sock.write_all(&part).unwrap();
            daemon.await_reason("slow_message");
        } else {
            let mut sealed = open(&daemon, tls, "/t");
            sealed.get_mut().sock.write_all(&part).unwrap();
            daemon.await_reason("slow_message");
        }
        eventually("all is given back", || {
            daemon.metric("fanfare_partial_bytes") == 0
        });
    }
}

#[test]
fn an_event_stream_goes_over_to_another_process_and_ends_with_a_word() {
    let (mut daemon, authority) = start(&[]);
    let mut tls = shake(&daemon, authority.client(), "localhost").unwrap();
    let request = "GET /t HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    tls.write_all(request.as_bytes()).unwrap();
    let mut heard = String::new();
    let mut read_until = |tls: &mut Tls, words: &str| {
        while !heard.contains(words) {
            let mut bytes = [0; 4096];
            let len = tls.read(&mut bytes).unwrap();
            assert!(len > 0, "{heard}");
            heard.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
        }
    };
    read_until(&mut tls, "\n\n");
    daemon.hand_over(1);
    let mut speaker = daemon.connect("/t");
    speaker.send(Message::text("from the next")).unwrap();
    read_until(&mut tls, "data: from the next\n");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let mut rest = String::new();
    tls.read_to_string(&mut rest).expect("a whole answer");
}

/// What is sealed by hand, over a socket of its own: rustls closes what it does not like.
#[test]
fn data_behind_close_notify_is_for_nobody() {
    let (daemon, authority) = start(&[]);
    let mut listener = daemon.connect("/t");
    let tls = shake(&daemon, authority.client(), "localhost").unwrap();
    let mut sealed = open(&daemon, tls, "/t");
    let StreamOwned::<ClientConnection, TcpStream> { conn, sock } = sealed.get_mut();
    conn.writer().write_all(&masked(0x81, b"before")).unwrap();
    conn.send_close_notify();
    let mut records = Vec::new();
    while conn.wants_write() {
        conn.write_tls(&mut records).unwrap();
    }
    records.extend_from_slice(&[23, 3, 3, 0, 40]);
    records.extend_from_slice(&[7; 40]);
    sock.write_all(&records).unwrap();
    assert_eq!(hear(&mut listener), "before");
    eventually("it is gone", || closes(&daemon, "gone") == 1);
    assert_eq!(closes(&daemon, "tls_bad_tag"), 0);
    let error = sealed.read().unwrap_err();
    assert!(
        !matches!(&error, tungstenite::Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
    );
}

#[test]
fn what_one_authority_has_signed_is_shown_to_all_dialects() {
    let (daemon, authority): (Daemon, Authority) = start(&[]);
    let tls = shake_over(dial(&daemon), authority.client(), "localhost").unwrap();
    let mut chat = open(&daemon, tls, "/connection/websocket");
    let connect = r#"{"id":1,"connect":{}}"#;
    chat.send(Message::text(connect)).unwrap();
    let answer = chat.read().unwrap().into_text().unwrap();
    assert!(answer.contains("\"connect\""), "{answer}");
}
