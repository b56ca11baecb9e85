//! What a subscriber hears, as the server writes it with `?hello=true&offsets=true`, and the lines
//! that are made of it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One text of the server.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    Hello(Hello),
    Gap(Gap),
    Message(Message<'a>),
}

/// Where a subscription begins.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Hello {
    pub(super) epoch: String,
    /// The offset of the first message to come.
    pub(super) next: u64,
    /// What became of the place that was asked for, if one was.
    pub(super) resume: Option<String>,
}

/// Messages that will not come.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Gap {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) missed: Option<u64>,
}

/// What was published.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) offset: u64,
    pub(super) event: Option<Cow<'a, str>>,
    pub(super) payload: Payload<'a>,
}

#[derive(Debug)]
pub(super) enum Payload<'a> {
    /// Text that is JSON.
    Json(&'a str),
    Text(Cow<'a, str>),
    /// Bytes in base64.
    Bytes(Cow<'a, str>),
}

#[derive(Deserialize)]
struct Frame<'a> {
    hello: Option<Hello>,
    gap: Option<Gap>,
    offset: Option<u64>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    /// The text is itself a JSON string, and stands there as it is.
    #[serde(default)]
    json: bool,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    b64data: Option<Cow<'a, str>>,
}

/// Reads a text. `None` if it is none of the server's.
pub(super) fn read(text: &str) -> Option<Heard<'_>> {
    let frame: Frame<'_> = serde_json::from_str(text).ok()?;
    match frame {
        Frame {
            hello: Some(hello), ..
        } => Some(Heard::Hello(hello)),
        Frame { gap: Some(gap), .. } => Some(Heard::Gap(gap)),
        Frame {
            offset: Some(offset),
            event,
            json,
            data,
            b64data,
            ..
        } => {
            let payload = match (data.map(RawValue::get), b64data) {
                (Some(data), None) if data.starts_with('"') && !json => {
                    Payload::Text(serde_json::from_str(data).ok()?)
                }
                (Some(data), None) => Payload::Json(data),
                (None, Some(bytes)) => Payload::Bytes(bytes),
                _ => return None,
            };
            Some(Heard::Message(Message {
                offset,
                event,
                payload,
            }))
        }
        _ => None,
    }
}

/// A message as a line of JSON; the line can be published again as it is.
#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    epoch: &'a str,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<&'a str>,
}

impl Message<'_> {
    /// The message as it was published, and a line feed.
    pub(super) fn plain_line(&self) -> Vec<u8> {
        let mut line = match &self.payload {
            Payload::Json(text) => text.as_bytes().to_vec(),
            Payload::Text(text) => text.as_bytes().to_vec(),
            // The server writes nothing else.
            Payload::Bytes(bytes) => BASE64.decode(&**bytes).unwrap_or_default(),
        };
        line.push(b'\n');
        line
    }

    /// The message with all that is known of it.
    pub(super) fn json_line(&self, topic: &str, epoch: &str) -> Vec<u8> {
        let data = match &self.payload {
            Payload::Json(text) => RawValue::from_string((*text).to_owned()).ok(),
            _ => None,
        };
        let line = Line {
            topic,
            epoch,
            offset: self.offset,
            event: self.event.as_deref(),
            data: data.as_deref(),
            text: match &self.payload {
                Payload::Text(text) => Some(text),
                _ => None,
            },
            b64data: match &self.payload {
                Payload::Bytes(bytes) => Some(bytes),
                _ => None,
            },
        };
        let mut line = serde_json::to_vec(&line).expect("it is made of what JSON has");
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (String, String) {
        let Some(Heard::Message(message)) = read(text) else {
            panic!("{text} is a message");
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (
            text(message.plain_line()),
            text(message.json_line("t", "0a")),
        )
    }

    #[test]
    fn a_message_is_a_line_as_it_was_published_or_one_of_json() {
        for (text, plain, json) in [
            (
                r#"{"offset":7,"data":{"a": 1}}"#,
                "{\"a\": 1}\n",
                r#""offset":7,"data":{"a": 1}}"#,
            ),
            (
                r#"{"offset":8,"data":"Kick\"off"}"#,
                "Kick\"off\n",
                r#""offset":8,"text":"Kick\"off"}"#,
            ),
            (
                r#"{"offset":9,"json":true,"data":"x"}"#,
                "\"x\"\n",
                r#""offset":9,"data":"x"}"#,
            ),
            (
                r#"{"offset":10,"event":"goal","b64data":"aGk="}"#,
                "hi\n",
                r#""offset":10,"event":"goal","b64data":"aGk="}"#,
            ),
        ] {
            let (as_it_was, in_json) = lines(text);
            assert_eq!(as_it_was, plain);
            assert_eq!(
                in_json,
                format!("{{\"topic\":\"t\",\"epoch\":\"0a\",{json}\n")
            );
        }
    }

    #[test]
    fn hello_and_gaps_are_the_servers() {
        let hello = r#"{"hello":{"topic":"t","epoch":"0a","next":8,"newest":7,"resume":"exact"}}"#;
        let Some(Heard::Hello(hello)) = read(hello) else {
            panic!("it is a hello");
        };
        assert_eq!((hello.next, hello.resume.as_deref()), (8, Some("exact")));
        let gap = r#"{"gap":{"epoch":"0a","from":3,"to":9}}"#;
        let Some(Heard::Gap(gap)) = read(gap) else {
            panic!("it is a gap");
        };
        assert_eq!((gap.from, gap.to, gap.missed), (3, 9, None));
    }

    #[test]
    fn anything_else_is_none_of_a_fanfare() {
        for text in [
            "",
            "hi",
            "[]",
            "{}",
            r#"{"offset":1}"#,
            r#"{"offset":1,"data":1,"b64data":""}"#,
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
