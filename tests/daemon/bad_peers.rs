//! Peers that do nothing wrong in words, but go away, stall or never stop.

use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::common::{Daemon, Raw, Witnesses, eventually, hear, masked};

#[test]
fn a_peer_that_closes_its_half_without_a_word_is_let_go() {
    let daemon = Daemon::start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut raw = daemon.raw_on("/topic");
    raw.stream.shutdown(Shutdown::Write).unwrap();
    raw.expect_end();
    daemon.await_reason("gone");
    witnesses.check();
}

#[test]
fn a_peer_that_closes_its_half_behind_its_close_frame_still_gets_the_answer() {
    let daemon = Daemon::start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut raw = daemon.raw_on("/topic");
    raw.send(&masked(0x88, &1000u16.to_be_bytes()));
    raw.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(raw.expect_close().0, 1000);
    raw.expect_end();
    witnesses.check();
}

#[test]
fn resets_in_the_middle_of_frames_leave_no_trace() {
    // Room for one message in parts: were one forgotten, the last would fail.
    let options = [
        "--partial-bytes-max",
        "300000",
        "--message-bytes-max",
        "200000",
    ];
    let daemon = Daemon::start(&options);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut listener = daemon.connect("/cut");
    let frame = masked(0x82, &[7; 200_000]);
    for (n, cut) in [1, 2, 5, 9, 14, 1000, 150_000].into_iter().enumerate() {
        let mut raw = daemon.raw_on("/cut");
        raw.send(&masked(0x81, b"whole"));
        raw.send(&frame[..cut]);
        assert_eq!(hear(&mut listener), "whole");
        raw.reset();
        daemon.await_log("connection closed", n + 1);
    }
    let mut raw = daemon.raw_on("/cut");
    for part in masked(0x81, "e".repeat(200_000).as_bytes()).chunks(9999) {
        raw.send(part);
    }
    assert_eq!(hear(&mut listener).len(), 200_000);
    witnesses.check();
}

#[test]
fn a_peer_that_never_reads_holds_up_nobody() {
    let daemon = Daemon::start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut stalled = Raw::new(daemon.narrow_stream());
    stalled.shake_hands("/topic");
    for _ in 0..200 {
        witnesses.check();
    }
}

#[test]
fn pings_without_end_from_a_peer_that_never_reads_are_cut_off() {
    let daemon = Daemon::start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut flood = Raw::new(daemon.narrow_stream());
    flood.shake_hands("/topic");
    let pings: Vec<u8> = masked(0x89, &[b'p'; 125]).repeat(500);
    let cut = AtomicBool::new(false);
    thread::scope(|scope| {
        use std::io::Write;
        scope.spawn(|| {
            // It ends with an error once the daemon has had enough.
            while !cut.load(Ordering::Relaxed) {
                if flood.stream.write_all(&pings).is_err() {
                    break;
                }
            }
        });
        daemon.await_reason("control_flood");
        cut.store(true, Ordering::Relaxed);
        witnesses.check();
    });
}

#[test]
fn connections_that_come_and_go_in_every_way_leave_their_places_free() {
    // The two witnesses, and the last eight, fill it to the brim.
    let daemon = Daemon::start(&["--connections-max", "10", "--cores", "3"]);
    let mut witnesses = Witnesses::new(&daemon, "/quiet");
    thread::scope(|scope| {
        for lane in 0..4 {
            let daemon = &daemon;
            scope.spawn(move || {
                for n in 0..60 {
                    // The place of the one before may not be free yet.
                    let Ok((client, _)) = daemon.open("/churn?echo=true", &[]) else {
                        continue;
                    };
                    let mut raw = Raw::new(client.get_ref().try_clone().unwrap());
                    drop(client);
                    part(&mut raw, lane + n);
                    if (lane + n) % 5 == 0 {
                        raw.reset();
                    }
                }
            });
        }
        for _ in 0..100 {
            witnesses.check();
        }
    });
    let mut last = Vec::new();
    eventually("all places are free", || {
        last.extend(daemon.open("/churn", &[]));
        last.len() == 8
    });
    assert!(daemon.open("/churn", &[]).is_err());
    witnesses.check();
}

/// One of several ways to end a connection. Writing may fail where the daemon
/// has closed already.
fn part(raw: &mut Raw, way: usize) {
    use std::io::Write;
    let close = masked(0x88, &1000u16.to_be_bytes());
    let text = masked(0x81, b"in passing");
    let (bytes, is_answered) = match way % 6 {
        0 => (close, true),
        1 => (text, false),
        2 => (text[..7].to_vec(), false),
        3 => (b"\xff\xff".to_vec(), true),
        4 => ([text, close].concat(), true),
        _ => (Vec::new(), false),
    };
    if raw.stream.write_all(&bytes).is_ok() && is_answered {
        while raw.read_frame().is_some_and(|(first, _)| first != 0x88) {}
    }
}
