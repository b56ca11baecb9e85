//! `GET /topics` and `GET /topics/{topic}`: the topics by name, with their offsets
//! and sizes.
//!
//! Called by `routes`; the hub knows the topics.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use super::reply::{Json, Refusal};
use crate::hub::Hub;
use crate::log::{Summary, Topic};
use crate::protocol::topic::TopicName;

/// Topics in one answer, unless the request says otherwise.
const LIMIT: usize = 100;
/// More are never in one answer; `next` leads on.
const LIMIT_MAX: usize = 1000;

/// Which topics are wanted.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only names that begin so.
    prefix: String,
    /// Only names behind this one, in the order of their bytes.
    after: String,
    limit: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            prefix: String::new(),
            after: String::new(),
            limit: LIMIT,
        }
    }
}

#[derive(Serialize)]
struct Page {
    topics: Vec<Shown>,
    /// The `after` of the next page, if there is more.
    next: Option<String>,
}

/// A topic as it is shown.
#[derive(Serialize)]
struct Shown {
    name: String,
    offset: u64,
    first_offset: u64,
    epoch: String,
    subscribers: u64,
    log_bytes: u64,
}

impl From<(Arc<Topic>, Summary)> for Shown {
    fn from((topic, summary): (Arc<Topic>, Summary)) -> Self {
        Shown {
            name: topic.name().to_string(),
            offset: summary.offset,
            first_offset: summary.first_offset,
            epoch: epoch(topic.epoch()),
            subscribers: summary.subscribers,
            log_bytes: summary.log_bytes,
        }
    }
}

/// An epoch as in the `Fanfare-Epoch` header. In JSON it is a string, as it may
/// not fit into the numbers of JavaScript.
pub(super) fn epoch(epoch: u64) -> String {
    format!("{epoch:016x}")
}

/// The topic that the path names behind `/topics/`, percent-encoded, a slash in
/// it as `%2F`.
pub(super) fn name_in(uri: &Uri) -> Result<TopicName, Refusal> {
    let mut parts = uri.path().split('/').skip_while(|part| *part != "topics");
    let encoded = parts.nth(1).unwrap_or_default();
    TopicName::from_encoded(encoded)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))
}

/// `GET /topics?prefix=&after=&limit=`: sorted by name.
pub(super) async fn list(
    State(hub): State<Arc<Hub>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let wanted = match wanted {
        Ok(Query(wanted)) if (1..=LIMIT_MAX).contains(&wanted.limit) => wanted,
        _ => {
            let sentence = "the query takes prefix, after and limit (1 to 1000), each once";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, sentence));
        }
    };
    // One more tells whether there is a next page.
    let mut found = hub.topics(&wanted.prefix, &wanted.after, wanted.limit + 1);
    let more = found.len() > wanted.limit;
    found.truncate(wanted.limit);
    let topics: Vec<Shown> = found.into_iter().map(Shown::from).collect();
    let last = topics.last().map(|topic| topic.name.clone());
    Ok(Json(Page {
        topics,
        next: last.filter(|_| more),
    }))
}

/// `GET /topics/{topic}`: it is not made by asking for it.
pub(super) async fn show(
    State(hub): State<Arc<Hub>>,
    uri: Uri,
) -> Result<impl IntoResponse, Refusal> {
    match hub.known_topic(&name_in(&uri)?) {
        Some(found) => Ok(Json(Shown::from(found))),
        None => {
            let sentence = "there is no topic of that name at the moment";
            Err(Refusal::new(StatusCode::NOT_FOUND, sentence))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_part_behind_topics_as_in_public_paths() {
        let name = |path: &'static str| name_in(&Uri::from_static(path));
        for (path, expected) in [
            ("/topics/news", "news"),
            ("/topics/topics/messages", "topics"),
            ("/topics/messages/messages", "messages"),
            ("/topics/a%2Fb%20c/messages", "a/b c"),
            ("/topics/100%25?x=1", "100%"),
        ] {
            assert_eq!(name(path).unwrap().as_str(), expected);
        }
        for path in [
            "/topics/%zz",
            "/topics/%ff/messages",
            "/topics/%00",
            "/topics//messages",
        ] {
            assert!(name(path).is_err(), "{path}");
        }
    }
}
