//! Subscribers that fall behind: they cost others nothing, and are told.

use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, eventually, hear};

/// A subscriber that does not read for now and has little room to do so.
fn stalled(daemon: &Daemon, path: &str) -> Client {
    daemon
        .open_over(daemon.narrow_stream(), path, &[])
        .unwrap()
        .0
}

/// Publishes the messages `numbers`, each `len` bytes long and beginning with
/// its number, no faster than `listener` takes them.
fn publish(
    publisher: &mut Client,
    listener: &mut Client,
    numbers: std::ops::RangeInclusive<u64>,
    len: usize,
) {
    let burst = (128 << 10) / len as u64;
    let (mut number, last) = (*numbers.start(), *numbers.end());
    while number <= last {
        let until = last.min(number + burst);
        for n in number..=until {
            publisher.write(Message::text(text(n, len))).unwrap();
        }
        publisher.flush().unwrap();
        for n in number..=until {
            assert!(hear(listener) == text(n, len), "{n}");
        }
        number = until + 1;
    }
}

fn text(number: u64, len: usize) -> String {
    let mut text = format!("{number} ");
    text.extend(std::iter::repeat_n('.', len - text.len()));
    text
}

fn number(text: &str) -> u64 {
    text.split_once(' ').unwrap().0.parse().unwrap()
}

/// Hears all up to the message `last`, or to a gap that ends with it, in order; returns the
/// first and last number of each gap.
fn hear_until(client: &mut Client, last: u64, epoch: &str) -> Vec<(u64, u64)> {
    let (mut next, mut gaps) = (1, Vec::new());
    while next <= last {
        let heard = hear(client);
        if let Some((from, to)) = gap(&heard, epoch) {
            assert!(from == next && to >= from, "{heard}");
            next = to + 1;
            gaps.push((from, to));
        } else {
            assert_eq!(number(&heard), next);
            next += 1;
        }
    }
    gaps
}

const SMALL_LAG: [&str; 4] = ["--lag-bytes-max", "256KiB", "--log-bytes-max", "8MiB"];

