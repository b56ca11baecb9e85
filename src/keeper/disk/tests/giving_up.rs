//! Retention, and the disk space that it gives back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

/// `pages` pages of ten messages of 102 bytes each, synced.
fn filled(store: &mut Store, topic: &str, pages: u64) {
    for page in 0..pages {
        let mut random = Rng::with_seed(page);
        let mut messages = said(1 + 10 * page, 10, &mut random);
        for message in &mut messages {
            message.frame.resize(102, 7);
            message.time_ms = message.offset * 100;
        }
        append(store, topic, &messages);
    }
    store.sync().unwrap();
}

#[test]
fn the_number_of_messages_is_kept_exactly() {
    for sync in [false, true] {
        let room = room();
        let Opened { mut store, .. } = open(room.path());
        filled(&mut store, "a", 5);
        assert_eq!(store.retain("a", 50, u64::MAX, 0), Some(1));
        assert_eq!(store.retain("a", 33, u64::MAX, 0), Some(18));
        if sync {
            store.sync().unwrap();
            assert_eq!(all(&store.archive(), "a").len(), 33);
        }
        assert_eq!(store.stored("a").unwrap().messages, 40);
        assert_eq!(store.retain("a", 30, u64::MAX, 0), Some(21));
        // Limits that are wider again bring nothing back.
        assert_eq!(store.retain("a", 50, u64::MAX, 0), Some(21));
        assert_eq!(store.retain("a", 1, u64::MAX, 0), Some(50));
        store.sync().unwrap();
        assert_eq!(all(&store.archive(), "a").len(), 1);
        assert_eq!(store.retain("a", 0, u64::MAX, 0), None);
        assert_eq!(store.stored("a"), None);
        store.close().unwrap();
        let Opened { store, topics } = open(room.path());
        assert_eq!((topics[0].next_offset, topics[0].floor), (51, 51));
        assert_eq!(all(&store.archive(), "a"), []);
    }
}

#[test]
fn bytes_and_age_are_kept_by_whole_pages() {
    let room = room();
    let Opened { mut store, .. } = open(room.path());
    filled(&mut store, "a", 5);
    assert_eq!(store.retain("a", u64::MAX, 3 * 1020 + 1, 0), Some(11));
    assert_eq!(store.retain("a", u64::MAX, 3 * 1020, 0), Some(21));
    // The newest message of the third page has 3000.
    assert_eq!(store.retain("a", u64::MAX, u64::MAX, 3000), Some(21));
    assert_eq!(store.retain("a", u64::MAX, u64::MAX, 3001), Some(31));
    assert_eq!(store.retain("nobody", 0, 0, 0), None);
    store.sync().unwrap();
    assert_eq!(all(&store.archive(), "a").len(), 20);
    assert_eq!(store.retain("a", u64::MAX, u64::MAX, 1 << 40), None);
}

#[test]
fn what_is_not_synced_yet_can_be_given_up_too() {
    let mut random = Rng::with_seed(1);
    let room = room();
    let Opened { mut store, .. } = open(room.path());
    filled(&mut store, "a", 2);
    append(&mut store, "a", &said(21, 10, &mut random));
    append(&mut store, "a", &said(31, 10, &mut random));
    store.trim("a", 34);
    assert_eq!(store.stored("a").unwrap().oldest, 34);
    assert_eq!(store.stored("a").unwrap().messages, 10);
    // Not safe yet: the old ones are still to be read.
    assert_eq!(all(&store.archive(), "a").len(), 20);
    store.sync().unwrap();
    assert_eq!(all(&store.archive(), "a").len(), 7);
    store.trim("a", 1000);
    store.note("a", EPOCH, 2000, 0);
    store.close().unwrap();
    let Opened { topics, .. } = open(room.path());
    assert_eq!((topics[0].floor, topics[0].next_offset), (1000, 2000));
}

