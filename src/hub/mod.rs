//! What all cores share: the topics, the counts that limits are about, and a
//! mailbox for each core. The handle that everything outside the cores holds.

mod admission;
mod carried_hooks;
mod checking;
mod clock;
mod cluster;
mod cluster_figures;
pub mod codec;
mod companions;
mod compressors;
mod counter;
mod deliveries;
pub mod descriptors;
mod helpers;
mod history;
mod hooks;
mod keeping;
mod life;
mod live;
mod losses;
mod mailbox;
pub mod metrics;
mod older;
mod orders;
mod policies;
mod posts;
mod presence;
mod publishing;
mod quiet;
mod receipts;
mod relief;
mod rights;
mod rosters;
mod seldom;
mod slowest;
mod tls;
mod topics;
mod traces;
mod uncompressed;
mod users;
mod visitors;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use self::codec::Codec;
use tokio::sync::watch;

use crate::config::{Changes, Settings};
use crate::log::{Arenas, Topic};
use crate::protocol::http::{Hosts, Origins};

use self::cluster::Cluster;
use self::companions::Companions;
use self::helpers::Helpers;
use self::keeping::Keeping;
use self::live::Live;
use self::older::Older;
use self::quiet::Quiet;
use self::receipts::Receipts;
use self::rights::Tokens;
use self::visitors::Visitors;

pub use admission::{Admission, Refusal};
pub use carried_hooks::{SavedHooks, SavedOutbox};
pub use checking::{Checked, Verdict};
pub use clock::Clock;
pub use cluster::{
    Accepted, Answers, Draft, Failure, Heard, Link, Origin, Outcome, Proposal, SavedProposal, Turn,
    Unproposed, Waits,
};
pub use cluster_figures::{ClusterFigures, LinkFigures};
pub use deliveries::{Awaited, Delivered, Delivery, DeliveryError};
pub use helpers::Busy;
pub use history::{HistoryError, Past};
pub use hooks::{Happening, HookFigures, Hooks, Noted};
pub use keeping::{Archive, At, NotStored, PageEnds, StoreState, StoredTopic, Todo, Unreadable};
pub use life::{BEAT_MS_MAX, Upgrade, UpgradeError};
pub use losses::{Losses, Lost};
pub use mailbox::{Mailbox, Mark, Task};
pub use older::{Found, OlderAnswer, Part, PastAnswer, Postponed};
pub use orders::{Act, Order, OrderError, Ordered, Whom};
pub use policies::TopicPolicy;
pub use posts::{PostRefusal, Posts};
pub use presence::{Crowded, Numbers, Presence};
pub use publishing::{OVER_HTTP, PublishError};
pub use receipts::{Answer, Claim, Claimed, RequestName, SavedReceipt};
pub use relief::Relief;
pub use rosters::{Roster, Rosters};
pub use seldom::Complaints;
pub use slowest::{SLOWEST_MAX, Slow, Slowest};
pub use tls::{
    SavedTickets, Served, TLS_HANDSHAKES, Tickets, Tls, TlsCounts, TlsFailure,
    keep_memory_to_itself,
};
pub use topics::TopicsFull;
pub use traces::{
    Begun, HandshakeOutcome, TraceFigures, Traced, TracedHandshake, TracedMessage, Traces,
};
pub use uncompressed::Uncompressed;
pub use users::Users;
pub use visitors::{NoVisit, Visitor, VisitorSeat};

