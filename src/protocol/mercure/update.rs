//! Updates, as publishers post them.

use percent_encoding::percent_decode;

use crate::protocol::topic::{TopicName, TopicNameError};

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub topic: TopicName,
    pub data: String,
    /// The name of its event.
    pub event: Option<String>,
    /// Only those may have it who are allowed to.
    pub private: bool,
}

/// Why a form is no update that can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUpdate {
    #[error("an update names its topic: topic=NAME")]
    NoTopic,
    #[error(
        "an update is of one topic here: publish it once for each, as alternate topics are not offered"
    )]
    Topics,
    #[error("topic: {0}")]
    Topic(#[from] TopicNameError),
    #[error("names that begin with \"{0}\" and a slash, or are that, are kept for other protocols")]
    Reserved(&'static str),
    #[error("an update is a form of percent-encoded UTF-8, with each field but topic at most once")]
    Form,
    #[error("type must not contain control characters, as it is the name of an event")]
    Type,
}

impl Update {
    /// Reads an `application/x-www-form-urlencoded` body. `id` and `retry` are passed over: ids
    /// are the server's own, and when readers come back is a setting.
    ///
    /// # Errors
    /// See [`BadUpdate`].
    pub fn read(form: &[u8]) -> Result<Update, BadUpdate> {
        let (mut topic, mut data, mut event) = (None, None, None);
        let (mut private, mut others) = (false, [false; 2]);
        for pair in form.split(|byte| *byte == b'&') {
            let at = pair.iter().position(|byte| *byte == b'=');
            let (key, value) = pair.split_at(at.unwrap_or(pair.len()));
            let value = value.strip_prefix(b"=").unwrap_or(value);
            let is_twice = match &decode(key)?[..] {
                "topic" => {
                    let name = TopicName::new(&decode(value)?)?;
                    if topic.replace(name).is_some() {
                        return Err(BadUpdate::Topics);
                    }
                    false
                }
                "data" => data.replace(decode(value)?).is_some(),
                "type" => event.replace(decode(value)?).is_some(),
                "private" => std::mem::replace(&mut private, true),
                "id" => std::mem::replace(&mut others[0], true),
                "retry" => std::mem::replace(&mut others[1], true),
                _ => false,
            };
            if is_twice {
                return Err(BadUpdate::Form);
            }
        }
        let topic = topic.ok_or(BadUpdate::NoTopic)?;
        if let Some(part) = topic.reserved() {
            return Err(BadUpdate::Reserved(part));
        }
        let event = event.filter(|name: &String| !name.is_empty());
        if event
            .as_ref()
            .is_some_and(|name| name.chars().any(char::is_control))
        {
            return Err(BadUpdate::Type);
        }
        Ok(Update {
            topic,
            data: data.unwrap_or_default(),
            event,
            private,
        })
    }
}

/// A plus sign is a space.
fn decode(part: &[u8]) -> Result<String, BadUpdate> {
    let spaced: Vec<u8> = part
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let text = percent_decode(&spaced).decode_utf8();
    Ok(text.map_err(|_| BadUpdate::Form)?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_an_update() {
        let form = "topic=https%3A%2F%2Fexample.com%2Fbooks%2F1&data=a+%2B%0Ab&type=new&id=x&retry=5&more=1";
        let update = Update::read(form.as_bytes()).unwrap();
        assert_eq!(update.topic.as_str(), "https://example.com/books/1");
        assert_eq!((&update.data[..], update.private), ("a +\nb", false));
        assert_eq!(update.event.as_deref(), Some("new"));
        let least = Update::read(b"topic=a&private=&type=").unwrap();
        assert_eq!((&least.data[..], least.private), ("", true));
        assert_eq!(least.event, None);
    }

    #[test]
    fn what_is_none_is_told_why() {
        for (form, fault) in [
            (&b""[..], BadUpdate::NoTopic),
            (b"data=x", BadUpdate::NoTopic),
            (b"topic=a&topic=b", BadUpdate::Topics),
            (b"topic=", BadUpdate::Topic(TopicNameError::Empty)),
            (b"topic=%00", BadUpdate::Topic(TopicNameError::Control)),
            (b"topic=api/x", BadUpdate::Reserved("api")),
            (
                b"topic=.well-known%2Fmercure%2Fsubscriptions",
                BadUpdate::Reserved(".well-known"),
            ),
            (b"topic=%ff", BadUpdate::Form),
            (b"topic=a&data=\xff", BadUpdate::Form),
            (b"topic=a&data=x&data=y", BadUpdate::Form),
            (b"topic=a&id=x&id=y", BadUpdate::Form),
            (b"topic=a&type=a%0Aid: 9", BadUpdate::Type),
            (b"topic=a&type=a%00", BadUpdate::Type),
        ] {
            assert_eq!(Update::read(form), Err(fault), "{}", form.escape_ascii());
        }
    }
}
