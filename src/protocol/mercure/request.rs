//! Requests to the hub's URL: who subscribes, and who publishes.

use percent_encoding::percent_decode_str;

use crate::protocol::event_stream::{
    EventStream, Place, Shape, Wanted, last_event_id, name_topics,
};
use crate::protocol::http::origin::check_origin;
use crate::protocol::http::query::read_topic;
use crate::protocol::http::{Method, Origins, Reject, Request};
use crate::protocol::topic::TopicName;

/// Where a hub is.
pub const MERCURE_PATH: &str = "/.well-known/mercure";

/// Stands for all that the hub has of a topic.
const EARLIEST: &str = "earliest";
/// No history has this epoch, so who names it gets all there is.
const NO_EPOCH: u64 = 0;

/// The request subscribes.
pub fn asks_for_updates(request: &Request<'_>) -> bool {
    request.path() == MERCURE_PATH && matches!(request.method(), Method::Get | Method::Head)
}

/// The request publishes.
pub fn is_update(request: &Request<'_>) -> bool {
    request.path() == MERCURE_PATH && request.method() == Method::Other
}

/// Checks a request to subscribe. What the query says beside topics and the last id is for
/// others.
///
/// # Errors
/// What is wrong with it, or not offered here.
pub fn negotiate_mercure(
    request: &Request<'_>,
    origins: &Origins,
    topics_max: usize,
) -> Result<EventStream, Reject> {
    check_origin(request, origins)?;
    let (mut topics, mut in_query) = (Vec::new(), None);
    for pair in request.query().unwrap_or_default().split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "topic" => topics.push(exact(value)?),
            "lastEventID" | "lastEventId" | "Last-Event-ID" => {
                let id = percent_decode_str(value).decode_utf8_lossy();
                in_query = Some(id.into_owned()).filter(|id| !id.is_empty());
            }
            // Of the drafts after it.
            _ if key.starts_with("match") => return Err(Reject::TopicSelector),
            _ => {}
        }
    }
    let mut wanted = name_topics(topics, topics_max)?;
    let by_header = last_event_id(request)?;
    let comes_back = by_header.is_some();
    if let Some(id) = by_header.or(in_query) {
        go_on_from(&id, &mut wanted);
    }
    Ok(EventStream {
        shape: match wanted.len() {
            1 => Shape::One,
            _ => Shape::Plain,
        },
        wanted,
        mercure: true,
        comes_back,
        page: None,
        rights: None,
        head_only: request.is_head(),
    })
}

/// A topic that is named by itself, not by a pattern.
fn exact(value: &str) -> Result<TopicName, Reject> {
    let topic = read_topic(value)?;
    match topic.as_str() == "*" || topic.as_str().contains(['{', '}']) {
        true => Err(Reject::TopicSelector),
        false => Ok(topic),
    }
}

/// An id that is none of the hub's has the client get all there is, and be told so.
fn go_on_from(id: &str, wanted: &mut [Wanted]) {
    let places = Place::read_all(id, wanted.len());
    for (at, wanted) in wanted.iter_mut().enumerate() {
        match &places {
            _ if id == EARLIEST => wanted.since = Some(0),
            Some(places) => wanted.goes_on_from(places[at]),
            None => wanted.goes_on_from(Place {
                epoch: NO_EPOCH,
                offset: 0,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::{HeadLimits, parse};

    fn open_with(query: &str, lines: &str) -> Result<EventStream, Reject> {
        let text = format!("GET {MERCURE_PATH}?{query} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let (request, _) = parse(text.as_bytes(), HeadLimits::default())?.unwrap();
        assert!(asks_for_updates(&request) && !is_update(&request));
        negotiate_mercure(&request, &Origins::same_host(), 3)
    }

    fn wanted(query: &str) -> Vec<(String, Option<u64>, Option<u64>)> {
        let stream = open_with(query, "").unwrap();
        let wanted = stream.wanted.into_iter();
        wanted
            .map(|wanted| (wanted.topic.to_string(), wanted.since, wanted.epoch))
            .collect()
    }

    #[test]
    fn exact_topics_are_streamed_one_or_several() {
        let book = "https://example.com/books/1";
        let one = "topic=https%3A%2F%2Fexample.com%2Fbooks%2F1";
        assert_eq!(wanted(one), [(book.into(), None, None)]);
        assert_eq!(open_with(one, "").unwrap().shape, Shape::One);
        let two = format!("{one}&topic=b&authorization=x&more=1");
        assert_eq!(wanted(&two).len(), 2);
        assert_eq!(open_with(&two, "").unwrap().shape, Shape::Plain);
    }

    #[test]
    fn an_id_that_is_known_is_gone_on_from_and_another_is_not_trusted() {
        let place = |query: &str| {
            let (_, since, epoch) = wanted(query).remove(0);
            (since, epoch)
        };
        let known = "topic=a&lastEventID=00000000000000ab-7";
        assert_eq!(place(known), (Some(8), Some(0xab)));
        assert_eq!(place("topic=a&lastEventID=earliest"), (Some(0), None));
        assert_eq!(place("topic=a&lastEventID="), (None, None));
        let strange = "topic=a&lastEventID=urn:uuid:1";
        assert_eq!(place(strange), (Some(1), Some(NO_EPOCH)));
        let header = "Last-Event-ID: 00000000000000ab-3\r\n";
        let stream = open_with(known, header).unwrap();
        assert_eq!((stream.wanted[0].since, stream.comes_back), (Some(4), true));
    }

    #[test]
    fn patterns_and_drafts_are_refused() {
        for query in [
            "topic=*",
            "topic=https%3A%2F%2Fexample.com%2F%7Bid%7D",
            "topic=a&match=b",
            "match_urlpattern=b",
        ] {
            let refused = open_with(query, "").unwrap_err();
            assert_eq!(refused, Reject::TopicSelector, "{query}");
        }
        let none = Reject::EventTopics { max: 3 };
        assert_eq!(open_with("", "").unwrap_err(), none);
        assert_eq!(open_with("topic=a&topic=a", "").unwrap_err(), none);
        let reserved = Reject::Reserved { part: "api" };
        assert_eq!(open_with("topic=api", "").unwrap_err(), reserved);
    }
}
