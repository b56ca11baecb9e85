//! `POST /api/{method}`: Centrifugo's server API.
//!
//! The codec is `protocol::centrifugo::api`; what is asked for the hub does. Called by
//! `routes`.

pub(super) mod everywhere;
mod glob;
mod node;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio::task::{spawn_blocking, yield_now};

use self::everywhere::Question;
use self::glob::Glob;
use super::body::{closing, receive};
use super::once::{Keyed, Outcome as Answered, message_once, once};
use super::patience::{Message, Patience};
use super::reply::{Refusal, not_found, not_now, response};
use super::who::Who;
use crate::config::ErrorMode;
use crate::hub::{self, Failure, HistoryError, Hub, PostRefusal, PublishError};
use crate::protocol::centrifugo::Error;
use crate::protocol::centrifugo::api::{
    self, Answer, Call, Method, Outcome, Post, Receipt, Replies, Unreadable, decode, write_error,
    write_outcome,
};
use crate::protocol::dialect::centrifugo::{Page, Place, epoch_text};
use crate::protocol::encoding::Extras;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Opcode;

/// A body may be so many times as long as the longest message: base64 takes a third
/// more, and the rest of the request some.
const BODY_MESSAGES_MAX: usize = 2;

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
    let by_status = by_status(&hub, &head.headers);
    let items_max = hub.settings().api_items_max;
    let request = match decode(method, &body, items_max) {
        Ok(request) => request,
        Err(Unreadable::BadRequest) => {
            // The status is 400 in either mode, as from the official server.
            let mut answer = answer(by_status, &Err(Error::BAD_REQUEST));
            answer.status = 400;
            return Ok(response(answer));
        }
        Err(Unreadable::TooManyItems) => {
            hub.posts().note_refusal(PostRefusal::ApiItems);
            let sentence = format!("a list has at most {items_max} items (api_items_max)");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence));
        }
    };
    let patience = Patience::of(hub.clone(), &head.headers);
    let work = carry_out((hub.clone(), patience), request, by_status);
    once(&hub, &Who::Backend, &head, &body, work).await
}

/// Answers another node of the cluster. `None` is a question of a kind that is not known here.
pub async fn answer_node(hub: Arc<Hub>, question: Option<Vec<u8>>) -> Vec<u8> {
    everywhere::answer(&hub, question.as_deref()).await
}

async fn carry_out(
    (hub, mut patience): (Arc<Hub>, Patience),
    request: api::Request,
    by_status: bool,
) -> Answered {
    let calls = match request {
        api::Request::One(call) => {
            let outcome = perform(&hub, &mut patience, call).await;
            // It may go better the next time.
            let is_final = !matches!(outcome, Err(Error::INTERNAL));
            return Ok((answer(by_status, &outcome), is_final));
        }
        api::Request::Batch(calls) => calls,
    };
    let mut replies = Replies::default();
    for item in calls {
        let call = match replies.bytes() > hub.settings().answers_bytes_max {
            true => Err(Error::LIMIT_EXCEEDED),
            false => item.call,
        };
        let outcome = perform(&hub, &mut patience, call).await;
        replies.push(item.method, &outcome);
    }
    Ok((json(200, replies.finish()), true))
}

