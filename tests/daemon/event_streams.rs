//! Topics as Server-Sent Events.

use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, eventually, hear};
use crate::event_source::{Event, EventSource};

fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).unwrap();
}

/// Epoch and offset that an id names.
fn place(id: &str) -> (&str, u64) {
    let (epoch, offset) = id.split_once('-').expect("it names a place");
    (epoch, offset.parse().expect("a number"))
}

/// The JSON of an event of many topics.
fn of_many(event: &Event) -> (String, String) {
    let value: serde_json::Value = serde_json::from_str(&event.data).expect("it is JSON");
    let topic = value["topic"].as_str().expect("it says of which");
    (
        topic.to_owned(),
        value["data"].as_str().unwrap_or_default().to_owned(),
    )
}

#[test]
fn what_is_published_to_a_topic_comes_as_events() {
    let daemon = Daemon::start(&[]);
    let mut source = EventSource::open(&daemon, "/news");
    for (name, value) in [
        ("Content-Type", "text/event-stream; charset=utf-8"),
        ("Cache-Control", "no-store, no-transform"),
        ("X-Accel-Buffering", "no"),
        ("Connection", "close"),
        ("Fanfare-Next", "1"),
    ] {
        assert_eq!(source.head.header(name), Some(value));
    }
    assert!(source.head.header("Date").is_some());
    assert_eq!(source.head.header("Content-Length"), None);
    let epoch = source.head.header("Fanfare-Epoch").unwrap().to_owned();
    // Around the setting, so that not all come back at once.
    assert!((1000..3000).contains(&source.retry_ms.unwrap()));
    assert_eq!(source.id, format!("{epoch}-0"));
    let mut publisher = daemon.connect("/news");
    for (offset, (said, heard)) in [
        ("Kick-off!", "Kick-off!"),
        ("", ""),
        ("a\nb\r\nc\rd", "a\nb\nc\nd"),
        (" {\"a\": 1}", " {\"a\": 1}"),
        ("data: x", "data: x"),
        ("Grüße 🎺", "Grüße 🎺"),
    ]
    .into_iter()
    .enumerate()
    {
        say(&mut publisher, said);
        let event = source.next().unwrap();
        assert_eq!((&event.name[..], &event.data[..]), ("message", heard));
        assert_eq!(place(&event.id), (&epoch[..], offset as u64 + 1));
    }
    publisher
        .send(Message::binary(vec![0, b'\n', 255]))
        .unwrap();
    assert_eq!(source.hear(), "AAr/");
}

#[test]
fn what_any_dialect_publishes_is_heard_and_a_message_that_is_split_too() {
    let daemon = Daemon::start(&[]);
    let mut source = EventSource::open(&daemon, "/?topic=a%2Fb");
    let mut people = daemon
        .open("/a/b", &[("Sec-WebSocket-Protocol", "chat")])
        .unwrap()
        .0;
    assert!(source.hear().starts_with("Welcome"));
    say(&mut people, "hello");
    assert!(source.hear().ends_with("hello"));
    let mut raw = daemon.raw_on("/a/b");
    raw.send(&crate::common::masked(0x01, b"one, "));
    raw.send(&crate::common::masked(0x80, b"two"));
    assert_eq!(source.hear(), "one, two");
    let large = "x".repeat(300_000);
    say(&mut people, &large);
    assert!(source.hear().ends_with(&large));
}

#[test]
fn who_comes_back_hears_what_it_has_missed_and_nothing_twice() {
    let daemon = Daemon::start(&[]);
    let mut publisher = daemon.connect("/r");
    let source = EventSource::open(&daemon, "/r");
    // It had heard nothing when it broke off.
    let before = source.again(&daemon, "/r");
    drop(source);
    for number in 1..=5 {
        say(&mut publisher, &number.to_string());
    }
    let mut source = before.again(&daemon, "/r");
    for number in 1..=3 {
        assert_eq!(source.hear(), number.to_string());
    }
    // The header counts, as the query is what the page began with.
    let mut again = source.again(&daemon, &format!("/r?lastEventId={}", before.id));
    assert_eq!((again.hear(), again.hear()), ("4".into(), "5".into()));
    assert_eq!(again.head.header("Fanfare-Resume"), Some("exact"));
    say(&mut publisher, "6");
    assert_eq!(again.hear(), "6");
    let mut by_query = EventSource::open(&daemon, &format!("/r?lastEventId={}", source.id));
    assert_eq!(by_query.hear(), "4");
    let mut since = EventSource::open(&daemon, "/r?since=6");
    assert_eq!(since.hear(), "6");
}

