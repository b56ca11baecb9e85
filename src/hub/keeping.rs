//! Topics that are kept outside of memory: what publishers, cores and the listeners beside
//! the public ones share with the thread that stores them, the scribe, which is elsewhere.
//!
//! The scribe asks what is to be done ([`Keeping::wait`]), reads the logs like any reader,
//! and tells how far it has come ([`Hub::note_synced`]).

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Hub;
use crate::config::Keep;
use crate::log::{Standing, Topic};
use crate::protocol::encoding::Message;
use crate::protocol::topic::TopicName;

/// Where a page of stored history is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// It holds this offset, or is the first one behind it.
    Holding(u64),
    /// It is the last one that begins before this offset.
    Before(u64),
}

/// A part of the stored history cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Messages from the first offset up to the second, and without it, are damaged.
    #[error("messages {0} to {1} of the topic are damaged in the store")]
    Damaged(u64, u64),
    /// It may be had later.
    #[error("{0}")]
    Failed(String),
}

/// Offsets of a page: of its first message, and behind its last one.
pub type PageEnds = (u64, u64);

/// Reads what is stored.
pub trait Archive: Send + Sync {
    /// Shows all messages of one page of a topic's history. `None` if there is no such page.
    ///
    /// # Errors
    /// See [`Unreadable`].
    fn page(
        &self,
        topic: &str,
        epoch: u64,
        at: At,
        show: &mut dyn FnMut(&Message<'_>),
    ) -> Result<Option<PageEnds>, Unreadable>;
}

/// How the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StoreState {
    /// There is none.
    Off,
    Working,
    /// It cannot be written to at present.
    Failing,
    /// It is closed, for another process.
    AtRest,
}

/// What the scribe has to do.
#[derive(Debug, Default)]
pub struct Todo {
    /// Topics that have grown, or whose standing may have changed.
    pub topics: Vec<Arc<str>>,
    /// Who stands in a topic's policy may have changed: all topics are to be looked at.
    pub look_at_all: bool,
    /// Somebody waits for what is written to be safe.
    pub sync: bool,
    /// History of these topics before an offset is not wanted any more.
    pub unwanted: Vec<(Arc<str>, u64)>,
    /// The store is to be closed, and this told.
    pub rest: bool,
    /// It is to be opened again.
    pub resume: bool,
    pub stop: bool,
}

impl Todo {
    fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.unwanted.is_empty() && !self.is_urgent()
    }

    /// Somebody waits for it to be done.
    fn is_urgent(&self) -> bool {
        self.look_at_all || self.sync || self.rest || self.resume || self.stop
    }
}

/// What the scribe is at, as far as those who ask it for something have to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attention {
    /// It looks at what was asked before it sleeps, so that nobody has to wake it.
    Busy,
    /// It sleeps until it is asked for something.
    Waiting,
    /// It has been asked for something, and sleeps a little for more of it to come.
    Gathering,
}

#[derive(Debug)]
struct Desk {
    todo: Todo,
    attention: Attention,
}

impl Desk {
    /// Whether the scribe is to be woken for what it has been asked.
    fn is_to_wake(&self) -> bool {
        match self.attention {
            Attention::Busy => false,
            Attention::Waiting => true,
            Attention::Gathering => self.todo.is_urgent(),
        }
    }
}

/// What the scribe counts.
#[derive(Debug, Default)]
pub struct StoreFigures {
    pub bytes: AtomicU64,
    pub topics: AtomicU64,
    pub written_messages: AtomicU64,
    pub written_bytes: AtomicU64,
    pub syncs: AtomicU64,
    pub sync_us: AtomicU64,
    pub errors: AtomicU64,
    /// Places in the history of topics at which messages are missing.
    pub holes: AtomicU64,
    /// Pages that were read for those who come back.
    pub pages_read: AtomicU64,
    /// Subscribers that have been sent history from the store.
    pub catch_ups: AtomicU64,
}

