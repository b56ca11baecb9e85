//! The Pusher Channels protocol as its clients speak it: each message is one event in JSON.
//!
//! Servers differ in what they leave out, so that only what is needed is asked for. Called by
//! `dialect`.

use std::borrow::Cow;
use std::io::Write;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Ask, Publication, Word, unquote};

pub(super) const PONG: &[u8] = br#"{"event":"pusher:pong","data":{}}"#;

/// Appends the event that asks for a channel.
///
/// # Panics
/// For what clients do not ask for: they are connected unasked, and publish over HTTP.
pub(super) fn ask(ask: &Ask<'_>, out: &mut Vec<u8>) {
    let Ask::Subscribe { channel, .. } = ask else {
        unreachable!("its clients ask for channels alone");
    };
    let written = write!(
        out,
        "{{\"event\":\"pusher:subscribe\",\"data\":{{\"channel\":\"{channel}\"}}}}"
    );
    written.expect("memory takes everything");
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

pub(super) fn read<'a>(message: &'a [u8], each: &mut dyn FnMut(Word<'a>)) -> Result<(), String> {
    let event: Event<'a> = serde_json::from_slice(message).map_err(|error| error.to_string())?;
    each(word(event));
    Ok(())
}

fn word(event: Event<'_>) -> Word<'_> {
    let Event {
        event,
        channel,
        data,
    } = event;
    match (&*event, channel, data) {
        ("pusher:connection_established", ..) => Word::Connected,
        ("pusher:ping", ..) => Word::Ping,
        ("pusher_internal:subscription_succeeded", Some(channel), _) => Word::Entered { channel },
        ("pusher:error", _, data) => refused("message", "code", data),
        ("pusher:subscription_error", _, data) => refused("error", "status", data),
        (name, ..) if name.starts_with("pusher:") || name.starts_with("pusher_internal:") => {
            Word::Other
        }
        (_, Some(channel), Some(data)) => Word::Publication {
            channel,
            publication: Publication {
                payload: unquote(data.get().as_bytes()),
                offset: 0,
            },
        },
        _ => Word::Other,
    }
}

/// What an error tells, in an object or in a string that holds one; a code may be null.
fn refused(message: &str, code: &str, data: Option<&RawValue>) -> Word<'static> {
    let told = data.and_then(|data| serde_json::from_str(data.get()).ok());
    let told: Option<Value> = match told {
        Some(Value::String(inner)) => serde_json::from_str(&inner).ok(),
        told => told,
    };
    let told = told.unwrap_or_default();
    let text = told[message].as_str().unwrap_or("without a reason");
    Word::Refused {
        id: 0,
        code: told[code].as_u64().unwrap_or(0) as u32,
        message: text.to_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(messages: &[&'static str]) -> Vec<Word<'static>> {
        let mut words = Vec::new();
        for message in messages {
            read(message.as_bytes(), &mut |word| words.push(word)).unwrap();
        }
        words
    }

    #[test]
    fn events_are_read_as_different_servers_write_them() {
        let established = [
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}"#,
            r#"{"event":"pusher:connection_established","data":{"socket_id":"1.2"}}"#,
        ];
        assert_eq!(words(&established), [Word::Connected, Word::Connected]);
        let entered = || Word::Entered {
            channel: "a-1".into(),
        };
        let succeeded = [
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"a-1","data":"{}"}"#,
            r#"{"event":"pusher_internal:subscription_succeeded","data":{},"channel":"a-1"}"#,
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"a-1"}"#,
        ];
        assert_eq!(words(&succeeded), [entered(), entered(), entered()]);
        let heard = |channel: &'static str| Word::Publication {
            channel: channel.into(),
            publication: Publication {
                payload: b"Fxy",
                offset: 0,
            },
        };
        let published = [
            r#"{"event":"message","channel":"a-1","data":"Fxy"}"#,
            r#"{"channel":"a\/1","event":"App\\Events\\Sent","data":"Fxy","serial":7}"#,
        ];
        assert_eq!(words(&published), [heard("a-1"), heard("a/1")]);
        let others = [
            r#"{"event":"pusher_internal:subscription_count","channel":"a-1","data":"{}"}"#,
            r#"{"event":"pusher:cache_miss","channel":"a-1"}"#,
            r#"{"event":"message","data":"Fxy"}"#,
        ];
        assert!(words(&others).iter().all(|word| *word == Word::Other));
        assert_eq!(
            words(&[r#"{"event":"pusher:ping","data":{}}"#]),
            [Word::Ping]
        );
    }

    #[test]
    fn errors_are_told_with_their_code_wherever_it_stands() {
        let refused = |code, message: &'static str| Word::Refused {
            id: 0,
            code,
            message: message.into(),
        };
        let messages = [
            r#"{"event":"pusher:error","data":{"code":4001,"message":"no such app"}}"#,
            r#"{"event":"pusher:error","data":"{\"code\":4001,\"message\":\"no such app\"}"}"#,
            r#"{"event":"pusher:error","data":{"code":null,"message":"what?"}}"#,
            r#"{"event":"pusher:subscription_error","channel":"x","data":{"type":"AuthError","error":"no","status":401}}"#,
            r#"{"event":"pusher:error"}"#,
        ];
        let expected = [
            refused(4001, "no such app"),
            refused(4001, "no such app"),
            refused(0, "what?"),
            refused(401, "no"),
            refused(0, "without a reason"),
        ];
        assert_eq!(words(&messages), expected);
    }

    #[test]
    fn each_channel_is_asked_for_in_an_event_of_its_own() {
        let mut out = Vec::new();
        let subscribe = Ask::Subscribe {
            channel: "a-1",
            since: None,
        };
        ask(&subscribe, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"event":"pusher:subscribe","data":{"channel":"a-1"}}"#
        );
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for message in ["", "{}", "[]", "{\"event\":1}", "{\"event\":\"a\""] {
            assert!(read(message.as_bytes(), &mut |_| {}).is_err(), "{message}");
        }
    }
}
