//! Requests for streams of events: of one topic, on its path, or of many on [`EVENTS_PATH`].

use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::id::Place;
use crate::protocol::http::origin::check_origin;
use crate::protocol::http::query::{name_topic, read_epoch, read_offset, read_topic, unknown};
use crate::protocol::http::{Method, Origins, Reject, Request};
use crate::protocol::rights::Rights;
use crate::protocol::topic::TopicName;

/// Where many topics are had as one stream.
pub const EVENTS_PATH: &str = "/events";

const EVENT_STREAM: &str = "text/event-stream";
/// By it a client that comes back says how far it has come.
const LAST_EVENT_ID: &str = "last-event-id";

/// Every key that means something to a stream of one topic.
const KEYS: [&str; 5] = ["epoch", "lastEventId", "since", "token", "topic"];
/// The same for a stream of many.
const KEYS_OF_MANY: [&str; 3] = ["lastEventId", "token", "topic"];

/// A request for a stream that is in order.
#[derive(Clone, Debug)]
pub struct EventStream {
    pub shape: Shape,
    /// In the order in which ids name them.
    pub wanted: Vec<Wanted>,
    /// The head is to say where it begins, in this protocol's words.
    pub mercure: bool,
    /// It comes back, as it does of its own accord, rather than being asked to.
    pub comes_back: bool,
    /// The page of another origin that asks, which is to be let read the answer.
    pub page: Option<Page>,
    /// What its token gives it.
    pub rights: Option<Arc<Rights>>,
    /// It asks for the head alone.
    pub head_only: bool,
}

/// What the events of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Messages of one topic, each with its id.
    One,
    /// JSON that says which of many topics a message is of, without ids.
    Many,
    /// Messages of many topics as they are, without ids.
    Plain,
}

/// A topic that is to be streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub topic: TopicName,
    /// From this offset on.
    pub since: Option<u64>,
    /// Of this history, where the client says it.
    pub epoch: Option<u64>,
    /// It may not have what is past: it begins with what comes now, and is only told what it
    /// misses.
    pub withheld: bool,
}

/// A page of another origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub origin: String,
    /// Its requests may come with cookies.
    pub credentials: bool,
}

impl Wanted {
    pub(in crate::protocol) fn new(topic: TopicName) -> Self {
        Wanted {
            topic,
            since: None,
            epoch: None,
            withheld: false,
        }
    }

    pub(in crate::protocol) fn goes_on_from(&mut self, place: Place) {
        self.since = Some(place.next());
        self.epoch = Some(place.epoch);
    }

    /// From which offset on the client is to have messages of a history with that epoch;
    /// `None` is from now on. Who names another history gets all there is of this one.
    pub fn since(&self, epoch: u64) -> Option<u64> {
        match self.epoch {
            _ if self.withheld => None,
            Some(known) if known != epoch => Some(0),
            _ => self.since,
        }
    }
}

/// The request is for a stream: it says that it takes one, or asks where there is nothing else.
pub fn asks_for_events(request: &Request<'_>) -> bool {
    let is_read = matches!(request.method(), Method::Get | Method::Head);
    let mut types = request.elements("accept");
    is_read && (request.path() == EVENTS_PATH || types.any(takes_events))
}

/// An element of `Accept` names streams of events, and does not rule them out.
fn takes_events(element: &str) -> bool {
    let mut parts = element.split(';').map(str::trim);
    let is_named = parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case(EVENT_STREAM));
    is_named && !parts.any(|part| rules_out(part).unwrap_or(false))
}

/// A parameter is a weight, and whether that is none at all (RFC 9110 section 12.4.2).
fn rules_out(parameter: &str) -> Option<bool> {
    let (name, value) = parameter.split_once('=')?;
    let weight = name.trim().eq_ignore_ascii_case("q").then_some(value)?;
    Some(
        weight
            .trim()
            .bytes()
            .all(|byte| matches!(byte, b'0' | b'.')),
    )
}

/// A browser asks whether its page may send a request with headers of its own.
pub fn is_preflight(request: &Request<'_>) -> bool {
    let mut methods = request.values("access-control-request-method");
    let is_ours = |method: &[u8]| matches!(method, b"GET" | b"POST");
    request.method() == Method::Options && methods.any(is_ours)
}

