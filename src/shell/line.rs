//! What is to be published: a line as it is, or one of JSON, made a line of a batch of the server
//! API.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A line of a batch.
#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<Cow<'a, str>>,
}

/// A line of JSON. Other members, as `fanfare subscribe --json` writes them, say nothing here.
#[derive(Deserialize)]
struct Given<'a> {
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "some")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    b64data: Option<Cow<'a, str>>,
}

/// `null` is data too.
fn some<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Makes a line of a batch of a message as it is: text where it is UTF-8, else bytes.
pub(super) fn of_plain(topic: &str, message: &[u8]) -> Vec<u8> {
    let text = str::from_utf8(message).ok();
    written(&Line {
        topic,
        event: None,
        tags: None,
        data: None,
        text: text.map(Cow::Borrowed),
        b64data: text.is_none().then(|| BASE64.encode(message).into()),
    })
}

/// Makes one of a line of JSON.
///
/// # Errors
/// A sentence.
pub(super) fn of_json(topic: &str, line: &[u8]) -> Result<Vec<u8>, String> {
    let given: Given<'_> =
        serde_json::from_slice(line).map_err(|error| format!("this is no such JSON: {error}"))?;
    let Given {
        event,
        tags,
        data,
        text,
        b64data,
    } = given;
    let count = [data.is_some(), text.is_some(), b64data.is_some()];
    if count.into_iter().filter(|is_there| *is_there).count() != 1 {
        return Err("a message is one of data, text and b64data".into());
    }
    Ok(written(&Line {
        topic,
        event,
        tags,
        data,
        text,
        b64data,
    }))
}

fn written(line: &Line<'_>) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).expect("it is made of what JSON has");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_plain_line_is_text_or_bytes() {
        assert_eq!(
            text(of_plain("a", b"x \"y\"")),
            "{\"topic\":\"a\",\"text\":\"x \\\"y\\\"\"}\n"
        );
        assert_eq!(
            text(of_plain("a", b"{\"b\":1}")),
            "{\"topic\":\"a\",\"text\":\"{\\\"b\\\":1}\"}\n"
        );
        assert_eq!(
            text(of_plain("a", b"\xff\0")),
            "{\"topic\":\"a\",\"b64data\":\"/wA=\"}\n"
        );
    }

    #[test]
    fn a_line_of_json_says_what_it_is() {
        for (given, line) in [
            (
                r#"{"data":{"b":1e400}}"#,
                r#"{"topic":"a","data":{"b":1e400}}"#,
            ),
            (r#"{"data":null}"#, r#"{"topic":"a","data":null}"#),
            (
                r#"{"topic":"z","epoch":"0a","offset":7,"event":"goal","text":"x"}"#,
                r#"{"topic":"a","event":"goal","text":"x"}"#,
            ),
            (
                r#"{"b64data":"AA==","tags":{"k":"v"}}"#,
                r#"{"topic":"a","tags":{"k":"v"},"b64data":"AA=="}"#,
            ),
        ] {
            assert_eq!(
                text(of_json("a", given.as_bytes()).unwrap()),
                format!("{line}\n")
            );
        }
    }

    #[test]
    fn a_line_that_is_no_message_is_told_so() {
        for bad in [
            "",
            "x",
            "[]",
            "{}",
            r#"{"text":1}"#,
            r#"{"text":"a","data":1}"#,
            "\u{ff}",
        ] {
            assert!(of_json("a", bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