/// The others that this thread serves get a turn before each message.
async fn perform(hub: &Arc<Hub>, patience: &mut Patience, call: Result<Call, Error>) -> Outcome {
    yield_now().await;
    match call? {
        Call::Publish { channel, post } => {
            let published = publish(hub, patience, &channel, &post).await;
            published.map(Answer::Published)
        }
        Call::Broadcast { channels, post } => {
            let mut responses = Vec::with_capacity(channels.len());
            for channel in channels {
                responses.push(publish(hub, patience, &channel, &post).await);
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
            history(hub, &channel, page).await
        }
        Call::HistoryRemove { channel } => {
            let topic = topic(&channel)?;
            if hub.is_to_be_shared(topic.as_str()) {
                // The cluster's history is not one node's to give up.
                return Err(Error::NOT_AVAILABLE);
            }
            hub.remove_history(&topic);
            Ok(Answer::HistoryRemoved)
        }
        Call::Info => everywhere::perform(hub, Question::Info).await,
        Call::Channels { pattern } => {
            everywhere::perform(hub, Question::Channels { pattern }).await
        }
        Call::Subscribe { of, channel, terms } => {
            let question = Question::Subscribe { of, channel, terms };
            everywhere::perform(hub, question).await
        }
        Call::Unsubscribe { of, channel } => {
            everywhere::perform(hub, Question::Unsubscribe { of, channel }).await
        }
        Call::Disconnect {
            of,
            code,
            reason,
            whitelist,
            revoke,
        } => {
            let question = Question::Disconnect {
                of,
                code,
                reason,
                whitelist,
                revoke,
            };
            everywhere::perform(hub, question).await
        }
        Call::Refresh {
            of,
            expired,
            expire_at,
            info,
        } => {
            let question = Question::Refresh {
                of,
                expired,
                expire_at,
                info,
            };
            everywhere::perform(hub, question).await
        }
        Call::Presence { channel } => sessions::presence(hub, &topic(&channel)?),
        Call::PresenceStats { channel } => sessions::presence_stats(hub, &topic(&channel)?),
    }
}

fn topic(channel: &str) -> Result<TopicName, Error> {
    TopicName::new(channel).map_err(|_| Error::BAD_REQUEST)
}

async fn publish(
    hub: &Arc<Hub>,
    patience: &mut Patience,
    channel: &str,
    post: &Post,
) -> Result<Receipt, Error> {
    let topic = topic(channel)?;
    if post.skip_history {
        // Subscribers read all there is from the topic's log.
        return Err(Error::NOT_AVAILABLE);
    }
    let first = match &*post.idempotency_key {
        "" => None,
        key => match message_once(hub, patience, &topic, key).await? {
            Keyed::First(first) => Some(first),
            Keyed::Again(receipt) => return Ok(receipt),
        },
    };
    let opcode = match post.data.text {
        true => Opcode::Text,
        false => Opcode::Binary,
    };
    let extras = Extras {
        tags: &post.tags,
        ..Extras::default()
    };
    let extras = (!post.tags.is_empty()).then_some(extras);
    let key = Some(&*post.idempotency_key).filter(|key| !key.is_empty());
    let message = Message {
        topic: &topic,
        opcode,
        payload: &post.data.bytes,
        extras,
        // Not to be mistaken for that of a request.
        key: key.map(|key| (String::new(), format!("message {key}"))),
        hear: false,
        origin: None,
    };
    let posted = patience.publish(message);
    let posted = posted.await.map_err(|error| match error {
        PublishError::TooBig => Error::BAD_REQUEST,
        PublishError::Topics(_)
        | PublishError::LogFull
        | PublishError::Ahead
        | PublishError::Store
        | PublishError::Unproposed(_)
        | PublishError::HandingOver => Error::INTERNAL,
    })?;
    let landed = posted.landed().await.map_err(|failure| match failure {
        Failure::TooBig(_) => Error::BAD_REQUEST,
        Failure::NotStored(_) | Failure::Unknown(_) => Error::INTERNAL,
    })?;
    let receipt = Receipt {
        offset: landed.offset,
        epoch: epoch_text(landed.epoch),
    };
    if let Some(first) = first {
        first.keep(&receipt);
    }
    Ok(receipt)
}

async fn history(hub: &Arc<Hub>, channel: &str, page: Page) -> Outcome {
    let topic = topic(channel)?;
    wait_for(hub, &topic).await;
    let past = match hub.history(&topic, &page) {
        Err(HistoryError::Stored) => {
            let hub = hub.clone();
            let read = spawn_blocking(move || hub.history_stored(&topic, &page));
            read.await.map_err(|_| Error::INTERNAL)?
        }
        past => past,
    };
    let past = past.map_err(|error| match error {
        HistoryError::Topics(_)
        | HistoryError::Stored
        | HistoryError::Unreadable
        | HistoryError::Unknown => Error::INTERNAL,
        HistoryError::OtherEpoch => Error::UNRECOVERABLE_POSITION,
    })?;
    Ok(Answer::History {
        publications: past.publications,
        epoch: epoch_text(past.epoch),
        offset: past.offset,
    })
}

/// Waits until it is known what a topic holds, if a cluster keeps it.
async fn wait_for(hub: &Hub, topic: &TopicName) {
    let time = Duration::from_millis(hub.settings().publish_wait_ms_max);
    if let Ok(topic) = hub.topic(topic)
        && topic.is_shared()
    {
        hub.known(&topic, time).await;
    }
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

/// Errors are told by statuses of HTTP: for all by the setting, or for one request.
fn by_status(hub: &Hub, headers: &HeaderMap) -> bool {
    let asked = headers.get(ERROR_MODE);
    hub.settings().api_error_mode == ErrorMode::Transport
        || asked.is_some_and(|mode| mode.as_bytes() == b"transport")
}

fn answer(by_status: bool, outcome: &Outcome) -> hub::Answer {
    let mut body = Vec::new();
    match outcome {
        Err(error) if by_status => {
            write_error(error, &mut body);
            json(status(error), body)
        }
        outcome => {
            write_outcome(outcome, &mut body);
            json(200, body)
        }
    }
}

fn status(error: &Error) -> u16 {
    match error.code {
        104 => 404,
        107 | 108 => 400,
        112 => 416,
        _ => 500,
    }
}

fn json(status: u16, body: Vec<u8>) -> hub::Answer {
    hub::Answer {
        status,
        lines: false,
        body,
    }
}

fn too_long(bytes_max: usize) -> Refusal {
    let sentence = format!(
        "a request has at most {bytes_max} bytes ({BODY_MESSAGES_MAX} times message_bytes_max)"
    );
    closing(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence))
}