/// The topics, the limits and the cores' mailboxes.
pub struct Hub {
    live: Live,
    topics: Mutex<HashMap<Arc<str>, Arc<Topic>>>,
    companions: Companions,
    idle_topics: AtomicUsize,
    /// Taken only with `topics` locked, or alone.
    quiet: Mutex<Quiet>,
    /// The memory of all logs.
    arenas: Arc<Arenas>,
    /// Held by who makes room in the logs; how often it has been done.
    sheds: Mutex<u64>,
    /// Bytes that all half-received messages hold.
    partial_bytes: AtomicU64,
    relief: Relief,
    slowest: Slowest,
    cores: Box<[Mailbox]>,
    admission: Admission,
    presence: Presence,
    rosters: Rosters,
    users: Users,
    app_connections: Users,
    hooks: Hooks,
    uncompressed: Uncompressed,
    complaints: Complaints,
    tokens: Tokens,
    helpers: Helpers,
    tls: Tls,
    cluster_figures: ClusterFigures,
    keeping: Keeping,
    older: Older,
    cluster: Cluster,
    visitors: Visitors,
    ready: AtomicBool,
    stopping: AtomicBool,
    /// Another daemon is about to be started in place of the one that stops.
    followed: AtomicBool,
    /// Connections there were when the daemon began to stop.
    leaving: AtomicUsize,
    /// A successor is about to take over: nothing may change.
    frozen: AtomicBool,
    /// It has taken over: nobody new is served here.
    parted: watch::Sender<bool>,
    upgrade: OnceLock<Box<Upgrade>>,
    losses: Losses,
    clock: Clock,
    posts: Posts,
    receipts: Receipts,
    /// Deliveries that publishers wait for.
    deliveries: AtomicUsize,
    traces: Arc<Traces>,
    full_pages: AtomicU64,
    /// Messages of other publishers than subscribers that were written for views.
    encoded: AtomicU64,
    /// Compresses them.
    codec: Mutex<Codec>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            presence: Presence::default(),
            rosters: Rosters::default(),
            users: Users::default(),
            app_connections: Users::default(),
            hooks: Hooks::new(&settings),
            uncompressed: Uncompressed::default(),
            complaints: Complaints::default(),
            tokens: Tokens::default(),
            helpers: Helpers::new(settings.cores),
            slowest: Slowest::new(settings.cores),
            tls: Tls::default(),
            cluster_figures: ClusterFigures::default(),
            keeping: Keeping::default(),
            older: Older::default(),
            cluster: Cluster::default(),
            visitors: Visitors::default(),
            live: Live::new(settings),
            topics: Mutex::new(HashMap::new()),
            companions: Companions::default(),
            idle_topics: AtomicUsize::new(0),
            quiet: Mutex::default(),
            arenas: Arenas::new(),
            sheds: Mutex::default(),
            partial_bytes: AtomicU64::new(0),
            relief: Relief::default(),
            cores: cores.map_err(|error| format!("cannot make an eventfd: {error}"))?,
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            followed: AtomicBool::new(false),
            leaving: AtomicUsize::new(0),
            frozen: AtomicBool::new(false),
            parted: watch::Sender::new(false),
            upgrade: OnceLock::new(),
            losses: Losses::default(),
            clock,
            posts: Posts::default(),
            receipts: Receipts::default(),
            deliveries: AtomicUsize::new(0),
            traces: Arc::default(),
            full_pages: AtomicU64::new(0),
            encoded: AtomicU64::new(0),
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

    /// The same for who has come over TLS.
    #[inline]
    pub fn origins_over_tls(&self) -> &Origins {
        &self.live.get().origins_over_tls
    }

    #[inline]
    pub fn hosts(&self) -> &Hosts {
        &self.live.get().settings.hosts
    }

    /// Puts all of `new` in force that can change while the daemon runs, and
    /// tells what did and what did not.
    pub fn change(&self, new: &Settings) -> Changes {
        let changes = self.live.change(new);
        if !changes.applied.is_empty() {
            self.give_policies();
            self.hooks.look_at(self.settings());
            if self.settings().keeps_on_disk() && self.keeping.state() == StoreState::Off {
                tracing::warn!("nothing is kept on disk before a restart: there is no store yet");
            }
        }
        let about_rights = ["topics", "anonymous", "token_keys", "presence", "apps"];
        if changes.applied.iter().any(|key| about_rights.contains(key)) {
            self.recheck_rights();
        }
        changes
    }

    pub fn relief(&self) -> &Relief {
        &self.relief
    }

    /// The connections that are furthest behind.
    pub fn slowest(&self) -> &Slowest {
        &self.slowest
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

    /// Who follows which topic.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Whose connections there are.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// How many connections each app has, by its key.
    pub fn app_connections(&self) -> &Users {
        &self.app_connections
    }

    /// The addresses that go without compression.
    pub fn uncompressed(&self) -> &Uncompressed {
        &self.uncompressed
    }

    /// What decides whether a log line about a peer is written.
    pub fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    /// What is counted of messages that are published over HTTP.
    pub fn posts(&self) -> &Posts {
        &self.posts
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

    /// The same clock in microseconds.
    #[inline]
    pub fn now_us(&self) -> u64 {
        self.clock.now_us()
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
        self.arenas.held_bytes()
    }

    /// The memory of all logs.
    pub fn arenas(&self) -> &Arenas {
        &self.arenas
    }

    /// The Unix time of a moment of the daemon's clock, in milliseconds.
    #[inline]
    pub fn unix_ms(&self, at_ms: u64) -> u64 {
        self.clock.unix_ms(at_ms)
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
}

#[cfg(test)]
mod tests;
