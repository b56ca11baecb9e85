//! A subscriber that comes back and takes compressed messages: it hears exactly
//! what it was promised, in its own encoding from the first message on.

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

/// Resumes at `since`, with `first` in the packet of the request. Returns the
/// offset that the answer promises.
fn resume(daemon: &Daemon, path: &str, since: usize, first: &[u8]) -> (Raw, usize) {
    let mut raw = daemon.raw();
    let request = Raw::request(&format!("{path}?since={since}"), OFFER);
    raw.send(&[request.as_bytes(), first].concat());
    let answer = raw.read_head();
    assert_eq!(answer.status, 101);
    let offset = answer.header("Fanfare-Offset").unwrap().parse().unwrap();
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
