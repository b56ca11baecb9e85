//! The scribe: the thread that writes what is published to topics that are kept on disk into
//! the store, behind the publishers, and has it synced for all who wait at once.
//!
//! Where the store fails it is closed and tried again each second. What was not synced by
//! then is still in memory, and written again; publishers wait once there is no more room.

#[cfg(test)]
pub(super) mod by_hand;
mod opening;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::disk::{PageIn, SlotIn, Store, StoreError};
use crate::hub::{Hub, StoreState, Todo};
use crate::log::{Run, Topic};

/// Frames of one page, but for a message that is longer.
const PAGE_BYTES: usize = 128 << 10;
/// Topics that are written of in one round; then it is looked at what else is to be done.
const ROUND_PAGES: usize = 64;
/// More than this does not wait to be synced, whatever the settings say.
const UNSYNCED_BYTES_MAX: usize = 8 << 20;
/// How long growth that nobody waits for is left for more to come.
const GATHER: Duration = Duration::from_millis(1);
/// How often it is looked at what is not kept any more, and the store tidied up.
const TIDY: Duration = Duration::from_secs(1);
/// After a failure of the store.
const RETRY: Duration = Duration::from_secs(1);

/// A running scribe.
pub struct Scribe {
    hub: Arc<Hub>,
    thread: JoinHandle<()>,
}

impl Scribe {
    /// Opens the store that the settings name, if they name one, takes up the topics it
    /// knows, and writes from then on. `must` is false where connections would be lost if
    /// this failed: then it is tried again later.
    ///
    /// # Errors
    /// A sentence on why the store cannot be had.
    pub fn start(hub: &Arc<Hub>, must: bool) -> Result<Option<Scribe>, String> {
        Scribe::gathering(hub, must, GATHER)
    }

    fn gathering(hub: &Arc<Hub>, must: bool, gather: Duration) -> Result<Option<Scribe>, String> {
        let Some(folder) = hub.settings().store.clone() else {
            return Ok(None);
        };
        let mut work = Work::new(hub.clone(), folder, gather);
        match work.open_soon() {
            Ok(()) => {}
            Err(error) if must => return Err(error.to_string()),
            Err(error) => work.fail(&error.to_string()),
        }
        let thread = thread::Builder::new().name("scribe".into());
        let thread = thread
            .spawn(move || work.run())
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        let hub = hub.clone();
        Ok(Some(Scribe { hub, thread }))
    }

    /// Stores what is not stored yet, closes the store and ends.
    pub fn stop(self) {
        self.hub.keeping().stop();
        if self.thread.join().is_err() {
            tracing::error!("the scribe has panicked");
        }
    }
}

/// How far a topic has been written. It is the hub's to keep.
struct Written {
    topic: Weak<Topic>,
    next: u64,
}

impl Written {
    fn new(topic: &Arc<Topic>, next: u64) -> Self {
        let topic = Arc::downgrade(topic);
        Written { topic, next }
    }
}

struct Work {
    hub: Arc<Hub>,
    folder: PathBuf,
    gather: Duration,
    store: Option<Store>,
    topics: HashMap<Arc<str>, Written>,
    /// Topics of which more may have to be written, in turn.
    pending: VecDeque<Arc<str>>,
    is_pending: HashSet<Arc<str>>,
    /// Topics that have been written of since the last sync.
    unsynced: HashSet<Arc<str>>,
    unsynced_since: Option<Instant>,
    tidy_at: Instant,
    retry_at: Instant,
    /// The failure has been told.
    failed: bool,
    at_rest: bool,
}

impl Work {
    fn new(hub: Arc<Hub>, folder: PathBuf, gather: Duration) -> Work {
        let now = Instant::now();
        Work {
            hub,
            folder,
            gather,
            store: None,
            topics: HashMap::new(),
            pending: VecDeque::new(),
            is_pending: HashSet::new(),
            unsynced: HashSet::new(),
            unsynced_since: None,
            tidy_at: now + TIDY,
            retry_at: now,
            failed: false,
            at_rest: false,
        }
    }

    fn run(mut self) {
        loop {
            let todo = self.hub.keeping().wait(self.wakes_at(), self.gather_time());
            if self.at_rest {
                if todo.stop {
                    return;
                }
                self.at_rest = !todo.resume;
                continue;
            }
            let (rest, stop) = (todo.rest, todo.stop);
            if self.store.is_none() && Instant::now() >= self.retry_at {
                self.try_again();
            }
            if let Err(error) = self.work(todo) {
                self.fail(&error.to_string());
            }
            if rest || stop {
                self.end();
                if stop {
                    return;
                }
                self.at_rest = true;
                self.hub.keeping().set_state(StoreState::AtRest, None);
            }
        }
    }

