use super::*;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Opcode;

fn hub(topics_max: usize) -> (Arc<Hub>, Arc<AtomicU64>) {
    let now_ms = Arc::new(AtomicU64::new(1_000_000));
    let settings = Settings {
        cores: 1,
        topics_max,
        ..Settings::default()
    };
    let hub = Hub::with_clock(settings, Clock::Manual(now_ms.clone(), now_ms.clone())).unwrap();
    (hub, now_ms)
}

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn names(hub: &Hub) -> Vec<String> {
    let topics = hub.topics("", "", usize::MAX);
    topics
        .iter()
        .map(|(topic, _)| topic.name().to_string())
        .collect()
}

#[test]
fn the_topic_that_nobody_reads_and_that_was_quiet_longest_makes_room() {
    let (hub, now_ms) = hub(3);
    for topic in ["a", "b", "c"] {
        now_ms.fetch_add(10, Ordering::Relaxed);
        hub.publish(&name(topic), Opcode::Text, b"x", None).unwrap();
    }
    now_ms.fetch_add(10, Ordering::Relaxed);
    hub.publish(&name("a"), Opcode::Text, b"again", None)
        .unwrap();
    let held = hub.topic(&name("b")).unwrap();
    hub.topic(&name("d")).unwrap();
    assert_eq!(names(&hub), ["a", "b", "d"]);
    // A topic without a message has been quiet for ever.
    hub.publish(&name("e"), Opcode::Text, b"x", None).unwrap();
    assert_eq!(names(&hub), ["a", "b", "e"]);
    assert_eq!(hub.evictions(), 2);
    drop(held);
}

#[test]
fn a_flood_of_names_shuts_nobody_out_and_takes_no_topic_that_is_read() {
    let (hub, now_ms) = hub(1000);
    let read: Vec<_> = (0..500)
        .map(|n| hub.topic(&name(&format!("read-{n}"))).unwrap())
        .collect();
    for n in 0..5000 {
        now_ms.fetch_add(1, Ordering::Relaxed);
        hub.publish(&name(&format!("flood-{n:04}")), Opcode::Text, b"x", None)
            .unwrap();
    }
    hub.topic(&name("new")).unwrap();
    let there = names(&hub);
    assert_eq!(there.len(), 1000);
    assert_eq!(
        there
            .iter()
            .filter(|name| name.starts_with("read-"))
            .count(),
        read.len()
    );
    // Those that spoke last are still there.
    assert!((4600..5000).all(|n| there.contains(&format!("flood-{n:04}"))));
}

#[test]
fn where_all_topics_are_in_use_there_is_no_room_and_nobody_looks_for_it_often() {
    let (hub, now_ms) = hub(2);
    let held = [
        hub.topic(&name("a")).unwrap(),
        hub.topic(&name("b")).unwrap(),
    ];
    assert_eq!(hub.topic(&name("c")).err(), Some(TopicsFull));
    drop(held);
    assert_eq!(hub.topic(&name("c")).err(), Some(TopicsFull));
    now_ms.fetch_add(1000, Ordering::Relaxed);
    hub.topic(&name("c")).unwrap();
}
