//! `POST /api/{method}`: Centrifugo's server API.
//!
//! The codec is `protocol::centrifugo::api`; what is asked for the hub does. Called by
//! `routes`.

mod glob;
mod node;
mod sessions;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::task::yield_now;

use self::glob::Glob;
use super::publish::{closing, not_now, receive};
use super::reply::{Refusal, not_found};
use crate::hub::{HistoryError, Hub, PublishError};
use crate::log::Published;
use crate::protocol::centrifugo::Error;
use crate::protocol::centrifugo::api::{
    self, Answer, Call, Method, Outcome, Post, Receipt, Replies, decode, write_error, write_outcome,
};
use crate::protocol::dialect::centrifugo::{Page, Place, epoch_text};
use crate::protocol::encoding::Extras;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Opcode;

/// A body may be so many times as long as the longest message: base64 takes a third
/// more, and the rest of the request some.
const BODY_MESSAGES_MAX: usize = 2;

/// Once the answer to a batch is so long, what follows in the batch is not done.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Asks for errors as statuses of HTTP.
const ERROR_MODE: &str = "x-centrifugo-error-mode";

/// `POST /api/{method}`.
pub(super) async fn call(
    State(hub): State<Arc<Hub>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let name = head.uri.path().strip_prefix("/api/");
    let Some(method) = name.and_then(Method::named) else {
        return Err(not_found().await);
    };
    let bytes_max = hub
        .settings()
        .message_bytes_max
        .saturating_mul(BODY_MESSAGES_MAX);
    let body = receive(&head.headers, body, bytes_max, too_long).await?;
    if hub.is_stopping() {
        return Err(not_now(&hub, "the server is stopping".into()));
    }
    let Ok(request) = decode(method, &body) else {
        return Ok(unreadable(&head.headers));
    };
    let calls = match request {
        api::Request::One(call) => {
            let outcome = perform(&hub, call).await;
            return Ok(answer(&head.headers, &outcome));
        }
        api::Request::Batch(calls) => calls,
    };
    let mut replies = Replies::default();
    for item in calls {
        let call = match replies.bytes() > ANSWER_BYTES_MAX {
            true => Err(Error::LIMIT_EXCEEDED),
            false => item.call,
        };
        replies.push(item.method, &perform(&hub, call).await);
    }
    Ok(json(StatusCode::OK, replies.finish()))
}

/// The others that this thread serves get a turn before each message.
async fn perform(hub: &Hub, call: Result<Call, Error>) -> Outcome {
    yield_now().await;
    match call? {
        Call::Publish { channel, post } => publish(hub, &channel, &post).map(Answer::Published),
        Call::Broadcast { channels, post } => {
            let mut responses = Vec::with_capacity(channels.len());
            for channel in channels {
                responses.push(publish(hub, &channel, &post));
                yield_now().await;
            }
            Ok(Answer::Broadcast(responses))
        }
        Call::History {
            channel,
            limit,
            since,
            reverse,
        } => {
            let page = Page {
                since: since.map(|(offset, epoch)| Place { offset, epoch }),
                limit: usize::try_from(limit).ok(),
                reverse,
            };
            history(hub, &channel, &page)
        }
        Call::HistoryRemove { channel } => {
            hub.remove_history(&topic(&channel)?);
            Ok(Answer::HistoryRemoved)
        }
        Call::Info => Ok(Answer::Info(node::node(hub))),
        Call::Channels { pattern } => channels(hub, &pattern),
        Call::Subscribe { of, channel, terms } => {
            sessions::subscribe(hub, &of, &topic(&channel)?, terms).await
        }
        Call::Unsubscribe { of, channel } => {
            sessions::unsubscribe(hub, &of, &topic(&channel)?).await
        }
        Call::Disconnect {
            of,
            code,
            reason,
            whitelist,
            revoke,
        } => {
            let farewell = sessions::farewell(code, reason)?;
            sessions::disconnect(hub, &of, farewell, &whitelist, revoke).await
        }
        Call::Refresh {
            of,
            expired,
            expire_at,
            info,
        } => sessions::refresh(hub, &of, expired, expire_at, &info).await,
        Call::Presence { channel } => sessions::presence(hub, &topic(&channel)?),
        Call::PresenceStats { channel } => sessions::presence_stats(hub, &topic(&channel)?),
    }
}