    /// When there is something to do though nobody asks for it.
    fn wakes_at(&self) -> Instant {
        if self.at_rest {
            return Instant::now() + RETRY;
        }
        if self.store.is_none() {
            return self.retry_at;
        }
        if !self.pending.is_empty() {
            return Instant::now();
        }
        let sync_at = self.unsynced_since.map(|since| since + self.sync_time());
        sync_at.map_or(self.tidy_at, |sync_at| sync_at.min(self.tidy_at))
    }

    /// Where there is more to be written already, nothing is gained by waiting for more.
    fn gather_time(&self) -> Duration {
        match self.pending.is_empty() {
            true => self.gather,
            false => Duration::ZERO,
        }
    }

    fn sync_time(&self) -> Duration {
        Duration::from_millis(self.hub.settings().store_sync_ms)
    }

    /// Does what is to be done, a bounded part of it.
    fn work(&mut self, todo: Todo) -> Result<(), StoreError> {
        if todo.look_at_all {
            let all = self.hub.all_topics();
            let differ = |topic: &&Arc<Topic>| {
                self.hub.is_to_be_kept(topic)
                    || topic.kept().is_some_and(|kept| !kept.is_shared())
                    || self.topics.contains_key(topic.name())
            };
            let names: Vec<_> = all
                .iter()
                .filter(differ)
                .map(|t| t.name().clone())
                .collect();
            names.into_iter().for_each(|name| self.note_pending(name));
        }
        todo.topics
            .into_iter()
            .for_each(|name| self.note_pending(name));
        if self.store.is_none() {
            return Ok(());
        }
        let everything = todo.rest || todo.stop;
        let mut pages = 0;
        while let Some(name) = self.pending.pop_front() {
            self.is_pending.remove(&name);
            if self.write(&name)? {
                self.note_pending(name);
            }
            pages += 1;
            if pages >= ROUND_PAGES && !everything {
                break;
            }
            if self.has_enough_unsynced() {
                self.sync()?;
            }
        }
        for (name, floor) in todo.unwanted {
            self.store().trim(&name, floor);
            self.note_unsynced();
        }
        let due = self
            .unsynced_since
            .is_some_and(|since| since.elapsed() >= self.sync_time());
        if everything || todo.sync || due || self.has_enough_unsynced() {
            self.sync()?;
        }
        if Instant::now() >= self.tidy_at {
            self.tidy_at = Instant::now() + TIDY;
            self.tidy()?;
        }
        Ok(())
    }

    fn note_pending(&mut self, name: Arc<str>) {
        if self.is_pending.insert(name.clone()) {
            self.pending.push_back(name);
        }
    }

    fn note_unsynced(&mut self) {
        self.unsynced_since.get_or_insert_with(Instant::now);
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("it is open")
    }

    /// Publishers of small logs cannot be far ahead of what is synced.
    fn has_enough_unsynced(&mut self) -> bool {
        let bytes_max = self.hub.settings().log_bytes_max / 16 * 3;
        self.store().unsynced_bytes() >= bytes_max.min(UNSYNCED_BYTES_MAX) as u64
    }

    /// Writes a page of a topic, or gives the topic up if it is not to be kept any more. True
    /// if there may be more to write.
    fn write(&mut self, name: &Arc<str>) -> Result<bool, StoreError> {
        let Some(topic) = self.hub.find_topic(name) else {
            self.forget(name);
            return Ok(false);
        };
        if topic.is_shared() {
            // It begins a history of its own.
            self.forget(name);
            return Ok(false);
        }
        if !self.hub.is_to_be_kept(&topic) {
            topic.keep_no_more();
            self.forget(name);
            return Ok(false);
        }
        let Some(kept) = topic.kept() else {
            // It was made, or its rule changed, before there was a store.
            topic.keep(None);
            return Ok(true);
        };
        // What comes from here on is told again.
        kept.heard();
        let next_offset = topic.newest() + 1;
        // Another history may have begun under the name.
        let is_same = |written: &&Written| Weak::as_ptr(&written.topic) == Arc::as_ptr(&topic);
        let next = match self.topics.get(name).filter(is_same) {
            Some(written) => written.next,
            None => {
                let (next, time_ms) = (topic.newest() + 1, topic.newest_ms());
                self.store().note(name, topic.epoch(), next, time_ms);
                self.note_unsynced();
                kept.stored()
            }
        };
        let runs = topic.held_from(next, PAGE_BYTES);
        let written = runs.last().map_or(next, Run::next_offset);
        for run in &runs {
            self.append(name, topic.epoch(), run)?;
        }
        let entry = Written::new(&topic, written);
        self.topics.insert(name.clone(), entry);
        Ok(written < next_offset && !runs.is_empty())
    }

