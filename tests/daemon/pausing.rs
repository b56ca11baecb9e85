//! Publishers that are ahead: they are read from no further for a while, and
//! nobody loses anything by it.

use std::io::Write;
use std::net::Shutdown;
use std::thread;

use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, hear, masked, pass};

const SMALL_LEAD: [&str; 6] = [
    "--cores",
    "4",
    "--ahead-bytes-max",
    "1KiB",
    "--lag-bytes-max",
    "12MiB",
];

fn text(number: usize, len: usize) -> String {
    format!("{number:0len$}")
}

fn hear_all(listener: &mut Client, count: usize, len: usize) {
    for number in 0..count {
        assert!(hear(listener) == text(number, len), "{number}");
    }
}

#[test]
fn an_eager_publisher_waits_for_the_latest_core_and_all_hear_all() {
    const MESSAGES: usize = 20_000;
    let daemon = Daemon::start(&SMALL_LEAD);
    let listeners: Vec<Client> = (0..8).map(|_| daemon.connect("/eager")).collect();
    let mut publisher = daemon.connect("/eager");
    thread::scope(|scope| {
        for mut listener in listeners {
            scope.spawn(move || hear_all(&mut listener, MESSAGES, 500));
        }
        for number in 0..MESSAGES {
            publisher.write(Message::text(text(number, 500))).unwrap();
        }
        publisher.flush().unwrap();
    });
    assert!(daemon.metric("fanfare_publisher_pauses_total") > 0);
    let mut listener = daemon.connect("/eager");
    pass(&mut publisher, &mut listener, "and goes on");
}

#[test]
fn what_a_publisher_said_before_it_left_is_heard_though_it_was_paused() {
    const MESSAGES: usize = 2_000;
    let daemon = Daemon::start(&SMALL_LEAD);
    let mut listeners: Vec<Client> = (0..8).map(|_| daemon.connect("/left")).collect();
    for _ in 0..20 {
        let Raw { mut stream, .. } = daemon.raw_on("/left");
        let frames: Vec<u8> = (0..MESSAGES)
            .flat_map(|number| masked(0x81, text(number, 50).as_bytes()))
            .collect();
        stream.write_all(&frames).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        for listener in &mut listeners {
            hear_all(listener, MESSAGES, 50);
        }
    }
    assert!(daemon.metric("fanfare_publisher_pauses_total") > 0);
}

#[test]
fn a_publisher_that_reads_late_is_paused_and_hears_and_says_everything() {
    const MESSAGES: usize = 10_000;
    // On one core its messages and the other's take turns in the log.
    let daemon = Daemon::start(&["--cores", "1"]);
    let mut listener = daemon.connect("/late");
    let mut other = daemon.connect("/late");
    let narrow = daemon.narrow_stream();
    let (mut late, _) = daemon.open_over(narrow, "/late", &[]).unwrap();
    let mut heard_of_late = 0;
    let mut hear_other = |number, listener: &mut Client| {
        loop {
            let heard = hear(listener);
            if heard == text(number, 600) {
                return;
            }
            assert_eq!(heard, text(heard_of_late, 5));
            heard_of_late += 1;
        }
    };
    for number in 0..MESSAGES {
        late.send(Message::text(text(number, 5))).unwrap();
        other.send(Message::text(text(number, 600))).unwrap();
        hear_other(number, &mut listener);
    }
    assert!(heard_of_late < MESSAGES - 1000, "it was not paused");
    assert_eq!(daemon.metric("fanfare_publisher_pauses_total"), 1);
    hear_all(&mut late, MESSAGES, 600);
    for number in heard_of_late..MESSAGES {
        assert_eq!(hear(&mut listener), text(number, 5));
    }
    hear_all(&mut other, MESSAGES, 5);
    pass(&mut late, &mut listener, "and goes on");
}
