//! The lines of a batch, as backends and users post them: each is a JSON object with one
//! message, and answered by a line of its own.
//!
//! Called by `admin::batch`, which publishes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::centrifugo::{Data, data, strings, tags};
use super::json::{BadRequest, Reader};

/// A message in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub topic: Cow<'a, str>,
    pub data: Data,
    /// The name of the event that the message reports.
    pub event: Option<String>,
    /// A JSON object whose values are strings, or empty.
    pub tags: String,
}

/// Why a line is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    #[error("the line is no JSON object, or a member of it is of another type")]
    Form,
    #[error("the line is not UTF-8")]
    Utf8,
    #[error("the line has no topic")]
    NoTopic,
    #[error("the line has no message: one of data, text and b64data")]
    NoMessage,
    #[error("the line has a member twice, or more than one of data, text and b64data")]
    Twice,
    #[error("the line has a member that is none of topic, data, text, b64data, event and tags")]
    Member,
    #[error("event is 1 to 200 bytes without control characters")]
    Event,
    #[error("b64data is no base64")]
    Base64,
    #[error("the message is empty")]
    Empty,
}

/// As long as the names of the Pusher Channels protocol may be.
const EVENT_BYTES_MAX: usize = 200;

/// Reads a line, which is UTF-8.
///
/// # Errors
/// See [`LineFault`].
pub fn decode(line: &[u8]) -> Result<Line<'_>, LineFault> {
    let mut reader = Reader::new(line);
    let (mut topic, mut message, mut event, mut labels) = (None, None, None, None);
    let mut fault = LineFault::Form;
    let object = reader.object(|name, value| {
        let mut found = Data::default();
        let twice = match name {
            "topic" => topic.replace(value.text()?).is_some(),
            "data" => {
                data(value, &mut found)?;
                message.replace(found).is_some()
            }
            "text" => {
                (found.text, found.bytes) = (true, value.text()?.into_owned().into_bytes());
                message.replace(found).is_some()
            }
            "b64data" => {
                found.bytes = BASE64.decode(&*value.text()?).map_err(|_| {
                    fault = LineFault::Base64;
                    BadRequest
                })?;
                message.replace(found).is_some()
            }
            "event" => {
                let name = value.text()?.into_owned();
                let is_long = name.is_empty() || name.len() > EVENT_BYTES_MAX;
                if is_long || name.chars().any(char::is_control) {
                    fault = LineFault::Event;
                    return Err(BadRequest);
                }
                event.replace(name).is_some()
            }
            "tags" => {
                let mut read = BTreeMap::new();
                tags(value, &mut read)?;
                labels.replace(read).is_some()
            }
            _ => {
                fault = LineFault::Member;
                return Err(BadRequest);
            }
        };
        match twice {
            false => Ok(()),
            true => {
                fault = LineFault::Twice;
                Err(BadRequest)
            }
        }
    });
    let whole = object.and_then(|object| {
        reader.end()?;
        object.ok_or(BadRequest)
    });
    whole.map_err(|BadRequest| fault)?;
    let data = message.ok_or(LineFault::NoMessage)?;
    if data.is_empty() {
        return Err(LineFault::Empty);
    }
    let tags = labels.filter(|labels| !labels.is_empty());
    Ok(Line {
        topic: topic.ok_or(LineFault::NoTopic)?,
        data,
        event,
        tags: tags.map_or_else(String::new, |tags| strings(&tags)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(String, bool, Vec<u8>, String), LineFault> {
        decode(line.as_bytes()).map(|line| {
            (
                line.topic.into(),
                line.data.text,
                line.data.bytes,
                line.tags,
            )
        })
    }

    #[test]
    fn a_line_has_a_topic_and_a_message_of_one_of_three_kinds() {
        for (line, text, bytes, tags) in [
            (r#"{"topic":"a","data":{"x": 1}}"#, true, r#"{"x": 1}"#, ""),
            (r#"{"topic":"a","data":null}"#, true, "null", ""),
            (
                r#" {"text":"Kick\"off","topic":"a"} "#,
                true,
                "Kick\"off",
                "",
            ),
            (
                r#"{"topic":"a","b64data":"AAECAw=="}"#,
                false,
                "\0\x01\x02\x03",
                "",
            ),
            (
                r#"{"topic":"a","text":"x","tags":{"k":"v"}}"#,
                true,
                "x",
                r#"{"k":"v"}"#,
            ),
        ] {
            let found = read(line).unwrap();
            assert_eq!(
                found,
                ("a".into(), text, bytes.into(), tags.into()),
                "{line}"
            );
        }
    }

    #[test]
    fn a_line_may_name_an_event() {
        let line = decode(br#"{"topic":"a","event":"goal","data":1}"#).unwrap();
        assert_eq!(line.event.as_deref(), Some("goal"));
        assert_eq!(decode(br#"{"topic":"a","data":1}"#).unwrap().event, None);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        for (line, fault) in [
            ("", LineFault::Form),
            ("null", LineFault::Form),
            ("[]", LineFault::Form),
            (r#"{"topic":"a","data":1"#, LineFault::Form),
            (r#"{"topic":"a","data":1}{}"#, LineFault::Form),
            (r#"{"topic":1,"data":1}"#, LineFault::Form),
            (r#"{"topic":"a","text":1}"#, LineFault::Form),
            (
                r#"{"topic":"a","text":"x","tags":{"k":1}}"#,
                LineFault::Form,
            ),
            (r#"{"data":1}"#, LineFault::NoTopic),
            (r#"{"topic":"a"}"#, LineFault::NoMessage),
            (r#"{"topic":"a","data":1,"text":"x"}"#, LineFault::Twice),
            (r#"{"topic":"a","topic":"b","data":1}"#, LineFault::Twice),
            (r#"{"topic":"a","dta":1}"#, LineFault::Member),
            (r#"{"topic":"a","b64data":"?"}"#, LineFault::Base64),
            (r#"{"topic":"a","text":""}"#, LineFault::Empty),
            (r#"{"topic":"a","text":"x","event":""}"#, LineFault::Event),
            (
                r#"{"topic":"a","text":"x","event":"a\nb"}"#,
                LineFault::Event,
            ),
            (
                r#"{"topic":"a","text":"x","event":"a","event":"b"}"#,
                LineFault::Twice,
            ),
        ] {
            assert_eq!(read(line), Err(fault), "{line}");
        }
    }
}
