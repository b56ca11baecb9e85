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

#[test]
fn a_topic_without_messages_is_the_same_for_who_comes_back_while_it_would_have_kept_some() {
    let (hub, now_ms) = hub(10);
    let retain_ms = hub.settings().retain_ms_max;
    let epoch = |hub: &Hub, topic: &str| hub.topic(&name(topic)).unwrap().epoch();
    hub.publish(&name("spoken"), Opcode::Text, b"x", None)
        .unwrap();
    let before = ["silent", "spoken"].map(|topic| epoch(&hub, topic));
    // While it is followed that does not count, however long it is silent.
    let followers = ["silent", "spoken"].map(|topic| hub.topic(&name(topic)).unwrap());
    now_ms.fetch_add(10 * retain_ms, Ordering::Relaxed);
    hub.expire();
    drop(followers);
    now_ms.fetch_add(retain_ms - 1, Ordering::Relaxed);
    hub.expire();
    assert_eq!(hub.idle_topics(), 2);
    assert_eq!(["silent", "spoken"].map(|topic| epoch(&hub, topic)), before);
    assert_eq!(hub.topic(&name("spoken")).unwrap().newest(), 1);
    // The next process knows them for as long again.
    let (next, next_ms) = self::hub(10);
    for topic in hub.all_topics() {
        next.restore_topic(&topic.save()).unwrap();
    }
    next_ms.fetch_add(retain_ms - 1, Ordering::Relaxed);
    next.expire();
    assert_eq!(
        ["silent", "spoken"].map(|topic| epoch(&next, topic)),
        before
    );
    now_ms.fetch_add(1, Ordering::Relaxed);
    hub.expire();
    assert_eq!((hub.topics_len(), hub.idle_topics()), (0, 0));
}

#[test]
fn topics_that_are_only_known_go_before_those_with_history() {
    let (hub, now_ms) = hub(2);
    hub.publish(&name("kept"), Opcode::Text, b"x", None)
        .unwrap();
    for topic in ["a", "b", "c"] {
        now_ms.fetch_add(10, Ordering::Relaxed);
        hub.topic(&name(topic)).unwrap();
        hub.expire();
        assert_eq!(names(&hub), [topic, "kept"]);
    }
}
