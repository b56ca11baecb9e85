//! Anything in any order, against topics that are lists.

use std::collections::BTreeMap;

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Default)]
struct List {
    epoch: u64,
    next_offset: u64,
    newest: u64,
    floor: u64,
    time_ms: u64,
    pages: Vec<Vec<Said>>,
}

impl List {
    fn wanted(&self) -> Vec<Said> {
        let all = self.pages.iter().flatten();
        all.filter(|said| said.offset >= self.floor)
            .cloned()
            .collect()
    }

    fn let_go(&mut self) {
        let floor = self.floor;
        self.pages
            .retain(|page| page.last().unwrap().offset >= floor);
    }

    fn retain(&mut self, messages_max: u64, bytes_max: u64, oldest_ms: u64) {
        let count = |pages: &[Vec<Said>]| pages.iter().map(|page| page.len() as u64).sum::<u64>();
        let bytes = |pages: &[Vec<Said>]| {
            let frames = pages.iter().flatten().map(|said| said.frame.len() as u64);
            frames.sum::<u64>()
        };
        while let Some((front, rest)) = self.pages.split_first() {
            let last = front.last().unwrap();
            let enough = count(rest) >= messages_max || bytes(rest) >= bytes_max;
            if !enough && last.time_ms >= oldest_ms {
                break;
            }
            self.floor = self.floor.max(last.offset + 1);
            self.pages.remove(0);
        }
        if let Some(front) = self.pages.first() {
            let beyond = count(&self.pages).saturating_sub(messages_max) as usize;
            // Only where offsets have no gaps is the floor exact.
            if front.last().unwrap().offset - front[0].offset + 1 == front.len() as u64 {
                self.floor = self.floor.max(front[0].offset + beyond as u64);
            }
        }
    }
}

type Lists = BTreeMap<&'static str, List>;

fn check(store: &Store, lists: &Lists, synced: &Lists) {
    let archive = store.archive();
    for name in NAMES {
        let list = lists.get(name).cloned().unwrap_or_default();
        let wanted = list.wanted();
        let stored = store.stored(name);
        assert_eq!(
            stored.map(|stored| stored.newest),
            wanted.last().map(|said| said.offset)
        );
        if let Some(stored) = stored {
            assert!(stored.oldest <= wanted[0].offset);
            let all = list.pages.iter().flatten();
            assert_eq!(stored.messages, all.clone().count() as u64);
            assert_eq!(
                stored.bytes,
                all.map(|said| said.frame.len() as u64).sum::<u64>()
            );
        }
        let synced = synced.get(name).cloned().unwrap_or_default();
        assert!(epochs_all(&archive, name, synced.epoch) == synced.wanted());
    }
}

fn epochs_all(archive: &Archive, name: &str, epoch: u64) -> Vec<Said> {
    let (mut messages, mut next) = (Vec::new(), 0);
    while let Some(page) = archive.page(name, epoch, next).unwrap() {
        messages.extend(messages_of(&page));
        next = page.next_offset();
    }
    assert!(archive.page(name, epoch + 1, 0).unwrap().is_none());
    messages
}

fn check_opened(topics: &[StoredTopic], lists: &mut Lists, leapt: bool) {
    assert_eq!(topics.len(), lists.len());
    for topic in topics {
        let list = lists.get_mut(&topic.name[..]).unwrap();
        list.next_offset += if leapt { LEAP } else { 0 };
        assert_eq!(topic.leapt, leapt);
        assert_eq!(topic.epoch, list.epoch);
        assert_eq!(topic.next_offset, list.next_offset);
        assert_eq!(topic.floor, list.floor);
        assert_eq!(topic.time_ms, list.time_ms);
        list.newest = list
            .pages
            .last()
            .map_or(0, |page| page.last().unwrap().offset);
    }
}

fn play(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let room = room();
    let (mut lists, mut synced) = (Lists::new(), Lists::new());
    let (mut epoch, mut store) = (1, open(room.path()).store);
    for _ in 0..120 {
        let name = NAMES[random.usize(..NAMES.len())];
        match random.u8(..32) {
            0..14 => {
                let list = lists.entry(name).or_insert_with(|| {
                    epoch += 10;
                    List {
                        epoch,
                        next_offset: 1,
                        ..List::default()
                    }
                });
                list.next_offset = list.next_offset.max(list.newest + 1);
                let gap = if random.u8(..6) == 0 {
                    random.u64(1..1 << 33)
                } else {
                    0
                };
                let first = list.next_offset + gap;
                let mut messages = said(first, random.u64(1..20), &mut random);
                let mut time_ms = list.time_ms;
                for message in &mut messages {
                    time_ms += random.u64(..3);
                    message.time_ms = time_ms;
                }
                if random.u8(..5) == 0 {
                    // A gap within a page.
                    messages.last_mut().unwrap().offset += 7;
                }
                let pieces = Pieces::of(&messages);
                store.append(name, list.epoch, &pieces.page()).unwrap();
                list.newest = messages.last().unwrap().offset;
                list.next_offset = list.newest + 1;
                list.time_ms = time_ms;
                list.pages.push(messages);
            }
            14..18 => {
                store.sync().unwrap();
                synced = lists.clone();
            }
            18..20 => {
                if let Some(list) = lists.get_mut(name) {
                    let next_offset = list.next_offset + random.u64(..5);
                    let time_ms = list.time_ms + random.u64(..5);
                    store.note(name, list.epoch, next_offset, time_ms);
                    (list.next_offset, list.time_ms) = (next_offset, time_ms);
                }
            }
            20..22 => {
                if let Some(list) = lists.get_mut(name) {
                    let floor = list.newest.saturating_sub(random.u64(..40));
                    store.trim(name, floor);
                    list.floor = list.floor.max(floor);
                    list.let_go();
                }
            }
            22..25 => {
                if let Some(list) = lists.get_mut(name) {
                    let any = |random: &mut Rng, max| match random.bool() {
                        true => random.u64(..max),
                        false => u64::MAX,
                    };
                    let (messages, bytes) = (any(&mut random, 60), any(&mut random, 5000));
                    let oldest_ms = list.time_ms.saturating_sub(any(&mut random, 50));
                    store.retain(name, messages, bytes, oldest_ms);
                    list.retain(messages, bytes, oldest_ms);
                }
            }
            25 => {
                store.forget(name);
                lists.remove(name);
            }
            26 => {
                if let Some(list) = lists.get_mut(name) {
                    epoch += 10;
                    store.note(name, epoch, 1, 0);
                    *list = List {
                        epoch,
                        next_offset: 1,
                        ..List::default()
                    };
                }
            }
            27..29 => {
                store.tidy().unwrap();
                synced = lists.clone();
            }
            29 => {
                store.close().unwrap();
                let opened = open(room.path());
                check_opened(&opened.topics, &mut lists, false);
                (store, synced) = (opened.store, lists.clone());
            }
            _ => {
                drop(store);
                lists = synced;
                let opened = open(room.path());
                check_opened(&opened.topics, &mut lists, true);
                (store, synced) = (opened.store, lists.clone());
            }
        }
        check(&store, &lists, &synced);
    }
}

#[test]
fn random_deeds_are_as_on_lists() {
    for seed in 0..24 {
        println!("seed {seed}");
        play(seed);
    }
}
