//! What holds for all input, tried with chance that repeats.

use fastrand::Rng;
use prost::Message as _;
use serde_json::value::RawValue;

use super::*;
use crate::protocol::json::{is_json, line_len, plain_len};
use crate::protocol::member::decode_info;

const BOTH: [Coding; 2] = [Coding::Json, Coding::Protobuf];

fn rng() -> Rng {
    Rng::with_seed(0x0C0D_EC12)
}

/// Valid JSON with all that it may have, and room between its parts.
fn any_json(rng: &mut Rng, depth: usize, out: &mut String) {
    let space = |rng: &mut Rng, out: &mut String| {
        while rng.u8(..4) == 0 {
            out.push(*rng.choice(&[' ', '\t', '\r']).unwrap());
        }
    };
    space(rng, out);
    let kinds = if depth == 0 { 4 } else { 6 };
    match rng.u8(..kinds) {
        0 => out.push_str(rng.choice(["true", "false", "null"]).unwrap()),
        1 => any_number(rng, out),
        2 | 3 => any_string(rng, out),
        4 => {
            out.push('[');
            for index in 0..rng.usize(..4) {
                if index > 0 {
                    out.push(',');
                }
                any_json(rng, depth - 1, out);
            }
            space(rng, out);
            out.push(']');
        }
        _ => {
            out.push('{');
            for index in 0..rng.usize(..4) {
                if index > 0 {
                    out.push(',');
                }
                space(rng, out);
                any_string(rng, out);
                space(rng, out);
                out.push(':');
                any_json(rng, depth - 1, out);
            }
            space(rng, out);
            out.push('}');
        }
    }
    space(rng, out);
}

fn any_number(rng: &mut Rng, out: &mut String) {
    let digits = |rng: &mut Rng, out: &mut String| {
        for _ in 0..=rng.usize(..25) {
            out.push(rng.digit(10));
        }
    };
    if rng.bool() {
        out.push('-');
    }
    match rng.bool() {
        true => out.push('0'),
        false => {
            out.push(char::from(rng.u8(b'1'..=b'9')));
            digits(rng, out);
        }
    }
    if rng.bool() {
        out.push('.');
        digits(rng, out);
    }
    if rng.bool() {
        out.push_str(rng.choice(["e", "E", "e+", "E-"]).unwrap());
        digits(rng, out);
    }
}

fn any_string(rng: &mut Rng, out: &mut String) {
    out.push('"');
    for _ in 0..rng.usize(..20) {
        match rng.u8(..8) {
            0 => out.push_str(rng.choice(["\\\"", "\\\\", "\\/", "\\b", "\\n"]).unwrap()),
            1 => out.push_str(&format!("\\u{:04x}", rng.u16(..))),
            2 => out.push(
                *rng.choice(&['é', '😀', '\u{7f}', '\u{2028}', '{', ']'])
                    .unwrap(),
            ),
            _ => out.push(rng.alphanumeric()),
        }
    }
    out.push('"');
}

/// One byte more, less or another one.
fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    const BYTES: &[u8] = b"\"\\{}[]:,0-.eEtu \n\t\r\x00\x1f\x80\xff";
    let byte = match rng.bool() {
        true => BYTES[rng.usize(..BYTES.len())],
        false => rng.u8(..),
    };
    let at = rng.usize(..=bytes.len());
    match rng.u8(..3) {
        0 => bytes.insert(at, byte),
        1 if at < bytes.len() => {
            bytes.remove(at);
        }
        _ if at < bytes.len() => bytes[at] = byte,
        _ => {}
    }
}

#[test]
fn data_is_the_span_that_another_reader_finds() {
    let mut rng = rng();
    for _ in 0..20_000 {
        let (mut data, mut other) = (String::new(), String::new());
        any_json(&mut rng, 5, &mut data);
        any_json(&mut rng, 3, &mut other);
        let line = format!(
            "{{\"x\":{other},\"id\":1,\"publish\":{{\"data\":{other},\"y\":{other},\"data\":{data},\"channel\":\"c\"}}}}"
        );
        let raw: &RawValue = serde_json::from_str(&data).expect(&data);
        let requests = decode(Coding::Json, line.as_bytes()).expect(&line);
        let [
            Request {
                command: Command::Publish { data, .. },
                ..
            },
        ] = &requests[..]
        else {
            panic!("{line}");
        };
        assert_eq!(*data, json(&raw.get().replace('\r', "")));
    }
}

