//! A message of the log as its subscribers get it, in either coding.

use std::collections::BTreeMap;

use fanfare::protocol::centrifugo::{Coding, publication_bound, write_publication};
use fanfare::protocol::encoding::{Extras, Message};
use serde_json::{Value, value::RawValue};

use crate::targets::base64;
use crate::targets::fields::{DEPTH_MAX, Fields, delimited};

/// Byte 0 says whether the payload is text, bytes 1 and 2 how many times four bytes of
/// the rest are the publisher's info and the tags.
pub fn publication(data: &[u8]) {
    let [kind, info_len, tags_len, rest @ ..] = data else {
        return;
    };
    let (info, rest) = rest.split_at(rest.len().min(4 * usize::from(*info_len)));
    let (tags, payload) = rest.split_at(rest.len().min(4 * usize::from(*tags_len)));
    let tags = String::from_utf8_lossy(tags);
    let lossy = String::from_utf8_lossy(payload);
    let text = kind % 2 == 0;
    let message = Message {
        topic: "a\"b",
        epoch: 1,
        offset: u64::from(*info_len),
        time_ms: 1,
        text,
        payload: if text { lossy.as_bytes() } else { payload },
        extras: (kind % 4 < 2).then_some(Extras {
            info,
            tags: &tags,
            ..Extras::default()
        }),
    };
    let line = written(Coding::Json, &message);
    let (newline, line) = line.split_last().expect("a line");
    assert!(*newline == b'\n' && !line.contains(&b'\n') && !line.contains(&b'\r'));
    let push = member(line, "push");
    assert_eq!(parsed(member(push, "channel")), message.topic);
    let publication = member(push, "pub");
    check_json_data(&message, member(publication, "data"));

    let bytes = written(Coding::Protobuf, &message);
    let mut rest = &bytes[..];
    let reply = Fields::read(delimited(&mut rest).expect("a length"), DEPTH_MAX);
    assert!(rest.is_empty());
    let push = reply.expect("a reply").each(4).expect("pushes");
    assert_eq!(push[0].text(2).expect("a channel"), message.topic);
    let fields = &push[0].each(4).expect("publications")[0];
    let data = fields.bytes(4).expect("data").concat();
    match message.text && !super::is_json(message.payload) {
        true => assert_eq!(parsed(&data), *lossy),
        false => assert_eq!(data, message.payload),
    }
    assert_eq!(fields.number(6), Some(message.offset));

    // Both tell of the extras what can be read of them, and the same.
    let told = |name| members(publication).get(name).map(|value| value.get());
    let offset = told("offset").unwrap_or("0").parse();
    assert_eq!(offset, Ok(message.offset));
    let tags = fields.each(7).expect("tags");
    let tags: BTreeMap<String, String> = tags
        .iter()
        .map(|tag| (tag.text(1).expect("a name"), tag.text(2).expect("a value")))
        .collect();
    let told_tags = told("tags").map(strings).unwrap_or_default();
    assert_eq!(tags, told_tags);
    let extras = message.extras.unwrap_or_default();
    assert_eq!(tags, strings(extras.tags));
    let infos = fields.each(5).expect("infos");
    assert_eq!(infos.len(), usize::from(is_info(extras.info)));
    assert_eq!(infos.is_empty(), told("info").is_none());
    for info in infos {
        let told = told("info").expect("it is there").as_bytes();
        assert_eq!(parsed(member(told, "user")), info.text(1).expect("a user"));
        assert_eq!(
            parsed(member(told, "client")),
            info.text(2).expect("a client")
        );
    }
}

/// The members of a JSON object of strings, else none.
fn strings(json: &str) -> BTreeMap<String, String> {
    serde_json::from_str(json).unwrap_or_default()
}

fn is_info(bytes: &[u8]) -> bool {
    let fields = Fields::read(bytes, DEPTH_MAX).filter(|_| !bytes.is_empty());
    fields.is_some_and(|fields| {
        let texts = fields.text(1).and(fields.text(2));
        let infos = fields.bytes(3).and(fields.bytes(4));
        texts.is_some() && infos.is_some()
    })
}

fn written(coding: Coding, message: &Message<'_>) -> Vec<u8> {
    let mut out = vec![0; publication_bound(coding, message)];
    let len = write_publication(coding, message, &mut out).len;
    out.truncate(len);
    out
}

fn check_json_data(message: &Message<'_>, data: &[u8]) {
    if !message.text {
        return assert_eq!(parsed(data), base64::as_standard(message.payload));
    }
    if !super::is_json(message.payload) {
        return assert_eq!(parsed(data).as_bytes(), message.payload);
    }
    let newlines = |byte: &&u8| !matches!(byte, b'\n' | b'\r');
    let payload: Vec<u8> = message.payload.iter().filter(newlines).copied().collect();
    assert_eq!(data, payload.trim_ascii());
}

fn members(object: &[u8]) -> BTreeMap<String, &RawValue> {
    serde_json::from_slice(object).expect("an object")
}

fn member<'a>(object: &'a [u8], name: &str) -> &'a [u8] {
    members(object)[name].get().as_bytes()
}

fn parsed(json: &[u8]) -> String {
    match serde_json::from_slice(json) {
        Ok(Value::String(text)) => text,
        other => panic!("{other:?}"),
    }
}
