//! What a subscriber that comes back gets of what it has missed.

use tungstenite::Message;
use tungstenite::handshake::client::Response;

use crate::common::{Client, Daemon, Raw, eventually, hear, masked};

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

/// Subscribes to `/r` from `since` on; returns the first offset it is promised.
fn resume(daemon: &Daemon, since: u64) -> (Client, u64, String) {
    let (client, response) = daemon.open(&format!("/r?since={since}"), &[]).unwrap();
    let offset = header(&response, "Fanfare-Next").parse().unwrap();
    (
        client,
        offset,
        header(&response, "Fanfare-Epoch").to_owned(),
    )
}

/// Publishes the messages `numbers`, of `len` bytes each, and waits until
/// another has heard them.
fn publish(daemon: &Daemon, numbers: std::ops::RangeInclusive<u64>, len: usize) {
    let (mut publisher, mut listener) = (daemon.connect("/r"), daemon.connect("/r"));
    for number in numbers.clone() {
        publisher.send(Message::text(text(number, len))).unwrap();
    }
    for number in numbers {
        assert_eq!(hear(&mut listener), text(number, len));
    }
}

fn text(number: u64, len: usize) -> String {
    format!("{number:0len$}")
}

/// Whoever asks for `since` gets exactly the messages from `first` on.
fn expect(daemon: &Daemon, since: u64, first: u64, last: u64, len: usize) {
    let (mut client, offset, _) = resume(daemon, since);
    assert_eq!(offset, first, "since {since}");
    for number in first..=last {
        assert_eq!(hear(&mut client), text(number, len));
    }
    // And what is new comes right behind.
    daemon.connect("/r").send(Message::text("new")).unwrap();
    assert_eq!(hear(&mut client), "new");
}

#[test]
fn offsets_begin_at_one_and_the_answer_names_the_first_to_come() {
    let daemon = Daemon::start(&[]);
    let (_, response) = daemon.open("/r", &[]).unwrap();
    assert_eq!(header(&response, "Fanfare-Next"), "1");
    let epoch = header(&response, "Fanfare-Epoch").to_owned();
    assert_eq!(epoch.len(), 16);
    publish(&daemon, 1..=5, 4);
    let (_, response) = daemon.open("/r", &[]).unwrap();
    assert_eq!(header(&response, "Fanfare-Next"), "6");
    assert_eq!(header(&response, "Fanfare-Epoch"), epoch);
    let (_, response) = daemon.open("/other", &[]).unwrap();
    assert_eq!(header(&response, "Fanfare-Next"), "1");
    assert_ne!(header(&response, "Fanfare-Epoch"), epoch);
}

#[test]
fn since_replays_from_exactly_that_offset_on() {
    let daemon = Daemon::start(&[]);
    publish(&daemon, 1..=20, 4);
    // Each look adds one message, "new", at the end.
    let (mut client, offset, _) = resume(&daemon, 7);
    assert_eq!(offset, 7);
    for number in 7..=20 {
        assert_eq!(hear(&mut client), text(number, 4));
    }
    expect(&daemon, 20, 20, 20, 4);
    expect(&daemon, 22, 22, 21, 4);
    // The next one to come: all from now on.
    expect(&daemon, 23, 23, 22, 4);
    // One that is further off is of another history: all there is.
    for since in [0, 999] {
        let (mut client, offset, _) = resume(&daemon, since);
        assert_eq!(offset, 1);
        assert_eq!(hear(&mut client), text(1, 4));
    }
}

#[test]
fn exactly_the_retained_number_of_messages_is_kept() {
    let daemon = Daemon::start(&["--retain-messages-max", "10"]);
    publish(&daemon, 1..=2500, 100);
    expect(&daemon, 1, 2491, 2500, 100);
    let daemon = Daemon::start(&["--retain-messages-max", "0"]);
    publish(&daemon, 1..=30, 100);
    expect(&daemon, 1, 31, 30, 100);
}

#[test]
fn exactly_the_messages_within_the_retained_bytes_are_kept() {
    // Frames are 102 bytes, header included; the last of a hundred is cut.
    let daemon = Daemon::start(&[
        "--retain-bytes-max",
        "10199",
        "--retain-messages-max",
        "9999",
    ]);
    publish(&daemon, 1..=1000, 100);
    expect(&daemon, 0, 902, 1000, 100);
    let daemon = Daemon::start(&[
        "--retain-bytes-max",
        "10200",
        "--retain-messages-max",
        "9999",
    ]);
    publish(&daemon, 1..=1000, 100);
    expect(&daemon, 0, 901, 1000, 100);
}

#[test]
fn messages_that_are_too_old_are_not_replayed() {
    let daemon = Daemon::start(&["--retain-ms-max", "300"]);
    // Somebody is always there, so the topic itself stays.
    let _listener = daemon.connect("/r");
    publish(&daemon, 1..=5, 4);
    let (_, _, epoch) = resume(&daemon, 1);
    eventually("the first five are forgotten", || resume(&daemon, 1).1 == 6);
    let (mut client, _, same) = resume(&daemon, 1);
    assert_eq!(epoch, same);
    publish(&daemon, 6..=6, 4);
    assert_eq!(hear(&mut client), text(6, 4));
}

