//! What the query of an opening asks for.

use super::reject::{KEYS, Reject, Word};
use crate::protocol::topic::TopicName;

/// A key this many slips away from a known one is taken for a misspelling of it.
const SLIPS_MAX: usize = 2;

/// The options of an opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) echo: bool,
    /// The built-in page says who it is.
    pub(super) page: bool,
    pub(super) since: Option<u64>,
    /// Of the history that `since` is of.
    pub(super) epoch: Option<u64>,
    pub(super) hello: bool,
    pub(super) offsets: bool,
    pub(super) topic: Option<TopicName>,
}

impl Query {
    /// Reads what stands behind the `?`.
    ///
    /// # Errors
    /// A key that is unknown or there twice, or a value that means nothing.
    pub(super) fn read(text: &str) -> Result<Self, Reject> {
        let (mut echo, mut page, mut since, mut topic) = (None, None, None, None);
        let (mut epoch, mut hello, mut offsets) = (None, None, None);
        let mut token = false;
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let repeated = match key {
                "echo" => echo.replace(read_bool(value)?).is_some(),
                "epoch" => epoch.replace(read_epoch(value)?).is_some(),
                "hello" => hello.replace(read_bool(value)?).is_some(),
                "offsets" => offsets.replace(read_bool(value)?).is_some(),
                "page" => page.replace(read_bool(value)?).is_some(),
                "since" => since.replace(read_offset(value)?).is_some(),
                // Read in `bearer`.
                "token" => std::mem::replace(&mut token, true),
                "topic" => topic.replace(read_topic(value)?).is_some(),
                _ => return Err(unknown(key, &KEYS)),
            };
            if repeated {
                return Err(Reject::Query);
            }
        }
        if epoch.is_some() && since.is_none() {
            return Err(Reject::Query);
        }
        Ok(Query {
            echo: echo.unwrap_or(false),
            page: page.unwrap_or(false),
            since,
            epoch,
            hello: hello.unwrap_or(false),
            offsets: offsets.unwrap_or(false),
            topic,
        })
    }
}

/// Refuses a key that is none of those that are `known`.
pub(in crate::protocol) fn unknown(key: &str, known: &'static [&'static str]) -> Reject {
    let lower = key.to_ascii_lowercase();
    let slips = |known: &&str| strsim::osa_distance(&lower, &known.to_ascii_lowercase());
    let nearest = known.iter().copied().min_by_key(slips);
    Reject::QueryKey {
        key: Word::from(key),
        near: nearest.filter(|known| slips(known) <= SLIPS_MAX),
        known,
    }
}

fn read_bool(value: &str) -> Result<bool, Reject> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Reject::Query),
    }
}

pub(in crate::protocol) fn read_offset(value: &str) -> Result<u64, Reject> {
    // `parse` alone would take a plus sign.
    if !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Reject::Query);
    }
    value.parse().map_err(|_| Reject::Query)
}

/// As `Fanfare-Epoch` has it. A text that names no history is one that is not known.
pub(in crate::protocol) fn read_epoch(value: &str) -> Result<u64, Reject> {
    let digits = value.bytes().all(|b| b.is_ascii_hexdigit());
    match u64::from_str_radix(value, 16) {
        Ok(epoch) if digits => Ok(epoch),
        _ => Err(Reject::Query),
    }
}

/// In a query a plus sign is a space (`URLSearchParams` writes it so).
pub(in crate::protocol) fn read_topic(value: &str) -> Result<TopicName, Reject> {
    TopicName::from_encoded(&value.replace('+', "%20")).map_err(|_| Reject::Topic)
}

/// The topic that an opening is for. A name that a path cannot carry, because proxies decode
/// `%2F` or merge slashes on the way, is given in the query.
pub(in crate::protocol) fn name_topic(
    path: &str,
    in_query: Option<TopicName>,
) -> Result<TopicName, Reject> {
    let topic = match in_query {
        Some(_) if path != "/" => return Err(Reject::TopicTwice),
        Some(topic) => topic,
        None => TopicName::from_path(path).map_err(|_| Reject::Topic)?,
    };
    match topic.reserved() {
        Some(part) => Err(Reject::Reserved { part }),
        None => Ok(topic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(text: &str) -> Option<&'static str> {
        match Query::read(text) {
            Err(Reject::QueryKey { near, .. }) => near,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_misspelt_key_is_told_the_right_one() {
        for (text, right) in [
            ("sicne=5", "since"),
            ("Since=5", "since"),
            ("sience=5", "since"),
            ("echo=1&snce=5", "since"),
            ("ehco=1", "echo"),
            ("topics=a", "topic"),
        ] {
            assert_eq!(near(text), Some(right), "{text}");
        }
        let sentence = Query::read("sicne=5").unwrap_err().to_string();
        let wanted = "the query key \"sicne\" is unknown here: did you mean \"since\"?";
        assert_eq!(sentence, wanted);
    }

    #[test]
    fn a_key_that_is_like_none_is_told_all_there_are() {
        assert_eq!(near("secret=token"), None);
        for text in ["secret=token", "eyJhbGciOiJIUzI1NiJ9", "=", "a\u{e9}<b>=y"] {
            let sentence = Query::read(text).unwrap_err().to_string();
            assert_eq!(
                sentence,
                "the query has a key that is unknown here: there are echo, epoch, hello, offsets, page, since, token, topic"
            );
        }
        let sentence = Query::read("s\u{1b}nce=1").unwrap_err().to_string();
        assert!(sentence.contains("\"s?nce\""), "{sentence}");
        let long = Query::read(&"k".repeat(5000)).unwrap_err().to_string();
        assert!(long.len() < 120, "{long}");
    }

    #[test]
    fn a_topic_may_be_named_by_the_query() {
        let topic = |text: &str| Query::read(text).map(|query| query.topic.unwrap().to_string());
        assert_eq!(topic("topic=a/b"), Ok("a/b".into()));
        assert_eq!(topic("topic=a%2Fb%26c&echo=1"), Ok("a/b&c".into()));
        assert_eq!(topic("topic=two+words%2B"), Ok("two words+".into()));
        assert_eq!(topic("topic=%2Fa"), Ok("/a".into()));
        for bad in ["topic=", "topic", "topic=%zz", "topic=%00"] {
            assert_eq!(topic(bad), Err(Reject::Topic), "{bad}");
        }
        assert_eq!(topic("topic=a&topic=a"), Err(Reject::Query));
    }
}
