//! `POST /messages` with lines of JSON: publishes one message a line, to any topics, and
//! answers each with a line of its own. A line that is wrong spoils no other.
//!
//! Called by `publish`; the lines are read by `protocol::batch`.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::body::{closing, receive};
use super::once::{key_in, once};
use super::patience::{Message, Patience};
use super::posted::{self, Posted};
use super::reply::{Refusal, not_now};
use super::who::Who;
use crate::hub::{Answer, Hub, PostRefusal, PublishError};
use crate::protocol::batch::{Line, LineFault, decode};
use crate::protocol::encoding::Extras;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Opcode;

/// Lines after which the others that this thread serves get a turn.
const TURN_LINES: usize = 64;
/// What an answer takes, for nearly all lines.
const ANSWER_BYTES: usize = 56;

/// The content types of such a body.
pub(super) fn is_batch(media_type: &[u8]) -> bool {
    let names: [&[u8]; 2] = [b"application/x-ndjson", b"application/ndjson"];
    names
        .iter()
        .any(|name| media_type.eq_ignore_ascii_case(name))
}

/// What is wanted of all lines.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    /// The answer waits for so long until all is in the store.
    pub(super) stored: Option<Duration>,
    /// No line is published behind one for which there was no room, so that who sends that one
    /// again keeps their order.
    pub(super) in_order: bool,
}

/// Publishes a batch.
pub(super) async fn publish(
    hub: Arc<Hub>,
    who: Who,
    head: &Parts,
    body: axum::body::Body,
    wanted: Wanted,
) -> Result<Response, Refusal> {
    let settings = hub.settings();
    let body = receive(&head.headers, body, settings.batch_bytes_max, too_long);
    let body = body.await.inspect_err(|refusal| {
        if refusal.status() == StatusCode::PAYLOAD_TOO_LARGE {
            hub.posts().note_refusal(PostRefusal::BatchBytes);
        }
    })?;
    let lines = body.iter().filter(|byte| **byte == b'\n').count();
    let lines = lines + usize::from(!body.ends_with(b"\n"));
    if lines > settings.batch_lines_max {
        hub.posts().note_refusal(PostRefusal::BatchLines);
        let max = settings.batch_lines_max;
        let sentence = format!("a batch has at most {max} lines (batch_lines_max)");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence));
    }
    if hub.is_stopping() {
        return Err(not_now(&hub, "the server is stopping".into()));
    }
    let key = key_in(head, &who)?;
    let body_too = body.clone();
    let patience = Patience::of(hub.clone(), &head.headers);
    let work = publish_lines(
        (hub.clone(), patience),
        who.clone(),
        (body_too, lines),
        wanted,
        key,
    );
    once(
        &hub,
        &who,
        head,
        &body,
        async move { Ok((work.await, true)) },
    )
    .await
}

async fn publish_lines(
    (hub, mut patience): (Arc<Hub>, Patience),
    who: Who,
    (body, count): (Bytes, usize),
    Wanted { stored, in_order }: Wanted,
    key: Option<(String, String)>,
) -> Answer {
    let mut out = Vec::with_capacity(count * ANSWER_BYTES);
    let mut published = Vec::new();
    let mut is_halted = false;
    let is_text = simdutf8::basic::from_utf8(&body).is_ok();
    for (number, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if number % TURN_LINES == TURN_LINES - 1 {
            yield_now().await;
        }
        let outcome = match is_text || simdutf8::basic::from_utf8(line).is_ok() {
            _ if is_halted => Err((503, HALTED.to_owned())),
            true => {
                let key = key
                    .clone()
                    .map(|(who, key)| (who, format!("{key}/{number}")));
                publish_line(&hub, &who, &mut patience, line, key).await
            }
            false => Err(refused(LineFault::Utf8)),
        };
        is_halted |= in_order && matches!(outcome, Err((503, _)));
        // Nothing is to be waited for, unless something before it has to be.
        let is_there = matches!(outcome, Err(_) | Ok((_, Posted::Published(..))));
        match stored.is_none() && is_there && published.is_empty() {
            true => answer(landed(&hub, outcome).await, None, &mut out),
            false => published.push(outcome),
        }
    }
    let end = Instant::now() + stored.unwrap_or_default();
    for outcome in published {
        let line = landed(&hub, outcome).await;
        let is_stored = match (&line, stored) {
            (Ok(line), Some(_)) => Some(is_stored(&hub, line, end).await),
            _ => None,
        };
        answer(line, is_stored, &mut out);
    }
    Answer {
        status: 200,
        lines: true,
        body: out,
    }
}

