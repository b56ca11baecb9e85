//! The scribe's thread, as publishers meet it.

use std::sync::atomic::AtomicBool;

use super::super::disk::Opened;
use super::*;
use crate::config::{Keep, Settings};
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Opcode;

/// What is broken is seen after this.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn who_waits_for_the_store_does_not_wait_for_more_to_be_published_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        cores: 1,
        keep: Keep::Disk,
        store: Some(folder.path().join("store")),
        // Nothing is synced because of time either.
        store_sync_ms: 60_000,
        ..Settings::default()
    };
    let store = settings.store.clone().unwrap();
    let hub = Hub::new(settings).unwrap();
    let gather = Duration::from_secs(1 << 30);
    let scribe = Scribe::gathering(&hub, true, gather).unwrap().unwrap();
    let (hasty, patient): (TopicName, TopicName) = (
        TopicName::new("hasty").unwrap(),
        TopicName::new("patient").unwrap(),
    );
    let is_over = AtomicBool::new(false);
    let published = thread::scope(|scope| {
        let hasty = scope.spawn(|| {
            let mut published = 0;
            while !is_over.load(Ordering::Acquire) {
                let payload = format!("{}", published + 1);
                match hub.publish(&hasty, Opcode::Text, payload.as_bytes(), None) {
                    Ok(_) => published += 1,
                    Err(error) => assert!(error.passes(), "{error}"),
                }
                thread::yield_now();
            }
            published
        });
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        for number in 1..=30u64 {
            let payload = number.to_string();
            let published = hub.publish(&patient, Opcode::Text, payload.as_bytes(), None);
            let (committed, _) = published.unwrap();
            assert_eq!(committed.offset, number);
            let topic = hub.find_topic(patient.as_str()).unwrap();
            let stored = hub.stored(&topic, committed.offset, PATIENCE);
            assert_eq!(runtime.block_on(stored), Ok(()));
        }
        is_over.store(true, Ordering::Release);
        hasty.join().unwrap()
    });
    scribe.stop();
    let Opened { topics, .. } = Store::open(&store).unwrap();
    let next = |name: &TopicName| {
        let stored = topics.iter().find(|stored| stored.name == name.as_str());
        let stored = stored.expect("it is kept");
        assert!(!stored.leapt);
        stored.next_offset
    };
    assert_eq!((next(&patient), next(&hasty)), (31, published + 1));
}
