//! Events that all subscribers of a channel share: what is published there, and who comes and
//! goes.

use super::channel::{Access, ChannelKind, channel_of};
use super::is_own_event;
use crate::protocol::encoding::Message;
use crate::protocol::json::{Payload, Sink, Slice, Written, put_string, string_bound};
use crate::protocol::member::{Membership, decode_info, read_membership};

/// What a message is called that has no name.
pub const UNNAMED: &str = "message";

/// What names of events begin with that clients send.
pub const CLIENT_EVENT: &str = "client-";

/// The names, brackets and quotes of an event.
const ENVELOPE_BYTES_MAX: usize = 96;

/// Bytes for a byte of a member's information, which is JSON inside of JSON inside of a string:
/// a control character takes six there, a backslash before it one more.
const INFO_GROWTH: usize = 14;

/// [`write_event`] writes at most so many bytes.
pub fn event_bound(message: &Message<'_>) -> usize {
    let extras = message.extras.unwrap_or_default();
    let name = extras.event.unwrap_or(UNNAMED);
    ENVELOPE_BYTES_MAX
        + UNNAMED.len()
        + string_bound(name.as_bytes())
        + string_bound(message.topic.as_bytes())
        + Payload::bound(message.text, message.payload)
        + INFO_GROWTH * extras.info.len()
}

/// Writes a message to the start of `out`, which has as many bytes as [`event_bound`] said.
pub fn write_event(message: &Message<'_>, out: &mut [u8]) -> Written {
    let mut sink = Slice::new(out);
    let extras = message.extras.unwrap_or_default();
    // What the server says itself is not for others to say.
    let name = extras.event.filter(|name| !is_own_event(name));
    let name = name.unwrap_or(UNNAMED);
    let channel = channel_of(message.topic);
    sink.put(b"{\"event\":");
    put_string(&mut sink, name.as_bytes());
    sink.put(b",\"channel\":");
    put_string(&mut sink, channel.as_bytes());
    sink.put(b",\"data\":");
    sink.mark();
    put_data(&mut sink, message.text, message.payload);
    sink.mark();
    if name.starts_with(CLIENT_EVENT)
        && ChannelKind::of(channel).access == Access::Presence
        && let Some(info) = decode_info(extras.info)
        && !info.user.is_empty()
    {
        sink.put(b",\"user_id\":");
        put_string(&mut sink, info.user.as_bytes());
    }
    sink.put(b"}");
    sink.written()
}

/// A payload as clients get it: a string, of base64 where it is no text.
pub fn data(text: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(Payload::bound(text, payload));
    put_data(&mut out, text, payload);
    out
}

fn put_data(sink: &mut dyn Sink, text: bool, payload: &[u8]) {
    match text {
        true => put_string(sink, payload),
        false => Payload::Bytes(payload).put_json(sink),
    }
}

/// [`write_member`] writes at most so many bytes.
pub fn member_bound(message: &Message<'_>) -> usize {
    ENVELOPE_BYTES_MAX
        + string_bound(message.topic.as_bytes())
        + INFO_GROWTH * message.payload.len()
}

/// Writes that a user has come to a channel, or gone, to the start of `out`, which has as many
/// bytes as [`member_bound`] said, and returns how many were written: none where it is only one
/// of several connections of the user.
pub fn write_member(message: &Message<'_>, out: &mut [u8]) -> usize {
    let read = read_membership(message.payload);
    let (what, info) = &read.expect("a companion has nothing else");
    if info.user.is_empty() {
        return 0;
    }
    let mut data = b"{\"user_id\":".to_vec();
    put_string(&mut data, info.user.as_bytes());
    let event = match what {
        Membership::Joined | Membership::Left => return 0,
        Membership::FirstJoined => {
            data.extend_from_slice(b",\"user_info\":");
            put_info(&mut data, &info.chan_info, &info.conn_info);
            "member_added"
        }
        Membership::LastLeft => "member_removed",
    };
    data.push(b'}');
    let mut sink = Slice::new(out);
    sink.put(b"{\"event\":\"pusher_internal:");
    sink.put(event.as_bytes());
    sink.put(b"\",\"channel\":");
    put_string(&mut sink, channel_of(message.topic).as_bytes());
    sink.put(b",\"data\":");
    put_string(&mut sink, &data);
    sink.put(b"}");
    sink.written().len
}

