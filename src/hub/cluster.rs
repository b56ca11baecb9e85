//! Topics on whose messages a cluster decides. What is published to them is proposed
//! (`proposing`), and comes back in the cluster's order, from whichever node it came; here it
//! is written into the logs.
//!
//! A topic is made without knowing its history: publishers need not, and readers wait until
//! the cluster has said which one it is and which message comes next. What the cluster has
//! beyond what memory holds is read like stored history.

mod committing;
mod ending;
mod guests;
pub(super) mod origins;
pub(super) mod outcome;
mod proposing;
mod turn;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use self::guests::Gone;
use self::origins::Homes;
use self::proposing::Tickets;
use super::codec::Codec;
use super::keeping::{Archive, At};
use super::{Hub, lock};
use crate::config::Keep;
use crate::log::{Lack, Topic};

pub use committing::Heard;
pub use guests::Answers;
pub use origins::Origin;
pub use outcome::{Accepted, Failure, Outcome};
pub use proposing::{Draft, SavedProposal, Unproposed, Waits};
pub use turn::Turn;

/// How long a node may be behind another one.
const REACHED_TIME: Duration = Duration::from_secs(1);
const REACHED_LOOK: Duration = Duration::from_millis(2);

/// A message on its way to the cluster.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Comes back with what becomes of it.
    pub ticket: u64,
    pub topic: Arc<str>,
    /// Messages with the same number to the same topic keep their order.
    pub publisher: u64,
    /// Proposed again with the same one, it is stored once.
    pub id: Option<u128>,
    /// Who publishes it, and the publisher's own name for it: likewise.
    pub key: Option<(String, String)>,
    pub text: bool,
    pub payload: Bytes,
    /// See [`crate::protocol::encoding::Extras::encode`].
    pub extras: Vec<u8>,
    /// The connection that is not to hear it.
    pub origin: Option<Origin>,
}

/// The way to the cluster. None of it blocks.
pub trait Link: Send + Sync {
    /// Proposes a message. What becomes of it is told to [`Hub::settle`].
    ///
    /// # Errors
    /// See [`Unproposed`]; then nothing is told.
    fn propose(&self, proposal: Proposal) -> Result<(), Unproposed>;

    /// Asks for a topic's messages, those behind `since` or those to come. First
    /// [`Hub::following`] is told.
    fn follow(&self, topic: &Arc<str>, since: Option<u64>);

    fn unfollow(&self, topic: &Arc<str>);

    /// Tells the other nodes that a client follows a topic here, or does so no more. They
    /// hear it by [`Hub::note_guest`].
    fn present(&self, topic: &Arc<str>, client: u128, info: Option<Vec<u8>>);

    /// Asks all other nodes, and tells what they answer.
    fn ask(&self, question: Vec<u8>, told: oneshot::Sender<Answers>);
}

/// All that the hub knows of the cluster.
pub struct Cluster {
    link: OnceLock<Arc<dyn Link>>,
    archive: OnceLock<Arc<dyn Archive>>,
    tickets: Mutex<Tickets>,
    next: AtomicU64,
    homes: Homes,
    /// Changes when a topic's history becomes known.
    known: watch::Sender<u64>,
    /// Topics of which nothing is taken before they are followed anew, and what they had no
    /// room for, if that is why.
    set_aside: Mutex<HashMap<Arc<str>, Option<Lack>>>,
    set_aside_len: AtomicUsize,
    /// Writes messages for views. Held by who writes them into logs.
    codec: Mutex<Codec>,
    /// Nothing more is proposed for now.
    holds: AtomicBool,
    gone: Mutex<Vec<Gone>>,
    /// What another process has proposed, and whether it comes too late.
    carried: Mutex<Vec<(Proposal, bool)>>,
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster {
            link: OnceLock::new(),
            archive: OnceLock::new(),
            tickets: Mutex::default(),
            next: AtomicU64::new(1),
            homes: Homes::default(),
            known: watch::Sender::new(0),
            set_aside: Mutex::default(),
            set_aside_len: AtomicUsize::new(0),
            codec: Mutex::default(),
            holds: AtomicBool::new(false),
            gone: Mutex::default(),
            carried: Mutex::default(),
        }
    }
}

impl Cluster {
    /// There is a way to it.
    pub fn is_linked(&self) -> bool {
        self.link.get().is_some()
    }

