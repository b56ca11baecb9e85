//! Streams of events over time: they are kept awake, fall behind, are sent away, and go over
//! to another process.

use nix::sys::signal::Signal;
use tungstenite::Message;

use crate::common::{Client, Daemon, hear};
use crate::event_source::EventSource;

fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).unwrap();
}

/// A text of that length which begins with its number.
fn text(number: u64, len: usize) -> String {
    let mut text = format!("{number} ");
    text.extend(std::iter::repeat_n('.', len - text.len()));
    text
}

fn number(text: &str) -> u64 {
    text.split_once(' ').unwrap().0.parse().unwrap()
}

/// Publishes messages of 1 KiB, no faster than another hears them.
fn publish(daemon: &Daemon, path: &str, count: u64) {
    let mut publisher = daemon.connect(path);
    let mut listener = daemon.connect(path);
    for first in (1..=count).step_by(100) {
        for number in first..first + 100 {
            publisher.write(Message::text(text(number, 1024))).unwrap();
        }
        publisher.flush().unwrap();
        for _ in 0..100 {
            hear(&mut listener);
        }
    }
}

#[test]
fn a_quiet_stream_is_kept_awake_and_its_client_is_never_idle() {
    let daemon = Daemon::start(&["--ping-interval-ms", "40", "--idle-ms-max", "100"]);
    let mut source = EventSource::open(&daemon, "/a");
    // A WebSocket that does not answer is gone by then.
    let silent = daemon.raw_on("/a");
    daemon.await_reason("idle");
    source.read_until(|source| source.comments.len() >= 5);
    assert!(source.comments.iter().all(String::is_empty));
    say(&mut daemon.connect("/a"), "x");
    assert_eq!(source.hear(), "x");
    drop(silent);
}

const SMALL_LAG: [&str; 8] = [
    "--lag-bytes-max",
    "256KiB",
    "--log-bytes-max",
    "64MiB",
    "--retain-messages-max",
    "100000",
    "--retain-bytes-max",
    "32MiB",
];

#[test]
fn a_slow_reader_is_told_what_it_missed_and_goes_on() {
    let options = [&SMALL_LAG[..], &["--lag-policy", "skip"]].concat();
    let daemon = Daemon::start(&options);
    let mut slow = EventSource::open_over(daemon.narrow_stream(), "/slow", "");
    publish(&daemon, "/slow", 8000);
    let (mut next, mut gaps) = (1, 0);
    while next <= 8000 {
        let event = slow.next().expect("it goes on");
        let (_, offset) = event.id.split_once('-').unwrap();
        let offset: u64 = offset.parse().unwrap();
        if event.name == "gap" {
            let value: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            let gap = &value["gap"];
            assert_eq!(
                (gap["from"].as_u64(), gap["to"].as_u64()),
                (Some(next), Some(offset))
            );
            assert_eq!(gap["missed"].as_u64(), Some(offset + 1 - next));
            gaps += 1;
        } else {
            assert_eq!((offset, number(&event.data)), (next, next));
        }
        next = offset + 1;
    }
    assert!(gaps > 0, "it was skipped");
}

#[test]
fn a_reader_that_is_too_slow_is_cut_off_and_comes_back_to_all_that_is_kept() {
    let daemon = Daemon::start(&SMALL_LAG);
    let mut slow = EventSource::open_over(daemon.narrow_stream(), "/slow", "");
    publish(&daemon, "/slow", 8000);
    daemon.await_reason("lag");
    let mut next = 1;
    while let Some(event) = slow.next() {
        assert_eq!(number(&event.data), next);
        next += 1;
    }
    assert!(slow.comments[0].starts_with("lag"), "{:?}", slow.comments);
    assert!(next > 1 && next < 8000);
    let mut again = slow.again(&daemon, "/slow");
    for next in next..=8000 {
        assert_eq!(number(&again.hear()), next);
    }
}

