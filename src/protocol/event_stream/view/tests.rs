use std::iter;

use super::*;
use crate::protocol::encoding::Extras;

fn message<'a>(text: bool, payload: &'a [u8], event: Option<&'a str>) -> Message<'a> {
    Message {
        topic: "a \"b\"",
        epoch: 0xab,
        offset: 7,
        time_ms: 1,
        text,
        payload,
        extras: event.map(|event| Extras {
            event: Some(event),
            ..Extras::default()
        }),
    }
}

fn event(message: &Message<'_>) -> String {
    let mut out = vec![0; event_bound(message)];
    let len = write_event(message, &mut out);
    String::from_utf8(out[..len].to_vec()).unwrap()
}

fn of_many(message: &Message<'_>) -> String {
    let mut out = vec![0; events_bound(message)];
    let len = write_events(message, &mut out);
    String::from_utf8(out[..len].to_vec()).unwrap()
}

fn plainly(message: &Message<'_>) -> String {
    let mut out = vec![0; event_bound(message)];
    let len = write_plain_event(message, &mut out);
    String::from_utf8(out[..len].to_vec()).unwrap()
}

/// What a client makes of a stream, by the rules of the standard: id, name and data of each
/// event that it dispatches.
fn parse(stream: &str) -> Vec<(String, String, String)> {
    let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut id) = (Vec::new(), String::new());
    let (mut name, mut data) = (String::new(), String::new());
    for line in stream.split_inclusive('\n') {
        // What does not end is no event.
        let Some(line) = line.strip_suffix('\n') else {
            break;
        };
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                if let Some(data) = data.strip_suffix('\n') {
                    events.push((id.clone(), name.clone(), data.to_owned()));
                }
                (name, data) = (String::new(), String::new());
            }
            "id" => id = value.to_owned(),
            "event" => name = value.to_owned(),
            "data" => data = data + value + "\n",
            _ => {}
        }
    }
    events
}

#[test]
fn a_message_is_an_event_with_its_place_as_id() {
    let wanted = "id: 00000000000000ab-7\ndata: Kick-off!\n\n";
    assert_eq!(event(&message(true, b"Kick-off!", None)), wanted);
    let named = "id: 00000000000000ab-7\nevent: goal\ndata: {\"by\":9}\n\n";
    assert_eq!(event(&message(true, b"{\"by\":9}", Some("goal"))), named);
}

#[test]
fn no_publisher_tells_of_a_gap_as_the_server_does() {
    let posing = message(true, b"{}", Some(GAP));
    assert_eq!(event(&posing), event(&message(true, b"{}", None)));
    assert_eq!(of_many(&posing), of_many(&message(true, b"{}", None)));
    assert!(event(&message(true, b"{}", Some("gaps"))).contains("event: gaps\n"));
}

#[test]
fn each_line_of_a_text_is_a_field_however_it_ends() {
    for (text, lines) in [
        ("", "data: \n"),
        (" a", "data:  a\n"),
        ("a\nb", "data: a\ndata: b\n"),
        ("a\rb", "data: a\ndata: b\n"),
        ("a\r\nb", "data: a\ndata: b\n"),
        ("a\n\rb", "data: a\ndata: \ndata: b\n"),
        ("a\n", "data: a\ndata: \n"),
        ("\r\n\r\n", "data: \ndata: \ndata: \n"),
        ("data: x", "data: data: x\n"),
    ] {
        let wanted = format!("id: 00000000000000ab-7\n{lines}\n");
        assert_eq!(event(&message(true, text.as_bytes(), None)), wanted);
    }
}

#[test]
fn bytes_are_one_line_of_base64() {
    let wanted = "id: 00000000000000ab-7\ndata: AAr/\n\n";
    assert_eq!(event(&message(false, b"\0\n\xff", None)), wanted);
    let empty = "id: 00000000000000ab-7\ndata: \n\n";
    assert_eq!(event(&message(false, b"", None)), empty);
}

#[test]
fn a_name_makes_no_field_of_its_own() {
    let text = event(&message(true, b"x", Some("a\nid: 9\r\rdata: y")));
    let wanted = ("00000000000000ab-7", "a id: 9  data: y", "x");
    let [(id, name, data)] = &parse(&text)[..] else {
        panic!("{text}");
    };
    assert_eq!((&id[..], &name[..], &data[..]), wanted);
    assert!(!event(&message(true, b"x", Some(""))).contains("event"));
}

#[test]
fn of_many_topics_an_event_says_which_one_it_is_of() {
    for (text, payload, wanted) in [
        (true, &b"{\"a\":\r\n1}"[..], r#""data":{"a":1}"#),
        (true, b"Kick-off!\n", r#""data":"Kick-off!\n""#),
        (false, b"\x00\xff", r#""b64data":"AP8=""#),
    ] {
        let wanted =
            format!("event: goal\ndata: {{\"topic\":\"a \\\"b\\\"\",\"offset\":7,{wanted}}}\n\n");
        assert_eq!(of_many(&message(text, payload, Some("goal"))), wanted);
    }
}

#[test]
fn whatever_is_published_one_event_comes_out_and_says_it() {
    let mut rng = fastrand::Rng::with_seed(48);
    let pieces = [
        "\r", "\n", "\r\n", ":", " ", "data: ", "id: 1", "é", "\"", "\0", "x",
    ];
    for _ in 0..5000 {
        let mut any = |max| -> String {
            let count = rng.usize(..max);
            let piece = || pieces[rng.usize(..pieces.len())];
            iter::repeat_with(piece).take(count).collect()
        };
        let (text, name) = (any(12), any(4));
        let message = Message {
            offset: rng.u64(..),
            epoch: rng.u64(..),
            ..message(rng.bool(), text.as_bytes(), rng.bool().then_some(&name))
        };
        let lines = text.replace("\r\n", "\n").replace('\r', "\n");
        let heard = parse(&event(&message));
        let [(id, heard_name, data)] = &heard[..] else {
            panic!("{heard:?}");
        };
        let place = Place::read(id).unwrap();
        assert_eq!((place.epoch, place.offset), (message.epoch, message.offset));
        match message.text {
            true => assert_eq!(*data, lines),
            false => assert_eq!(BASE64.decode(data).unwrap(), text.as_bytes()),
        }
        let wanted_name = message.extras.map_or("", |extras| extras.event.unwrap());
        // One space behind the colon is no part of it.
        assert_eq!(*heard_name, wanted_name.replace(['\r', '\n'], " "));
        let [(id, plain_name, plain)] = &parse(&plainly(&message))[..] else {
            panic!("{:?}", plainly(&message));
        };
        assert_eq!((&id[..], plain_name, plain), ("", heard_name, data));
        let [(_, _, json)] = &parse(&of_many(&message))[..] else {
            panic!("{:?}", of_many(&message));
        };
        let mut json = json.clone().into_bytes();
        let json: simd_json::OwnedValue = simd_json::from_slice(&mut json).unwrap();
        use simd_json::prelude::*;
        assert_eq!(json.get_u64("offset"), Some(message.offset));
        assert_eq!(json.get_str("topic"), Some(message.topic));
    }
}
