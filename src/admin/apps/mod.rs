//! `/apps/{id}/…`: the HTTP API of the Pusher Channels protocol, for the servers of apps.
//!
//! A signed query says which app asks, and stands in for a key: see `signed`. Bodies are read in
//! `protocol::pusher`, what is asked for the hub does. Called by `routes`.

mod counts;
mod publishing;
mod signed;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use self::counts::{count, counts, failed};
use self::publishing::publish;
use self::signed::{Signed, bad};
use super::api::everywhere::{occupied, subscribers, terminate};
use super::patience::Patience;
use super::reply::{Json, Refusal};
use crate::hub::{Hub, PostRefusal};
use crate::protocol::pusher::Access;
use crate::protocol::pusher::{
    App, Attributes, BodyFault, ChannelKind, USER_CHANNEL, check_channel, check_target,
    decode_batch, decode_event,
};
use crate::protocol::topic::TopicName;

/// What a body has beside its data.
const BODY_SPARE_BYTES: usize = 64 << 10;
/// As much longer data may be that is escaped: each byte as `\u0000`.
const ESCAPED_MAX: usize = 6;

type Answer = Result<Json<Value>, Refusal>;

/// `POST /apps/{id}/events`
pub(super) async fn events(State(hub): State<Arc<Hub>>, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    let signed = Signed::of(&hub, &head)?;
    let app = &signed.app;
    let bytes_max = body_bytes_max(app, 1);
    let body = signed.body(&hub, &head, body, bytes_max).await?;
    let event = decode_event(app, &body).map_err(|fault| refuse(&hub, &fault))?;
    let mut patience = Patience::of(hub.clone(), &head.headers);
    publish(&hub, &mut patience, app, &event).await?;
    if !event.info.are_asked() {
        return Ok(Json(json!({})));
    }
    let channels = event.channels.iter();
    let asked: Vec<_> = channels.map(|channel| (&**channel, event.info)).collect();
    let told = counts(&hub, app, &asked).await;
    let told = event.channels.iter().cloned().zip(told);
    let channels: Map<_, _> = told.map(|(name, told)| (name, told.into())).collect();
    Ok(Json(json!({ "channels": channels })))
}

/// `POST /apps/{id}/batch_events`
pub(super) async fn batch_events(State(hub): State<Arc<Hub>>, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    let signed = Signed::of(&hub, &head)?;
    let app = &signed.app;
    let bytes_max = body_bytes_max(app, app.batch_events_max).min(hub.settings().batch_bytes_max);
    let body = signed.body(&hub, &head, body, bytes_max).await?;
    let events = decode_batch(app, &body).map_err(|fault| refuse(&hub, &fault))?;
    let mut patience = Patience::of(hub.clone(), &head.headers);
    for event in &events {
        publish(&hub, &mut patience, app, event).await?;
    }
    if !events.iter().any(|event| event.info.are_asked()) {
        return Ok(Json(json!({})));
    }
    // Each goes to one channel, nearly always.
    let asked = events.iter().map(|event| (&*event.channels[0], event.info));
    let asked: Vec<_> = asked.collect();
    let batch = counts(&hub, app, &asked).await;
    Ok(Json(json!({ "batch": batch })))
}

/// `GET /apps/{id}/channels`
pub(super) async fn channels(State(hub): State<Arc<Hub>>, request: Request) -> Answer {
    let (head, _) = request.into_parts();
    let signed = Signed::of(&hub, &head)?;
    let app = &signed.app;
    let info = signed.info()?;
    let filter = signed.query.get("filter_by_prefix").unwrap_or_default();
    if info.user_count && ChannelKind::of(filter).access != Access::Presence {
        let sentence = "user_count is told of presence channels: \
                        ask with filter_by_prefix=presence-";
        return Err(bad(sentence));
    }
    let topics = occupied(&hub, app.topic_of(filter)).await;
    let mut channels = Map::new();
    for (topic, subscriptions) in topics.map_err(|_| failed(&hub))? {
        let channel = &topic[app.prefix.len()..];
        // Other topics may begin so, and users' channels are no matter of others.
        if check_channel(channel).is_ok() {
            let told = count(&hub, app, channel, info, Some(subscriptions));
            channels.insert(channel.to_owned(), told.into());
        }
    }
    Ok(Json(json!({ "channels": channels })))
}

