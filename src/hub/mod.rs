//! What all cores share: the topics, the counts that limits are about, and a
//! mailbox for each core. The handle that everything outside the cores holds.

mod admission;
mod clock;
pub mod codec;
pub mod descriptors;
mod live;
mod losses;
mod mailbox;
pub mod metrics;
mod quiet;
mod relief;
mod seldom;
mod uncompressed;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use nix::unistd::Pid;

use self::codec::Codec;
use crate::config::{Changes, Settings};
use crate::log::topic::Listener;
use crate::log::{AppendError, Published, Retention, SavedTopic, Summary, Topic};
use crate::protocol::http::{Hosts, Origins};
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Opcode;

use self::live::Live;
use self::quiet::Quiet;

pub use admission::{Admission, Refusal};
pub use clock::Clock;
pub use losses::{Losses, Lost};
pub use mailbox::Mailbox;
pub use relief::Relief;
pub use seldom::Complaints;
pub use uncompressed::Uncompressed;

/// How long a core may go without a turn before the daemon is unwell.
pub const BEAT_MS_MAX: u64 = 1000;

/// The topics, the limits and the cores' mailboxes.
pub struct Hub {
    live: Live,
    topics: Mutex<HashMap<Arc<str>, Arc<Topic>>>,
    /// Taken only with `topics` locked, or alone.
    quiet: Mutex<Quiet>,
    /// Bytes that all logs hold.
    log_bytes: Arc<AtomicU64>,
    /// Held by who makes room in the logs; how often it has been done.
    sheds: Mutex<u64>,
    /// Bytes that all half-received messages hold.
    partial_bytes: AtomicU64,
    relief: Relief,
    cores: Box<[Mailbox]>,
    admission: Admission,
    uncompressed: Uncompressed,
    complaints: Complaints,
    ready: AtomicBool,
    stopping: AtomicBool,
    /// Another daemon is about to be started in place of the one that stops.
    followed: AtomicBool,
    /// Connections there were when the daemon began to stop.
    leaving: AtomicUsize,
    /// A successor is about to take over: nothing may change.
    frozen: AtomicBool,
    upgrade: OnceLock<Box<Upgrade>>,
    losses: Losses,
    clock: Clock,
    /// Messages published by others than subscribers.
    posted: AtomicU64,
    /// Compresses them.
    codec: Mutex<Codec>,
}

/// The number of topics has reached `topics_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are as many topics as this server keeps")]
pub struct TopicsFull;

/// Why a message could not be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("{0}")]
    Topics(#[from] TopicsFull),
    #[error("the message is larger than this server accepts")]
    TooBig,
    #[error("the memory for this topic's log is used up")]
    LogFull,
    #[error("a newer fanfare is taking over: try again at once")]
    HandingOver,
}

/// What hands everything over to a newer process; see [`Hub::upgrade`].
pub type Upgrade = dyn Fn() -> Result<Pid, UpgradeError> + Send + Sync;

/// Why nothing was handed over. Everything goes on as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// It was not the time for it.
    #[error("{0}")]
    Refused(String),
    /// It was tried.
    #[error("{0}")]
    Failed(String),
}

impl Hub {
    /// # Errors
    /// When an eventfd cannot be made.
    pub fn new(settings: Settings) -> Result<Arc<Hub>, String> {
        Hub::with_clock(settings, Clock::monotonic())
    }

    /// A hub that takes its time from `clock`.
    ///
    /// # Errors
    /// As [`Hub::new`].
    pub fn with_clock(settings: Settings, clock: Clock) -> Result<Arc<Hub>, String> {
        let cores: io::Result<Box<[Mailbox]>> = (0..settings.cores)
            .map(|_| Mailbox::new(clock.now_ms()))
            .collect();
        Ok(Arc::new(Hub {
            admission: Admission::with_descriptors(descriptors::guests_max(settings.cores)),
            uncompressed: Uncompressed::default(),
            complaints: Complaints::default(),
            live: Live::new(settings),
            topics: Mutex::new(HashMap::new()),
            quiet: Mutex::default(),
            log_bytes: Arc::default(),
            sheds: Mutex::default(),
            partial_bytes: AtomicU64::new(0),
            relief: Relief::default(),
            cores: cores.map_err(|error| format!("cannot make an eventfd: {error}"))?,
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            followed: AtomicBool::new(false),
            leaving: AtomicUsize::new(0),
            frozen: AtomicBool::new(false),
            upgrade: OnceLock::new(),
            losses: Losses::default(),
            clock,
            posted: AtomicU64::new(0),
            codec: Mutex::default(),
        }))
    }

