//! What the servers of an app are told, word by word.

use serde::Serialize;

use crate::hub::Happening;
use crate::keeper::client::Letter;
use crate::protocol::pusher::{App, HookEvent, channel_of};

/// One event of a body. What the event does not have is left out.
#[derive(Serialize)]
struct Event<'a> {
    name: &'static str,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

/// Tells the servers of `app` of some events. By the headers they know whom it is from.
pub(super) fn letter(app: &App, time_ms: u64, events: &[&str]) -> Letter {
    let body = format!(
        "{{\"time_ms\":{time_ms},\"events\":[{}]}}",
        events.join(",")
    );
    let signature = app.secrets.sign(body.as_bytes());
    Letter {
        media_type: "application/json",
        headers: vec![
            ("X-Pusher-Key".into(), (&*app.key).into()),
            ("X-Pusher-Signature".into(), signature.into()),
        ],
        body: body.into(),
    }
}

/// Something has become of a topic as a whole.
pub(super) fn of_channel(what: HookEvent, topic: &str) -> String {
    write(&Event::new(what, topic))
}

/// Something has become of a user in a topic.
pub(super) fn of_member(what: HookEvent, topic: &str, user: &str) -> String {
    write(&Event {
        user_id: Some(user),
        ..Event::new(what, topic)
    })
}

/// Something else has happened, which is told as it is.
pub(super) fn of_happening(happening: &Happening) -> (HookEvent, String) {
    let what = happening.what();
    let text = match happening {
        Happening::CacheMiss { topic } => of_channel(what, topic),
        Happening::Member { topic, user, .. } => of_member(what, topic, user),
        Happening::ClientEvent {
            topic,
            event,
            data,
            socket_id,
            user,
        } => write(&Event {
            event: Some(event),
            data: Some(&String::from_utf8_lossy(data)),
            socket_id: socket_id.map(|id| id.to_string()),
            user_id: user.as_deref(),
            ..Event::new(what, topic)
        }),
    };
    (what, text)
}

impl<'a> Event<'a> {
    fn new(what: HookEvent, topic: &'a str) -> Event<'a> {
        Event {
            name: what.name(),
            channel: channel_of(topic),
            event: None,
            data: None,
            socket_id: None,
            user_id: None,
        }
    }
}

fn write(event: &Event<'_>) -> String {
    serde_json::to_string(event).expect("text is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::pusher::SocketId;

    #[test]
    fn each_event_is_told_as_the_protocol_has_it() {
        let occupied = of_channel(HookEvent::ChannelOccupied, "shop/news");
        assert_eq!(occupied, r#"{"name":"channel_occupied","channel":"news"}"#);
        let vacated = of_channel(HookEvent::ChannelVacated, "#server-to-user-a/b");
        let user = r##"{"name":"channel_vacated","channel":"#server-to-user-a/b"}"##;
        assert_eq!(vacated, user);
        for (has_come, what, name) in [
            (true, HookEvent::MemberAdded, "member_added"),
            (false, HookEvent::MemberRemoved, "member_removed"),
        ] {
            let told = of_happening(&Happening::Member {
                topic: "presence-a".into(),
                user: "a\"nn".into(),
                has_come,
            });
            let text = format!(r#"{{"name":"{name}","channel":"presence-a","user_id":"a\"nn"}}"#);
            assert_eq!(told, (what, text));
        }
        let miss = of_happening(&Happening::CacheMiss {
            topic: "cache-a".into(),
        });
        let text = r#"{"name":"cache_miss","channel":"cache-a"}"#.to_owned();
        assert_eq!(miss, (HookEvent::CacheMiss, text));
    }

    #[test]
    fn a_client_event_is_told_with_who_sent_it() {
        let event = |user: Option<&str>| Happening::ClientEvent {
            topic: "private-a".into(),
            event: "client-e".into(),
            data: b"{\"a\":1}".as_slice().into(),
            socket_id: Some(SocketId {
                node: 1,
                connection: 2,
            }),
            user: user.map(Into::into),
        };
        let begin = r#"{"name":"client_event","channel":"private-a","event":"client-e","data":"{\"a\":1}","socket_id":"1.2""#;
        let (what, nobody) = of_happening(&event(None));
        assert_eq!(what, HookEvent::ClientEvent);
        assert_eq!(nobody, format!("{begin}}}"));
        let (_, ann) = of_happening(&event(Some("ann")));
        assert_eq!(ann, format!("{begin},\"user_id\":\"ann\"}}"));
    }
}