/// Checks a request for a stream.
///
/// # Errors
/// What is wrong with it.
pub fn negotiate_events(
    request: &Request<'_>,
    origins: &Origins,
    topics_max: usize,
) -> Result<EventStream, Reject> {
    check_origin(request, origins)?;
    let many = request.path() == EVENTS_PATH;
    let query = Query::read(request.query().unwrap_or_default(), many)?;
    let mut wanted = match many {
        true => name_topics(query.topics, topics_max)?,
        false => {
            let topic = name_topic(request.path(), query.topics.into_iter().next())?;
            vec![Wanted {
                since: query.since,
                epoch: query.epoch,
                ..Wanted::new(topic)
            }]
        }
    };
    let by_header = last_event_id(request)?;
    let comes_back = by_header.is_some();
    // What the page began with stays in its URL, so the header is what counts.
    if let Some(id) = by_header.or(query.last_event_id) {
        let places = Place::read_all(&id, wanted.len()).ok_or(Reject::LastEventId)?;
        for (wanted, place) in wanted.iter_mut().zip(places) {
            wanted.goes_on_from(place);
        }
    }
    Ok(EventStream {
        shape: if many { Shape::Many } else { Shape::One },
        wanted,
        mercure: false,
        comes_back,
        page: None,
        rights: None,
        head_only: request.is_head(),
    })
}

/// The id in the header; an empty one is none.
pub(in crate::protocol) fn last_event_id(request: &Request<'_>) -> Result<Option<String>, Reject> {
    let value = request
        .single(LAST_EVENT_ID)
        .map_err(|_| Reject::LastEventId)?;
    let text = value.map(|value| str::from_utf8(value).map_err(|_| Reject::LastEventId));
    let text = text.transpose()?;
    Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
}

pub(in crate::protocol) fn name_topics(
    topics: Vec<TopicName>,
    max: usize,
) -> Result<Vec<Wanted>, Reject> {
    let mut wanted: Vec<Wanted> = Vec::new();
    if topics.is_empty() || topics.len() > max {
        return Err(Reject::EventTopics { max });
    }
    for topic in topics {
        if let Some(part) = topic.reserved() {
            return Err(Reject::Reserved { part });
        }
        if wanted.iter().any(|known| known.topic == topic) {
            return Err(Reject::EventTopics { max });
        }
        wanted.push(Wanted::new(topic));
    }
    Ok(wanted)
}

/// What the query of such a request asks for.
#[derive(Debug, Default)]
struct Query {
    topics: Vec<TopicName>,
    since: Option<u64>,
    epoch: Option<u64>,
    last_event_id: Option<String>,
}

impl Query {
    fn read(text: &str, many: bool) -> Result<Self, Reject> {
        let known: &[&str] = if many { &KEYS_OF_MANY } else { &KEYS };
        let mut query = Query::default();
        let mut token = false;
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&key) {
                return Err(unknown(key, known));
            }
            let bad = |_| Reject::EventQuery;
            let repeated = match key {
                "epoch" => {
                    let epoch = read_epoch(value).map_err(bad)?;
                    query.epoch.replace(epoch).is_some()
                }
                "since" => {
                    let since = read_offset(value).map_err(bad)?;
                    query.since.replace(since).is_some()
                }
                "lastEventId" => {
                    let id = percent_decode_str(value).decode_utf8();
                    let id = id.map_err(|_| Reject::LastEventId)?;
                    query.last_event_id.replace(id.into_owned()).is_some()
                }
                "topic" => {
                    query.topics.push(read_topic(value)?);
                    !many && query.topics.len() > 1
                }
                // Read in `bearer`.
                _ => std::mem::replace(&mut token, true),
            };
            if repeated {
                return Err(Reject::EventQuery);
            }
        }
        query.last_event_id = query.last_event_id.filter(|id| !id.is_empty());
        let is_twice = query.last_event_id.is_some() && query.since.is_some();
        if is_twice || (query.epoch.is_some() && query.since.is_none()) {
            return Err(Reject::EventQuery);
        }
        Ok(query)
    }
}

#[cfg(test)]
mod tests;