    /// The settings in force; to ask is cheap, and to hold them is to keep to
    /// the old ones when they change.
    #[inline]
    pub fn settings(&self) -> &Settings {
        &self.live.get().settings
    }

    #[inline]
    pub fn origins(&self) -> &Origins {
        &self.live.get().settings.origins
    }

    #[inline]
    pub fn hosts(&self) -> &Hosts {
        &self.live.get().settings.hosts
    }

    #[inline]
    pub fn retention(&self) -> &Retention {
        &self.live.get().retention
    }

    /// Puts all of `new` in force that can change while the daemon runs, and
    /// tells what did and what did not.
    pub fn change(&self, new: &Settings) -> Changes {
        self.live.change(new)
    }

    pub fn relief(&self) -> &Relief {
        &self.relief
    }

    /// Has every core take a turn.
    pub(crate) fn wake_all(&self) {
        for mailbox in &self.cores {
            mailbox.wake();
        }
    }

    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The addresses that go without compression.
    pub fn uncompressed(&self) -> &Uncompressed {
        &self.uncompressed
    }

    /// What decides whether a log line about a peer is written.
    pub fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    pub fn mailboxes(&self) -> &[Mailbox] {
        &self.cores
    }

    pub fn mailbox(&self, core: usize) -> &Mailbox {
        &self.cores[core]
    }

    /// The time of day that chats show, `HH:MM:SS`.
    pub fn time_of_day(&self) -> String {
        self.clock.time_of_day()
    }

    /// Milliseconds of the daemon's own clock.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Milliseconds since this process started to serve.
    pub fn uptime_ms(&self) -> u64 {
        self.clock.elapsed_ms()
    }

    /// The date, in seconds since 1970.
    pub fn unix_s(&self) -> u64 {
        self.clock.unix_s()
    }

    /// Bytes that all logs hold.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that all half-received messages hold.
    pub fn partial_bytes(&self) -> u64 {
        self.partial_bytes.load(Ordering::Relaxed)
    }

    /// A connection's half-received message went from `before` to `after`
    /// bytes. False when all of them together are over the limit.
    pub fn account_partial(&self, before: usize, after: usize) -> bool {
        if after <= before {
            let less = (before - after) as u64;
            self.partial_bytes.fetch_sub(less, Ordering::Relaxed);
            return true;
        }
        let more = (after - before) as u64;
        let held = self.partial_bytes.fetch_add(more, Ordering::Relaxed) + more;
        held <= self.settings().partial_bytes_max as u64
    }

    /// The topic of that name, made if there is none. Where there are `topics_max` already,
    /// the one goes that nobody reads and that was quiet longest.
    ///
    /// # Errors
    /// When all of them are in use.
    pub fn topic(&self, name: &TopicName) -> Result<Arc<Topic>, TopicsFull> {
        let mut topics = self.lock_topics();
        if let Some(known) = topics.get(name.as_str()) {
            return Ok(known.clone());
        }
        while topics.len() >= self.settings().topics_max {
            if !self.lock_quiet().evict(&mut topics, self.now_ms()) {
                return Err(TopicsFull);
            }
        }
        let topic = Arc::new(Topic::new(
            name.as_arc().clone(),
            fastrand::u64(1..),
            self.cores.len(),
            self.log_bytes.clone(),
        ));
        topics.insert(name.as_arc().clone(), topic.clone());
        Ok(topic)
    }

    /// Topics that had to go for others, with their history.
    pub fn evictions(&self) -> u64 {
        self.lock_quiet().evicted
    }