impl StoreFigures {
    /// A subscriber is sent history from the store.
    pub fn note_catch_up(&self) {
        self.catch_ups.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is shared with the scribe.
pub struct Keeping {
    desk: Mutex<Desk>,
    /// The scribe is woken.
    asked: Condvar,
    /// The state has changed.
    changed: Condvar,
    state: AtomicU8,
    archive: RwLock<Option<Arc<dyn Archive>>>,
    /// How often something has become safe, or the store has failed.
    synced: watch::Sender<u64>,
    pub figures: StoreFigures,
}

impl Default for Keeping {
    fn default() -> Self {
        Keeping {
            desk: Mutex::new(Desk {
                todo: Todo::default(),
                attention: Attention::Busy,
            }),
            asked: Condvar::new(),
            changed: Condvar::new(),
            state: AtomicU8::new(StoreState::Off as u8),
            archive: RwLock::default(),
            synced: watch::Sender::new(0),
            figures: StoreFigures::default(),
        }
    }
}

impl Keeping {
    pub fn state(&self) -> StoreState {
        match self.state.load(Ordering::Acquire) {
            1 => StoreState::Working,
            2 => StoreState::Failing,
            3 => StoreState::AtRest,
            _ => StoreState::Off,
        }
    }

    /// The store is so from now on. Read it is as long as it works.
    pub fn set_state(&self, state: StoreState, archive: Option<Arc<dyn Archive>>) {
        let mut held = self.archive.write().unwrap_or_else(PoisonError::into_inner);
        *held = archive;
        drop(held);
        // Who waits for it is either told, or has not looked yet.
        let _desk = self.lock();
        self.state.store(state as u8, Ordering::Release);
        self.synced.send_modify(|count| *count += 1);
        self.changed.notify_all();
    }

    /// What reads the store, while it works.
    pub fn archive(&self) -> Option<Arc<dyn Archive>> {
        let held = self.archive.read();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A topic has grown, and the scribe is to be told.
    pub(super) fn post(&self, topic: &Arc<str>) {
        self.ask(|todo| todo.topics.push(topic.clone()));
    }

    /// Takes what is to be done, and waits for it until `end`. Growth that nobody waits for is
    /// left for the time `gather`, for more of it to come: a scribe that woke for each message
    /// would take the processor from those who publish.
    pub fn wait(&self, end: Instant, gather: Duration) -> Todo {
        let mut desk = self.lock();
        while desk.todo.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Todo::default();
            }
            desk = self.sleep(desk, Attention::Waiting, left);
        }
        if gather > Duration::ZERO {
            let end = Instant::now() + gather;
            while !desk.todo.is_urgent() {
                let left = end.saturating_duration_since(Instant::now());
                if left == Duration::ZERO {
                    break;
                }
                desk = self.sleep(desk, Attention::Gathering, left);
            }
        }
        std::mem::take(&mut desk.todo)
    }

    fn sleep<'a>(
        &self,
        mut desk: MutexGuard<'a, Desk>,
        attention: Attention,
        time: Duration,
    ) -> MutexGuard<'a, Desk> {
        desk.attention = attention;
        let woken = self.asked.wait_timeout(desk, time);
        let mut desk = woken.unwrap_or_else(PoisonError::into_inner).0;
        desk.attention = Attention::Busy;
        desk
    }

    /// What is published is to be safe soon.
    pub fn want_sync(&self) {
        self.ask(|todo| todo.sync = true);
    }

    /// Changes whenever something has become safe.
    pub fn watch_synced(&self) -> watch::Receiver<u64> {
        self.synced.subscribe()
    }

    /// All topics are to be looked at once more.
    pub fn look_at_all(&self) {
        self.ask(|todo| todo.look_at_all = true);
    }

    /// The scribe is to end, with all stored.
    pub fn stop(&self) {
        self.ask(|todo| todo.stop = true);
    }

    /// Has the store closed, with all that is published in it, for another process. False if
    /// that has not come about within a time.
    pub fn rest(&self, within: Duration) -> bool {
        if self.state() == StoreState::Off {
            return true;
        }
        let end = Instant::now() + within;
        self.ask(|todo| todo.rest = true);
        let mut desk = self.lock();
        while self.state() != StoreState::AtRest {
            let left = end.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return false;
            }
            let woken = self.changed.wait_timeout(desk, left);
            desk = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// There is no other process after all.
    pub fn resume(&self) {
        self.ask(|todo| (todo.rest, todo.resume) = (false, true));
    }

    /// The history of a topic before an offset is not wanted any more.
    pub(super) fn note_unwanted(&self, topic: &Arc<str>, floor: u64) {
        self.ask(|todo| todo.unwanted.push((topic.clone(), floor)));
    }

    fn ask(&self, what: impl FnOnce(&mut Todo)) {
        let mut desk = self.lock();
        what(&mut desk.todo);
        if desk.is_to_wake() {
            // Others need not do so as well.
            desk.attention = Attention::Busy;
            drop(desk);
            self.asked.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why it is not known that a message is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    #[error("the topic is not kept on disk (keep)")]
    NotKept,
    #[error("the store cannot be written to at present")]
    Failing,
    #[error("the message is published, and was not stored in time")]
    Late,
    #[error("a newer fanfare is taking over: try again at once")]
    HandingOver,
}

/// A topic as it stands in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTopic {
    pub name: Arc<str>,
    pub epoch: u64,
    /// The offset and time of what is published next.
    pub next: (u64, u64),
    pub standing: Standing,
}

impl Hub {
    /// What is shared with the scribe.
    pub fn keeping(&self) -> &Keeping {
        &self.keeping
    }

    /// A topic's messages are to be stored, by its rule.
    pub fn is_to_be_kept(&self, topic: &Topic) -> bool {
        self.policy(topic).keep == Keep::Disk
    }

    /// Has the scribe look at a topic that is to be stored and is not yet.
    pub(super) fn look_at_keep(&self, topic: &Topic) {
        if self.is_to_be_kept(topic) != topic.kept().is_some()
            && self.keeping.state() != StoreState::Off
        {
            // From here on nothing is given up before it is stored.
            if self.is_to_be_kept(topic) {
                topic.keep(None);
            }
            self.keeping.post(topic.name());
        }
    }

    /// The store works from now on. What memory holds of topics that are to be kept is given up
    /// no more before it is stored.
    pub fn open_store(&self, archive: Arc<dyn Archive>) {
        self.keeping.set_state(StoreState::Working, Some(archive));
        for topic in self.all_topics() {
            if !topic.is_shared() {
                self.look_at_keep(&topic);
            }
        }
    }

    /// Takes up a topic that a store knows, unless there is one of its name: then that one
    /// goes on with what the store has of it, if it is the same.
    pub fn restore_stored(&self, stored: StoredTopic) {
        let mut topics = self.topics.lock().expect("nothing panics inside the lock");
        if let Some(topic) = topics.get(&stored.name) {
            if topic.epoch() == stored.epoch && !topic.is_shared() {
                topic.keep(Some(stored.standing));
            }
            return;
        }
        let topic = Arc::new(Topic::of_store(
            stored.name,
            stored.epoch,
            self.cores.len(),
            self.arenas.clone(),
            stored.next,
            stored.standing,
        ));
        self.give_policy(&topic);
        topic.note_use(self.now_ms());
        topics.insert(topic.name().clone(), topic);
    }

    /// What is stored has become safe: `stored` says up to which offset, for each topic.
    pub fn note_synced(&self, stored: impl Iterator<Item = (Arc<Topic>, u64)>) {
        for (topic, next) in stored {
            topic.note_stored(next);
            if topic.waiting.is_set() {
                self.wake_publishers(&topic);
            }
        }
        self.keeping.synced.send_modify(|count| *count += 1);
    }

    /// The topic of that name, if its messages are stored at present.
    ///
    /// # Errors
    /// See [`NotStored`].
    pub fn storable(&self, name: &TopicName) -> Result<Arc<Topic>, NotStored> {
        if self.policy_named(name.as_str()).keep != Keep::Disk {
            return Err(NotStored::NotKept);
        }
        let topic = self.topic(name).map_err(|_| NotStored::Failing)?;
        match self.keeping.state() {
            StoreState::Working => Ok(topic),
            StoreState::AtRest => Err(NotStored::HandingOver),
            _ => Err(NotStored::Failing),
        }
    }

    /// Waits until the message with an offset is stored, so that a loss of power does not
    /// lose it.
    ///
    /// # Errors
    /// See [`NotStored`].
    pub async fn stored(
        &self,
        topic: &Arc<Topic>,
        offset: u64,
        within: Duration,
    ) -> Result<(), NotStored> {
        let mut synced = self.keeping.synced.subscribe();
        let end = tokio::time::Instant::now() + within;
        loop {
            let Some(kept) = topic.kept() else {
                return Err(NotStored::NotKept);
            };
            if kept.stored() > offset {
                return Ok(());
            }
            if self.keeping.state() != StoreState::Working {
                return Err(NotStored::Failing);
            }
            self.keeping.want_sync();
            if tokio::time::timeout_at(end, synced.changed())
                .await
                .is_err()
            {
                return Err(NotStored::Late);
            }
        }
    }
}

#[cfg(test)]
mod tests;