#[test]
fn a_topic_without_history_and_subscribers_makes_room_for_another() {
    let daemon = Daemon::start(&["--topics-max", "1", "--retain-ms-max", "100"]);
    publish(&daemon, 1..=5, 4);
    // The one place is free once the topic has gone.
    eventually("there is room", || daemon.open("/other", &[]).is_ok());
}

#[test]
fn two_replays_at_once_on_one_core_do_not_disturb_each_other() {
    let daemon = Daemon::start(&["--cores", "1", "--retain-messages-max", "100000"]);
    publish(&daemon, 1..=9000, 100);
    let (mut late, offset, _) = resume(&daemon, 8500);
    assert_eq!(offset, 8500);
    let (mut early, offset, _) = resume(&daemon, 10);
    assert_eq!(offset, 10);
    let mut now = daemon.connect("/r");
    for number in 8500..=9000 {
        assert_eq!(hear(&mut late), text(number, 100));
    }
    daemon.connect("/r").send(Message::text("new")).unwrap();
    for number in 10..=9000 {
        assert_eq!(hear(&mut early), text(number, 100));
    }
    for client in [&mut late, &mut early, &mut now] {
        assert_eq!(hear(client), "new");
    }
}

#[test]
fn who_knows_another_history_hears_all_there_is_and_is_told_so() {
    let daemon = Daemon::start(&["--retain-messages-max", "5"]);
    publish(&daemon, 1..=3, 4);
    let resumed = |since: u64| {
        let (client, response) = daemon.open(&format!("/r?since={since}"), &[]).unwrap();
        (
            client,
            header(&response, "Fanfare-Resume").to_owned(),
            header(&response, "Fanfare-Next").to_owned(),
        )
    };
    let (mut client, told, offset) = resumed(5000);
    assert_eq!((&told[..], &offset[..]), ("unknown", "1"));
    for number in 1..=3 {
        assert_eq!(hear(&mut client), text(number, 4));
    }
    for since in [0, 1, 3, 4] {
        assert_eq!(resumed(since).1, "exact", "{since}");
    }
    publish(&daemon, 4..=9, 4);
    let (_, told, offset) = resumed(2);
    assert_eq!((&told[..], &offset[..]), ("expired", "5"));
    let (_, response) = daemon.open("/r", &[]).unwrap();
    assert!(response.headers().get("Fanfare-Resume").is_none());
}

/// A message that compresses.
fn wide(number: u64) -> String {
    format!("{number:06} ").repeat(100)
}

fn inflated(first: u8, payload: &[u8]) -> String {
    assert_eq!(first, 0xC1, "it is compressed");
    let mut inflate = flate2::Decompress::new(false);
    let mut text = Vec::with_capacity(1 << 16);
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    let flush = flate2::FlushDecompress::Sync;
    inflate.decompress_vec(&whole, &mut text, flush).unwrap();
    String::from_utf8(text).unwrap()
}

/// The next message; a slow run has pings between.
fn read_message(raw: &mut Raw) -> (u8, Vec<u8>) {
    loop {
        let (first, payload) = raw.read_frame().unwrap();
        if first != 0x89 {
            return (first, payload);
        }
    }
}

#[test]
fn who_resumes_with_compression_has_it_from_its_offset_on_and_not_its_own_messages() {
    let daemon = Daemon::start(&["--cores", "2", "--retain-bytes-max", "8MiB"]);
    let mut publisher = daemon.connect("/deep");
    let mut listener = daemon.connect("/deep");
    for number in 1..=3000 {
        publisher.send(Message::text(wide(number))).unwrap();
        assert_eq!(hear(&mut listener), wide(number));
    }
    // Several at once want the same history, each from another offset on.
    let mut resumed: Vec<Raw> = Vec::new();
    for since in [2101u64, 2500, 2900, 3000] {
        let mut raw = daemon.raw();
        let lines = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        let request = Raw::request(&format!("/deep?since={since}"), lines);
        // What it says at once is not for itself.
        let own = masked(0x81, &format!("own {since}").into_bytes());
        raw.send(&[request.as_bytes(), &own].concat());
        let answer = raw.read_head();
        assert_eq!(answer.header("Fanfare-Next").unwrap(), since.to_string());
        resumed.push(raw);
    }
    for (raw, since) in resumed.iter_mut().zip([2101u64, 2500, 2900, 3000]) {
        for number in since..=3000 {
            let (first, payload) = read_message(raw);
            assert_eq!(inflated(first, &payload), wide(number));
        }
    }
    publisher.send(Message::text(wide(9000))).unwrap();
    for (raw, since) in resumed.iter_mut().zip([2101u64, 2500, 2900, 3000]) {
        // The others' own messages come as they are: they are short.
        loop {
            let (first, payload) = read_message(raw);
            if first == 0xC1 {
                assert_eq!(inflated(first, &payload), wide(9000));
                break;
            }
            let text = String::from_utf8(payload).unwrap();
            assert!(text.starts_with("own ") && text != format!("own {since}"));
        }
    }
}
