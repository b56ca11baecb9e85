//! What it costs that clients of Centrifugo's protocol come back: nothing is written anew.

use tungstenite::Message;

use crate::common::{Daemon, eventually};
use crate::speaking::{ask, connect, hear, push, recover, say, subscribe};

const ENCODED: &str = "fanfare_encoded_messages_total";

#[test]
fn messages_are_encoded_once_for_all_and_not_again_for_who_recovers() {
    let daemon = Daemon::start(&["--cores", "2"]);
    let mut raw = daemon.connect("/r");
    say(&mut raw, "0");
    eventually("it is published", || {
        daemon.ask("GET /topics/r").1.contains("\"offset\":1,")
    });
    let mut readers = [connect(&daemon), connect(&daemon)];
    let epoch = readers.each_mut().map(|reader| subscribe(reader, 2, "r"))[0].clone();
    // The oldest is there in raw alone.
    assert_eq!(daemon.metric(ENCODED), 0);
    for n in 1..=20 {
        say(&mut raw, &n.to_string());
        for reader in &mut readers {
            assert_eq!(hear(reader), push("r", &n.to_string(), n + 1));
        }
    }
    assert_eq!(daemon.metric(ENCODED), 20);
    for _ in 0..10 {
        let mut client = connect(&daemon);
        let answer = ask(&mut client, &recover(2, "r", 11, &epoch));
        assert!(answer.contains(r#""recovered":true"#), "{answer}");
        for n in 12..=20 {
            assert_eq!(hear(&mut client), push("r", &n.to_string(), n + 1));
        }
    }
    assert_eq!(daemon.metric(ENCODED), 20);
    // What the server API publishes counts too.
    let (status, _) = daemon.ask_with("POST /topics/r/messages", b"21");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(daemon.metric(ENCODED), 21);
}

#[test]
fn history_that_no_reader_had_read_so_is_encoded_once_for_all_who_ask_for_it() {
    let daemon = Daemon::start(&["--cores", "1"]);
    let mut raw = daemon.connect("/r");
    for n in 1..=20 {
        say(&mut raw, &n.to_string());
    }
    let known = || daemon.ask("GET /topics/r").1;
    eventually("all is published", || known().contains(r#""offset":20"#));
    let known = known();
    let (_, rest) = known.split_once(r#""epoch":""#).expect("it has one");
    let epoch = rest.split_once('"').expect("it ends").0;
    let mut clients: Vec<_> = (0..5).map(|_| connect(&daemon)).collect();
    for client in &mut clients {
        client
            .send(Message::text(recover(2, "r", 10, epoch)))
            .unwrap();
    }
    for client in &mut clients {
        assert!(hear(client).contains(r#""recovered":true"#));
        for n in 12..=20 {
            assert_eq!(hear(client), push("r", &n.to_string(), n));
        }
    }
    // By whole segments, and each message once.
    eventually("all is counted", || daemon.metric(ENCODED) == 20);
}
