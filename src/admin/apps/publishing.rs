//! Publishes an event to each of its channels.

use std::sync::Arc;

use axum::http::StatusCode;
use tokio::task::yield_now;

use super::signed::bad;
use crate::admin::patience::{Message, Patience};
use crate::admin::posted;
use crate::admin::reply::{Refusal, not_now};
use crate::hub::{Hub, Origin, PublishError};
use crate::protocol::encoding::Extras;
use crate::protocol::pusher::{App, Event};
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Opcode;

/// Where it fails, the channels before have the event.
pub(super) async fn publish(
    hub: &Arc<Hub>,
    patience: &mut Patience,
    app: &App,
    event: &Event,
) -> Result<(), Refusal> {
    let topics: Result<Vec<_>, _> = event
        .channels
        .iter()
        .map(|channel| TopicName::new(&app.topic_of(channel)))
        .collect();
    let topics = topics.map_err(|error| bad(error.to_string()))?;
    let mut posted = Vec::with_capacity(topics.len());
    for topic in &topics {
        // The others that this thread serves get a turn.
        yield_now().await;
        let message = Message {
            topic,
            opcode: Opcode::Text,
            payload: event.data.as_bytes(),
            extras: Some(Extras {
                event: Some(&event.name),
                ..Extras::default()
            }),
            key: None,
            hear: false,
            origin: event.socket_id.map(Origin::from),
        };
        let sent = patience.publish(message).await;
        posted.push(sent.map_err(|error| match error {
            PublishError::TooBig => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            error => not_now(hub, error.to_string()),
        })?);
    }
    // A cluster decides on all of them at once.
    for posted in posted {
        let landed = posted.landed().await;
        landed.map_err(|failure| posted::refuse(hub, &failure))?;
    }
    Ok(())
}
