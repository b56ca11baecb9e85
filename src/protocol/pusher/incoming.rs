//! What clients send: one event in each message.

use std::borrow::Cow;

use super::event::CLIENT_EVENT;
use crate::protocol::json::{BadRequest, Reader};

/// An event that a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    Ping,
    Pong,
    Subscribe(Subscribe),
    Unsubscribe {
        channel: String,
    },
    Signin {
        auth: String,
        user_data: String,
    },
    /// For the others in a channel.
    Client {
        event: Cow<'a, str>,
        channel: String,
        /// A string's content, or any other JSON as it is written.
        data: Cow<'a, [u8]>,
    },
    /// It means nothing here.
    Unknown(Cow<'a, str>),
}

/// What a client says to be let into a channel.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Subscribe {
    pub channel: String,
    /// Empty is none.
    pub auth: String,
    /// Who it is there, where members are known: JSON.
    pub channel_data: Option<String>,
}

/// Reads one message.
///
/// # Errors
/// It is no JSON object with the name of an event, or lacks what that event has.
pub fn read(message: &[u8]) -> Result<Incoming<'_>, BadRequest> {
    simdutf8::basic::from_utf8(message).map_err(|_| BadRequest)?;
    let mut reader = Reader::new(message);
    let (mut event, mut channel, mut data) = (None, String::new(), None);
    let read = reader.object(|name, value| match name {
        "event" => value.text().map(|name| event = Some(name)),
        "channel" => value.set(&mut channel),
        "data" => value.value().map(|json| data = Some(json)),
        _ => value.value().map(drop),
    });
    read?.ok_or(BadRequest)?;
    reader.end()?;
    let event = event.ok_or(BadRequest)?;
    Ok(match &*event {
        "pusher:ping" => Incoming::Ping,
        "pusher:pong" => Incoming::Pong,
        "pusher:subscribe" => Incoming::Subscribe(fields(data)?.subscribe),
        "pusher:unsubscribe" => Incoming::Unsubscribe {
            channel: fields(data)?.subscribe.channel,
        },
        "pusher:signin" => {
            let Fields {
                subscribe,
                user_data,
            } = fields(data)?;
            let auth = subscribe.auth;
            Incoming::Signin { auth, user_data }
        }
        name if name.starts_with(CLIENT_EVENT) => Incoming::Client {
            data: payload(data.unwrap_or(b"null"))?,
            event,
            channel,
        },
        _ => Incoming::Unknown(event),
    })
}

#[derive(Default)]
struct Fields {
    subscribe: Subscribe,
    user_data: String,
}

/// The data of an event of the protocol: an object, or a string with one.
fn fields(data: Option<&[u8]>) -> Result<Fields, BadRequest> {
    let data = payload(data.ok_or(BadRequest)?)?;
    let mut fields = Fields::default();
    let mut reader = Reader::new(&data);
    let read = reader.object(|name, value| match name {
        "channel" => value.set(&mut fields.subscribe.channel),
        "auth" => value.set(&mut fields.subscribe.auth),
        "channel_data" => {
            let mut text = String::new();
            value.set(&mut text)?;
            fields.subscribe.channel_data = Some(text).filter(|text| !text.is_empty());
            Ok(())
        }
        "user_data" => value.set(&mut fields.user_data),
        _ => value.value().map(drop),
    });
    read?.ok_or(BadRequest)?;
    reader.end()?;
    Ok(fields)
}