#[test]
fn what_is_json_is_so_for_another_reader_too() {
    let mut rng = rng();
    let mut valid = 0;
    for _ in 0..100_000 {
        let mut text = String::new();
        any_json(&mut rng, 3, &mut text);
        let mut bytes = text.into_bytes();
        for _ in 0..rng.usize(..4) {
            damage(&mut rng, &mut bytes);
        }
        let theirs = serde_json::from_slice::<&RawValue>(&bytes).is_ok();
        let shown = String::from_utf8_lossy(&bytes);
        assert_eq!(is_json(&bytes), theirs, "{shown}");
        valid += usize::from(theirs);
    }
    assert!((30_000..90_000).contains(&valid), "{valid} of 100,000");
}

#[test]
fn special_bytes_are_found_where_a_plain_look_finds_them() {
    let mut rng = rng();
    let plain = |byte: &&u8| !matches!(byte, 0..0x20 | b'"' | b'\\');
    let in_line = |byte: &&u8| !matches!(byte, b'\n' | b'\r');
    for _ in 0..50_000 {
        let from = *rng.choice(&[0x08, 0x18, 0x20, 0x58]).unwrap();
        let to = *rng.choice(&[from + 8, 0xff]).unwrap();
        let len = rng.usize(..40);
        let bytes: Vec<u8> = (0..len).map(|_| rng.u8(from..=to)).collect();
        let naive = bytes.iter().take_while(plain).count();
        assert_eq!(plain_len(&bytes), naive, "{bytes:?}");
        let naive = bytes.iter().take_while(in_line).count();
        assert_eq!(line_len(&bytes), naive, "{bytes:?}");
    }
}

#[test]
fn deep_nesting_is_read_and_published_as_any_value() {
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        [&open.repeat(depth), inner, &close.repeat(depth)].concat()
    };
    let payloads = [
        nested("[", "", "]", 10_000),
        nested("{\"a\":", "1", "}", 10_000),
        nested("[{\"a\":[", "\"x\"", "]}]", 10_000),
        nested("[", "", "]", 32 << 10),
        // So long that a look back from every level would be noticed.
        nested("[", "", "]", 1 << 20),
    ];
    for data in payloads {
        let line = format!("{{\"id\":1,\"n\":{data},\"publish\":{{\"data\":{data}}}}}");
        let command = Command::Publish {
            channel: String::new(),
            data: json(&data),
        };
        let request = Request { id: 1, command };
        assert!(decode(Coding::Json, line.as_bytes()) == Ok(vec![request]));
        for cut in [1, data.len() / 2, data.len() - 1] {
            assert!(!is_json(&data.as_bytes()[..cut]));
            let line = format!("{{\"id\":1,\"publish\":{{\"data\":{}}}}}", &data[..cut]);
            assert!(decode(Coding::Json, line.as_bytes()) == Err(BadRequest));
        }
        let line = published(Coding::Json, &message(true, data.as_bytes()));
        assert!(String::from_utf8(line).unwrap().contains(&data));
    }
    // What is closed by another bracket than it was opened with, at any depth.
    for depth in [1, 63, 64, 65, 127, 128, 129, 10_000] {
        let brackets: Vec<bool> = (0..depth).map(|n| n % 3 == 0).collect();
        let mut text: String = brackets
            .iter()
            .map(|o| if *o { "{\"\":" } else { "[" })
            .collect();
        text.push('1');
        let closed = brackets.iter().rev().map(|o| if *o { '}' } else { ']' });
        text.extend(closed);
        assert!(is_json(text.as_bytes()), "{depth}");
        for at in text.len() - depth..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] ^= b']' ^ b'}';
            assert!(!is_json(&wrong), "{depth} {at}");
            if depth > 1000 && at > text.len() - depth + 200 {
                break;
            }
        }
    }
}

/// Messages of both codings that have something of everything.
fn samples() -> Vec<(Coding, Vec<u8>)> {
    let line = br#"{"id":7,"connect":{"token":"t","data":{"a":[1,2.5e3,"\u00e9"]},"subs":{"c":{"recover":true,"offset":3,"epoch":"e","tf":{}}}}}
{"id":8,"history":{"channel":"c","limit":-1,"since":{"offset":1,"epoch":"x"},"reverse":false}}"#;
    let subscribe = wire::SubscribeRequest {
        channel: "c".to_owned(),
        offset: 1 << 40,
        tf: Some(wire::FilterNode {
            op: "not".to_owned(),
            nodes: vec![wire::FilterNode::default()],
        }),
        ..wire::SubscribeRequest::default()
    };
    let connect = wire::Command {
        id: 300,
        connect: Some(wire::ConnectRequest {
            token: "t".to_owned(),
            data: b"{\"a\":1}".to_vec(),
            subs: [("c".to_owned(), subscribe.clone())].into(),
            headers: [("a".to_owned(), "b".to_owned())].into(),
            ..wire::ConnectRequest::default()
        }),
        ..wire::Command::default()
    };
    let mut message = connect.encode_length_delimited_to_vec();
    message.extend(
        wire::Command {
            id: 301,
            subscribe: Some(subscribe),
            ..wire::Command::default()
        }
        .encode_length_delimited_to_vec(),
    );
    vec![(Coding::Json, line.to_vec()), (Coding::Protobuf, message)]
}