#[test]
fn a_reader_that_lags_is_closed_with_1013_and_the_reason() {
    let daemon = Daemon::start(&SMALL_LAG);
    let mut publisher = daemon.connect("/lag");
    let mut listener = daemon.connect("/lag");
    let mut slow = stalled(&daemon, "/lag");
    // More than the kernel's buffers take, on top of the lag that is allowed.
    publish(&mut publisher, &mut listener, 1..=8000, 1024);
    daemon.await_reason("lag");
    // What it gets is whole and in order up to where it was cut.
    let mut next = 1;
    let close = loop {
        match slow.read().expect("a close comes") {
            Message::Text(text) => {
                assert_eq!(number(&text), next);
                next += 1;
            }
            Message::Close(close) => break close.expect("it has a code"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(u16::from(close.code), 1013);
    assert!(close.reason.starts_with("lag"), "{}", close.reason);
    assert!(next < 8000);
    publish(&mut publisher, &mut listener, 8001..=8100, 1024);
}

#[test]
fn fifty_stalled_readers_neither_delay_the_others_nor_grow_the_memory() {
    let daemon = Daemon::start(&["--lag-bytes-max", "256KiB", "--log-bytes-max", "32MiB"]);
    let mut publisher = daemon.connect("/slow");
    let mut listener = daemon.connect("/slow");
    publish(&mut publisher, &mut listener, 1..=1000, 4096);
    let before = daemon.resident_bytes();
    let slow: Vec<_> = (0..50).map(|_| stalled(&daemon, "/slow")).collect();
    let mut most = 0;
    // 50 queues of 32 MiB would be more than a gigabyte.
    for begin in (1001..9000).step_by(400) {
        publish(&mut publisher, &mut listener, begin..=begin + 399, 4096);
        most = most.max(daemon.resident_bytes());
    }
    daemon.await_log("reason=\"lag\"", slow.len());
    let grown = most.saturating_sub(before);
    // The topic's log at the most, and some slack.
    assert!(grown < 48 << 20, "{grown} bytes more");
}

#[test]
fn what_a_stalled_reader_is_owed_waits_in_the_log_and_not_in_the_kernel() {
    let daemon = Daemon::start(&["--unsent-bytes-max", "4KiB"]);
    let mut publisher = daemon.connect("/unsent");
    let mut listener = daemon.connect("/unsent");
    let _slow = stalled(&daemon, "/unsent");
    publish(&mut publisher, &mut listener, 1..=1024, 1024);
    let short_writes = daemon.metric("fanfare_short_writes_total");
    assert!(short_writes > 0);
    // Of the mebibyte: the socket's own buffer would have taken most of it.
    eventually("nearly all is still owed", || {
        daemon.metric("fanfare_lag_bytes") > 960 << 10
    });
}

#[test]
fn a_reader_that_skips_is_told_exactly_what_it_missed() {
    const LAST: u64 = 12_000;
    let daemon = Daemon::start(&[&SMALL_LAG[..], &["--lag-policy", "skip"]].concat());
    let mut publisher = daemon.connect("/skip");
    let (mut listener, answer) = daemon.open("/skip", &[]).unwrap();
    let epoch = answer.headers()["Fanfare-Epoch"]
        .to_str()
        .unwrap()
        .to_owned();
    let mut slow = stalled(&daemon, "/skip");
    publish(&mut publisher, &mut listener, 1..=LAST, 1024);
    assert!(!hear_until(&mut slow, LAST, &epoch).is_empty());
    // It is a subscriber like any other again.
    publish(&mut publisher, &mut listener, LAST + 1..=LAST + 50, 1024);
    for n in LAST + 1..=LAST + 50 {
        assert_eq!(hear(&mut slow), text(n, 1024));
    }
}

#[test]
fn by_its_topics_rule_a_reader_that_lags_goes_on_with_the_newest_message() {
    let rule = r#"match = "price.*", lag_policy = "latest""#;
    let one_core = ["--cores", "1", "--topics", rule];
    let daemon = Daemon::start(&[&SMALL_LAG[..], &one_core].concat());
    let mut publisher = daemon.connect("/price.eur");
    let (mut listener, answer) = daemon.open("/price.eur", &[]).unwrap();
    let epoch = answer.headers()["Fanfare-Epoch"]
        .to_str()
        .unwrap()
        .to_owned();
    let mut slow = stalled(&daemon, "/price.eur");
    let mut last = 0;
    while daemon.metric("fanfare_lag_skips_total") == 0 {
        last += 1;
        publish(&mut publisher, &mut listener, last..=last, 1024);
        // Its pong comes after the turn in which the reader may have been skipped.
        publisher.send(Message::Ping(Vec::new().into())).unwrap();
        assert!(publisher.read().unwrap().is_pong());
    }
    // What was the newest when it was skipped it hears, though nothing comes any more.
    let gaps = hear_until(&mut slow, last, &epoch);
    assert!(matches!(gaps[..], [(_, to)] if to == last - 1), "{gaps:?}");
    // Elsewhere the settings hold.
    let mut publisher = daemon.connect("/other");
    let mut listener = daemon.connect("/other");
    let _slow = stalled(&daemon, "/other");
    publish(&mut publisher, &mut listener, 1..=8000, 1024);
    daemon.await_reason("lag");
}

/// Reads a gap notice, which must be right in itself.
fn gap(heard: &str, epoch: &str) -> Option<(u64, u64)> {
    let rest = heard.strip_prefix(&format!("{{\"gap\":{{\"epoch\":\"{epoch}\",\"from\":"))?;
    let (from, rest) = rest.split_once(",\"to\":").unwrap();
    let (to, rest) = rest.split_once(",\"missed\":").unwrap();
    let missed: u64 = rest.strip_suffix("}}").unwrap().parse().unwrap();
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    assert_eq!(missed, to + 1 - from);
    Some((from, to))
}

#[test]
fn gaps_are_exact_while_cores_publish_at_once() {
    const EACH: u64 = 4000;
    let options = [&SMALL_LAG[..], &["--lag-policy", "skip", "--cores", "4"]].concat();
    let daemon = Daemon::start(&options);
    let (mut listener, answer) = daemon.open("/skip", &[]).unwrap();
    let epoch = answer.headers()["Fanfare-Epoch"]
        .to_str()
        .unwrap()
        .to_owned();
    let mut slow: Vec<_> = (0..8).map(|_| stalled(&daemon, "/skip")).collect();
    let mut publishers: Vec<_> = (0..3).map(|_| daemon.connect("/skip")).collect();
    let mut heard = Vec::new();
    for begin in (0..EACH).step_by(20) {
        for (n, publisher) in publishers.iter_mut().enumerate() {
            for number in begin..begin + 20 {
                let text = format!("{n}/{}", text(number, 1000));
                publisher.write(Message::text(text)).unwrap();
            }
            publisher.flush().unwrap();
        }
        for _ in 0..60 {
            let text = hear(&mut listener);
            heard.push(text.split(' ').next().unwrap().to_owned());
        }
    }
    for slow in &mut slow {
        let mut offset = 1;
        while offset <= heard.len() as u64 {
            let text = hear(slow);
            if let Some((from, to)) = gap(&text, &epoch) {
                assert!(from == offset && to >= from, "{text}");
                offset = to + 1;
            } else {
                let words = text.split(' ').next().unwrap();
                assert_eq!(words, heard[offset as usize - 1]);
                offset += 1;
            }
        }
    }
}

#[test]
fn a_laggard_in_the_middle_of_a_huge_message_is_cut_off_and_costs_nothing() {
    let daemon = Daemon::start(&SMALL_LAG);
    let mut publisher = daemon.connect("/huge");
    let mut listener = daemon.connect("/huge");
    let mut slow = Raw::new(daemon.narrow_stream());
    slow.shake_hands("/huge");
    publish(&mut publisher, &mut listener, 1..=24, 1 << 20);
    daemon.await_reason("lag");
    // Whole messages, then perhaps a part of one, then the end.
    let mut next = 1;
    while let Some((first, payload)) = slow.read_frame() {
        assert_eq!(first, 0x81);
        assert!(payload == text(next, 1 << 20).into_bytes());
        next += 1;
    }
    assert!(next < 24);
    publish(&mut publisher, &mut listener, 25..=30, 1 << 20);
}

#[test]
fn a_publisher_that_never_reads_is_closed_as_lagging_and_the_others_hear_all() {
    let daemon = Daemon::start(&SMALL_LAG);
    let mut listener = daemon.connect("/deaf");
    let mut deaf = stalled(&daemon, "/deaf");
    let mut other = daemon.connect("/deaf?echo=true");
    let mut own_heard = 0;
    for n in 0..8000 {
        // Once it has been closed it can say no more.
        let _ = deaf.send(Message::text(format!("deaf {}", text(n, 1024))));
        other.send(Message::text(text(n, 1024))).unwrap();
        // Own and others' messages by turns, which it would have to step over.
        for client in [&mut listener, &mut other] {
            loop {
                let heard = hear(client);
                if !heard.starts_with("deaf") {
                    assert!(heard == text(n, 1024));
                    break;
                }
                own_heard += 1;
            }
        }
    }
    assert!(own_heard > 0);
    daemon.await_log("lag\"", 1);
}

#[test]
fn stalled_readers_of_zero_copy_sends_give_memory_and_places_back() {
    let daemon = Daemon::start(&[
        "--zerocopy",
        "always",
        "--zerocopy-bytes-min",
        "1",
        "--lag-bytes-max",
        "64KiB",
        "--log-bytes-max",
        "32MiB",
        "--connections-max",
        "6",
    ]);
    let mut publisher = daemon.connect("/pin");
    let mut listener = daemon.connect("/pin");
    // They never read again, not even the reset.
    let slow: Vec<_> = (0..4).map(|_| stalled(&daemon, "/pin")).collect();
    publish(&mut publisher, &mut listener, 1..=400, 1 << 14);
    daemon.await_log("reason=\"lag\"", slow.len());
    let mut others = Vec::new();
    eventually("all places are free", || {
        others.extend(daemon.open("/pin", &[]));
        others.len() == slow.len()
    });
    // Four logs' worth: it would be full, were anything kept.
    drop(others);
    publish(&mut publisher, &mut listener, 401..=8000, 1 << 14);
}
