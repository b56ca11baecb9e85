//! `POST /topics/{topic}/messages` and `POST /messages?topic=`: publishes the body of the
//! request as one message. With lines of JSON, `POST /messages` publishes a batch.
//!
//! Called by `routes`; the hub publishes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::batch;
use super::body::{closing, receive};
use super::once::{Outcome, key_in, once};
use super::patience::{Message, Patience};
use super::posted;
use super::reply::{Refusal, json, not_now};
use super::topics::{epoch, name_in};
use super::who::Who;
use super::wish::{Ack, Wish};
use crate::hub::{Answer, Delivered, DeliveryError, Hub, NotStored, PublishError};
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Opcode;

/// The path of what names its topic elsewhere.
const MESSAGES: &str = "/messages";

/// What has become of a message.
#[derive(Serialize)]
struct Receipt<'a> {
    topic: &'a str,
    offset: u64,
    epoch: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<Delivery>,
    /// It is in the store by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<bool>,
}

/// How it was delivered.
#[derive(Serialize)]
struct Delivery {
    subscribers: u64,
    written: u64,
    /// From publishing to the last write, in milliseconds.
    last_ms: Option<f64>,
}

impl From<Delivered> for Delivery {
    fn from(delivered: Delivered) -> Self {
        Delivery {
            subscribers: delivered.subscribers,
            written: delivered.written,
            last_ms: delivered.last_us.map(|us| us as f64 / 1e3),
        }
    }
}

/// `POST /topics/{topic}/messages` and `POST /messages`.
pub(super) async fn publish(
    State(hub): State<Arc<Hub>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let who = Who::of(&head);
    let wish = Wish::read(head.uri.query())?;
    let media_type = media_type(&head.headers)?;
    if head.uri.path() == MESSAGES && batch::is_batch(media_type) {
        let stored = match wish {
            Wish {
                topic: None,
                ack: None,
                ..
            } => None,
            Wish {
                topic: None,
                ack: Some((Ack::Stored, within)),
                ..
            } => Some(within),
            _ => {
                let sentence = "each line of a batch names its topic, and none is followed: \
                                the query takes ack=stored, within_ms and in_order";
                return Err(Refusal::new(StatusCode::BAD_REQUEST, sentence));
            }
        };
        let wanted = batch::Wanted {
            stored,
            in_order: wish.in_order,
        };
        return batch::publish(hub, who, &head, body, wanted).await;
    }
    if wish.in_order {
        let sentence = "in_order is for a batch";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, sentence));
    }
    let topic = topic(&head.uri, wish.topic)?;
    who.may_publish(&hub, &topic)?;
    let opcode = match media_type.eq_ignore_ascii_case(b"application/octet-stream") {
        true => Opcode::Binary,
        false => Opcode::Text,
    };
    let bytes_max = hub.settings().message_bytes_max;
    let payload = receive(&head.headers, body, bytes_max, too_big).await?;
    if payload.is_empty() {
        let sentence = "the body is empty: the message is the body of the request";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, sentence));
    }
    if opcode == Opcode::Text && simdutf8::basic::from_utf8(&payload).is_err() {
        let sentence = "a text message is UTF-8: for other bytes, \
                        send Content-Type: application/octet-stream";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, sentence));
    }
    if hub.is_stopping() {
        return Err(not_now(&hub, "the server is stopping".into()));
    }
    let key = key_in(&head, &who)?;
    let patience = Patience::of(hub.clone(), &head.headers);
    let work = publish_one(
        (hub.clone(), patience),
        topic,
        (opcode, payload.clone()),
        wish.ack,
        key,
    );
    once(&hub, &who, &head, &payload, work).await
}

/// Where a message goes: one of path and query says it.
fn topic(uri: &Uri, wished: Option<TopicName>) -> Result<TopicName, Refusal> {
    match (uri.path() == MESSAGES, wished) {
        (true, Some(topic)) => Ok(topic),
        (false, None) => name_in(uri),
        (false, Some(_)) => {
            let sentence = "a topic is named once: by the path, or by ?topic= with /messages";
            Err(Refusal::new(StatusCode::BAD_REQUEST, sentence))
        }
        (true, None) => {
            let sentence = "name the topic with ?topic=, or send a batch as \
                            Content-Type: application/x-ndjson";
            Err(Refusal::new(StatusCode::BAD_REQUEST, sentence))
        }
    }
}

async fn publish_one(
    (hub, mut patience): (Arc<Hub>, Patience),
    topic: TopicName,
    (opcode, payload): (Opcode, Bytes),
    ack: Option<(Ack, Duration)>,
    key: Option<(String, String)>,
) -> Outcome {
    let is_shared = hub.is_to_be_shared(topic.as_str());
    let mut stored = None;
    let awaited = match ack {
        None => None,
        // It is stored before it is published.
        Some((Ack::Stored, _)) if is_shared => None,
        Some((Ack::Stored, within)) => {
            let storable = hub.storable(&topic).map_err(|error| match error {
                NotStored::NotKept => Refusal::new(StatusCode::BAD_REQUEST, error.to_string()),
                error => not_now(&hub, error.to_string()),
            })?;
            stored = Some((storable, within));
            None
        }
        Some((Ack::Delivered, within)) => {
            let known = hub.topic(&topic);
            let known = known.map_err(|error| not_now(&hub, error.to_string()))?;
            let awaited = hub.follow_next(known, within).await;
            let awaited = awaited.map_err(|error| match error {
                DeliveryError::Full | DeliveryError::Stuck => not_now(&hub, error.to_string()),
            })?;
            Some((awaited, within))
        }
    };
    let message = Message {
        topic: &topic,
        opcode,
        payload: &payload,
        extras: None,
        key,
        hear: awaited.is_some(),
        origin: None,
    };
    let posted = patience.publish(message).await;
    let posted = posted.map_err(|error| match error {
        PublishError::TooBig => too_big(hub.settings().message_bytes_max),
        error => not_now(&hub, error.to_string()),
    })?;
    let landed = posted.landed().await;
    let landed = landed.map_err(|failure| posted::refuse(&hub, &failure))?;
    let mut receipt = Receipt {
        topic: topic.as_str(),
        offset: landed.offset,
        epoch: epoch(landed.epoch),
        delivered: None,
        stored: (is_shared && matches!(ack, Some((Ack::Stored, _)))).then_some(true),
    };
    let mut status = StatusCode::OK;
    if let Some((topic, within)) = stored {
        let is_stored = hub.stored(&topic, landed.offset, within).await.is_ok();
        receipt.stored = Some(is_stored);
        if !is_stored {
            status = StatusCode::ACCEPTED;
        }
    }
    if let Some((awaited, within)) = awaited {
        match landed.heard(within).await {
            Some(committed) => {
                receipt.delivered = Some(awaited.delivered(committed, within).await.into());
            }
            // It has not come here in time.
            None => status = StatusCode::ACCEPTED,
        }
    }
    let answer = Answer {
        status: status.as_u16(),
        lines: false,
        body: json(&receipt),
    };
    Ok((answer, true))
}

/// What the body is called, without parameters.
fn media_type(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let sentence = "bodies are taken as they are: send no Content-Encoding";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
    }
    Ok(headers.get(CONTENT_TYPE).map_or(&b""[..], |value| {
        let whole = value.as_bytes().split(|byte| *byte == b';');
        whole.into_iter().next().unwrap_or_default().trim_ascii()
    }))
}

fn too_big(bytes_max: usize) -> Refusal {
    let sentence = format!("a message has at most {bytes_max} bytes (message_bytes_max)");
    closing(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence))
}
