//! All topics of a store, and what of them the index does not know yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::error::{OpenError, StoreError};
use super::index::{Changes, Entry, Index};
use super::record::{PageRecord, State};
use super::shelf::{Named, Shelves};
use super::topic::{Stored, Topic};

/// After an unclean end a topic goes on so far behind the newest offset that is stored. No log
/// in memory can be so far ahead of the disk.
pub const LEAP: u64 = 1 << 32;

/// A topic that a store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTopic {
    pub name: String,
    pub epoch: u64,
    /// The offset that the next message gets. Offsets between the newest one that is stored
    /// and this one are a hole.
    pub next_offset: u64,
    /// No message may have an earlier time.
    pub time_ms: u64,
    /// Messages below it were given up.
    pub floor: u64,
    /// The store had no clean end, so `next_offset` is [`LEAP`] more than it was told last. A
    /// caller whose own memory outlived the store appends from there, and nothing is skipped.
    pub leapt: bool,
}

#[derive(Default)]
pub(super) struct Topics {
    all: HashMap<Arc<str>, Topic>,
    next_id: u64,
    /// Topics whose records are to be written.
    dirty: Vec<Arc<str>>,
    /// Pages that the index shall not name any more: topic and first offset.
    removed: Vec<(u64, u64)>,
    /// Topics whose records shall go, with the records' checksums.
    forgotten: HashMap<Arc<str>, u64>,
}

/// What an index holds.
pub(super) struct Loaded {
    pub(super) topics: Topics,
    pub(super) state: State,
    /// What it names of each shelf.
    pub(super) shelves: BTreeMap<u32, Named>,
    /// How many unclean ends each topic has not heard of.
    leaps: HashMap<Arc<str>, u64>,
}

impl Loaded {
    pub(super) fn from_index(index: &Index) -> Result<Loaded, OpenError> {
        let mut by_id: HashMap<u64, (Arc<str>, u64, Topic)> = HashMap::new();
        let mut shelves: BTreeMap<u32, Named> = BTreeMap::new();
        let state = index.scan(|entry| match entry {
            Entry::Topic(name, record, checksum) => {
                let topic = Topic::from_record(&record, checksum);
                by_id.insert(record.id, (name.into(), record.leaps, topic));
            }
            Entry::Page(id, first, record) => {
                let named = shelves.entry(record.shelf).or_default();
                named.end = named.end.max(u64::from(record.at) + u64::from(record.len));
                named.live += u64::from(record.len);
                if let Some((_, _, topic)) = by_id.get_mut(&id) {
                    topic.add_indexed(first, record);
                }
            }
        })?;
        let mut topics = Topics {
            next_id: by_id.keys().max().map_or(1, |last| last + 1),
            ..Topics::default()
        };
        let mut leaps = HashMap::with_capacity(by_id.len());
        topics.all.reserve(by_id.len());
        for (name, known, topic) in by_id.into_values() {
            leaps.insert(name.clone(), known);
            topics.all.insert(name, topic);
        }
        Ok(Loaded {
            topics,
            state,
            shelves,
            leaps,
        })
    }

    /// Brings the topics behind all unclean ends, of which one may have been just now.
    pub(super) fn leap(&mut self) -> Vec<StoredTopic> {
        let leapt = self.state.syncs > 0 && !self.state.clean;
        self.state.leaps += u64::from(leapt);
        let state = &self.state;
        let leap = |(name, topic): (&Arc<str>, &mut Topic)| {
            let missed = state.leaps.saturating_sub(self.leaps[name]);
            let behind = missed.saturating_mul(LEAP);
            topic.next_offset = topic.next_offset.saturating_add(behind);
            StoredTopic {
                name: name.to_string(),
                epoch: topic.epoch,
                next_offset: topic.next_offset,
                time_ms: topic.time_ms,
                floor: topic.floor,
                leapt,
            }
        };
        self.topics.all.iter_mut().map(leap).collect()
    }
}