/// What stands in a string, or the JSON as it is.
fn payload(json: &[u8]) -> Result<Cow<'_, [u8]>, BadRequest> {
    if json.first() != Some(&b'"') {
        return Ok(Cow::Borrowed(json));
    }
    Ok(match Reader::new(json).text()? {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

/// Who somebody is, by `channel_data` or `user_data`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    /// What others are shown of it: JSON.
    pub info: Option<String>,
}

impl Member {
    /// Reads `channel_data`: its `user_id` may be a number.
    ///
    /// # Errors
    /// It is no JSON object, or has no `user_id`.
    pub fn of_channel(channel_data: &str) -> Result<Member, BadRequest> {
        Member::read(channel_data, "user_id")
    }

    /// Reads `user_data`.
    ///
    /// # Errors
    /// It is no JSON object, or has no `id`.
    pub fn of_user(user_data: &str) -> Result<Member, BadRequest> {
        Member::read(user_data, "id")
    }

    fn read(json: &str, id: &str) -> Result<Member, BadRequest> {
        let mut member = Member::default();
        let mut reader = Reader::new(json.as_bytes());
        let read = reader.object(|name, value| {
            if name == id {
                let written = value.value()?;
                let is_number = matches!(written.first(), Some(b'0'..=b'9' | b'-'));
                let text = match is_number {
                    true => Cow::Borrowed(written),
                    false => match written.first() {
                        Some(b'"') => payload(written)?,
                        _ => return Err(BadRequest),
                    },
                };
                member.id = String::from_utf8(text.into_owned()).map_err(|_| BadRequest)?;
            } else if name == "user_info" {
                let written = String::from_utf8(value.value()?.to_vec());
                member.info = Some(written.map_err(|_| BadRequest)?);
            } else {
                value.value()?;
            }
            Ok(())
        });
        read?.ok_or(BadRequest)?;
        reader.end()?;
        match member.id.is_empty() {
            true => Err(BadRequest),
            false => Ok(member),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_read_with_its_data_as_an_object_or_a_string_of_one() {
        assert_eq!(
            read(br#"{"event":"pusher:ping","data":{}}"#),
            Ok(Incoming::Ping)
        );
        assert_eq!(read(br#"{"event":"pusher:pong"}"#), Ok(Incoming::Pong));
        let wanted = Incoming::Subscribe(Subscribe {
            channel: "presence-a".into(),
            auth: "k:s".into(),
            channel_data: Some(r#"{"user_id":1}"#.into()),
        });
        for message in [
            r#"{"event":"pusher:subscribe","data":{"auth":"k:s","channel_data":"{\"user_id\":1}","channel":"presence-a","x":[1]}}"#,
            r#"{"event":"pusher:subscribe","data":"{\"auth\":\"k:s\",\"channel_data\":\"{\\\"user_id\\\":1}\",\"channel\":\"presence-a\"}"}"#,
        ] {
            assert_eq!(read(message.as_bytes()).as_ref(), Ok(&wanted), "{message}");
        }
        let unsubscribe = br#"{"event":"pusher:unsubscribe","data":{"channel":"a"}}"#;
        let channel = "a".to_owned();
        assert_eq!(read(unsubscribe), Ok(Incoming::Unsubscribe { channel }));
        let signin = br#"{"event":"pusher:signin","data":{"auth":"a","user_data":"u"}}"#;
        let (auth, user_data) = ("a".to_owned(), "u".to_owned());
        assert_eq!(read(signin), Ok(Incoming::Signin { auth, user_data }));
        assert_eq!(
            read(br#"{"event":"hello"}"#),
            Ok(Incoming::Unknown("hello".into()))
        );
    }

    #[test]
    fn what_a_client_event_carries_is_a_strings_content_or_json() {
        for (data, wanted) in [
            (r#"{"a": 1}"#, r#"{"a": 1}"#),
            (r#""hi \"you\"""#, r#"hi "you""#),
            ("12", "12"),
            ("null", "null"),
        ] {
            let message = format!(r#"{{"event":"client-x","channel":"private-a","data":{data}}}"#);
            let Ok(Incoming::Client { data, channel, .. }) = read(message.as_bytes()) else {
                panic!("{message}");
            };
            assert_eq!((&*data, &*channel), (wanted.as_bytes(), "private-a"));
        }
        let bare = read(br#"{"event":"client-x","channel":"c"}"#);
        assert!(matches!(bare, Ok(Incoming::Client { data, .. }) if *data == *b"null"));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for message in [
            &b""[..],
            b"hello",
            b"[]",
            b"null",
            b"{}",
            b"{\"event\":1}",
            b"{\"event\":\"pusher:subscribe\"}",
            b"{\"event\":\"pusher:subscribe\",\"data\":[]}",
            b"{\"event\":\"pusher:subscribe\",\"data\":{\"channel\":1}}",
            b"{\"event\":\"pusher:subscribe\",\"data\":\"x\"}",
            b"{\"event\":\"pusher:ping\"} {}",
            b"{\"event\":\"\xff\"}",
            b"{\"event\":\"client-x\",\"data\":\"\\ud800\"}",
        ] {
            assert_eq!(read(message), Err(BadRequest), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn a_member_has_an_id_that_is_text_or_a_number() {
        let member = |id: &str, info: Option<&str>| {
            let (id, info) = (id.to_owned(), info.map(str::to_owned));
            Ok(Member { id, info })
        };
        for (json, wanted) in [
            (r#"{"user_id":"a\"b"}"#, member("a\"b", None)),
            (
                r#"{"user_id":17,"user_info":{"n":1}}"#,
                member("17", Some(r#"{"n":1}"#)),
            ),
            (r#"{"user_id":""}"#, Err(BadRequest)),
            (r#"{"user_id":null}"#, Err(BadRequest)),
            (r#"{"user_id":["a"]}"#, Err(BadRequest)),
            (r#"{"id":"a"}"#, Err(BadRequest)),
            ("17", Err(BadRequest)),
            ("", Err(BadRequest)),
        ] {
            assert_eq!(Member::of_channel(json), wanted, "{json}");
        }
        assert_eq!(Member::of_user(r#"{"id":"u"}"#), member("u", None));
    }
}
