//! What the query of a publishing request asks for.

use std::time::Duration;

use axum::http::StatusCode;

use super::reply::Refusal;
use crate::protocol::topic::TopicName;

/// How long a publisher may wait to be told how a message was delivered.
pub(super) const WITHIN_MS_MAX: u64 = 30_000;
/// And how long it does, if it does not say so.
const WITHIN_MS: u64 = 1_000;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Where the message goes, if the path does not say it.
    pub(super) topic: Option<TopicName>,
    /// What it waits to be told, and for how long at most.
    pub(super) ack: Option<(Ack, Duration)>,
    /// Of a batch, no line is published behind one for which there is no room.
    pub(super) in_order: bool,
}

/// What a publisher may be told beyond that its message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    /// How it was delivered.
    Delivered,
    /// It is in the store, and safe from a loss of power.
    Stored,
}

impl Wish {
    pub(super) fn read(query: Option<&str>) -> Result<Wish, Refusal> {
        let bad = |sentence: &'static str| Refusal::new(StatusCode::BAD_REQUEST, sentence);
        let (mut topic, mut ack, mut within_ms, mut in_order) = (None, None, None, None);
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let twice = match key {
                "topic" => {
                    let name = TopicName::from_encoded(value);
                    let name = name.map_err(|error| {
                        Refusal::new(StatusCode::BAD_REQUEST, error.to_string())
                    })?;
                    topic.replace(name).is_some()
                }
                "ack" => {
                    let wanted = match value {
                        "delivered" => Ack::Delivered,
                        "stored" => Ack::Stored,
                        _ => return Err(bad("ack is delivered or stored, or left out")),
                    };
                    ack.replace(wanted).is_some()
                }
                "within_ms" => {
                    let ms = value.parse().ok();
                    let ms = ms.filter(|ms| (1..=WITHIN_MS_MAX).contains(ms));
                    let ms = ms.ok_or_else(|| bad("within_ms is a number from 1 to 30000"))?;
                    within_ms.replace(ms).is_some()
                }
                "in_order" => {
                    let wanted = match value {
                        "true" => true,
                        "false" => false,
                        _ => return Err(bad("in_order is true or false")),
                    };
                    in_order.replace(wanted).is_some()
                }
                _ => {
                    let sentence =
                        "the query takes topic, ack and within_ms, and for a batch in_order";
                    return Err(bad(sentence));
                }
            };
            if twice {
                return Err(bad("the query takes topic, ack and within_ms, each once"));
            }
        }
        if within_ms.is_some() && ack.is_none() {
            return Err(bad("within_ms stands beside ack"));
        }
        let within = Duration::from_millis(within_ms.unwrap_or(WITHIN_MS));
        Ok(Wish {
            topic,
            ack: ack.map(|ack| (ack, within)),
            in_order: in_order.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_from_the_query() {
        let wish = |query: &str| Wish::read(Some(query)).unwrap();
        assert_eq!(Wish::read(None).unwrap(), Wish::default());
        assert_eq!(wish(""), Wish::default());
        let topic = wish("topic=a%2Fb+c").topic.unwrap();
        assert_eq!(topic.as_str(), "a/b+c");
        assert!(wish("in_order=true").in_order && !wish("in_order=false").in_order);
        let ack = |query| {
            wish(query)
                .ack
                .map(|(ack, within)| (ack, within.as_millis()))
        };
        assert_eq!(ack("ack=delivered"), Some((Ack::Delivered, 1_000)));
        assert_eq!(
            ack("within_ms=30000&ack=stored"),
            Some((Ack::Stored, 30_000))
        );
    }

    #[test]
    fn a_wish_that_means_nothing_is_refused() {
        for query in [
            "topic=",
            "topic=a&topic=b",
            "ack",
            "ack=written",
            "ack=stored&ack=delivered",
            "ack=delivered&ack=delivered",
            "within_ms=5",
            "ack=delivered&within_ms=0",
            "ack=delivered&within_ms=30001",
            "ack=delivered&within_ms=1000000000000",
            "ack=delivered&within_ms=99999999999999999999999",
            "ack=delivered&within_ms=-1",
            "token=x",
            "in_order",
            "in_order=true&in_order=true",
        ] {
            assert!(Wish::read(Some(query)).is_err(), "{query}");
        }
    }
}
