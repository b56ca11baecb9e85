//! What the servers of apps are to be told of: cores note it here, and the keeper of the
//! webhooks takes it away.
//!
//! Nobody waits here. What is too much for the keeper is dropped and counted; of who has come
//! to a topic or gone only the topic is noted, so that however often that happens it is one
//! entry, and how many are there is looked at by the keeper.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Hub;
use super::carried_hooks::{Carrying, SavedHooks};
use crate::config::Settings;
use crate::log::Topic;
use crate::protocol::pusher::{Access, ChannelKind, HookEvent, SocketId, channel_of};

/// Beyond one of these, what happens is dropped; beyond half of one, what changes nothing of who
/// is there, as clients can make as much of that as they like.
const HAPPENINGS_MAX: usize = 16 << 10;
const HAPPENINGS_BYTES_MAX: usize = 8 << 20;
/// Beyond it all topics are looked at.
const TOUCHED_MAX: usize = 16 << 10;
/// How long the keeper may take to write down what it knows. It waits for nobody.
const SAVE_TIME: Duration = Duration::from_secs(1);

/// The way from cores to the keeper of the webhooks.
#[derive(Debug, Default)]
pub struct Hooks {
    /// Some app wants to be told of something.
    wanted: AtomicBool,
    /// How often the settings have changed.
    version: AtomicU64,
    pending: Mutex<Pending>,
    more: Notify,
    /// The topics whose servers know that they are occupied.
    known: Mutex<HashSet<Arc<str>>>,
    carrying: Carrying,
    pub figures: HookFigures,
}

/// What is counted of webhooks.
#[derive(Debug, Default)]
pub struct HookFigures {
    /// Events that some server was to be told of, once for each address.
    pub events: AtomicU64,
    /// Those that it has taken.
    pub told: AtomicU64,
    /// Requests that failed, and are made again.
    pub failures: AtomicU64,
    /// Events that happened faster than they could be looked at.
    pub dropped_busy: AtomicU64,
    /// Those for which there was no room, as the server had not taken others.
    pub dropped_full: AtomicU64,
    /// Those that the server had not taken in time.
    pub dropped_late: AtomicU64,
    /// Those that wait at present.
    pub waiting: AtomicU64,
}

/// Something that happened in a topic of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A user's first connection has come to a presence channel, or one of the user's has left.
    Member {
        topic: Arc<str>,
        user: Box<str>,
        has_come: bool,
    },
    /// A client has published.
    ClientEvent {
        topic: Arc<str>,
        event: Box<str>,
        data: Box<[u8]>,
        socket_id: Option<SocketId>,
        /// Who it is, in a presence channel.
        user: Option<Box<str>>,
    },
    /// Somebody has come to a cache channel that holds nothing.
    CacheMiss { topic: Arc<str> },
}

/// What the keeper takes away.
#[derive(Debug, Default)]
pub struct Noted {
    pub happenings: Vec<Happening>,
    /// Topics that somebody has come to first or left last, on some core.
    pub touched: HashSet<Arc<str>>,
    /// There were too many of them: all topics are to be looked at.
    pub all: bool,
}

#[derive(Debug, Default)]
struct Pending {
    noted: Noted,
    bytes: usize,
    /// Topics whose cache miss is among what is noted: one says it all.
    missed: HashSet<Arc<str>>,
}

impl Happening {
    /// The topic that it happened in.
    pub fn topic(&self) -> &Arc<str> {
        match self {
            Happening::Member { topic, .. }
            | Happening::ClientEvent { topic, .. }
            | Happening::CacheMiss { topic } => topic,
        }
    }

    /// What a server is told of it.
    pub fn what(&self) -> HookEvent {
        match self {
            Happening::Member { has_come: true, .. } => HookEvent::MemberAdded,
            Happening::Member { .. } => HookEvent::MemberRemoved,
            Happening::ClientEvent { .. } => HookEvent::ClientEvent,
            Happening::CacheMiss { .. } => HookEvent::CacheMiss,
        }
    }

    fn bytes(&self) -> usize {
        let more = match self {
            Happening::Member { user, .. } => user.len(),
            Happening::ClientEvent { event, data, .. } => event.len() + data.len(),
            Happening::CacheMiss { .. } => 0,
        };
        size_of::<Happening>() + self.topic().len() + more
    }
}

impl Hooks {
    pub(super) fn new(settings: &Settings) -> Hooks {
        let hooks = Hooks::default();
        hooks.look_at(settings);
        hooks
    }