fn topic(channel: &str) -> Result<TopicName, Error> {
    TopicName::new(channel).map_err(|_| Error::BAD_REQUEST)
}

fn publish(hub: &Hub, channel: &str, post: &Post) -> Result<Receipt, Error> {
    let topic = topic(channel)?;
    if post.skip_history {
        // Subscribers read all there is from the topic's log.
        return Err(Error::NOT_AVAILABLE);
    }
    let opcode = match post.data.text {
        true => Opcode::Text,
        false => Opcode::Binary,
    };
    let extras = Extras {
        tags: &post.tags,
        ..Extras::default()
    };
    let extras = (!post.tags.is_empty()).then_some(extras);
    let (published, epoch) = hub
        .publish(&topic, opcode, &post.data.bytes, extras)
        .map_err(|error| match error {
            PublishError::TooBig => Error::BAD_REQUEST,
            PublishError::Topics(_) | PublishError::LogFull | PublishError::HandingOver => {
                Error::INTERNAL
            }
        })?;
    let offset = match published {
        Published::Committed(committed) => committed.offset,
        // Its keeper decides on its offset.
        Published::Pending(_) => 0,
    };
    Ok(Receipt {
        offset,
        epoch: epoch_text(epoch),
    })
}

fn history(hub: &Hub, channel: &str, page: &Page) -> Outcome {
    let past = hub
        .history(&topic(channel)?, page)
        .map_err(|error| match error {
            HistoryError::Topics(_) => Error::INTERNAL,
            HistoryError::OtherEpoch => Error::UNRECOVERABLE_POSITION,
        })?;
    Ok(Answer::History {
        publications: past.publications,
        epoch: epoch_text(past.epoch),
        offset: past.offset,
    })
}

fn channels(hub: &Hub, pattern: &str) -> Outcome {
    let glob = match pattern {
        "" => None,
        pattern => Some(Glob::new(pattern).ok_or(Error::BAD_REQUEST)?),
    };
    let found = hub.topics("", "", usize::MAX).into_iter();
    let followed = found.filter(|(topic, summary)| {
        summary.subscribers > 0 && glob.as_ref().is_none_or(|glob| glob.matches(topic.name()))
    });
    let channels = followed.map(|(topic, summary)| (topic.name().clone(), summary.subscribers));
    Ok(Answer::Channels(channels.collect()))
}

fn by_status(headers: &HeaderMap) -> bool {
    headers
        .get(ERROR_MODE)
        .is_some_and(|mode| mode.as_bytes() == b"transport")
}

fn answer(headers: &HeaderMap, outcome: &Outcome) -> Response {
    let mut body = Vec::new();
    match outcome {
        Err(error) if by_status(headers) => {
            write_error(error, &mut body);
            json(status(error), body)
        }
        outcome => {
            write_outcome(outcome, &mut body);
            json(StatusCode::OK, body)
        }
    }
}

/// The status is 400 in either mode, as from the official server.
fn unreadable(headers: &HeaderMap) -> Response {
    let mut response = answer(headers, &Err(Error::BAD_REQUEST));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

fn status(error: &Error) -> StatusCode {
    match error.code {
        104 => StatusCode::NOT_FOUND,
        107 | 108 => StatusCode::BAD_REQUEST,
        112 => StatusCode::RANGE_NOT_SATISFIABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (status, headers, Bytes::from(body)).into_response()
}

fn too_long(bytes_max: usize) -> Refusal {
    let sentence = format!(
        "a request has at most {bytes_max} bytes ({BODY_MESSAGES_MAX} times message_bytes_max)"
    );
    closing(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence))
}
