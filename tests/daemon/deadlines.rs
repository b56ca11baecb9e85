//! Who is closed for silence was asked for a sign of life and gave none.

use std::io::Read;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use tungstenite::Message;

use crate::common::{Daemon, Raw, Witnesses, masked};

#[test]
fn a_daemon_that_was_frozen_closes_nobody_for_it() {
    let daemon = Daemon::start(&["--idle-ms-max", "4000", "--ping-interval-ms", "2000"]);
    let mut witnesses = Witnesses::new(&daemon, "/frozen");
    let mut patient = daemon.connect("/frozen");
    let mut half = daemon.raw_on("/half");
    half.send(&masked(0x81, b"half a frame")[..9]);
    daemon.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_millis(5000));
    daemon.signal(Signal::SIGCONT);
    // All of them are there, to be asked and to answer.
    for round in 0..4 {
        witnesses.check();
        for _ in 0..2 {
            let heard = patient.read().unwrap();
            assert!(matches!(heard, Message::Text(_)), "{heard:?} in {round}");
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(daemon.counter("fanfare_closes_total", "idle"), 0);
}

#[test]
fn who_takes_a_long_message_slowly_is_not_idle() {
    const LEN: usize = 8 << 20;
    let daemon = Daemon::start(&[
        "--message-bytes-max",
        "8MiB",
        "--log-bytes-max",
        "32MiB",
        "--idle-ms-max",
        "2000",
        "--ping-interval-ms",
        "500",
    ]);
    let mut slow = Raw::new(daemon.narrow_stream());
    slow.shake_hands("/slow");
    let mut publisher = daemon.connect("/slow");
    let text = "long ".repeat(LEN / 5);
    publisher.send(Message::text(&text)).unwrap();
    // It takes three times as long as it may be silent.
    let (mut piece, mut taken) = (vec![0; 64 << 10], 0);
    let header = 10;
    while taken < header + text.len() {
        thread::sleep(Duration::from_millis(45));
        let len = piece.len().min(header + text.len() - taken);
        slow.stream
            .read_exact(&mut piece[..len])
            .expect("it goes on to the end");
        taken += len;
        // The publisher is no sluggard.
        publisher.send(Message::Pong(Vec::new().into())).unwrap();
    }
    slow.send(&masked(0x8a, b""));
    let next = "and it goes on";
    publisher.send(Message::text(next)).unwrap();
    loop {
        match slow.read_frame().expect("it is still there") {
            (0x89, _) => slow.send(&masked(0x8a, b"")),
            (first, payload) => {
                assert_eq!((first, payload), (0x81, next.as_bytes().to_vec()));
                break;
            }
        }
    }
}
