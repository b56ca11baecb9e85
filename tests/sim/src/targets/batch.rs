//! The lines of a batch, by another reader.

use std::collections::BTreeMap;

use fanfare::protocol::batch::{Line, LineFault, decode};
use fanfare::protocol::centrifugo::Data;

use super::base64::standard;
use super::members::{Members, as_object};

/// A body of lines, as somebody posts it.
pub fn batch(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(text) = std::str::from_utf8(line) else {
            continue;
        };
        let found = decode(line);
        match Members::read(text) {
            Some(members) => assert_eq!(found, read(&members), "{text}"),
            // Which fault is told depends on how far it was read.
            None => assert!(found.is_err(), "{text}: {found:?}"),
        }
    }
}

fn read<'a>(line: &Members<'_>) -> Result<Line<'a>, LineFault> {
    let (mut topic, mut data, mut event, mut tags) = (None, None, None, None);
    for (name, value) in &line.0 {
        let text = || serde_json::from_str::<String>(value).map_err(|_| LineFault::Form);
        let twice = match &name[..] {
            "topic" => topic.replace(text()?).is_some(),
            "data" => data.replace(json(value)).is_some(),
            "text" => data.replace(plain(true, text()?.into_bytes())).is_some(),
            "b64data" => {
                let bytes = standard(text()?.as_bytes()).ok_or(LineFault::Base64)?;
                data.replace(plain(false, bytes)).is_some()
            }
            "event" => event.replace(event_name(text()?)?).is_some(),
            "tags" => tags.replace(labels(value)?).is_some(),
            _ => return Err(LineFault::Member),
        };
        if twice {
            return Err(LineFault::Twice);
        }
    }
    let data = data.ok_or(LineFault::NoMessage)?;
    if data.bytes.is_empty() {
        return Err(LineFault::Empty);
    }
    Ok(Line {
        topic: topic.ok_or(LineFault::NoTopic)?.into(),
        data,
        event,
        tags: as_object(&tags.unwrap_or_default()),
    })
}

fn event_name(name: String) -> Result<String, LineFault> {
    let is_one = (1..=200).contains(&name.len()) && !name.contains(char::is_control);
    is_one.then_some(name).ok_or(LineFault::Event)
}

fn plain(text: bool, bytes: Vec<u8>) -> Data {
    Data { text, bytes }
}

fn json(value: &str) -> Data {
    plain(true, value.replace('\r', "").into_bytes())
}

fn labels(value: &str) -> Result<BTreeMap<String, String>, LineFault> {
    if value == "null" {
        return Ok(BTreeMap::new());
    }
    let members = Members::read(value).ok_or(LineFault::Form)?;
    members.texts().ok_or(LineFault::Form)
}
