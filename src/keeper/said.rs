//! A message as the link to NATS has it, and as the log does.

use bytes::Bytes;

use super::nats::{Kind, Message, Origin};
use crate::hub;
use crate::protocol::encoding::Extras;

/// The message that the link is given.
pub(super) fn message(
    text: bool,
    payload: Bytes,
    extras: &Extras<'_>,
    origin: Option<hub::Origin>,
) -> Message {
    let tags = match extras.tags {
        "" => Vec::new(),
        tags => {
            let tags: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(tags).unwrap_or_default();
            let pairs = tags.into_iter();
            pairs
                .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
                .collect()
        }
    };
    Message {
        kind: match text {
            true => Kind::Text,
            false => Kind::Binary,
        },
        payload,
        event: extras.event.map(str::to_owned),
        info: (!extras.info.is_empty()).then(|| Bytes::copy_from_slice(extras.info)),
        tags,
        origin: origin.map(|hub::Origin { node, connection }| Origin { node, connection }),
    }
}

/// The connection that it came from, as the hub has it.
pub(super) fn origin(message: &Message) -> Option<hub::Origin> {
    let Origin { node, connection } = message.origin?;
    Some(hub::Origin { node, connection })
}

/// A message's tags as the log has them.
pub(super) fn tags(message: &Message) -> String {
    if message.tags.is_empty() {
        return String::new();
    }
    let pairs = message.tags.iter();
    let tags: serde_json::Map<String, serde_json::Value> = pairs
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    serde_json::Value::Object(tags).to_string()
}

/// What only few messages have, with the tags that [`tags`] has made.
pub(super) fn extras<'a>(message: &'a Message, tags: &'a str) -> Option<Extras<'a>> {
    let is_plain = message.event.is_none() && message.info.is_none() && tags.is_empty();
    (!is_plain).then(|| Extras {
        event: message.event.as_deref(),
        info: message.info.as_deref().unwrap_or_default(),
        tags,
        origin: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_says_about_itself_comes_back_as_it_went() {
        let extras_in = Extras {
            event: Some("made"),
            info: b"who",
            tags: r#"{"a":"1","b":"zwei"}"#,
            origin: None,
        };
        let from = hub::Origin {
            node: 1,
            connection: 2,
        };
        let message = message(true, "text".into(), &extras_in, Some(from));
        assert_eq!(origin(&message), Some(from));
        assert_eq!(message.kind, Kind::Text);
        let tags = tags(&message);
        assert_eq!(extras(&message, &tags), Some(extras_in));
        let plain = super::message(false, "x".into(), &Extras::default(), None);
        assert_eq!(origin(&plain), None);
        assert_eq!(super::tags(&plain), "");
        assert_eq!(extras(&plain, ""), None);
    }
}
