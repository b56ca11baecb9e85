//! How many are in a channel, on all nodes.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::admin::api::everywhere::subscribers;
use crate::admin::reply::{Refusal, not_now};
use crate::hub::Hub;
use crate::protocol::pusher::{Access, App, Attributes, ChannelKind};
use crate::protocol::topic::TopicName;

/// What is asked of channels that something has been published to, in their order.
///
/// What cannot be found out is left out: an error would have it published again.
pub(super) async fn counts(
    hub: &Arc<Hub>,
    app: &App,
    asked: &[(&str, Attributes)],
) -> Vec<Map<String, Value>> {
    // All in one question, as other nodes may take their time to answer.
    let counted = asked.iter().filter(|(_, info)| info.subscription_count);
    let topics: Vec<String> = counted.map(|(channel, _)| app.topic_of(channel)).collect();
    let followed = match topics.is_empty() {
        true => None,
        false => subscribers(hub, topics).await.ok(),
    };
    let followed: Option<HashMap<_, _>> = followed.map(|topics| topics.into_iter().collect());
    let tell = |(channel, info): &(&str, Attributes)| {
        let of_topic = |topics: &HashMap<Arc<str>, u64>| {
            let topic = app.topic_of(channel);
            topics.get(&*topic).copied().unwrap_or_default()
        };
        count(hub, app, channel, *info, followed.as_ref().map(of_topic))
    };
    asked.iter().map(tell).collect()
}

/// What is asked of a channel; without `subscriptions` it is not known how many there are.
pub(super) fn count(
    hub: &Hub,
    app: &App,
    channel: &str,
    info: Attributes,
    subscriptions: Option<u64>,
) -> Map<String, Value> {
    let mut told = Map::new();
    let is_presence = ChannelKind::of(channel).access == Access::Presence;
    if info.user_count
        && is_presence
        && let Ok(topic) = TopicName::new(&app.topic_of(channel))
    {
        told.insert("user_count".to_owned(), hub.occupancy(&topic).users.into());
    }
    if info.subscription_count
        && let Some(subscriptions) = subscriptions
    {
        told.insert("subscription_count".to_owned(), subscriptions.into());
    }
    told
}

/// Other nodes could not be asked, or cores take too long.
pub(super) fn failed(hub: &Hub) -> Refusal {
    not_now(hub, "not all of the server has answered: try again".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::protocol::pusher::sample_app;

    #[tokio::test]
    async fn each_channel_is_told_what_is_asked_of_it_and_is_known() {
        let hub = Hub::new(Settings::default()).unwrap();
        let app = sample_app();
        let asks = |info| Attributes::read(info).unwrap();
        let asked = [
            ("a", asks("subscription_count")),
            ("presence-b", asks("user_count")),
            ("c", asks("user_count")),
        ];
        let told = serde_json::to_string(&counts(&hub, &app, &asked).await).unwrap();
        assert_eq!(told, r#"[{"subscription_count":0},{"user_count":0},{}]"#);
        let (channel, info) = asked[0];
        assert!(count(&hub, &app, channel, info, None).is_empty());
    }
}
