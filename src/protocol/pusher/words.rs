//! What the server says to one client: whole messages of the protocol.

use std::collections::HashSet;

use super::event::put_info;
use super::socket_id::SocketId;
use crate::protocol::json::put_string;
use crate::protocol::member::ClientInfo;

/// The first words.
pub fn connection_established(socket_id: SocketId, activity_timeout_s: u64) -> Vec<u8> {
    let data =
        format!("{{\"socket_id\":\"{socket_id}\",\"activity_timeout\":{activity_timeout_s}}}");
    event("pusher:connection_established", None, &data)
}

pub fn ping() -> &'static [u8] {
    b"{\"event\":\"pusher:ping\",\"data\":{}}"
}

pub fn pong() -> &'static [u8] {
    b"{\"event\":\"pusher:pong\",\"data\":{}}"
}

pub fn subscription_succeeded(channel: &str) -> Vec<u8> {
    event(
        "pusher_internal:subscription_succeeded",
        Some(channel),
        "{}",
    )
}

/// The same of a channel whose members are told.
pub fn subscribed_with<'a>(
    channel: &str,
    members: impl Iterator<Item = &'a ClientInfo>,
) -> Vec<u8> {
    let (mut ids, mut hash) = (Vec::new(), Vec::new());
    let mut known = HashSet::new();
    for info in members {
        // Others do not know who has no name, and of several connections of a user one counts.
        if info.user.is_empty() || !known.insert(&*info.user) {
            continue;
        }
        for list in [&mut ids, &mut hash] {
            if known.len() > 1 {
                list.push(b',');
            }
            put_string(list, info.user.as_bytes());
        }
        hash.push(b':');
        put_info(&mut hash, &info.chan_info, &info.conn_info);
    }
    let mut data = format!("{{\"presence\":{{\"count\":{},\"ids\":[", known.len()).into_bytes();
    data.append(&mut ids);
    data.extend_from_slice(b"],\"hash\":{");
    data.append(&mut hash);
    data.extend_from_slice(b"}}}");
    let mut message = begin("pusher_internal:subscription_succeeded", Some(channel));
    put_string(&mut message, &data);
    message.push(b'}');
    message
}

/// A subscription is refused, or has ended: with the status that HTTP has for that.
pub fn subscription_error(channel: &str, kind: &str, error: &str, status: u16) -> Vec<u8> {
    let mut message = begin("pusher:subscription_error", Some(channel));
    message.extend_from_slice(b"{\"type\":");
    put_string(&mut message, kind.as_bytes());
    message.extend_from_slice(b",\"error\":");
    put_string(&mut message, error.as_bytes());
    message.extend_from_slice(format!(",\"status\":{status}}}}}").as_bytes());
    message
}

/// Something is wrong with what a client has sent, or with it; most of the protocol's codes are
/// those of the close that follows.
pub fn error(code: Option<u16>, text: &str) -> Vec<u8> {
    let mut message = begin("pusher:error", None);
    let code = code.map_or("null".to_owned(), |code| code.to_string());
    message.extend_from_slice(format!("{{\"code\":{code},\"message\":").as_bytes());
    put_string(&mut message, text.as_bytes());
    message.extend_from_slice(b"}}");
    message
}

pub fn signin_success(user_data: &str) -> Vec<u8> {
    let mut data = b"{\"user_data\":".to_vec();
    put_string(&mut data, user_data.as_bytes());
    data.push(b'}');
    let mut message = begin("pusher:signin_success", None);
    put_string(&mut message, &data);
    message.push(b'}');
    message
}

pub fn cache_miss(channel: &str) -> Vec<u8> {
    event("pusher:cache_miss", Some(channel), "{}")
}

/// Messages are missing, of which only the latest counts.
pub fn gap(channel: &str, from: u64, to: u64, missed: Option<u64>) -> Vec<u8> {
    let missed = missed.map_or(String::new(), |missed| format!(",\"missed\":{missed}"));
    let data = format!("{{\"from\":{from},\"to\":{to}{missed}}}");
    event("fanfare:gap", Some(channel), &data)
}

fn event(name: &str, channel: Option<&str>, data: &str) -> Vec<u8> {
    let mut message = begin(name, channel);
    put_string(&mut message, data.as_bytes());
    message.push(b'}');
    message
}

/// Up to where the data begins.
fn begin(name: &str, channel: Option<&str>) -> Vec<u8> {
    let mut message = format!("{{\"event\":\"{name}\"").into_bytes();
    if let Some(channel) = channel {
        message.extend_from_slice(b",\"channel\":");
        put_string(&mut message, channel.as_bytes());
    }
    message.extend_from_slice(b",\"data\":");
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &[u8]) -> String {
        serde_json::from_slice::<serde_json::Value>(message).expect("it is JSON");
        String::from_utf8(message.to_vec()).unwrap()
    }

    #[test]
    fn each_message_is_as_the_protocol_has_it() {
        let id = SocketId {
            node: 12,
            connection: 34,
        };
        for (message, told) in [
            (
                connection_established(id, 120),
                r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"12.34\",\"activity_timeout\":120}"}"#,
            ),
            (ping().to_vec(), r#"{"event":"pusher:ping","data":{}}"#),
            (pong().to_vec(), r#"{"event":"pusher:pong","data":{}}"#),
            (
                subscription_succeeded("a"),
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"a","data":"{}"}"#,
            ),
            (
                subscription_error("a\"", "AuthError", "no", 401),
                r#"{"event":"pusher:subscription_error","channel":"a\"","data":{"type":"AuthError","error":"no","status":401}}"#,
            ),
            (
                error(Some(4301), "slow \"down\""),
                r#"{"event":"pusher:error","data":{"code":4301,"message":"slow \"down\""}}"#,
            ),
            (
                error(None, "x"),
                r#"{"event":"pusher:error","data":{"code":null,"message":"x"}}"#,
            ),
            (
                signin_success("{\"id\":\"1\"}"),
                r#"{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"1\\\"}\"}"}"#,
            ),
            (
                cache_miss("cache-a"),
                r#"{"event":"pusher:cache_miss","channel":"cache-a","data":"{}"}"#,
            ),
            (
                gap("a", 3, 9, Some(7)),
                r#"{"event":"fanfare:gap","channel":"a","data":"{\"from\":3,\"to\":9,\"missed\":7}"}"#,
            ),
        ] {
            assert_eq!(text(&message), told);
        }
    }

    #[test]
    fn members_are_told_once_for_each_user() {
        let member = |user: &str, info: &str| ClientInfo {
            user: user.into(),
            chan_info: info.into(),
            ..ClientInfo::default()
        };
        let members = [
            member("a", "{\"n\":1}"),
            member("b", ""),
            member("a", "2"),
            member("", "3"),
        ];
        let told = text(&subscribed_with("presence-x", members.iter()));
        let wanted = r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-x","data":"{\"presence\":{\"count\":2,\"ids\":[\"a\",\"b\"],\"hash\":{\"a\":{\"n\":1},\"b\":null}}}"}"#;
        assert_eq!(told, wanted);
        let nobody = text(&subscribed_with("presence-x", [].iter()));
        assert!(nobody.contains(r#"\"count\":0,\"ids\":[],\"hash\":{}"#));
    }
}