#[test]
fn a_topic_that_is_forgotten_leaves_nothing() {
    let mut random = Rng::with_seed(2);
    let room = room();
    let Opened { mut store, .. } = open(room.path());
    filled(&mut store, "a", 3);
    filled(&mut store, "b", 3);
    append(&mut store, "a", &said(31, 10, &mut random));
    store.forget("a");
    store.forget("nobody");
    assert_eq!(store.stored("a"), None);
    store.sync().unwrap();
    assert!(store.archive().page("a", EPOCH, 0).unwrap().is_none());
    // Forgotten and made anew between two syncs.
    store.forget("b");
    let news = said(5, 2, &mut random);
    append(&mut store, "b", &news);
    append(&mut store, "c", &news);
    store.forget("c");
    store.close().unwrap();
    let Opened { mut store, topics } = open(room.path());
    assert_eq!(topics.len(), 1);
    assert_eq!(all(&store.archive(), "b"), news);
    store.forget("b");
    store.tidy().unwrap();
    store.close().unwrap();
    let Opened { store, topics } = open(room.path());
    assert_eq!(topics, []);
    assert_eq!(store.bytes(), 0);
    assert_eq!(shelves(room.path()), [] as [&Path; 0]);
}

#[test]
fn shelves_of_which_nothing_is_wanted_are_deleted() {
    let room = room();
    let Opened { mut store, .. } = open(room.path());
    filled(&mut store, "a", 100);
    let before = store.bytes();
    assert!(before > 100 * 1020);
    assert!(shelves(room.path()).len() > 5);
    store.retain("a", 100, u64::MAX, 0);
    store.tidy().unwrap();
    assert!(store.bytes() < before / 4);
    assert!(shelves(room.path()).len() <= 2);
    assert_eq!(all(&store.archive(), "a").len(), 100);
    let on_disk: u64 = shelves(room.path())
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!(store.bytes(), on_disk);
}

#[test]
fn what_is_wanted_of_a_sparse_shelf_moves_while_it_is_read() {
    let room = room();
    let Opened { mut store, .. } = open(room.path());
    // Pages of many topics on each shelf, of which few keep theirs.
    let names: Vec<String> = (0..40).map(|number| format!("topic {number}")).collect();
    for page in 0..20 {
        for name in &names {
            let mut random = Rng::with_seed(page);
            append(&mut store, name, &said(1 + 10 * page, 10, &mut random));
        }
        store.sync().unwrap();
    }
    let kept = &names[..4];
    let expected: Vec<Vec<Said>> = kept
        .iter()
        .map(|name| all(&store.archive(), name))
        .collect();
    let (archive, before) = (store.archive(), store.bytes());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Acquire) || rounds < 3 {
                for (name, expected) in kept.iter().zip(&expected) {
                    assert!(all(&archive, name) == *expected);
                }
                rounds += 1;
            }
        });
        for name in &names[4..] {
            store.forget(name);
        }
        for _ in 0..500 {
            store.tidy().unwrap();
        }
        done.store(true, Ordering::Release);
        reading.join().unwrap();
    });
    assert!(store.bytes() < before / 4, "{} of {before}", store.bytes());
    drop(store);
    let Opened { store, topics } = open(room.path());
    assert_eq!(topics.len(), 4);
    for (name, expected) in kept.iter().zip(&expected) {
        assert!(all(&store.archive(), name) == *expected);
    }
}

#[test]
fn a_sparse_shelf_that_cannot_be_gone_along_stays() {
    let room = room();
    let Opened { mut store, .. } = open(room.path());
    filled(&mut store, "a", 10);
    filled(&mut store, "b", 10);
    filled(&mut store, "c", 30);
    store.forget("a");
    store.trim("b", 91);
    store.sync().unwrap();
    let first = &shelves(room.path())[0];
    let mut bytes = fs::read(first).unwrap();
    bytes[0] ^= 1;
    fs::write(first, bytes).unwrap();
    for _ in 0..20 {
        store.tidy().unwrap();
    }
    assert_eq!(read(&store.archive(), "b", 0).0.len(), 10);
    assert_eq!(all(&store.archive(), "c").len(), 300);
}
