//! The answer, without a socket.

use std::task::Poll;

use serde_json::Value;

use super::*;
use crate::config::Settings;
use crate::protocol::dialect::Dialect;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Opcode;

fn world(settings: Settings) -> (Arc<Hub>, Arc<Overview>) {
    let hub = Hub::new(settings).unwrap();
    let overview = Arc::new(Overview::new(hub.clone()));
    (hub, overview)
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(test);
}

async fn look_at(overview: &Arc<Overview>, now: Instant, wanted: Wanted) -> Value {
    serde_json::to_value(overview.look(&wanted, now).await).unwrap()
}

async fn look(overview: &Arc<Overview>, wanted: Wanted) -> Value {
    look_at(overview, Instant::now(), wanted).await
}

fn publish(hub: &Hub, topic: &str, times: usize) {
    let name = TopicName::new(topic).unwrap();
    for _ in 0..times {
        hub.publish_from(&name, Opcode::Text, b"payload", None, None, None)
            .unwrap();
    }
}

fn names(shown: &Value) -> Vec<&str> {
    let topics = shown["topics"]["shown"].as_array().unwrap();
    topics
        .iter()
        .map(|topic| topic["name"].as_str().unwrap())
        .collect()
}

#[test]
fn rates_are_those_since_the_sample_before_and_unknown_at_first() {
    let (hub, overview) = world(Settings::default());
    run(async {
        publish(&hub, "a", 3);
        let begin = Instant::now();
        let shown = look_at(&overview, begin, Wanted::default()).await;
        assert!(shown["window_ms"].is_null());
        assert!(shown["topics"]["shown"][0]["messages_per_s"].is_null());
        assert!(shown["traffic"]["deliveries"]["per_s"].is_null());
        publish(&hub, "a", 40);
        publish(&hub, "b", 10);
        let later = begin + Duration::from_secs(2);
        let shown = look_at(&overview, later, Wanted::default()).await;
        assert_eq!(shown["window_ms"], 2000);
        assert_eq!(shown["topics"]["count"], 2);
        let a = &shown["topics"]["shown"][0];
        assert_eq!((&a["name"], &a["offset"]), (&"a".into(), &43.into()));
        assert_eq!(a["messages_per_s"], 20.0);
        // A header of two bytes each.
        assert_eq!(a["bytes_per_s"], 20.0 * 9.0);
        // It is new, so nobody knows how fast it is.
        assert!(shown["topics"]["shown"][1]["messages_per_s"].is_null());
        assert_eq!(shown["traffic"]["messages_posted"]["total"], 53);
        assert_eq!(shown["traffic"]["messages_posted"]["per_s"], 25.0);
    });
}

#[test]
fn who_goes_while_a_sample_is_taken_takes_nothing_along() {
    let (hub, overview) = world(Settings::default());
    run(async {
        // So many that others get a turn in between.
        for topic in 0..2048 {
            publish(&hub, &format!("{topic:04}"), 1);
        }
        let begin = Instant::now();
        look_at(&overview, begin, Wanted::default()).await;
        let later = begin + Duration::from_secs(1);
        let wanted = Wanted::default();
        let mut left = Box::pin(overview.look(&wanted, later));
        let first = std::future::poll_fn(|cx| Poll::Ready(left.as_mut().poll(cx))).await;
        assert!(first.is_pending());
        drop(left);
        let shown = look_at(&overview, later, Wanted::default()).await;
        assert_eq!(shown["window_ms"], 1000);
        assert_eq!(shown["topics"]["shown"][0]["messages_per_s"], 0.0);
    });
}

#[test]
fn whoever_asks_soon_after_another_is_given_the_same_sample() {
    let (hub, overview) = world(Settings::default());
    run(async {
        let begin = Instant::now();
        look_at(&overview, begin, Wanted::default()).await;
        publish(&hub, "a", 1);
        let soon = begin + SAMPLE_MIN - Duration::from_millis(1);
        let shown = look_at(&overview, soon, Wanted::default()).await;
        assert_eq!(shown["topics"]["count"], 0);
        let shown = look_at(&overview, begin + SAMPLE_MIN, Wanted::default()).await;
        assert_eq!(shown["topics"]["count"], 1);
        assert_eq!(shown["window_ms"], 500);
    });
}

