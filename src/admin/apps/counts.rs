//! How many are in a channel, on all nodes.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::admin::api::everywhere::subscribers;
use crate::admin::reply::{Refusal, not_now};
use crate::hub::Hub;
use crate::protocol::pusher::{Access, App, Attributes, ChannelKind};
use crate::protocol::topic::TopicName;

/// What is asked of a channel whose subscribers are not known yet.
pub(super) async fn counts(
    hub: &Arc<Hub>,
    app: &App,
    channel: &str,
    info: Attributes,
) -> Result<Map<String, Value>, Refusal> {
    let subscriptions = match info.subscription_count {
        true => subscribers(hub, app.topic_of(channel)).await,
        false => Ok(0),
    };
    let subscriptions = subscriptions.map_err(|_| failed(hub))?;
    Ok(count(hub, app, channel, info, subscriptions))
}

/// What is asked of a channel.
pub(super) fn count(
    hub: &Hub,
    app: &App,
    channel: &str,
    info: Attributes,
    subscriptions: u64,
) -> Map<String, Value> {
    let mut told = Map::new();
    let is_presence = ChannelKind::of(channel).access == Access::Presence;
    if info.user_count
        && is_presence
        && let Ok(topic) = TopicName::new(&app.topic_of(channel))
    {
        told.insert("user_count".to_owned(), hub.occupancy(&topic).users.into());
    }
    if info.subscription_count {
        told.insert("subscription_count".to_owned(), subscriptions.into());
    }
    told
}

/// Other nodes could not be asked, or cores take too long.
pub(super) fn failed(hub: &Hub) -> Refusal {
    not_now(hub, "not all of the server has answered: try again".into())
}