/// `GET /apps/{id}/channels/{channel}`
pub(super) async fn channel(State(hub): State<Arc<Hub>>, request: Request) -> Answer {
    let (head, _) = request.into_parts();
    let signed = Signed::of(&hub, &head)?;
    let channel = signed.channel()?;
    let info = signed.info()?;
    if info.user_count && ChannelKind::of(&channel).access != Access::Presence {
        return Err(bad("user_count is told of presence channels"));
    }
    let counted = subscribers(&hub, vec![signed.app.topic_of(&channel)]).await;
    let counted = counted.map_err(|_| failed(&hub))?;
    let subscriptions = counted.iter().map(|(_, count)| count).sum();
    let mut told = count(&hub, &signed.app, &channel, info, Some(subscriptions));
    told.insert("occupied".to_owned(), (subscriptions > 0).into());
    Ok(Json(told.into()))
}

/// `GET /apps/{id}/channels/{channel}/users`
pub(super) async fn users(State(hub): State<Arc<Hub>>, request: Request) -> Answer {
    let (head, _) = request.into_parts();
    let signed = Signed::of(&hub, &head)?;
    let channel = signed.channel()?;
    if ChannelKind::of(&channel).access != Access::Presence {
        return Err(bad("users are told of presence channels"));
    }
    let topic = topic(&signed.app, &channel)?;
    let members = hub.members(&topic).unwrap_or_default();
    let mut ids: Vec<&str> = members.iter().map(|member| &*member.user).collect();
    ids.sort_unstable();
    ids.dedup();
    // Those without an id have not come by the protocol.
    let ids = ids.into_iter().filter(|id| !id.is_empty());
    let users: Vec<Value> = ids.map(|id| json!({ "id": id })).collect();
    Ok(Json(json!({ "users": users })))
}

/// `POST /apps/{id}/users/{user}/terminate_connections`
pub(super) async fn terminate_connections(State(hub): State<Arc<Hub>>, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    let signed = Signed::of(&hub, &head)?;
    signed.body(&hub, &head, body, BODY_SPARE_BYTES).await?;
    let user = signed.parameter(2)?;
    let named = check_target(&format!("{USER_CHANNEL}{user}"));
    named.map_err(|fault| bad(fault.to_string()))?;
    let app = &signed.app;
    let ended = terminate(&hub, &app.key, app.topic_of(&user)).await;
    ended.map_err(|_| failed(&hub))?;
    Ok(Json(json!({})))
}

impl Signed {
    /// The channel that the path names.
    fn channel(&self) -> Result<String, Refusal> {
        let channel = self.parameter(2)?;
        check_channel(&channel).map_err(|fault| bad(fault.to_string()))?;
        Ok(channel)
    }

    /// What the query wants to be told of channels.
    fn info(&self) -> Result<Attributes, Refusal> {
        let info = Attributes::read(self.query.get("info").unwrap_or_default());
        info.map_err(|fault| bad(fault.to_string()))
    }
}

fn topic(app: &App, channel: &str) -> Result<TopicName, Refusal> {
    TopicName::new(&app.topic_of(channel)).map_err(|error| bad(error.to_string()))
}

fn body_bytes_max(app: &App, events: usize) -> usize {
    let data = app.event_bytes_max.saturating_mul(ESCAPED_MAX);
    data.saturating_mul(events).saturating_add(BODY_SPARE_BYTES)
}

fn refuse(hub: &Hub, fault: &BodyFault) -> Refusal {
    if matches!(
        fault,
        BodyFault::TooManyChannels(_) | BodyFault::TooManyEvents(_)
    ) {
        hub.posts().note_refusal(PostRefusal::ApiItems);
    }
    let status = match fault.is_too_long() {
        true => StatusCode::PAYLOAD_TOO_LARGE,
        false => StatusCode::BAD_REQUEST,
    };
    Refusal::new(status, fault.to_string())
}