    pub(super) fn look_at(&self, settings: &Settings) {
        let wanted = settings.apps.iter().any(|app| !app.webhooks.is_empty());
        self.wanted.store(wanted, Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
        self.more.notify_one();
    }

    /// Returns when something has been noted, or the settings have changed, since the last time.
    pub async fn wait(&self) {
        self.more.notified().await;
    }

    /// Which settings are in force, by a number that grows.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Has [`Hooks::wait`] return.
    pub fn wake(&self) {
        self.more.notify_one();
    }

    /// All that has been noted since the last time.
    pub fn take(&self) -> Noted {
        let mut pending = self.lock();
        std::mem::take(&mut *pending).noted
    }

    /// The servers know, or do not know any more, that a topic is occupied.
    pub fn know(&self, topic: &Arc<str>, is_occupied: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match is_occupied {
            true => _ = known.insert(topic.clone()),
            false => _ = known.remove(topic),
        }
    }

    /// The servers know that a topic is occupied, as far as this node has told them or has
    /// heard that they know.
    pub fn is_known(&self, topic: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(topic)
    }

    /// Nothing more is told while this is `true`, as another process is to tell it.
    pub fn hold(&self, is_held: bool) {
        self.carrying.hold(is_held);
        self.more.notify_one();
    }

    pub fn is_held(&self) -> bool {
        self.carrying.is_held()
    }

    /// What another process is to go on with, once nothing happens here any more.
    pub fn save(&self) -> SavedHooks {
        if !self.wanted.load(Ordering::Relaxed) {
            return SavedHooks::default();
        }
        let saved = self.carrying.save(SAVE_TIME, || self.more.notify_one());
        saved.unwrap_or_else(|| {
            tracing::warn!("what webhooks have not told is lost: their thread does not answer");
            SavedHooks::default()
        })
    }

    /// For the keeper: who waits for what [`Hooks::save`] returns.
    pub fn take_asks(&self) -> Option<Sender<SavedHooks>> {
        self.carrying.take_asks()
    }

    /// Takes up what another process has saved, before there is a keeper.
    pub fn restore(&self, saved: SavedHooks) {
        self.carrying.restore(saved);
    }

    /// For the keeper: what has been restored.
    pub fn take_restored(&self) -> SavedHooks {
        self.carrying.take_restored()
    }

    fn touch(&self, topic: &Arc<str>) {
        let mut pending = self.lock();
        let noted = &mut pending.noted;
        if noted.all || noted.touched.contains(topic) {
            return;
        }
        if noted.touched.len() < TOUCHED_MAX {
            noted.touched.insert(topic.clone());
        } else {
            noted.all = true;
            noted.touched.clear();
        }
        drop(pending);
        self.more.notify_one();
    }

    fn note(&self, happening: Happening) {
        let mut pending = self.lock();
        let is_miss = matches!(happening, Happening::CacheMiss { .. });
        if is_miss && pending.missed.contains(happening.topic()) {
            return;
        }
        let share = if happening.what().is_change() { 1 } else { 2 };
        let bytes = pending.bytes + happening.bytes();
        let is_full = pending.noted.happenings.len() >= HAPPENINGS_MAX / share;
        if is_full || bytes > HAPPENINGS_BYTES_MAX / share {
            drop(pending);
            self.figures.dropped_busy.fetch_add(1, Ordering::Relaxed);
            return;
        }
        pending.bytes = bytes;
        if is_miss {
            pending.missed.insert(happening.topic().clone());
        }
        pending.noted.happenings.push(happening);
        drop(pending);
        self.more.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// What the servers of apps are to be told of.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// The first reader of a view of a topic has come on some core, or the last one has gone.
    pub fn note_readers(&self, topic: &Topic) {
        let name = topic.name();
        if self.tells(name, HookEvent::ChannelOccupied)
            || self.tells(name, HookEvent::ChannelVacated)
        {
            self.hooks.touch(name);
        }
    }

    /// Somebody is subscribed to a topic here.
    pub fn has_readers(&self, topic: &str) -> bool {
        let topic = self.find_topic(topic);
        topic.is_some_and(|topic| topic.subscribers(|format| !format.is_joins()) > 0)
    }

    /// A client of a user has come to a topic's list of who is there, as the user's first one
    /// or not, or has gone from it. To be called while nobody else can come or go.
    pub fn note_member(
        &self,
        topic: &Topic,
        has_come: bool,
        first_or_last: bool,
        user: impl FnOnce() -> Box<str>,
    ) {
        // Another node may believe that the user's last connection is here, while it is not.
        let counts = first_or_last || (!has_come && topic.is_shared());
        let event = match has_come {
            true => HookEvent::MemberAdded,
            false => HookEvent::MemberRemoved,
        };
        // Who has come again cancels what was about to be told.
        let tells = counts
            && (self.tells(topic.name(), event)
                || self.tells(topic.name(), HookEvent::MemberRemoved));
        if !tells || ChannelKind::of(channel_of(topic.name())).access != Access::Presence {
            return;
        }
        let (topic, user) = (topic.name().clone(), user());
        // Others do not know who has no name.
        if !user.is_empty() {
            self.hooks.note(Happening::Member {
                topic,
                user,
                has_come,
            });
        }
    }

    /// Somebody has come to a cache channel that holds nothing.
    pub fn note_cache_miss(&self, topic: &Topic) {
        if self.tells(topic.name(), HookEvent::CacheMiss) {
            let topic = topic.name().clone();
            self.hooks.note(Happening::CacheMiss { topic });
        }
    }

    /// A client has published. `happening` is asked for what, if somebody is to be told.
    pub fn note_client_event(&self, topic: &Topic, happening: impl FnOnce() -> Happening) {
        if self.tells(topic.name(), HookEvent::ClientEvent) {
            self.hooks.note(happening());
        }
    }

    /// Some server is to be told of such events in a topic.
    fn tells(&self, topic: &str, event: HookEvent) -> bool {
        self.hooks.wanted.load(Ordering::Relaxed)
            && self
                .settings()
                .app_of(topic)
                .is_some_and(|(app, _)| app.is_told_of(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn miss(topic: &str) -> Happening {
        Happening::CacheMiss {
            topic: topic.into(),
        }
    }

    #[test]
    fn a_topic_is_noted_once_however_often_it_is_come_to() {
        let hooks = Hooks::default();
        for _ in 0..3 {
            hooks.touch(&"a".into());
            hooks.touch(&"b".into());
        }
        for _ in 0..3 {
            hooks.note(miss("a"));
        }
        let noted = hooks.take();
        assert_eq!((noted.touched.len(), noted.all), (2, false));
        assert_eq!(noted.happenings, [miss("a")]);
        let noted = hooks.take();
        assert!(noted.touched.is_empty() && noted.happenings.is_empty());
        hooks.note(miss("a"));
        assert_eq!(hooks.take().happenings, [miss("a")]);
    }

    #[test]
    fn where_too_many_topics_are_come_to_all_are_looked_at() {
        let hooks = Hooks::default();
        for number in 0..=TOUCHED_MAX {
            hooks.touch(&number.to_string().into());
        }
        let noted = hooks.take();
        assert!(noted.all && noted.touched.is_empty());
        assert!(!hooks.take().all);
    }

    fn member(topic: &str) -> Happening {
        Happening::Member {
            topic: topic.into(),
            user: "ann".into(),
            has_come: true,
        }
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted() {
        let hooks = Hooks::default();
        for _ in 0..HAPPENINGS_MAX + 2 {
            hooks.note(member("a"));
        }
        assert_eq!(hooks.take().happenings.len(), HAPPENINGS_MAX);
        let large = || Happening::ClientEvent {
            topic: "a".into(),
            event: "client-e".into(),
            data: vec![b' '; HAPPENINGS_BYTES_MAX / 4].into(),
            socket_id: None,
            user: None,
        };
        hooks.note(large());
        hooks.note(large());
        hooks.note(member("a"));
        assert_eq!(hooks.take().happenings.len(), 2);
        assert_eq!(hooks.figures.dropped_busy.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn what_clients_make_as_they_like_leaves_room_for_who_comes_and_goes() {
        let hooks = Hooks::default();
        for number in 0..HAPPENINGS_MAX {
            hooks.note(miss(&number.to_string()));
        }
        for _ in 0..HAPPENINGS_MAX / 2 {
            hooks.note(member("a"));
        }
        let dropped = hooks.figures.dropped_busy.load(Ordering::Relaxed);
        assert_eq!(dropped as usize, HAPPENINGS_MAX / 2);
        let happenings = hooks.take().happenings;
        let members = happenings.iter().filter(|what| **what == member("a"));
        assert_eq!(members.count(), HAPPENINGS_MAX / 2);
    }
}