#[test]
fn a_slow_reader_of_many_topics_comes_back_to_all_that_is_kept() {
    let daemon = Daemon::start(&SMALL_LAG);
    let path = "/events?topic=busy&topic=quiet";
    let mut slow = EventSource::open_over(daemon.narrow_stream(), path, "");
    say(&mut daemon.connect("/quiet"), "0 ");
    publish(&daemon, "/busy", 8000);
    daemon.await_reason("lag");
    let numbers = |source: &mut EventSource, topic: &str| {
        let event = source.next()?;
        let value: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        let is_of = value["topic"] == *topic;
        Some(if is_of {
            number(value["data"].as_str().unwrap())
        } else {
            0
        })
    };
    let mut last = 0;
    while let Some(number) = numbers(&mut slow, "busy") {
        last = last.max(number);
    }
    // The last id names all that was sent.
    let told: u64 = slow.id.split([',', '-']).nth(1).unwrap().parse().unwrap();
    assert_eq!(told, last);
    let mut again = slow.again(&daemon, path);
    while last < 8000 {
        let number = numbers(&mut again, "busy").expect("it goes on");
        assert!(number == 0 || number == last + 1);
        last = last.max(number);
    }
}

#[test]
fn who_takes_nothing_for_too_long_is_cut_off() {
    let daemon = Daemon::start(&["--stall-ms-max", "100", "--lag-policy", "close"]);
    let slow = EventSource::open_over(daemon.narrow_stream(), "/slow", "");
    publish(&daemon, "/slow", 3000);
    daemon.await_reason("stall");
    drop(slow);
}

#[test]
fn who_is_sent_away_is_told_when_to_come_back_and_where_it_is() {
    let mut daemon = Daemon::start(&["--retry-after-s", "7"]);
    let mut source = EventSource::open(&daemon, "/a");
    let mut many = EventSource::open(&daemon, "/events?topic=a&topic=b");
    let mut publisher = daemon.connect("/a");
    say(&mut publisher, "last");
    assert_eq!(source.hear(), "last");
    assert!(many.next().unwrap().data.contains("last"));
    daemon.signal(Signal::SIGTERM);
    for source in [&mut source, &mut many] {
        assert_eq!(source.next(), None);
        assert!(source.retry_ms.unwrap() >= 7000);
        assert!(source.comments[0].starts_with("the server is stopping"));
    }
    assert!(source.id.ends_with("-1"));
    assert!(many.id.contains("-1,") && many.id.ends_with("-0"));
    drop((source, many));
    assert!(daemon.wait().success());
}

#[test]
fn streams_go_over_to_another_process_and_no_client_notices() {
    let options = ["--ping-interval-ms", "100"];
    let mut daemon = Daemon::start(&options);
    let mut source = EventSource::open(&daemon, "/a");
    let path = "/events?topic=c&topic=a&topic=b&topic=d";
    let mut many = EventSource::open(&daemon, path);
    let mut slow = EventSource::open_over(daemon.narrow_stream(), "/slow", "");
    let mut publishers = ["/a", "/b", "/c"].map(|path| daemon.connect(path));
    publish(&daemon, "/slow", 1000);
    let mut counts = [0, 0, 0];
    for time in 1..=2 {
        for (publisher, count) in publishers.iter_mut().zip(&mut counts) {
            say(publisher, "before");
            *count += 1;
            assert!(many.next().unwrap().data.contains("before"));
        }
        assert_eq!(source.hear(), "before");
        daemon.hand_over(time);
        say(&mut publishers[0], "after");
        counts[0] += 1;
        assert_eq!(source.hear(), "after");
        assert!(many.next().unwrap().data.contains("after"));
        let beats = source.comments.len();
        source.read_until(|source| source.comments.len() > beats);
        // In the order of the request, as before.
        let [a, b, c] = counts;
        let wanted = [c, a, b, 0].map(|count| format!("-{count}"));
        many.read_until(|many| {
            let told = many.id.split(',').zip(&wanted);
            told.into_iter().all(|(id, wanted)| id.ends_with(wanted))
        });
    }
    for next in 1..=1000 {
        assert_eq!(number(&slow.hear()), next);
    }
    let mut again = many.again(&daemon, path);
    say(&mut publishers[1], "new");
    assert!(again.next().unwrap().data.contains("new"));
    drop((source, many, slow, again));
    // With the two that had published to the slow one.
    daemon.await_log("connection closed", 6);
}