    fn append(&mut self, name: &Arc<str>, epoch: u64, run: &Run) -> Result<(), StoreError> {
        let (mut slots, mut rare) = (Vec::new(), Vec::new());
        for slot in run.slots() {
            rare.extend_from_slice(slot.rare);
            slots.push(SlotIn {
                end: slot.end,
                offset: slot.offset,
                time_ms: slot.time_ms,
                header_len: slot.header_len,
                text: slot.text,
                rare_len: slot.rare.len() as u32,
            });
        }
        let page = PageIn {
            frames: run.frames(),
            slots: &slots,
            rare: &rare,
        };
        self.store().append(name, epoch, &page)?;
        let figures = &self.hub.keeping().figures;
        let (messages, bytes) = (slots.len() as u64, page.frames.len() as u64);
        figures
            .written_messages
            .fetch_add(messages, Ordering::Relaxed);
        figures.written_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.unsynced.insert(name.clone());
        self.note_unsynced();
        Ok(())
    }

    fn forget(&mut self, name: &Arc<str>) {
        if self.topics.remove(name).is_some() {
            self.store().forget(name);
            self.unsynced.remove(name);
            self.note_unsynced();
        }
    }

    /// Makes all that is written safe, and tells who waits for it.
    fn sync(&mut self) -> Result<(), StoreError> {
        if self.unsynced_since.take().is_some() {
            let began = Instant::now();
            self.store().sync()?;
            let figures = &self.hub.keeping().figures;
            let us = began.elapsed().as_micros() as u64;
            figures.syncs.fetch_add(1, Ordering::Relaxed);
            figures.sync_us.fetch_add(us, Ordering::Relaxed);
        }
        let unsynced = std::mem::take(&mut self.unsynced);
        let written = unsynced.iter().filter_map(|name| self.topics.get(name));
        let written = written.filter_map(|written| Some((written.topic.upgrade()?, written.next)));
        // Before anybody is told, so that who asks then finds it counted.
        self.count();
        self.hub.note_synced(written);
        Ok(())
    }

    /// Lets go of what is beyond each topic's retention.
    fn tidy(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        let now_ms = self.hub.unix_ms(self.hub.now_ms());
        let store = self.store.as_mut().expect("it is open");
        let mut given_up = false;
        for (name, written) in &self.topics {
            let Some(topic) = written.topic.upgrade() else {
                continue;
            };
            let retention = self.hub.retention(&topic);
            let oldest_ms = now_ms.saturating_sub(retention.age_ms_max);
            let oldest = store.retain(name, retention.messages_max, retention.bytes_max, oldest_ms);
            if let Some(kept) = topic.kept() {
                given_up |= kept.note_oldest(oldest.unwrap_or(written.next).min(kept.stored()));
            }
        }
        store.tidy()?;
        if given_up {
            self.note_unsynced();
        }
        self.count();
        Ok(())
    }

    fn count(&self) {
        let figures = &self.hub.keeping().figures;
        let bytes = self.store.as_ref().map_or(0, Store::bytes);
        figures.bytes.store(bytes, Ordering::Relaxed);
        let topics = self.topics.len() as u64;
        figures.topics.store(topics, Ordering::Relaxed);
    }

    /// Closes the store cleanly, with all that is published in it.
    fn end(&mut self) {
        let Some(mut store) = self.store.take() else {
            return;
        };
        for (name, written) in &self.topics {
            let Some(topic) = written.topic.upgrade() else {
                continue;
            };
            store.note(name, topic.epoch(), topic.newest() + 1, topic.newest_ms());
        }
        match store.close() {
            Ok(()) => tracing::info!("the store is closed"),
            Err(error) => {
                let figures = &self.hub.keeping().figures;
                figures.errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!("the store could not be closed: {error}");
            }
        }
    }
}