impl Topics {
    pub(super) fn get(&self, name: &str) -> Option<&Topic> {
        self.all.get(name)
    }

    pub(super) fn stored(&self, name: &str) -> Option<Stored> {
        self.all.get(name)?.stored()
    }

    /// The topic, which is made if there is none with this epoch.
    pub(super) fn enter(
        &mut self,
        name: &str,
        epoch: u64,
        index: &Index,
    ) -> Result<&mut Topic, StoreError> {
        if self.all.get(name).is_none_or(|topic| topic.epoch != epoch) {
            self.forget(name, index)?;
            let mut topic = Topic::new(self.next_id, epoch);
            self.next_id += 1;
            let name: Arc<str> = name.into();
            // Its record takes the place of the one of the topic of the same name.
            topic.written = self.forgotten.remove(&name);
            topic.dirty = true;
            self.dirty.push(name.clone());
            self.all.insert(name, topic);
        }
        Ok(self.all.get_mut(name).expect("it was made"))
    }

    pub(super) fn forget(&mut self, name: &str, index: &Index) -> Result<(), StoreError> {
        let Some((name, mut topic)) = self.all.remove_entry(name) else {
            return Ok(());
        };
        topic.clear(index, &mut self.removed)?;
        if let Some(written) = topic.written {
            self.forgotten.insert(name, written);
        }
        Ok(())
    }

    /// Lets `work` give up pages of a topic, if there is such a topic.
    pub(super) fn give_up(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Topic, &mut Vec<(u64, u64)>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(topic) = self.all.get_mut(name) else {
            return Ok(());
        };
        let floor = topic.floor;
        work(topic, &mut self.removed)?;
        if topic.floor != floor {
            self.touch(name);
        }
        Ok(())
    }

    /// The topic's record is to be written.
    pub(super) fn touch(&mut self, name: &str) {
        let known = self.all.get_key_value(name).map(|(name, _)| name.clone());
        if let Some(topic) = self.all.get_mut(name)
            && !topic.dirty
        {
            topic.dirty = true;
            self.dirty.extend(known);
        }
    }

    /// The index knows all.
    pub(super) fn are_settled(&self) -> bool {
        self.dirty.is_empty() && self.removed.is_empty() && self.forgotten.is_empty()
    }

    /// Adds to `changes` all that the index does not know. Returns the pages that it will not
    /// name any more.
    pub(super) fn tell(
        &mut self,
        index: &Index,
        changes: &mut Changes<'_>,
        leaps: u64,
    ) -> Result<Vec<PageRecord>, StoreError> {
        let mut lost = Vec::with_capacity(self.removed.len());
        for (id, first) in &self.removed {
            // Where it lies may have changed since it was given up.
            if let Some(record) = index.page(*id, *first)? {
                changes.remove_page(*id, *first, &record);
                lost.push(record);
            }
        }
        for (name, written) in &self.forgotten {
            changes.remove_topic(name, *written);
        }
        for name in &self.dirty {
            if let Some(topic) = self.all.get_mut(name).filter(|topic| topic.dirty) {
                for (first, record) in &topic.pending {
                    changes.put_page(topic.id, *first, record, None);
                }
                let record = topic.record(leaps);
                topic.written = Some(changes.put_topic(name, &record, topic.written));
                topic.dirty = false;
            }
        }
        Ok(lost)
    }

    /// The index knows what it was told, and `lost` is lost.
    pub(super) fn settle(&mut self, lost: Vec<PageRecord>, shelves: &mut Shelves) {
        for name in std::mem::take(&mut self.dirty) {
            if let Some(topic) = self.all.get_mut(&name) {
                for (_, record) in topic.take_pending() {
                    shelves.add_live(record.shelf, record.len);
                }
            }
        }
        for record in lost {
            shelves.sub_live(record.shelf, record.len);
        }
        self.removed.clear();
        self.forgotten.clear();
    }
}
