//! How the scribe comes to its store, and lets go of one that fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::super::disk::{OpenError, Opened, Store};
use super::super::reading::Reading;
use super::{RETRY, Work, Written};
use crate::hub::{StoreState, StoredTopic};
use crate::log::{Kept, Standing};

/// How long a process that has just ended may still hold the store.
const LOCK_TIME: Duration = Duration::from_secs(3);

impl Work {
    /// Opens the store; a process that has just ended may still hold it for a moment.
    pub(super) fn open_soon(&mut self) -> Result<(), OpenError> {
        let end = Instant::now() + LOCK_TIME;
        loop {
            match self.open() {
                Err(OpenError::InUse { .. }) if Instant::now() < end => {
                    thread::sleep(Duration::from_millis(20));
                }
                outcome => return outcome,
            }
        }
    }

    fn open(&mut self) -> Result<(), OpenError> {
        let began = Instant::now();
        let Opened { mut store, topics } = Store::open(&self.folder)?;
        let known = topics.len();
        for stored in topics {
            let name: Arc<str> = stored.name.as_str().into();
            let there = self.hub.find_topic(&name);
            if there.is_some_and(|topic| topic.epoch() != stored.epoch) {
                // Another history has begun under the name meanwhile.
                store.forget(&name);
                continue;
            }
            let pages = store.stored(&name);
            let (next, whole_from) = match self.hub.find_topic(&name) {
                // What this process has published since goes on behind what is stored.
                Some(topic) => {
                    let next = topic.newest() + 1;
                    store.note(&name, stored.epoch, next, topic.newest_ms());
                    let stored_next = pages.map_or(topic.held_first(), |pages| pages.newest + 1);
                    let whole_from = topic.kept().map_or(0, Kept::whole_from);
                    (stored_next.min(next), whole_from)
                }
                None if stored.leapt => (stored.next_offset, stored.next_offset),
                None => (stored.next_offset, 0),
            };
            self.hub.restore_stored(StoredTopic {
                name: name.clone(),
                epoch: stored.epoch,
                next: (stored.next_offset, stored.time_ms),
                standing: Standing {
                    stored: next,
                    oldest: pages.map_or(next, |pages| pages.oldest),
                    whole_from,
                },
            });
            if let Some(topic) = self.hub.find_topic(&name) {
                self.topics.insert(name.clone(), Written::new(&topic, next));
                self.note_pending(name);
            }
        }
        let archive = Arc::new(Reading::new(store.archive()));
        self.store = Some(store);
        self.failed = false;
        self.hub.open_store(archive);
        self.hub.keeping().look_at_all();
        self.count();
        tracing::info!(
            folder = %self.folder.display(),
            topics = known,
            took_ms = began.elapsed().as_millis() as u64,
            "the store is open"
        );
        Ok(())
    }

    pub(super) fn try_again(&mut self) {
        self.retry_at = Instant::now() + RETRY;
        if let Err(error) = self.open() {
            self.fail(&error.to_string());
        }
    }

    /// The store fails: it is let go of, until it is tried again.
    pub(super) fn fail(&mut self, sentence: &str) {
        let keeping = self.hub.keeping();
        keeping.figures.errors.fetch_add(1, Ordering::Relaxed);
        keeping.set_state(StoreState::Failing, None);
        if !self.failed {
            tracing::error!(
                "the store fails, and is tried again each second; what is published meanwhile \
                 waits in memory: {sentence}"
            );
        }
        self.failed = true;
        self.store = None;
        self.retry_at = Instant::now() + RETRY;
        self.unsynced.clear();
        self.unsynced_since = None;
        for written in self.topics.values_mut() {
            if let Some(topic) = written.topic.upgrade()
                && let Some(kept) = topic.kept()
            {
                written.next = kept.stored();
            }
        }
    }
}
