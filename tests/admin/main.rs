//! The admin listener of the real daemon, through plain HTTP.

mod acks;
mod api;
mod api_keys;
mod apps;
mod apps_apart;
mod batches;
mod client;
mod dashboard;
mod idempotency;
mod metrics;
mod openapi;
mod public_api;
mod refusals;
mod sockets;
#[path = "../common/tokens.rs"]
mod tokens;
mod users;
mod waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use simd_json::prelude::*;
use tungstenite::Message;

use client::{Daemon, next};

#[test]
fn posted_messages_reach_subscribers_on_every_core_in_one_order() {
    let daemon = Daemon::start(&["--cores", "3"]);
    let mut subscribers = Vec::new();
    // The kernel deals connections out by their ports, as it likes.
    loop {
        subscribers.push(daemon.subscribe("scores"));
        let connections = daemon.get("/connections").json();
        let cores = connections.get_array("cores").unwrap();
        assert_eq!(cores.len(), 3);
        let counts: Vec<u64> = cores
            .iter()
            .map(|core| core.get_u64("connections").unwrap())
            .collect();
        assert_eq!(counts.iter().sum::<u64>(), subscribers.len() as u64);
        if counts.iter().all(|count| *count > 0) {
            break;
        }
        assert!(subscribers.len() < 300, "{counts:?}");
    }
    for number in 1..=20 {
        let answer = daemon.post("scores", format!("goal {number}").as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        let receipt = answer.json();
        assert_eq!(receipt.get_str("topic"), Some("scores"));
        assert_eq!(receipt.get_u64("offset"), Some(number));
        assert_eq!(receipt.get_str("epoch"), Some(subscribers[0].1.as_str()));
    }
    for (subscriber, _) in &mut subscribers {
        for number in 1..=20 {
            assert_eq!(next(subscriber), Message::text(format!("goal {number}")));
        }
    }
    let topic = daemon.get("/topics/scores").json();
    assert_eq!(topic.get_str("name"), Some("scores"));
    assert_eq!(topic.get_u64("offset"), Some(20));
    assert_eq!(topic.get_u64("first_offset"), Some(1));
    assert_eq!(topic.get_u64("subscribers"), Some(subscribers.len() as u64));
    assert_eq!(topic.get_str("epoch"), Some(subscribers[0].1.as_str()));
    assert!(topic.get_u64("log_bytes").unwrap() > 0);
}

#[test]
fn a_body_is_text_unless_it_is_called_binary() {
    let daemon = Daemon::start(&[]);
    let (mut subscriber, _) = daemon.subscribe("a/b%20c");
    let request = "POST /topics/a%2Fb%20c/messages";
    let not_utf8 = b"\xff\x00\xfe";
    for (field, body, message) in [
        ("X: y", &b"plain"[..], Message::text("plain")),
        ("Content-Type: application/json", b"{}", Message::text("{}")),
        (
            "Content-Type: text/plain; charset=utf-8",
            b" ",
            Message::text(" "),
        ),
        (
            "Content-Type: application/octet-stream",
            not_utf8,
            Message::binary(&not_utf8[..]),
        ),
    ] {
        assert_eq!(daemon.ask(request, &[field], body).status, 200);
        assert_eq!(next(&mut subscriber), message);
    }
    let chunked = b"5\r\nfirst\r\n7\r\n second\r\n0\r\n\r\n";
    let answer = daemon.ask(request, &["Transfer-Encoding: chunked"], chunked);
    assert_eq!(answer.json().get_u64("offset"), Some(5));
    assert_eq!(answer.json().get_str("topic"), Some("a/b c"));
    assert_eq!(next(&mut subscriber), Message::text("first second"));
}

#[test]
fn what_was_posted_before_anybody_came_can_be_replayed() {
    let daemon = Daemon::start(&[]);
    for text in ["one", "two", "three"] {
        daemon.post("late", text.as_bytes());
    }
    let (mut subscriber, _) = daemon.subscribe("late?since=2");
    assert_eq!(next(&mut subscriber), Message::text("two"));
    assert_eq!(next(&mut subscriber), Message::text("three"));
}

#[test]
fn topics_are_listed_by_name_page_by_page() {
    let daemon = Daemon::start(&[]);
    for topic in ["b", "a%2F3", "a%2F1", "a%2F2", "a", "%C3%A9"] {
        daemon.post(topic, b"x");
    }
    let names = |query: &str| {
        let page = daemon.get(&format!("/topics{query}")).json();
        let topics = page.get_array("topics").unwrap();
        let names = topics.iter().map(|topic| topic.get_str("name").unwrap());
        let next = page.get_str("next").unwrap_or("-");
        format!("{} > {next}", names.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(names(""), "a a/1 a/2 a/3 b é > -");
    assert_eq!(names("?prefix=a/"), "a/1 a/2 a/3 > -");
    assert_eq!(names("?prefix=a%2F&limit=2"), "a/1 a/2 > a/2");
    assert_eq!(names("?prefix=a%2F&limit=2&after=a%2F2"), "a/3 > -");
    assert_eq!(names("?limit=6"), "a a/1 a/2 a/3 b é > -");
    assert_eq!(names("?prefix=none"), " > -");
}

#[test]
fn asking_for_a_topic_does_not_make_it() {
    let daemon = Daemon::start(&[]);
    daemon.get("/topics/ghost").refuses(404, "no topic");
    daemon.get("/topics/ghost").refuses(404, "no topic");
    assert_eq!(
        daemon.get("/topics").body,
        "{\"topics\":[],\"next\":null}\n"
    );
}

#[test]
fn a_topic_that_nobody_needs_any_more_is_let_go() {
    let daemon = Daemon::start(&["--retain-ms-max", "1"]);
    let receipt = daemon.post("brief", b"x");
    assert_eq!(receipt.status, 200);
    // Nothing tells of it, so it is asked for.
    while daemon.get("/topics/brief").status != 404 {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn health_and_readiness_follow_the_daemon_to_its_end() {
    let daemon = Daemon::start(&["--drain-ms-max", "600000"]);
    assert_eq!(daemon.get("/healthz").body, "ok\n");
    assert_eq!(daemon.get("/readyz").status, 200);
    let (mut told, _) = daemon.subscribe("a");
    // This one does not read that the daemon stops, so it stops for long.
    let (silent, _) = daemon.subscribe("a");
    daemon.signal(Signal::SIGTERM);
    assert!(matches!(told.read(), Ok(Message::Close(Some(frame))) if frame.code == 1001.into()));
    let readiness = daemon.get("/readyz");
    assert_eq!(
        (readiness.status, readiness.body.as_str()),
        (503, "stopping\n")
    );
    assert_eq!(daemon.get("/healthz").status, 200);
    let answer = daemon.post("a", b"too late");
    answer.refuses(503, "stopping");
    assert_eq!(answer.field("retry-after"), Some("2"));
    drop((told, silent));
    assert!(daemon.wait().success());
}

#[test]
fn without_an_admin_listener_the_daemon_serves_all_the_same() {
    let daemon = Daemon::start_at("off", &[]);
    let (_subscriber, epoch) = daemon.subscribe("a");
    assert_eq!(epoch.len(), 16);
    daemon.signal(Signal::SIGTERM);
    drop(_subscriber);
    assert!(daemon.wait().success());
}

/// Samples of a page of figures by name with labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}