#[test]
fn who_comes_back_to_what_is_gone_is_told_of_the_gap() {
    let daemon = Daemon::start(&["--retain-messages-max", "2"]);
    let mut publisher = daemon.connect("/g");
    let mut listener = daemon.connect("/g");
    let source = EventSource::open(&daemon, "/g");
    let (epoch, _) = place(&source.id);
    for number in 1..=5 {
        say(&mut publisher, &number.to_string());
        assert_eq!(hear(&mut listener), number.to_string());
    }
    let mut again = source.again(&daemon, "/g");
    let gap = again.next().unwrap();
    let notice = format!(r#"{{"gap":{{"epoch":"{epoch}","from":1,"to":3}}}}"#);
    assert_eq!((&gap.name[..], &gap.data[..]), ("gap", &notice[..]));
    assert_eq!(place(&gap.id), (epoch, 3));
    assert_eq!((again.hear(), again.hear()), ("4".into(), "5".into()));
    assert_eq!(again.head.header("Fanfare-Resume"), Some("expired"));
    // Another history, or one that has not come so far.
    for id in ["00000000000000ab-1".to_owned(), format!("{epoch}-70")] {
        let lines = format!("Last-Event-ID: {id}\r\n");
        let mut lost = EventSource::open_with(&daemon, "/g", &lines);
        let gap = lost.next().unwrap();
        let notice =
            format!(r#"{{"gap":{{"epoch":"{epoch}","from":1,"to":3,"resume":"unknown"}}}}"#);
        assert_eq!((&gap.name[..], &gap.data[..]), ("gap", &notice[..]));
        assert_eq!(lost.hear(), "4");
    }
}

#[test]
fn one_stream_has_the_events_of_many_topics_and_comes_back_to_all() {
    let daemon = Daemon::start(&[]);
    let path = "/events?topic=a&topic=b%26c&topic=quiet";
    let mut source = EventSource::open(&daemon, path);
    assert_eq!(source.id.split(',').count(), 3);
    let mut publishers = [daemon.connect("/a"), daemon.connect("/b%26c")];
    let mut names: Vec<_> = Vec::new();
    for number in 0..4 {
        say(&mut publishers[number % 2], &format!("n{number}"));
        let event = source.next().unwrap();
        names.push(of_many(&event));
    }
    let named = |topic: &str, text: &str| (topic.to_owned(), text.to_owned());
    let wanted = [
        named("a", "n0"),
        named("b&c", "n1"),
        named("a", "n2"),
        named("b&c", "n3"),
    ];
    assert_eq!(names, wanted);
    // A little later it is told where it is.
    source.read_until(|source| source.id.matches("-2").count() == 2);
    let offsets: Vec<u64> = source.id.split(',').map(|id| place(id).1).collect();
    assert_eq!(offsets, [2, 2, 0]);
    say(&mut publishers[0], "n4");
    assert_eq!(of_many(&source.next().unwrap()), named("a", "n4"));
    say(&mut publishers[1], "n5");
    // At least once: from the last id on.
    let mut again = source.again(&daemon, path);
    let mut heard = [
        of_many(&again.next().unwrap()),
        of_many(&again.next().unwrap()),
    ];
    heard.sort();
    assert_eq!(heard, [named("a", "n4"), named("b&c", "n5")]);
    publishers[0].send(Message::binary(vec![0, 255])).unwrap();
    assert_eq!(
        again.next().unwrap().data,
        r#"{"topic":"a","offset":4,"b64data":"AP8="}"#
    );
}

#[test]
fn many_topics_tell_of_the_gaps_of_each() {
    let daemon = Daemon::start(&["--retain-messages-max", "1"]);
    let path = "/events?topic=a&topic=b";
    let source = EventSource::open(&daemon, path);
    let epochs: Vec<&str> = source.id.split(',').map(|id| place(id).0).collect();
    let mut publisher = daemon.connect("/a");
    let mut listener = daemon.connect("/a");
    for number in ["n1", "n2", "n3"] {
        say(&mut publisher, number);
        assert_eq!(hear(&mut listener), number);
    }
    let mut again = source.again(&daemon, path);
    let gap = again.next().unwrap();
    let notice = format!(
        r#"{{"topic":"a","gap":{{"epoch":"{}","from":1,"to":2}}}}"#,
        epochs[0]
    );
    assert_eq!((gap.name, gap.data), ("gap".to_owned(), notice));
    assert_eq!(of_many(&again.next().unwrap()), ("a".into(), "n3".into()));
    let lines = format!("Last-Event-ID: {}-0,{}-9\r\n", epochs[0], epochs[1]);
    let mut lost = EventSource::open_with(&daemon, path, &lines);
    assert!(lost.next().unwrap().data.contains(r#""topic":"a""#));
    let gap = lost.next().unwrap().data;
    assert!(
        gap.starts_with(r#"{"topic":"b","gap""#) && gap.contains("unknown"),
        "{gap}"
    );
}

#[test]
fn one_topic_alone_may_be_had_as_many_are() {
    let daemon = Daemon::start(&[]);
    let mut source = EventSource::open(&daemon, "/events?topic=a");
    let mut publisher = daemon.connect("/a");
    say(&mut publisher, "x");
    assert_eq!(of_many(&source.next().unwrap()), ("a".into(), "x".into()));
    source.read_until(|source| source.id.ends_with("-1"));
}

#[test]
fn the_head_is_had_without_a_stream_and_by_old_clients_too() {
    let daemon = Daemon::start(&[]);
    let mut raw = daemon.raw();
    raw.send(b"HEAD /a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    let head = raw.read_head();
    let of_stream = "text/event-stream; charset=utf-8";
    assert_eq!(
        (head.status, head.header("Content-Type")),
        (200, Some(of_stream))
    );
    raw.expect_end();
    let mut raw = daemon.raw();
    raw.send(b"GET /a HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(raw.read_head().status, 200);
}

#[test]
fn what_a_client_says_behind_its_request_is_passed_over() {
    let daemon = Daemon::start(&["--inbound-bytes-per-s-max", "1MiB"]);
    let mut source = EventSource::open(&daemon, "/a");
    source.send(&Raw::request("/b", "").into_bytes());
    source.send(&[0x81, 0x85, 1, 2, 3, 4]);
    source.send(&[0; 10_000]);
    say(&mut daemon.connect("/a"), "x");
    assert_eq!(source.hear(), "x");
    assert_eq!(daemon.metric("fanfare_received_messages_total"), 1);
    // Its end closes.
    drop(source);
    daemon.await_reason("peer");
    let mut flood = EventSource::open(&daemon, "/a");
    let bytes = [0; 64 << 10];
    // It is cut off in the middle.
    eventually("it is not read any more", || {
        let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| flood.send(&bytes)));
        sent.is_err() || daemon.count_log("reason=\"rate\"") > 0
    });
    daemon.await_reason("rate");
}
