//! `POST /.well-known/mercure`: publishes an update of Mercure's protocol as one message.
//!
//! Called by `routes`; the hub publishes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::body::{closing, receive};
use super::once::{Outcome, key_in, once};
use super::patience::{Message, Patience};
use super::posted;
use super::reply::{Refusal, not_found, not_now};
use super::who::Who;
use crate::config::Switch;
use crate::hub::{Answer, Hub, PublishError};
use crate::protocol::encoding::Extras;
use crate::protocol::event_stream::Place;
use crate::protocol::mercure::Update;
use crate::protocol::rights::Action;
use crate::protocol::ws::Opcode;

const FORM: &[u8] = b"application/x-www-form-urlencoded";
/// A byte of data takes at most three in a form.
const ENCODED: usize = 3;
/// Room for the other fields.
const FIELDS_BYTES: usize = 4 << 10;

pub(super) async fn publish(
    State(hub): State<Arc<Hub>>,
    request: Request,
) -> Result<Response, Refusal> {
    if hub.settings().mercure == Switch::Off {
        return Err(not_found().await);
    }
    let (head, body) = request.into_parts();
    let who = Who::of(&head);
    let content_type = head.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let media_type = content_type.and_then(|value| value.split(|byte| *byte == b';').next());
    if !media_type.is_some_and(|known| known.trim_ascii().eq_ignore_ascii_case(FORM)) {
        let sentence = "an update is a form: send Content-Type: application/x-www-form-urlencoded";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
    }
    let bytes_max = hub.settings().message_bytes_max;
    let form_bytes_max = bytes_max
        .saturating_mul(ENCODED)
        .saturating_add(FIELDS_BYTES);
    let form = receive(&head.headers, body, form_bytes_max, too_big).await?;
    let update = Update::read(&form).map_err(|fault| bad_request(fault.to_string()))?;
    who.may_publish(&hub, &update.topic)?;
    if update.data.len() > bytes_max {
        return Err(too_big(bytes_max));
    }
    let for_anyone = hub
        .rules()
        .may(None, Action::Subscribe, update.topic.as_str());
    if update.private && for_anyone.is_ok() {
        let sentence = "this topic is for anyone to hear, so nothing in it is private: \
                        a rule may ask for a token (subscribe = \"token\")";
        return Err(bad_request(sentence.into()));
    }
    if hub.is_stopping() {
        return Err(not_now(&hub, "the server is stopping".into()));
    }
    let key = key_in(&head, &who)?;
    let patience = Patience::of(hub.clone(), &head.headers);
    let work = publish_update((hub.clone(), patience), update, key);
    let mut response = once(&hub, &who, &head, &form, work).await?;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    Ok(response)
}

/// The answer is the update's id.
async fn publish_update(
    (hub, mut patience): (Arc<Hub>, Patience),
    update: Update,
    key: Option<(String, String)>,
) -> Outcome {
    let extras = update.event.as_deref().map(|event| Extras {
        event: Some(event),
        ..Extras::default()
    });
    let message = Message {
        topic: &update.topic,
        opcode: Opcode::Text,
        payload: update.data.as_bytes(),
        extras,
        key,
        hear: false,
        origin: None,
    };
    let posted = patience.publish(message).await;
    let posted = posted.map_err(|error| match error {
        PublishError::TooBig => too_big(hub.settings().message_bytes_max),
        error => not_now(&hub, error.to_string()),
    })?;
    let landed = posted.landed().await;
    let landed = landed.map_err(|failure| posted::refuse(&hub, &failure))?;
    let mut id = Vec::new();
    let place = Place {
        epoch: landed.epoch,
        offset: landed.offset,
    };
    place.write(&mut id);
    let answer = Answer {
        status: 200,
        lines: false,
        body: id,
    };
    Ok((answer, true))
}

fn bad_request(sentence: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, sentence)
}

fn too_big(bytes_max: usize) -> Refusal {
    let sentence = format!("an update has at most {bytes_max} bytes (message_bytes_max)");
    closing(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence))
}
