//! Topics whose subscribers are sent what is new only so often.

use std::fs;

use nix::sys::signal::Signal;
use tungstenite::Message;

use crate::common::{Client, Daemon, command, eventually, hear, hear_close, pass};

/// Longer than any test waits.
const SELDOM: &str = r#"match = "seldom", pace_ms = 60000"#;

/// Publishes the numbers from `first` up to `last` from outside the cores.
fn publish(daemon: &Daemon, first: u64, last: u64) {
    for number in first..=last {
        let mut text = number.to_string();
        text.extend(std::iter::repeat_n(' ', 1000));
        let lines = "Content-Type: text/plain\r\n";
        let request = "POST /topics/seldom/messages";
        let (head, body) = daemon.ask_as(request, lines, text.as_bytes());
        assert!(head.starts_with("HTTP/1.1 200 "), "{head} {body}");
    }
}

fn hear_number(client: &mut Client) -> u64 {
    hear(client).trim().parse().expect("a number")
}

/// Hears the first message at once, while the others up to the third rest.
fn begin(daemon: &Daemon) -> Client {
    let mut client = daemon.connect("/seldom");
    publish(daemon, 1, 1);
    assert_eq!(hear_number(&mut client), 1);
    publish(daemon, 2, 3);
    eventually("the others rest", || {
        daemon.metric("fanfare_pace_rests_total") == 1
    });
    assert_eq!(daemon.metric("fanfare_deliveries_total"), 1);
    client
}

#[test]
fn what_rests_when_the_daemon_stops_is_sent_before_the_goodbye() {
    let mut daemon = Daemon::start(&["--topics", SELDOM]);
    let mut client = begin(&daemon);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(hear_number(&mut client), 2);
    assert_eq!(hear_number(&mut client), 3);
    assert_eq!(hear_close(&mut client).0, 1001);
    while client.read().is_ok() {}
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn what_rests_goes_out_with_a_handover_and_with_a_changed_rule() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare.toml");
    fs::write(&path, format!("topics = [{{ {SELDOM} }}]\n")).unwrap();
    let mut start = command(&[]);
    start.arg("--config").arg(&path);
    let mut daemon = Daemon::start_as(start);
    let mut client = begin(&daemon);
    daemon.hand_over(1);
    assert_eq!(hear_number(&mut client), 2);
    assert_eq!(hear_number(&mut client), 3);
    publish(&daemon, 4, 4);
    eventually("it rests", || {
        daemon.metric("fanfare_pace_rests_total") == 1
    });
    fs::write(&path, "pace_ms = 0\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    assert_eq!(hear_number(&mut client), 4);
}

#[test]
fn no_publisher_waits_for_a_pace() {
    let daemon = Daemon::start(&["--topics", SELDOM, "--ahead-bytes-max", "8KiB"]);
    let mut client = daemon.connect("/seldom");
    // Some come by a socket and the others over HTTP; of each kind more than publishers may be
    // ahead by.
    publish(&daemon, 1, 100);
    let mut speaker = daemon.connect("/seldom");
    for number in 101..=200 {
        let text = format!("{number:1000}");
        speaker.send(Message::text(text)).unwrap();
    }
    for number in 1..=190 {
        assert_eq!(hear_number(&mut client), number);
    }
}

#[test]
fn who_comes_later_has_history_and_other_topics_at_once() {
    let daemon = Daemon::start(&["--topics", SELDOM]);
    let mut client = begin(&daemon);
    // All but what rests for everybody.
    let mut newcomer = daemon.connect("/seldom?since=1");
    assert_eq!(hear_number(&mut newcomer), 1);
    // Topics without a pace go on, on whichever core.
    for _ in 0..4 {
        let (mut speaker, mut listener) = (daemon.connect("/often"), daemon.connect("/often"));
        for text in ["a", "b", "c"] {
            pass(&mut speaker, &mut listener, text);
        }
    }
    // And a peer that rests is answered.
    client.send(Message::Ping("here".into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("here".into()));
}
