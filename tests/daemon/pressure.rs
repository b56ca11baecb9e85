//! Memory for logs is short because readers stand still: they are made to give
//! way, and nobody else notices.

use std::io::Write;
use std::ops::RangeInclusive;

use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, hear, masked};
use crate::deflated::{OFFER, TEXT, deflate};

/// A topic with a publisher, a listener that hears all, and a reader that stands
/// still.
struct Room {
    publisher: Client,
    listener: Client,
    still: Client,
}

impl Room {
    fn new(daemon: &Daemon, path: &str) -> Room {
        let narrow = daemon.narrow_stream();
        Room {
            publisher: daemon.connect(path),
            listener: daemon.connect(path),
            still: daemon.open_over(narrow, path, &[]).unwrap().0,
        }
    }

    /// Publishes messages of a KiB, and hears them.
    fn publish(&mut self, numbers: RangeInclusive<usize>) {
        for number in numbers.clone() {
            self.publisher.write(Message::text(text(number))).unwrap();
        }
        self.publisher.flush().unwrap();
        for number in numbers {
            assert!(hear(&mut self.listener) == text(number), "{number}");
        }
    }
}

fn text(number: usize) -> String {
    format!("{number:01024}")
}

/// Readers that stand still pin more than there is, each less than it may be behind.
pub(crate) const SHORT: [&str; 6] = [
    "--log-bytes-total-max",
    "4MiB",
    "--log-bytes-max",
    "4MiB",
    "--lag-bytes-max",
    "1MiB",
];

/// Five readers pin more than there is, each less than it may be behind.
fn press(daemon: &Daemon) -> Vec<Room> {
    let room = |n| Room::new(daemon, &format!("/room{n}"));
    let mut rooms: Vec<_> = (0..5).map(room).collect();
    for begin in (1..=4000).step_by(100) {
        for room in &mut rooms {
            room.publish(begin..=begin + 99);
        }
    }
    // Nor is there a lack for a topic of its own.
    let mut quiet = Room::new(daemon, "/quiet");
    quiet.publish(1..=100);
    assert_eq!(daemon.counter("fanfare_closes_total", "log_full"), 0);
    rooms
}

#[test]
fn readers_that_stand_still_stop_no_publisher_of_any_topic() {
    let daemon = Daemon::start(&SHORT);
    let rooms = press(&daemon);
    // Who is closed is closed for its own lag.
    daemon.await_log("reason=\"lag\"", rooms.len());
}

#[test]
fn readers_that_stand_still_are_skipped_where_that_is_the_policy() {
    let daemon = Daemon::start(&[&SHORT[..], &["--lag-policy", "skip"]].concat());
    for room in &mut press(&daemon) {
        let (mut next, mut gaps) = (1, 0);
        while next <= 4000 {
            let heard = hear(&mut room.still);
            if let Some((_, to)) = heard.split_once("\"to\":") {
                next = 1 + to.split(',').next().unwrap().parse::<usize>().unwrap();
                gaps += 1;
            } else {
                assert!(heard == text(next), "{next}");
                next += 1;
            }
        }
        assert!(gaps > 0);
    }
    assert_eq!(daemon.counter("fanfare_closes_total", "lag"), 0);
}

#[test]
fn messages_that_inflate_to_much_in_one_packet_pause_their_publisher() {
    // The listener may take its time; the publisher may not run ahead of the cores.
    let roomy = ["--lag-bytes-max", "64MiB", "--log-bytes-max", "256MiB"];
    let daemon = Daemon::start(&roomy);
    let mut listener = daemon.connect("/burst");
    let mut publisher = daemon.raw();
    publisher.send(Raw::request("/burst", OFFER).as_bytes());
    publisher.expect_upgrade();
    let say = |number: usize| format!("{number} ").repeat(500_000)[..1_000_000].to_owned();
    let frame = |number| masked(TEXT, &deflate(say(number).as_bytes()));
    let frames: Vec<u8> = (0..40).flat_map(frame).collect();
    publisher.stream.write_all(&frames).unwrap();
    for number in 0..40 {
        assert!(hear(&mut listener) == say(number), "{number}");
    }
    assert!(daemon.metric("fanfare_publisher_pauses_total") > 0);
    publisher.send(&masked(0x81, b"and goes on"));
    assert_eq!(hear(&mut listener), "and goes on");
}