#[test]
fn what_is_cut_short_is_refused_or_read_up_to_there() {
    for (coding, message) in samples() {
        let whole = decode(coding, &message).expect("it is valid");
        assert_eq!(whole.len(), 2);
        for cut in 0..message.len() {
            if let Ok(requests) = decode(coding, &message[..cut]) {
                assert_eq!(requests[..], whole[..1], "{coding:?} {cut}");
            }
        }
    }
}

#[test]
fn no_bytes_at_all_are_too_much() {
    let mut rng = rng();
    let samples = samples();
    for round in 0..100_000 {
        let (_, sample) = &samples[round % 2];
        let mut bytes = match rng.bool() {
            true => sample.clone(),
            false => std::iter::repeat_with(|| rng.u8(..))
                .take(round % 64)
                .collect(),
        };
        for _ in 0..rng.usize(..8) {
            damage(&mut rng, &mut bytes);
        }
        for coding in BOTH {
            if let Ok(requests) = decode(coding, &bytes) {
                assert!(!requests.is_empty());
            }
        }
        let _ = decode_info(&bytes);
    }
}

#[test]
fn each_publication_fits_its_bound_and_says_the_same_in_both_codings() {
    let mut rng = rng();
    for _ in 0..20_000 {
        let any = |rng: &mut Rng, len: usize| -> String {
            let lowest = *rng.choice(&['\0', ' ', 'é']).unwrap();
            let highest = *rng.choice(&['~', '\u{2ff}']).unwrap();
            let highest = highest.max(lowest);
            (0..rng.usize(..=len))
                .map(|_| rng.char(lowest..=highest))
                .collect()
        };
        let topic = any(&mut rng, 20);
        let (text, payload) = match rng.u8(..4) {
            0 => (
                false,
                std::iter::repeat_with(|| rng.u8(..)).take(99).collect(),
            ),
            1 => {
                let mut json = String::new();
                any_json(&mut rng, 3, &mut json);
                (true, json.into_bytes())
            }
            _ => (true, any(&mut rng, 300).into_bytes()),
        };
        let info = ClientInfo {
            user: any(&mut rng, 40),
            client: any(&mut rng, 3),
            conn_info: any(&mut rng, 200).into_bytes(),
            chan_info: vec![0xff; rng.usize(..9)],
        };
        let tags: std::collections::BTreeMap<String, String> = (0..rng.usize(..4))
            .map(|_| (any(&mut rng, 5), any(&mut rng, 300)))
            .collect();
        let tags_json = serde_json::to_string(&tags).unwrap();
        let info = encode_info(&info);
        let message = Message {
            topic: &topic,
            offset: rng.u64(..) >> rng.u8(..64),
            extras: rng.bool().then_some(Extras {
                info: &info,
                tags: &tags_json,
                ..Extras::default()
            }),
            ..message(text, &payload)
        };
        let line = published(Coding::Json, &message);
        assert_eq!(
            line.iter().position(|byte| *byte == b'\n'),
            Some(line.len() - 1)
        );
        let delimited = published(Coding::Protobuf, &message);
        let push = wire::Reply::decode_length_delimited(&delimited[..])
            .unwrap()
            .push
            .unwrap();
        let theirs: serde_json::Map<String, serde_json::Value> = match serde_json::from_slice(&line)
        {
            Ok(read) => read,
            // Half a surrogate pair or 1e400 inside a payload.
            Err(_) => continue,
        };
        let publication = push.publication.unwrap();
        let outer = &theirs["push"];
        assert_eq!(outer["channel"].as_str().unwrap_or_default(), push.channel);
        assert_eq!(
            outer["pub"]["offset"].as_u64().unwrap_or(0),
            publication.offset
        );
        match message.extras {
            Some(_) => {
                assert_eq!(publication.tags, tags);
                let none = serde_json::json!({});
                let told = outer["pub"].get("tags").unwrap_or(&none);
                assert_eq!(*told, serde_json::to_value(&tags).unwrap());
                let user = publication.info.unwrap().user;
                assert_eq!(outer["pub"]["info"]["user"].as_str(), Some(&user[..]));
            }
            None => assert!(publication.tags.is_empty() && publication.info.is_none()),
        }
        if text {
            let data: serde_json::Value = serde_json::from_slice(&publication.data).unwrap();
            assert_eq!(outer["pub"]["data"], data);
        }
    }
}
