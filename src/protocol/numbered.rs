//! Messages with their offsets, for those who speak no protocol but want to know where
//! they are. Payloads look as they do in Centrifugo's JSON, but for bytes, which are told
//! from text by their name.

use crate::protocol::encoding::Message;
use crate::protocol::json::{Payload, Sink, Slice, Written, put_string, string_bound};

/// The names, the braces, and the longest offset.
const ENVELOPE_BYTES_MAX: usize = 48;
/// Before the name of an event.
const EVENT: &[u8] = b"\"event\":";
/// A text that is a JSON string stands there as it is, as if it were a text without the quotes.
const IS_JSON: &[u8] = b"\"json\":true,";
/// What the name of a topic stands behind.
const TOPIC: &[u8] = b"{\"topic\":";

/// [`write_numbered`] writes at most so many bytes.
pub fn numbered_bound(message: &Message<'_>) -> usize {
    let event = event(message).map_or(0, |name| EVENT.len() + string_bound(name.as_bytes()) + 1);
    ENVELOPE_BYTES_MAX + event + IS_JSON.len() + Payload::bound(message.text, message.payload)
}

/// Writes `{"offset":…,"data":…}` to the start of `out`, with `b64data` where the payload is
/// binary, and `event` before it where the message has such a name.
pub fn write_numbered(message: &Message<'_>, out: &mut [u8]) -> Written {
    let mut sink = Slice::new(out);
    sink.put(b"{");
    put_members(message, event(message), &mut sink);
    sink.written()
}

/// [`write_topical`] writes at most so many bytes.
pub fn topical_bound(message: &Message<'_>) -> usize {
    TOPIC.len() + string_bound(message.topic.as_bytes()) + 1 + numbered_bound(message)
}

/// Writes the same with the topic before the offset, for who reads many, and returns how long
/// that is.
pub fn write_topical(message: &Message<'_>, out: &mut [u8]) -> usize {
    let mut sink = Slice::new(out);
    sink.put(TOPIC);
    put_string(&mut sink, message.topic.as_bytes());
    sink.put(b",");
    // The name of its event stands outside.
    put_members(message, None, &mut sink);
    sink.written().len
}

fn event<'a>(message: &Message<'a>) -> Option<&'a str> {
    message.extras?.event.filter(|name| !name.is_empty())
}

/// Offset, event and payload, and the brace behind them.
fn put_members(message: &Message<'_>, event: Option<&str>, sink: &mut Slice<'_>) {
    let payload = Payload::new(message.text, message.payload);
    let name = match payload {
        Payload::Json(_) | Payload::Text(_) => "data",
        Payload::Bytes(_) => "b64data",
    };
    sink.put(format!("\"offset\":{},", message.offset).as_bytes());
    if let Some(event) = event {
        sink.put(EVENT);
        put_string(sink, event.as_bytes());
        sink.put(b",");
    }
    if let Payload::Json(text) = payload
        && text.trim_ascii_start().starts_with(b"\"")
    {
        sink.put(IS_JSON);
    }
    sink.put(format!("\"{name}\":").as_bytes());
    sink.mark();
    payload.put_json(sink);
    sink.mark();
    sink.put(b"}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::encoding::Extras;

    fn written(text: bool, payload: &[u8], offset: u64) -> String {
        written_with(None, text, payload, offset)
    }

    fn written_with(extras: Option<Extras<'_>>, text: bool, payload: &[u8], offset: u64) -> String {
        let message = Message {
            topic: "t",
            epoch: 1,
            offset,
            time_ms: 1,
            text,
            payload,
            extras,
        };
        let mut out = vec![0; numbered_bound(&message)];
        let len = write_numbered(&message, &mut out).len;
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn json_stands_as_it_is_other_text_as_a_string_and_bytes_in_base64() {
        for (text, payload, wanted) in [
            (true, &b"{\"a\":\n1}"[..], r#"{"offset":7,"data":{"a":1}}"#),
            (true, b"12", r#"{"offset":7,"data":12}"#),
            (true, b"Kick-off!", r#"{"offset":7,"data":"Kick-off!"}"#),
            (true, b"\"x\"", r#"{"offset":7,"json":true,"data":"x"}"#),
            (true, b"say \"x\"", r#"{"offset":7,"data":"say \"x\""}"#),
            (true, b"", r#"{"offset":7,"data":""}"#),
            (false, b"\x00\xff", r#"{"offset":7,"b64data":"AP8="}"#),
            (false, b"", r#"{"offset":7,"b64data":""}"#),
        ] {
            assert_eq!(written(text, payload, 7), wanted);
        }
    }

    #[test]
    fn the_name_of_an_event_stands_before_the_payload() {
        let named = |event| Extras {
            event: Some(event),
            ..Extras::default()
        };
        let text = written_with(Some(named("go\"al")), true, b"{}", 7);
        assert_eq!(text, r#"{"offset":7,"event":"go\"al","data":{}}"#);
        assert_eq!(
            written_with(Some(named("")), true, b"1", 7),
            r#"{"offset":7,"data":1}"#
        );
        let control = "\u{1f}".repeat(300);
        assert!(written_with(Some(named(&control)), true, b"\"\"", u64::MAX).ends_with('}'));
    }

    #[test]
    fn the_longest_ones_are_within_their_bound() {
        for payload in [&[0x1f; 300][..], b"", b"\"\"\""] {
            for text in [true, false] {
                assert!(written(text, payload, u64::MAX).ends_with('}'));
            }
        }
    }
}