    /// A number that nothing else has.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn link(&self) -> Option<&Arc<dyn Link>> {
        self.link.get()
    }

    fn set_aside(&self, topic: &Arc<str>, lack: Option<Lack>) {
        let mut aside = lock(&self.set_aside);
        aside.insert(topic.clone(), lack);
        self.set_aside_len.store(aside.len(), Ordering::Release);
    }

    fn take_up(&self, topic: &str) {
        let mut aside = lock(&self.set_aside);
        aside.remove(topic);
        self.set_aside_len.store(aside.len(), Ordering::Release);
    }

    fn is_aside(&self, topic: &str) -> bool {
        self.set_aside_len.load(Ordering::Acquire) > 0 && lock(&self.set_aside).contains_key(topic)
    }

    /// Topics that wait for room in their logs, or to be followed anew.
    pub fn set_aside_len(&self) -> usize {
        self.set_aside_len.load(Ordering::Acquire)
    }
}

impl Hub {
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A cluster decides on the topic's messages, by its rule.
    pub fn is_to_be_shared(&self, name: &str) -> bool {
        self.policy_named(name).keep == Keep::Cluster
    }

    /// There is a way to the cluster from now on. Topics that another process has followed
    /// go on behind what it has heard.
    pub fn link(&self, link: Arc<dyn Link>, archive: Arc<dyn Archive>) {
        // Before anything is heard, so that it is known when it comes.
        self.propose_carried(&*link);
        let is_first = self.cluster.link.set(link).is_ok();
        assert!(is_first && self.cluster.archive.set(archive).is_ok());
        for topic in self.all_topics() {
            if topic.is_shared() && topic.has_begun() {
                topic.kept().expect("it is shared").set_followed(true);
                self.follow_anew(&topic);
            }
        }
        self.present_all();
    }

    /// Where older messages of a topic are read.
    pub(super) fn archive_of(&self, topic: &Topic) -> Option<Arc<dyn Archive>> {
        match topic.is_shared() {
            true => self.cluster.archive.get().cloned(),
            false => self.keeping().archive(),
        }
    }

    /// Somebody wants to read a topic: it is asked for, if it is not known.
    pub fn want(&self, topic: &Topic) {
        if !topic.is_shared() || topic.is_known() {
            return;
        }
        let kept = topic.kept().expect("it is shared");
        if let Some(link) = self.cluster.link()
            && kept.set_followed(true)
        {
            link.follow(topic.name(), None);
        }
    }

    /// Waits until a topic's history is known; false if that takes too long.
    pub async fn known(&self, topic: &Topic, within: Duration) -> bool {
        if topic.is_known() {
            return true;
        }
        let mut known = self.cluster.known.subscribe();
        self.want(topic);
        let wait = known.wait_for(|_| topic.is_known());
        tokio::time::timeout(within, wait).await.is_ok()
    }

    /// Waits until a topic has come to an offset, as another node may have before. False if it
    /// does not for long, though the cluster may have it; one that never was is no reason.
    pub async fn reached(self: &Arc<Self>, topic: &Arc<Topic>, offset: u64) -> bool {
        let end = tokio::time::Instant::now() + REACHED_TIME;
        while topic.newest() < offset {
            if tokio::time::Instant::now() >= end {
                return self.is_beyond(topic, offset).await || topic.newest() >= offset;
            }
            tokio::time::sleep(REACHED_LOOK).await;
        }
        true
    }

    /// The cluster says that it has nothing at an offset nor behind it.
    async fn is_beyond(self: &Arc<Self>, topic: &Arc<Topic>, offset: u64) -> bool {
        let (told, answer) = oneshot::channel();
        let (hub, topic) = (self.clone(), topic.clone());
        let asked = self.read(move || {
            let archive = hub.archive_of(&topic);
            let page = archive.map(|archive| {
                let at = At::Holding(offset);
                archive.page(topic.name(), topic.epoch(), at, &mut |_| ())
            });
            // Who has asked may have gone.
            let _ = told.send(matches!(page, Some(Ok(None))));
        });
        asked.is_ok() && answer.await.unwrap_or(false)
    }

    /// Goes on with a topic behind what its log has.
    fn follow_anew(&self, topic: &Topic) {
        self.cluster.set_aside(topic.name(), None);
        if let Some(link) = self.cluster.link() {
            link.follow(topic.name(), Some(topic.newest()));
        }
    }
}
