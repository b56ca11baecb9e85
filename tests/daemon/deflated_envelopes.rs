//! Compression of what is written around a message: Centrifugo's pushes and numbered
//! messages.

use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, masked};
use crate::deflated::{self, OFFER, deflate, hear_either};
use crate::speaking::{PATH, connect, hear, push, recover, subscribe};

const LONG: &str = r#"[{"score":"2:1","minute":61},{"score":"2:1","minute":61},{"score":"2:1","minute":61},{"score":"2:1","minute":61},{"score":"2:1","minute":61},{"score":"2:1","minute":61},{"score":"2:1","minute":61},{"score":"2:1","minute":61},{"score":"2:1","minute":61},{"score":"2:2","minute":62}]"#;

/// Opens a WebSocket that offers compression, and says whether that was agreed on.
fn offer(daemon: &Daemon, path: &str) -> (Raw, bool) {
    let mut raw = daemon.raw();
    raw.send(Raw::request(path, OFFER).as_bytes());
    let head = raw.read_head();
    assert_eq!(head.status, 101);
    let agreed = head.header("Sec-WebSocket-Extensions").is_some();
    (raw, agreed)
}

fn ask(raw: &mut Raw, line: &str) -> String {
    raw.send(&masked(0x81, line.as_bytes()));
    let (answer, compressed) = hear_either(raw);
    assert!(!compressed, "{answer}");
    answer
}

/// A session on a connection that offers compression, which follows `topic`.
fn session(daemon: &Daemon, topic: &str) -> Raw {
    let (mut raw, agreed) = offer(daemon, PATH);
    assert!(agreed);
    ask(&mut raw, r#"{"id":1,"connect":{}}"#);
    let line = format!(r#"{{"id":2,"subscribe":{{"channel":"{topic}"}}}}"#);
    let answer = ask(&mut raw, &line);
    assert!(answer.contains(r#""epoch""#), "{answer}");
    raw
}

fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).unwrap();
}

#[test]
fn a_message_is_compressed_for_sessions_and_numbered_readers_as_for_raw_ones() {
    let mut daemon = Daemon::start(&[]);
    let mut publisher = daemon.connect("/m");
    let (mut raw, _) = offer(&daemon, "/m");
    let (mut numbered, agreed) = offer(&daemon, "/m?offsets=true");
    assert!(agreed);
    let mut compressed = session(&daemon, "m");
    let mut plain = connect(&daemon);
    subscribe(&mut plain, 2, "m");
    for offset in 1..=4 {
        // It goes on in the next process.
        if offset == 3 {
            daemon.hand_over(1);
        }
        say(&mut publisher, LONG);
        assert_eq!(hear_either(&mut raw), (LONG.to_owned(), true));
        let wanted = push("m", LONG, offset);
        assert_eq!(hear_either(&mut compressed), (wanted.clone(), true));
        assert_eq!(hear(&mut plain), wanted);
        let wanted = format!(r#"{{"offset":{offset},"data":{LONG}}}"#);
        assert_eq!(hear_either(&mut numbered), (wanted, true));
    }
    // What is short goes as it is, and what a session sends may be compressed.
    let command = br#"{"id":3,"publish":{"channel":"m","data":"short"}}"#;
    compressed.send(&masked(deflated::TEXT, &deflate(command)));
    let mut heard = [hear_either(&mut compressed), hear_either(&mut compressed)];
    heard.sort();
    assert!(heard[0].0.starts_with(r#"{"id":3,"publish""#), "{heard:?}");
    assert!(heard[1].0.contains(r#""data":"short""#), "{heard:?}");
    assert!(!heard[1].1);
}

#[test]
fn history_comes_compressed_too() {
    let daemon = Daemon::start(&[]);
    let mut publisher = daemon.connect("/h");
    let mut first = connect(&daemon);
    let epoch = subscribe(&mut first, 2, "h");
    for offset in 1..=20 {
        say(&mut publisher, LONG);
        assert_eq!(hear(&mut first), push("h", LONG, offset));
    }
    let (mut raw, _) = offer(&daemon, PATH);
    ask(&mut raw, r#"{"id":1,"connect":{}}"#);
    let answer = ask(&mut raw, &recover(2, "h", 0, &epoch));
    assert!(answer.contains(r#""recovered":true"#), "{answer}");
    // The first one stands in the answer.
    for offset in 2..=20 {
        assert_eq!(hear_either(&mut raw), (push("h", LONG, offset), true));
    }
    let (mut numbered, _) = offer(&daemon, "/h?offsets=true&since=5");
    for offset in 5..=20 {
        let wanted = format!(r#"{{"offset":{offset},"data":{LONG}}}"#);
        assert_eq!(hear_either(&mut numbered), (wanted, true));
    }
}

#[test]
fn a_topic_whose_rule_forbids_it_comes_as_it_is_on_a_connection_that_compresses() {
    let rule = r#"match = "secret.*", deflate = "off""#;
    let daemon = Daemon::start(&["--topics", rule]);
    let mut session = session(&daemon, "secret.a");
    ask(&mut session, r#"{"id":3,"subscribe":{"channel":"open"}}"#);
    for (topic, compressed) in [("secret.a", false), ("open", true)] {
        let mut publisher = daemon.connect(&format!("/{topic}"));
        say(&mut publisher, LONG);
        let wanted = push(topic, LONG, 1);
        assert_eq!(hear_either(&mut session), (wanted, compressed));
    }
    // Where nothing may be compressed, nothing is agreed on.
    let daemon = Daemon::start(&["--deflate", "off"]);
    assert!(!offer(&daemon, PATH).1);
    let rule = r#"match = "long.*", deflate = "on""#;
    let daemon = Daemon::start(&["--deflate", "off", "--topics", rule]);
    assert!(offer(&daemon, PATH).1);
}

#[test]
fn readers_of_many_windows_share_the_views_there_are() {
    let daemon = Daemon::start(&[]);
    let mut publisher = daemon.connect("/w");
    let mut readers: Vec<Raw> = (9..=15)
        .flat_map(|bits| ["/w", "/w?offsets=true", PATH].map(|path| (bits, path)))
        .map(|(bits, path)| {
            let mut raw = daemon.raw();
            let offer = format!(
                "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}\r\n"
            );
            raw.send(Raw::request(path, &offer).as_bytes());
            assert_eq!(raw.read_head().status, 101);
            if path == PATH {
                ask(&mut raw, r#"{"id":1,"connect":{}}"#);
                ask(&mut raw, r#"{"id":2,"subscribe":{"channel":"w"}}"#);
            }
            raw
        })
        .collect();
    say(&mut publisher, LONG);
    let hearing = readers.iter_mut().map(|raw| hear_either(raw).0);
    for heard in hearing.collect::<Vec<_>>() {
        assert!(heard.contains(LONG), "{heard}");
    }
}