#[test]
fn what_was_seen_is_forgotten_when_nobody_has_asked_for_a_while() {
    let (_hub, overview) = world(Settings::default());
    run(async {
        let begin = Instant::now();
        look_at(&overview, begin, Wanted::default()).await;
        let asked = begin + FORGET / 2;
        look_at(&overview, asked, Wanted::default()).await;
        let forget = async |now| overview.seen.lock().await.forget(now);
        assert_eq!(forget(begin + FORGET).await, Some(asked + FORGET));
        assert!(overview.seen.lock().await.sample.is_some());
        assert_eq!(forget(asked + FORGET).await, None);
        let shown = look_at(&overview, asked + 2 * FORGET, Wanted::default()).await;
        assert!(shown["window_ms"].is_null());
        assert_eq!(shown["recent_ms"], 0);
    });
}

#[test]
fn topics_are_chosen_by_rate_size_or_name_and_filtered() {
    let (hub, overview) = world(Settings::default());
    run(async {
        for (topic, times) in [("news/a", 1), ("news/B", 1), ("sport", 1), ("zero", 1)] {
            publish(&hub, topic, times);
        }
        let begin = Instant::now();
        look_at(&overview, begin, Wanted::default()).await;
        publish(&hub, "sport", 5);
        publish(&hub, "news/B", 9);
        publish(&hub, "news/a", 2);
        let later = begin + Duration::from_secs(1);
        let wanted = |by, filter: &str, topics| Wanted {
            by,
            filter: filter.into(),
            topics,
            connections: 0,
        };
        let shown = look_at(&overview, later, wanted(By::Messages, "", 3)).await;
        assert_eq!(names(&shown), ["news/B", "sport", "news/a"]);
        assert_eq!(shown["topics"]["count"], 4);
        let shown = look_at(&overview, later, wanted(By::Name, "NEWS/", 9)).await;
        assert_eq!(names(&shown), ["news/B", "news/a"]);
        let shown = look_at(&overview, later, wanted(By::Bytes, "", 1)).await;
        assert_eq!(names(&shown), ["news/B"]);
        let shown = look_at(&overview, later, wanted(By::Lag, "", 0)).await;
        assert_eq!(names(&shown), [""; 0]);
    });
}

#[test]
fn slow_connections_are_shown_with_the_lag_of_their_topics() {
    let (hub, overview) = world(Settings {
        cores: 2,
        ..Settings::default()
    });
    run(async {
        publish(&hub, "a", 1);
        look(&overview, Wanted::default()).await;
        let slow = |lag_bytes, topic: Option<&str>| Slow {
            address: ([192, 0, 2, 1], 5).into(),
            dialect: Dialect::Numbered,
            tls: true,
            user: Some("ann".into()),
            topic: topic.map(Into::into),
            subscriptions: 1,
            lag_bytes,
            stalled_ms: 250,
        };
        hub.slowest().tell(0, vec![slow(7, Some("a"))]);
        hub.slowest()
            .tell(1, vec![slow(9, Some("a")), slow(8, None)]);
        let wanted = Wanted {
            connections: 2,
            ..Wanted::default()
        };
        let shown = look(&overview, wanted).await;
        let first = serde_json::json!({
            "address": "192.0.2.1:5", "core": 1, "dialect": "numbered", "tls": true,
            "user": "ann", "topic": "a", "subscriptions": 1, "lag_bytes": 9, "stalled_ms": 250,
        });
        assert_eq!(shown["slowest"][0], first);
        assert_eq!(shown["slowest"].as_array().unwrap().len(), 2);
        assert_eq!(shown["topics"]["shown"][0]["lag_bytes"], 9);
    });
}

#[test]
fn limits_come_nearest_to_their_end_first_and_warn() {
    let (hub, overview) = world(Settings {
        topics_max: 2,
        ..Settings::default()
    });
    run(async {
        publish(&hub, "a", 1);
        publish(&hub, "b", 1);
        let shown = look(&overview, Wanted::default()).await;
        let limit = &shown["limits"][0];
        assert_eq!(
            (&limit["name"], &limit["used"]),
            (&"topics_max".into(), &2.into())
        );
        let warnings = shown["warnings"].as_array().unwrap();
        let warning = warnings
            .iter()
            .find(|warning| warning["about"] == "topics_max")
            .unwrap();
        assert_eq!(warning["level"], "critical");
        assert_eq!(warning["says"], "topics are at 100 % of topics_max");
    });
}
