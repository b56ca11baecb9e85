//! Where a subscriber is in its topic: `?hello`, `?offsets` and `?epoch`.

use tungstenite::Message;

use crate::common::{Client, Daemon, hear};

fn epoch(client: &mut Client) -> String {
    let hello = hear(client);
    let (_, rest) = hello
        .split_once(r#""epoch":""#)
        .expect("it names the history");
    rest[..16].to_owned()
}

#[test]
fn the_first_text_tells_where_a_subscriber_begins() {
    let daemon = Daemon::start(&[]);
    let mut first = daemon.connect("/t?hello=true&echo=true");
    let epoch = epoch(&mut first);
    for text in ["one", "two", "three"] {
        first.send(Message::text(text)).unwrap();
        assert_eq!(hear(&mut first), text);
    }
    let begins = format!(r#"{{"hello":{{"topic":"t","epoch":"{epoch}","#);
    for (query, place) in [
        ("", r#""next":4,"newest":3}}"#.to_owned()),
        (
            "&since=2",
            r#""next":2,"newest":3,"resume":"exact"}}"#.to_owned(),
        ),
        (
            "&since=9",
            r#""next":1,"newest":3,"resume":"unknown"}}"#.to_owned(),
        ),
        (
            &format!("&since=2&epoch={epoch}"),
            r#""next":2,"newest":3,"resume":"exact"}}"#.to_owned(),
        ),
        (
            "&since=2&epoch=abc",
            r#""next":1,"newest":3,"resume":"unknown"}}"#.to_owned(),
        ),
    ] {
        let mut late = daemon.connect(&format!("/t?hello=1{query}"));
        assert_eq!(hear(&mut late), format!("{begins}{place}"), "{query}");
        let missed = match place.contains(r#""next":1"#) {
            true => &["one", "two", "three"][..],
            false if query.is_empty() => &[],
            false => &["two", "three"],
        };
        for text in missed {
            assert_eq!(hear(&mut late), *text, "{query}");
        }
    }
}

#[test]
fn the_head_of_the_answer_tells_of_another_history_as_well() {
    let daemon = Daemon::start(&[]);
    let mut publisher = daemon.connect("/t?echo=true");
    publisher.send(Message::text("one")).unwrap();
    assert_eq!(hear(&mut publisher), "one");
    let (mut late, response) = daemon.open("/t?since=1&epoch=1", &[]).unwrap();
    assert_eq!(response.headers()["fanfare-resume"], "unknown");
    assert_eq!(hear(&mut late), "one");
}

#[test]
fn messages_come_with_their_offsets_to_who_wants_that() {
    let daemon = Daemon::start(&[]);
    let mut numbered = daemon.connect("/t?offsets=true");
    let mut other = daemon.connect("/t");
    for message in [
        Message::text(r#"{"a": 1}"#),
        Message::text("plain"),
        Message::binary(vec![0, 255]),
    ] {
        other.send(message).unwrap();
    }
    assert_eq!(hear(&mut numbered), r#"{"offset":1,"data":{"a": 1}}"#);
    assert_eq!(hear(&mut numbered), r#"{"offset":2,"data":"plain"}"#);
    assert_eq!(hear(&mut numbered), r#"{"offset":3,"b64data":"AP8="}"#);
    // It publishes as raw clients do, and does not hear itself.
    numbered.send(Message::text("mine")).unwrap();
    assert_eq!(hear(&mut other), "mine");
    other.send(Message::text("last")).unwrap();
    assert_eq!(hear(&mut numbered), r#"{"offset":5,"data":"last"}"#);
    let mut late = daemon.connect("/t?offsets=true&since=4&hello=true");
    assert!(hear(&mut late).contains(r#""next":4,"newest":5,"resume":"exact""#));
    assert_eq!(hear(&mut late), r#"{"offset":4,"data":"mine"}"#);
    assert_eq!(hear(&mut late), r#"{"offset":5,"data":"last"}"#);
}

#[test]
fn a_subscriber_with_offsets_goes_over_to_the_next_process() {
    let mut daemon = Daemon::start(&[]);
    let mut numbered = daemon.connect("/t?offsets=true");
    let mut other = daemon.connect("/t");
    other.send(Message::text("before")).unwrap();
    assert_eq!(hear(&mut numbered), r#"{"offset":1,"data":"before"}"#);
    daemon.hand_over(1);
    other.send(Message::text("after")).unwrap();
    assert_eq!(hear(&mut numbered), r#"{"offset":2,"data":"after"}"#);
}