/// What others are shown of a member: what is said of it in the channel, else anywhere.
pub(super) fn put_info(out: &mut Vec<u8>, in_channel: &[u8], anywhere: &[u8]) {
    match Payload::guess(in_channel).or_else(|| Payload::guess(anywhere)) {
        Some(info) => info.put_json(out),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::encoding::Extras;
    use crate::protocol::member::{ClientInfo, encode_info, membership};

    fn message<'a>(topic: &'a str, text: bool, payload: &'a [u8]) -> Message<'a> {
        Message {
            topic,
            epoch: 1,
            offset: 1,
            time_ms: 1,
            text,
            payload,
            extras: None,
        }
    }

    fn written(message: &Message<'_>) -> String {
        let mut out = vec![0; event_bound(message)];
        let Written { len, data: at } = write_event(message, &mut out);
        assert_eq!(out[at], data(message.text, message.payload));
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    fn ann() -> ClientInfo {
        ClientInfo {
            user: "a\"nn".into(),
            client: "1.2".into(),
            conn_info: b"1".to_vec(),
            chan_info: b"{\"name\":\"Ann\\u0001\"}".to_vec(),
        }
    }

    #[test]
    fn data_is_a_string_whatever_was_published() {
        for (text, payload, data) in [
            (true, &b"{\"a\": 1}"[..], r#"{\"a\": 1}"#),
            (true, b"Kick-off!", "Kick-off!"),
            (true, b"\"x\"\n", r#"\"x\"\n"#),
            (true, b"", ""),
            (false, b"\x00\xff", "AP8="),
            (false, b"", ""),
        ] {
            let told = format!(r#"{{"event":"message","channel":"news","data":"{data}"}}"#);
            assert_eq!(written(&message("news", text, payload)), told);
        }
    }

    #[test]
    fn a_name_is_told_unless_it_would_be_one_of_the_servers_own() {
        let named = |name| {
            let extras = Some(Extras {
                event: Some(name),
                ..Extras::default()
            });
            written(&Message {
                extras,
                ..message("game/1/public", true, b"1")
            })
        };
        let goal = r#"{"event":"goal \"2\"","channel":"public","data":"1"}"#;
        assert_eq!(named("goal \"2\""), goal);
        for own in [
            "pusher:error",
            "pusher_internal:member_added",
            "fanfare:gap",
        ] {
            assert!(named(own).starts_with(r#"{"event":"message","#));
        }
    }

    #[test]
    fn who_has_sent_a_client_event_is_told_where_members_are_known() {
        let info = encode_info(&ann());
        let sent = |topic, event| {
            let extras = Some(Extras {
                event: Some(event),
                info: &info,
                ..Extras::default()
            });
            written(&Message {
                extras,
                ..message(topic, true, b"1")
            })
        };
        assert!(sent("presence-a", "client-x").ends_with(r#","user_id":"a\"nn"}"#));
        for (topic, event) in [("private-a", "client-x"), ("presence-a", "x")] {
            assert!(sent(topic, event).ends_with(r#""data":"1"}"#));
        }
    }

    #[test]
    fn only_a_users_first_and_last_connection_are_told() {
        let told = |what, info: &ClientInfo| {
            let payload = membership(what, info);
            let message = message("presence-a", false, &payload);
            let mut out = vec![0; member_bound(&message)];
            let len = write_member(&message, &mut out);
            String::from_utf8(out[..len].to_vec()).unwrap()
        };
        let added = r#"{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"a\\\"nn\",\"user_info\":{\"name\":\"Ann\\u0001\"}}"}"#;
        assert_eq!(told(Membership::FirstJoined, &ann()), added);
        let removed = r#"{"event":"pusher_internal:member_removed","channel":"presence-a","data":"{\"user_id\":\"a\\\"nn\"}"}"#;
        assert_eq!(told(Membership::LastLeft, &ann()), removed);
        assert_eq!(told(Membership::Joined, &ann()), "");
        assert_eq!(told(Membership::Left, &ann()), "");
        assert_eq!(told(Membership::FirstJoined, &ClientInfo::default()), "");
        let hostile = ClientInfo {
            user: "\u{1}\\\"".repeat(50),
            chan_info: vec![1; 100],
            ..ClientInfo::default()
        };
        assert!(told(Membership::FirstJoined, &hostile).ends_with("}\"}"));
    }
}
