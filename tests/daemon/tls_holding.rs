//! What a daemon holds of connections over TLS: their keys, the rest of a record that a slow reader
//! has not taken, and records that come in part.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use tungstenite::{Message, WebSocket};

use crate::common::{Daemon, eventually, hear, pass};
use crate::handover::{program, replace};
use crate::message_limits::LONG_HEADER;
use crate::tls_living::{closes, hear_past_skips, open_narrow};
use crate::tls_talking::open;
use crate::tls_world::{Authority, Tls, VERSIONS, shake, start};

#[test]
fn a_successor_that_speaks_no_tls_keeps_the_keys_that_it_goes_on_with_to_itself() {
    const WORDS: &str = "can neither be dumped nor traced";
    let authority = Authority::new();
    authority.sign("own", &["localhost"]);
    let mut command = program(authority.folder.path());
    let table = authority.table("own");
    command.args(["--listen-tls", "127.0.0.1:0", "--tls-certificates", &table]);
    let mut daemon = Daemon::start_as(command);
    daemon.await_log(WORDS, 1);
    let tls = shake(&daemon, authority.client(), "localhost").unwrap();
    let mut sealed = open(&daemon, tls, "/t");
    // The same without those two options, each of which has a value.
    let script = format!(
        "#!/bin/sh\n\
         for word do\n\
         shift\n\
         case \"$before\" in --listen-tls|--tls-certificates) before=; continue;; esac\n\
         before=$word\n\
         case \"$word\" in --listen-tls|--tls-certificates) continue;; esac\n\
         set -- \"$@\" \"$word\"\n\
         done\n\
         exec {} \"$@\"\n",
        env!("CARGO_BIN_EXE_fanfare")
    );
    replace(&authority.path("fanfare"), &script);
    daemon.hand_over(1);
    daemon.await_log(WORDS, 2);
    let mut plain = daemon.connect("/t");
    plain.send(Message::text("still sealed")).unwrap();
    assert_eq!(sealed.read().unwrap(), Message::text("still sealed"));
    // Nobody else comes in so.
    TcpStream::connect(daemon.tls_addresses[0]).unwrap_err();
}

#[test]
fn a_process_without_tls_can_be_looked_into_as_ever() {
    let mut daemon = Daemon::start(&[]);
    let (mut speaker, mut listener) = (daemon.connect("/t"), daemon.connect("/t"));
    daemon.hand_over(1);
    pass(&mut speaker, &mut listener, "on");
    assert_eq!(daemon.count_log("can neither be dumped nor traced"), 0);
}

#[test]
fn what_is_kept_of_a_record_is_counted_until_it_has_been_read() {
    let options = ["--lag-policy", "skip", "--lag-bytes-max", "256KiB"];
    let (daemon, authority) = start(&options);
    let kept = || daemon.metric("fanfare_tls_kept_bytes");
    for version in VERSIONS {
        let path = "/t?offsets=true";
        let mut slow = open_narrow(&daemon, authority.client_of(&[version]), path);
        let mut speaker = daemon.connect("/t");
        // Before it is skipped, the record that it stands in is kept; it stands in none if its socket
        // has taken the whole of one, and then takes a little more of others.
        let mut rounds = 0..50;
        loop {
            rounds.next().expect("something is kept by now");
            for _ in 0..50 {
                speaker.send(Message::text("x".repeat(20_000))).unwrap();
            }
            let is_kept = (0..20).any(|_| {
                thread::sleep(Duration::from_millis(50));
                kept() > 0
            });
            if is_kept {
                break;
            }
            slow.read().unwrap();
        }
        assert!(kept() <= 17 << 10, "{}", kept());
        hear_past_skips(&mut slow, &mut speaker);
        eventually("nothing is kept", || kept() == 0);
    }
}

/// Sends bytes in pieces over twice the time that a peer is waited for which sends nothing.
fn trickle(all: &mut [(WebSocket<Tls>, Vec<u8>)]) {
    const PIECES: usize = 16;
    for piece in 0..PIECES {
        for (sealed, bytes) in all.iter_mut() {
            let len = bytes.len().div_ceil(PIECES);
            let bytes = bytes.chunks(len).nth(piece).unwrap_or_default();
            let sent = sealed.get_mut().sock.write_all(bytes);
            sent.expect("the daemon has not hung up");
        }
        thread::sleep(Duration::from_millis(250));
    }
}

fn expect_close(sealed: &mut WebSocket<Tls>, code: u16) {
    let close = loop {
        match sealed.read().expect("it is told why it is closed") {
            Message::Close(close) => break close,
            _ => continue,
        }
    };
    assert_eq!(close.map(|close| u16::from(close.code)), Some(code));
}

#[test]
fn a_record_that_is_long_under_way_is_waited_for_when_its_connection_is_being_closed() {
    let (daemon, authority) = start(&["--message-bytes-max", "1000"]);
    let mut all = VERSIONS.map(|version| {
        let client = authority.client_of(&[version]);
        let mut tls = shake(&daemon, client, "localhost").unwrap();
        tls.conn.set_buffer_limit(None);
        let mut sealed = open(&daemon, tls, "/t");
        let tls = sealed.get_mut();
        tls.write_all(&LONG_HEADER).unwrap();
        tls.flush().unwrap();
        tls.conn.writer().write_all(&[b'm'; 16 << 10]).unwrap();
        let mut record = Vec::new();
        tls.conn.write_tls(&mut record).unwrap();
        (sealed, record)
    });
    eventually("both are being closed", || closes(&daemon, "too_big") == 2);
    trickle(&mut all);
    for (sealed, _) in &mut all {
        expect_close(sealed, 1009);
    }
}

#[test]
fn a_record_that_there_is_no_room_for_may_be_sent_to_its_end() {
    let (daemon, authority) = start(&[
        "--partial-bytes-max",
        "64KiB",
        "--message-bytes-max",
        "32KiB",
    ]);
    let begin = || {
        let tls = shake(&daemon, authority.client(), "localhost").unwrap();
        let mut sealed = open(&daemon, tls, "/t");
        let socket = &mut sealed.get_mut().sock;
        socket.write_all(&[23, 3, 3, 0x40, 0]).unwrap();
        socket.write_all(&[7; 15_000]).unwrap();
        sealed
    };
    let held: Vec<_> = (0..4).map(|_| begin()).collect();
    eventually("all of it has come", || {
        daemon.metric("fanfare_partial_bytes") >= 4 * 15_000
    });
    let rest = vec![7; (16 << 10) - 15_000];
    let mut all = [(begin(), rest)];
    daemon.await_reason("partial_bytes");
    trickle(&mut all);
    expect_close(&mut all[0].0, 1013);
    assert_eq!(closes(&daemon, "partial_bytes"), 1);
    drop(held);
    eventually("all is given back", || {
        daemon.metric("fanfare_partial_bytes") == 0
    });
    // It was of nobody else's room.
    let mut plain = (daemon.connect("/t"), daemon.connect("/t"));
    plain.0.send(Message::text("after")).unwrap();
    assert_eq!(hear(&mut plain.1), "after");
}
