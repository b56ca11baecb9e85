//! Power losses: of what was written behind the last sync, anything may be there.

use super::*;

/// A store at a sync, and the same some syncs later.
struct Losses {
    room: TempDir,
    random: Rng,
    /// Messages of "a" at each of those syncs.
    expected: Vec<Vec<Said>>,
}

const JOURNAL: &str = "index/0.jnl";
const SHELF: &str = "shelf-0000000001";

impl Losses {
    /// If the journal is `fresh`, it is as the engine makes it: long, and empty at its end.
    fn new(fresh: bool) -> Losses {
        let (room, mut random) = (room(), Rng::with_seed(1));
        let (live, early) = (room.path().join("live"), room.path().join("early"));
        let mut messages = Vec::new();
        let mut expected = Vec::new();
        let Opened { mut store, .. } = open(&live);
        if !fresh {
            store.close().unwrap();
            Opened { store, .. } = open(&live);
        }
        for sync in 0..4 {
            for _ in 0..2 {
                let more = said(1 + messages.len() as u64, 5, &mut random);
                append(&mut store, "a", &more);
                messages.extend(more);
            }
            store.note("b", 9, messages.len() as u64, 0);
            store.sync().unwrap();
            if sync == 1 {
                copy(&live, &early);
            }
            if sync > 0 {
                expected.push(messages.clone());
            }
        }
        let late = room.path().join("late");
        copy(&live, &late);
        Losses {
            room,
            random,
            expected,
        }
    }

    fn read(&self, state: &str, file: &str) -> Vec<u8> {
        let mut bytes = fs::read(self.room.path().join(state).join(file)).unwrap();
        // A journal's empty end.
        bytes.truncate(
            bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1),
        );
        bytes
    }

    /// Opens a store with such a journal and such a shelf. Returns at how many of the later
    /// syncs it stands.
    fn check(&mut self, journal: &[u8], shelf: &[u8]) -> usize {
        let folder = self.room.path().join("lost");
        fs::create_dir_all(folder.join("index")).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        // All but the journal is as it was at the early sync.
        let early = self.room.path().join("early");
        for name in ["format", "synced", "index/version", "index/lock"] {
            fs::copy(early.join(name), folder.join(name)).unwrap();
        }
        copy(
            &early.join("index/keyspaces"),
            &folder.join("index/keyspaces"),
        );
        fs::write(folder.join(JOURNAL), journal).unwrap();
        fs::write(folder.join(SHELF), shelf).unwrap();
        let Opened { mut store, topics } = open(&folder);
        let messages = all(&store.archive(), "a");
        let stage = self
            .expected
            .iter()
            .position(|expected| *expected == messages);
        let stage = stage.expect("all of a sync is there, or nothing of it");
        let topic = topics.iter().find(|topic| topic.name == "a").unwrap();
        assert_eq!(topic.next_offset, messages.len() as u64 + 1 + LEAP);
        assert!(topic.leapt);
        // It goes on well.
        let more = said(topic.next_offset, 5, &mut self.random);
        append(&mut store, "a", &more);
        store.close().unwrap();
        let Opened { store, .. } = open(&folder);
        let mut longer = messages;
        longer.extend(more);
        assert!(all(&store.archive(), "a") == longer);
        drop(store);
        fs::remove_dir_all(&folder).unwrap();
        stage
    }
}

#[test]
fn a_shelf_may_end_anywhere_behind_the_last_sync() {
    let mut losses = Losses::new(false);
    let journal = losses.read("early", JOURNAL);
    let (early, late) = (losses.read("early", SHELF), losses.read("late", SHELF));
    assert!(late.len() > early.len() + 100);
    for len in (early.len()..=late.len()).step_by(71) {
        assert_eq!(losses.check(&journal, &late[..len]), 0);
        // Its length may be known when its bytes are not.
        let mut hollow = late[..len].to_vec();
        hollow[early.len()..].fill(0);
        assert_eq!(losses.check(&journal, &hollow), 0);
    }
}

#[test]
fn the_index_may_end_anywhere_behind_the_last_sync() {
    for fresh in [false, true] {
        let mut losses = Losses::new(fresh);
        let (early, late) = (losses.read("early", JOURNAL), losses.read("late", JOURNAL));
        let shelf = losses.read("late", SHELF);
        let mut stages = [0; 3];
        for len in (early.len()..=late.len()).step_by(if fresh { 41 } else { 11 }) {
            let mut journal = late[..len].to_vec();
            if fresh {
                journal.resize(late.len() + 5000, 0);
            }
            stages[losses.check(&journal, &shelf)] += 1;
        }
        stages[losses.check(&late, &shelf)] += 1;
        assert!(stages.iter().all(|count| *count > 0), "{stages:?}");
    }
}

#[test]
fn the_last_batch_of_the_index_may_have_holes() {
    let mut losses = Losses::new(true);
    let (early, late) = (losses.read("early", JOURNAL), losses.read("late", JOURNAL));
    let shelf = losses.read("late", SHELF);
    // Where the second of the later syncs ends: the third one's batch is as long.
    let last = late.len() - (late.len() - early.len()) / 2;
    let mut random = Rng::with_seed(7);
    for _ in 0..25 {
        let mut journal = late.clone();
        let start = random.usize(last..late.len() - 1);
        let end = random.usize(start + 1..=late.len());
        // Bytes that are zero anyway make no hole.
        if journal[start..end].iter().all(|byte| *byte == 0) {
            continue;
        }
        journal[start..end].fill(0);
        journal.resize(late.len() + 5000, 0);
        assert_eq!(losses.check(&journal, &shelf), 1);
    }
}
