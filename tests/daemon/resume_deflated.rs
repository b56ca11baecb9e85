//! A subscriber that comes back and takes compressed messages: it hears exactly
//! what it was promised, in its own encoding from the first message on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, hear, masked};
use crate::deflated::{OFFER, hear_either};

fn text(number: usize) -> String {
    format!("{number} {}", "and so on ".repeat(50))
}

/// Publishes the messages `numbers` and waits until another has heard them.
fn publish(publisher: &mut Client, listener: &mut Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        publisher.send(Message::text(text(number))).unwrap();
        assert_eq!(hear(listener), text(number));
    }
}

/// Asks to resume at `since`, with `first` in the packet of the request.
fn ask(daemon: &Daemon, path: &str, since: usize, first: &[u8]) -> Raw {
    let mut raw = daemon.raw();
    let request = Raw::request(&format!("{path}?since={since}"), OFFER);
    raw.send(&[request.as_bytes(), first].concat());
    raw
}

/// As [`ask`], and returns the offset that the answer promises as well.
fn resume(daemon: &Daemon, path: &str, since: usize, first: &[u8]) -> (Raw, usize) {
    let mut raw = ask(daemon, path, since, first);
    let answer = raw.read_head();
    assert_eq!(answer.status, 101);
    let offset = answer.header("Fanfare-Next").unwrap().parse().unwrap();
    (raw, offset)
}

#[test]
fn what_it_says_with_its_request_it_does_not_hear() {
    let daemon = Daemon::start(&["--cores", "1"]);
    for number in 0..40 {
        let path = format!("/own{number}");
        let (mut publisher, mut listener) = (daemon.connect(&path), daemon.connect(&path));
        let own = "my own ".repeat(450);
        let (mut resumed, _) = resume(&daemon, &path, 1, &masked(0x81, own.as_bytes()));
        for client in [&mut publisher, &mut listener] {
            assert_eq!(hear(client), own);
        }
        publish(&mut publisher, &mut listener, 1..3);
        for other in 1..3 {
            assert_eq!(hear_either(&mut resumed).0, text(other));
        }
    }
}

#[test]
fn a_core_that_is_busy_lets_nobody_hear_itself_either() {
    const BEFORE: usize = 20;
    let daemon = Daemon::start(&["--cores", "1"]);
    // Each crowd is more than are sent to in one go, so that the turn of others is
    // several rounds in coming.
    let paths: Vec<_> = (0..6).map(|crowd| format!("/crowd{crowd}")).collect();
    let crowds = paths
        .iter()
        .flat_map(|path| (0..260).map(|_| daemon.connect(path)));
    let crowds: Vec<_> = crowds.collect();
    let mut speakers: Vec<_> = paths.iter().map(|path| daemon.connect(path)).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for speaker in &mut speakers {
                    speaker.send(Message::text("to all")).unwrap();
                }
            }
        });
        let _ends = End(&is_over);
        for number in 0..40 {
            let path = format!("/busy{number}");
            let (mut publisher, mut listener) = (daemon.connect(&path), daemon.connect(&path));
            publish(&mut publisher, &mut listener, 1..BEFORE + 1);
            let own = "my own ".repeat(450);
            let (mut resumed, first) = resume(&daemon, &path, 1, &masked(0x81, own.as_bytes()));
            assert_eq!(first, 1);
            assert_eq!(hear(&mut listener), own);
            let mut publisher = publisher_of(publisher, &own);
            publish(&mut publisher, &mut listener, BEFORE + 2..BEFORE + 4);
            for expected in (1..=BEFORE).chain(BEFORE + 2..BEFORE + 4) {
                assert_eq!(hear_either(&mut resumed).0, text(expected), "in {number}");
            }
        }
    });
    drop(crowds);
}

/// Sets a flag in the end, however that comes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn it_hears_nothing_from_before_its_offset() {
    let daemon = Daemon::start(&["--cores", "1"]);
    for number in 0..40 {
        let path = format!("/before{number}");
        let (mut publisher, mut listener) = (daemon.connect(&path), daemon.connect(&path));
        publish(&mut publisher, &mut listener, 1..21);
        let own = "my own ".repeat(450);
        let since = 1 + number % 22;
        let (mut resumed, first) = resume(&daemon, &path, since, &masked(0x81, own.as_bytes()));
        // One beyond the next to come is of another history: all there is.
        assert_eq!(first, if since > 21 { 1 } else { since });
        assert_eq!(hear(&mut listener), own);
        publish(&mut publisher_of(publisher, &own), &mut listener, 22..24);
        for expected in (first..21).chain(22..24) {
            assert_eq!(hear_either(&mut resumed).0, text(expected));
        }
    }
}

/// The publisher once it has heard what another has said.
fn publisher_of(mut publisher: Client, said: &str) -> Client {
    assert_eq!(hear(&mut publisher), said);
    publisher
}

#[test]
fn all_that_is_worth_it_comes_compressed() {
    let daemon = Daemon::start(&[]);
    let (mut publisher, mut listener) = (daemon.connect("/own-way"), daemon.connect("/own-way"));
    publish(&mut publisher, &mut listener, 1..51);
    let (mut resumed, first) = resume(&daemon, "/own-way", 11, &[]);
    assert_eq!(first, 11);
    publish(&mut publisher, &mut listener, 51..101);
    for number in 11..101 {
        assert_eq!(hear_either(&mut resumed), (text(number), true));
    }
}