    /// Publishes one message from outside the cores and wakes those that serve
    /// the topic. Text must be valid UTF-8.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn publish(
        &self,
        name: &TopicName,
        opcode: Opcode,
        payload: &[u8],
    ) -> Result<(Published, u64), PublishError> {
        if payload.len() > self.settings().message_bytes_max {
            return Err(PublishError::TooBig);
        }
        if self.frozen.load(Ordering::Acquire) {
            return Err(PublishError::HandingOver);
        }
        let topic = self.topic(name)?;
        let mut codec = self.codec.lock().expect("nothing panics inside the lock");
        let compressed = codec.deflate(
            &topic,
            payload,
            self.settings().deflate_level as u32,
            self.settings().deflate_bytes_min,
        );
        let publish = || {
            let write = |room: &mut [u8]| {
                room.copy_from_slice(payload);
                Ok::<_, Infallible>(())
            };
            let (now_ms, retention) = (self.now_ms(), self.retention());
            topic.publish(opcode, payload.len(), now_ms, retention, compressed, write)
        };
        let published = match publish() {
            Err(AppendError::TotalFull) if self.make_room() => publish(),
            published => published,
        };
        let published = published.map_err(|error| match error {
            AppendError::Payload(never) => match never {},
            AppendError::LogFull | AppendError::TotalFull => PublishError::LogFull,
        })?;
        self.announce(&topic, None);
        self.posted.fetch_add(1, Ordering::Relaxed);
        Ok((published, topic.epoch()))
    }

    /// Messages published by others than subscribers.
    pub fn posted(&self) -> u64 {
        self.posted.load(Ordering::Relaxed)
    }

    /// Tells the cores that serve `topic`, but for `except`, that it has grown.
    pub fn announce(&self, topic: &Topic, except: Option<usize>) {
        for (core, views) in topic.listeners().iter().enumerate() {
            if Some(core) == except {
                continue;
            }
            for listener in views {
                if listener.subscribers.load(Ordering::Acquire) > 0 && listener.told.tell() {
                    self.cores[core].post(listener.place.load(Ordering::Acquire));
                }
            }
        }
    }

    /// Wakes the cores on which a publisher may wait for others to catch up.
    pub fn wake_publishers(&self, topic: &Topic) {
        topic.publisher_waits.store(false, Ordering::SeqCst);
        for (core, views) in topic.listeners().iter().enumerate() {
            let listens = |listener: &Listener| listener.subscribers.load(Ordering::Acquire) > 0;
            if views.iter().any(listens) {
                self.cores[core].wake();
            }
        }
    }

    /// How many topics there are.
    pub fn topics_len(&self) -> usize {
        self.lock_topics().len()
    }

    /// The topic of that name and its state, if there is one.
    pub fn known_topic(&self, name: &TopicName) -> Option<(Arc<Topic>, Summary)> {
        let topic = self.lock_topics().get(name.as_str())?.clone();
        let summary = topic.summary(self.retention());
        Some((topic, summary))
    }

    /// The first `count` topics, by the bytes of their names, that begin with
    /// `prefix` and come behind `after`.
    pub fn topics(&self, prefix: &str, after: &str, count: usize) -> Vec<(Arc<Topic>, Summary)> {
        let wanted =
            |topic: &&Arc<Topic>| topic.name().starts_with(prefix) && topic.name().as_ref() > after;
        let mut topics: Vec<_> = self
            .lock_topics()
            .values()
            .filter(wanted)
            .cloned()
            .collect();
        topics.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        topics.truncate(count);
        topics
            .into_iter()
            .map(|topic| {
                let summary = topic.summary(self.retention());
                (topic, summary)
            })
            .collect()
    }

    /// All topics.
    pub fn all_topics(&self) -> Vec<Arc<Topic>> {
        self.lock_topics().values().cloned().collect()
    }

    /// The topic of that name, if there is one.
    pub fn find_topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.lock_topics().get(name).cloned()
    }

    /// Takes up a topic where another process left it.
    ///
    /// # Errors
    /// When what was saved makes no sense.
    pub fn restore_topic(&self, saved: &SavedTopic) -> Result<(), String> {
        let (cores, bytes) = (self.cores.len(), self.log_bytes.clone());
        let topic = Topic::restore(saved, self.now_ms(), cores, bytes)
            .ok_or_else(|| format!("the log of topic {:?} is damaged", saved.name))?;
        let topic = Arc::new(topic);
        self.lock_topics().insert(topic.name().clone(), topic);
        Ok(())
    }

    /// While frozen nothing is published from outside the cores.
    pub fn set_frozen(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Release);
    }

    /// Sets what [`Hub::upgrade`] does.
    pub fn on_upgrade(&self, upgrade: Box<Upgrade>) {
        let set = self.upgrade.set(upgrade).is_ok();
        assert!(set, "there is one way to upgrade");
    }

    /// Starts the program anew and hands everything over to it. Returns once
    /// that is done, and which process serves then; this one has nothing left to do
    /// and ends soon.
    ///
    /// # Errors
    /// A sentence on what went wrong; then everything goes on here.
    pub fn upgrade(&self) -> Result<Pid, UpgradeError> {
        match self.upgrade.get() {
            Some(upgrade) => upgrade(),
            None => Err(UpgradeError::Refused("the daemon is still starting".into())),
        }
    }

    /// What could not be taken over from a daemon that had ended.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Lets go of history that is too old, and of topics that nobody needs.
    pub fn expire(&self) {
        let now_ms = self.now_ms();
        let mut topics = self.lock_topics();
        topics.retain(|_, topic| {
            let empty = topic.expire(now_ms, self.retention());
            !empty || !quiet::is_unused(topic)
        });
        drop(topics);
        // Better now than when somebody waits for it.
        if self.log_bytes() > self.log_bytes_wanted() {
            self.make_room();
        }
    }

    /// Gives up history where all logs together have reached their limit: the
    /// older half of each topic's, until an eighth of the limit is free or
    /// there is no history left. False if nothing has come of it: then readers
    /// that lag hold all there is.
    pub fn make_room(&self) -> bool {
        let mut sheds = self.sheds.lock().expect("nothing panics inside the lock");
        if self.log_bytes() <= self.log_bytes_wanted() {
            // Somebody else has just done it.
            return true;
        }
        *sheds += 1;
        let before = self.log_bytes();
        let topics = self.all_topics();
        // All of them each time, so that none has to give more than others.
        while self.log_bytes() > self.log_bytes_wanted()
            && topics.iter().fold(false, |any, topic| topic.shed() | any)
        {}
        if self.log_bytes() > self.log_bytes_wanted() {
            // What cores still hold of logs that are empty now they let go of
            // when they look.
            topics.iter().for_each(|topic| self.announce(topic, None));
        }
        self.log_bytes() < before
    }

    fn log_bytes_wanted(&self) -> u64 {
        let max = self.settings().log_bytes_total_max;
        (max - max / 8) as u64
    }

    /// How often history was given up early to make room.
    pub fn sheds(&self) -> u64 {
        *self.sheds.lock().expect("nothing panics inside the lock")
    }

    /// All cores listen.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// New connections are served: all cores listen, and none stops.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_stopping()
    }

    /// The cores whose loop has not turned for longer than [`BEAT_MS_MAX`].
    pub fn stuck_cores(&self) -> Vec<usize> {
        let now_ms = self.now_ms();
        let stuck = |mailbox: &Mailbox| mailbox.beat_ms() + BEAT_MS_MAX < now_ms;
        let cores = self.cores.iter().enumerate();
        cores
            .filter_map(|(core, mailbox)| stuck(mailbox).then_some(core))
            .collect()
    }

    /// Over which time those who are told that the daemon stops should come back.
    pub fn retry_spread_ms(&self) -> u64 {
        let leaving = self.leaving.load(Ordering::Relaxed) as u64;
        // Two thousand handshakes a second leave room for everything else.
        self.settings().drain_ms_max.max(leaving / 2)
    }

    /// So many connections are about to be told to come back.
    pub fn set_leaving(&self, connections: usize) {
        self.leaving.store(connections, Ordering::Relaxed);
    }

    /// Makes every core say goodbye and end. `followed` is whether another daemon
    /// is about to be started in place of this one.
    pub fn stop(&self, followed: bool) {
        self.set_leaving(self.admission.connections());
        self.followed.store(followed, Ordering::Relaxed);
        self.stopping.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Another daemon is about to be started in place of the one that stops.
    pub fn is_followed(&self) -> bool {
        self.followed.load(Ordering::Relaxed)
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn lock_quiet(&self) -> MutexGuard<'_, Quiet> {
        self.quiet.lock().expect("nothing panics inside the lock")
    }

    fn lock_topics(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Topic>>> {
        self.topics.lock().expect("nothing panics inside the lock")
    }
}

#[cfg(test)]
mod tests;