/// What is said of lines behind one that may come again.
const HALTED: &str = "a line before this one was not published (in_order)";

/// A status of HTTP, and a sentence.
type LineRefusal = (u16, String);

/// A line that is published.
struct PublishedLine {
    topic: TopicName,
    offset: u64,
    epoch: u64,
}

/// Waits until a line is where it belongs.
async fn landed(
    hub: &Hub,
    outcome: Result<(TopicName, Posted), LineRefusal>,
) -> Result<PublishedLine, LineRefusal> {
    let (topic, posted) = outcome?;
    let landed = posted.landed().await.map_err(|failure| {
        let refusal = posted::refuse(hub, &failure);
        (refusal.status().as_u16(), refusal.sentence().to_owned())
    })?;
    Ok(PublishedLine {
        topic,
        offset: landed.offset,
        epoch: landed.epoch,
    })
}

/// Whether a line is in the store, at the latest at `end`.
async fn is_stored(hub: &Hub, line: &PublishedLine, end: Instant) -> bool {
    if hub.is_to_be_shared(line.topic.as_str()) {
        // It was stored before it was published.
        return true;
    }
    let Some(topic) = hub.find_topic(line.topic.as_str()) else {
        return false;
    };
    let left = end.saturating_duration_since(Instant::now());
    hub.stored(&topic, line.offset, left).await.is_ok()
}

async fn publish_line(
    hub: &Hub,
    who: &Who,
    patience: &mut Patience,
    line: &[u8],
    key: Option<(String, String)>,
) -> Result<(TopicName, Posted), LineRefusal> {
    let Line {
        topic,
        data,
        event,
        tags,
    } = decode(line).map_err(refused)?;
    let topic = TopicName::new(&topic).map_err(|error| (400, error.to_string()))?;
    who.may_publish(hub, &topic)
        .map_err(|refusal| (refusal.status().as_u16(), refusal.sentence().to_owned()))?;
    let opcode = match data.text {
        true => Opcode::Text,
        false => Opcode::Binary,
    };
    let is_plain = tags.is_empty() && event.is_none();
    let extras = (!is_plain).then_some(Extras {
        event: event.as_deref(),
        tags: &tags,
        ..Extras::default()
    });
    let message = Message {
        topic: &topic,
        opcode,
        payload: &data.bytes,
        extras,
        key,
        hear: false,
        origin: None,
    };
    let posted = patience.publish(message).await;
    let posted = posted.map_err(|error| match error {
        PublishError::TooBig => (413, error.to_string()),
        error => (503, error.to_string()),
    })?;
    Ok((topic, posted))
}

fn refused(fault: LineFault) -> LineRefusal {
    (400, fault.to_string())
}

fn answer(outcome: Result<PublishedLine, LineRefusal>, stored: Option<bool>, out: &mut Vec<u8>) {
    let written = match outcome {
        Ok(PublishedLine { offset, epoch, .. }) => {
            let stored = stored.map_or(String::new(), |stored| format!(",\"stored\":{stored}"));
            writeln!(
                out,
                "{{\"offset\":{offset},\"epoch\":\"{epoch:016x}\"{stored}}}"
            )
        }
        Err((status, sentence)) => {
            let sentence = simd_json::to_string(&sentence).expect("a text can be told");
            writeln!(out, "{{\"error\":{sentence},\"status\":{status}}}")
        }
    };
    written.expect("memory takes all");
}

fn too_long(bytes_max: usize) -> Refusal {
    let sentence = format!("a batch has at most {bytes_max} bytes (batch_bytes_max)");
    closing(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence))
}
