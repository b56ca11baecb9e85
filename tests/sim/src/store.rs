//! A store in memory that plays the disk, and the scribe that feeds it: late, in pages of
//! any size, and for a while not to be had.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fanfare::hub::{Archive, At, Hub, PageEnds, StoredTopic, Unreadable};
use fanfare::log::{Run, Standing, Topic};
use fanfare::protocol::encoding::{Extras, Message};
use fastrand::Rng;

use crate::world::World;

/// Frames in a page, but for a message that is longer.
pub(crate) const PAGE_BYTES_MAX: usize = 8 << 10;

/// What is stored of all topics, by their epochs.
#[derive(Default)]
pub(crate) struct Store {
    topics: Mutex<HashMap<u64, Vec<Page>>>,
    /// In 256ths: reads that find the store out of reach.
    failing: Mutex<(Rng, u8)>,
}

struct Page {
    first: u64,
    next: u64,
    messages: Vec<Kept>,
}

struct Kept {
    offset: u64,
    time_ms: u64,
    text: bool,
    payload: Vec<u8>,
    rare: Vec<u8>,
}

impl Archive for Store {
    fn page(
        &self,
        topic: &str,
        epoch: u64,
        at: At,
        show: &mut dyn FnMut(&Message<'_>),
    ) -> Result<Option<PageEnds>, Unreadable> {
        let (rng, failing) = &mut *self.failing.lock().unwrap();
        if rng.u8(..) < *failing {
            return Err(Unreadable::Failed("it is played so".into()));
        }
        let topics = self.topics.lock().unwrap();
        let pages = topics.get(&epoch).map_or(&[][..], Vec::as_slice);
        let page = match at {
            At::Holding(offset) => pages.iter().find(|page| offset < page.next),
            At::Before(offset) => pages.iter().rfind(|page| page.first < offset),
        };
        let Some(page) = page else { return Ok(None) };
        for kept in &page.messages {
            show(&Message {
                topic,
                epoch,
                offset: kept.offset,
                time_ms: kept.time_ms,
                text: kept.text,
                payload: &kept.payload,
                extras: Extras::decode(&kept.rare),
            });
        }
        Ok(Some((page.first, page.next)))
    }
}

impl Store {
    pub(crate) fn new(mut rng: Rng) -> Arc<Store> {
        let failing = [0, 30, 120][rng.usize(..3)];
        Arc::new(Store {
            topics: Mutex::default(),
            failing: Mutex::new((rng, failing)),
        })
    }

    /// A hub's topics are stored here from now on.
    pub(crate) fn open(self: &Arc<Self>, hub: &Hub) {
        hub.read_at_once();
        for topic in hub.all_topics() {
            let next = self.next(topic.epoch());
            if let Some(next) = next {
                hub.restore_stored(StoredTopic {
                    name: topic.name().clone(),
                    epoch: topic.epoch(),
                    next: (topic.newest() + 1, topic.newest_ms()),
                    standing: Standing {
                        stored: next,
                        oldest: 1,
                        whole_from: 0,
                    },
                });
            }
        }
        hub.open_store(self.clone());
    }

    fn next(&self, epoch: u64) -> Option<u64> {
        let topics = self.topics.lock().unwrap();
        topics.get(&epoch)?.last().map(|page| page.next)
    }

    /// Writes up to `pages` pages of a topic.
    fn write(&self, topic: &Topic, pages: usize, bytes: usize) {
        if topic.kept().is_none() {
            topic.keep(None);
        }
        let kept = topic.kept().expect("it is kept now");
        kept.heard();
        for _ in 0..pages {
            let runs = topic.held_from(kept.stored(), bytes);
            let Some(next) = runs.last().map(Run::next_offset) else {
                return;
            };
            let messages: Vec<Kept> = runs.iter().flat_map(copy).collect();
            let page = Page {
                first: messages[0].offset,
                next,
                messages,
            };
            let mut topics = self.topics.lock().unwrap();
            let stored = topics.entry(topic.epoch()).or_default();
            let last = stored.last().map_or(1, |page| page.next);
            assert_eq!(page.first, last, "nothing is given up before it is stored");
            stored.push(page);
            topic.note_stored(next);
        }
    }
}

fn copy(run: &Run) -> Vec<Kept> {
    let mut begins = 0;
    let message = |slot: fanfare::log::RunSlot<'_>| {
        let payload = begins + usize::from(slot.header_len)..slot.end as usize;
        begins = slot.end as usize;
        Kept {
            offset: slot.offset,
            time_ms: slot.time_ms,
            text: slot.text,
            payload: run.frames()[payload].to_vec(),
            rare: slot.rare.to_vec(),
        }
    };
    run.slots().map(message).collect()
}

impl World {
    /// The scribe writes something, or memory lets go of what is stored.
    pub(crate) fn step_scribe(&mut self) {
        let Some((store, rng)) = &mut self.store else {
            return;
        };
        if rng.u8(..) > 60 {
            return;
        }
        let store = store.clone();
        let todo = self.hub.keeping().wait(Instant::now(), Duration::ZERO);
        let mut topics = self.hub.all_topics();
        topics.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        for topic in topics {
            if rng.bool() || todo.sync {
                let bytes = [1, 500, PAGE_BYTES_MAX][rng.usize(..3)];
                store.write(&topic, rng.usize(..4), bytes);
                if topic.waiting.is_set() {
                    self.hub.wake_publishers(&topic);
                }
            }
            if rng.u8(..) < 20 {
                topic.shed(0);
                self.hub.announce(&topic, None);
            }
        }
    }

    /// All that is published is stored.
    pub(crate) fn run_scribe(&mut self) {
        let Some((store, _)) = &self.store else {
            return;
        };
        store.failing.lock().unwrap().1 = 0;
        self.hub.keeping().wait(Instant::now(), Duration::ZERO);
        for topic in self.hub.all_topics() {
            store.write(&topic, usize::MAX, PAGE_BYTES_MAX);
            if topic.waiting.is_set() {
                self.hub.wake_publishers(&topic);
            }
        }
    }
}
