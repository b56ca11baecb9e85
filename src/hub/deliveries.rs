//! Following one message to the sockets of its topic's subscribers, for a publisher who asks
//! how it was delivered. Each core counts its own subscribers before the message is published,
//! and tells how many have had it written; who asks waits for all cores, up to a bound.
//!
//! A message that is traced is followed when it has just been published, as nobody is to wait
//! until it may be: cores count a moment later, and who comes or goes in between does so too.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::{Hub, PostRefusal};
use crate::log::{Committed, Topic};

/// What becomes of one message.
#[derive(Debug)]
pub struct Delivery {
    topic: Arc<Topic>,
    message: OnceLock<(Committed, Instant)>,
    subscribers: AtomicU64,
    written: AtomicU64,
    last_us: AtomicU64,
    /// Cores that have not counted their subscribers.
    uncounted: AtomicUsize,
    /// Cores that have some to wait for.
    awaited: AtomicUsize,
    changed: Notify,
    over: AtomicBool,
}

/// How a message was delivered, as far as it has been by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Followers of the topic, of all protocols, just before the message was published.
    pub subscribers: u64,
    /// Those of them in whose sockets it has been written.
    pub written: u64,
    /// From publishing to the last of these writes, in microseconds.
    pub last_us: Option<u64>,
}

/// Why nobody follows a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    #[error("as many deliveries are waited for as may be (delivery_acks_max)")]
    Full,
    #[error("a core does not answer")]
    Stuck,
}

/// A delivery that somebody waits for; over when dropped.
pub struct Awaited {
    hub: Arc<Hub>,
    delivery: Arc<Delivery>,
}

impl Hub {
    /// Has all cores count the followers of a topic, to follow the next message to them.
    ///
    /// # Errors
    /// See [`DeliveryError`]; then nothing is to be published.
    pub async fn follow_next(
        self: &Arc<Self>,
        topic: Arc<Topic>,
        patience: Duration,
    ) -> Result<Awaited, DeliveryError> {
        let max = self.settings().delivery_acks_max;
        let more = |count: usize| (count < max).then_some(count + 1);
        let taken = self
            .deliveries
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|_| {
            self.posts().note_refusal(PostRefusal::Acks);
            DeliveryError::Full
        })?;
        let awaited = Awaited {
            hub: self.clone(),
            delivery: Arc::new(Delivery::new(topic, OnceLock::new(), self.cores.len())),
        };
        for mailbox in &self.cores {
            mailbox.follow(awaited.delivery.clone());
        }
        let delivery = &awaited.delivery;
        let counted =
            delivery.wait_until(patience, || delivery.uncounted.load(Ordering::Acquire) == 0);
        match counted.await {
            true => Ok(awaited),
            false => Err(DeliveryError::Stuck),
        }
    }

    /// Has the cores that have followers of a topic follow a message to them that has just been
    /// published. To be called before it is announced, and ended by [`Delivery::end`].
    pub(super) fn follow_published(
        &self,
        topic: &Arc<Topic>,
        message: &Committed,
    ) -> Arc<Delivery> {
        let mut cores = vec![false; self.cores.len()];
        for interest in topic.interests() {
            for (reads, listener) in cores.iter_mut().zip(interest.iter()) {
                *reads |= listener.subscribers() > 0;
            }
        }
        let awaited = cores.iter().filter(|reads| **reads).count();
        let published = OnceLock::from((message.clone(), Instant::now()));
        let delivery = Arc::new(Delivery::new(topic.clone(), published, awaited));
        for (mailbox, _) in self.cores.iter().zip(cores).filter(|(_, reads)| *reads) {
            mailbox.follow(delivery.clone());
        }
        delivery
    }

    /// How many deliveries are waited for.
    pub fn deliveries(&self) -> usize {
        self.deliveries.load(Ordering::Relaxed)
    }
}

impl Awaited {
    /// The message has just been published. Waits until all have it, or for as long as
    /// `within`, or until the daemon stops.
    pub async fn delivered(self, message: Committed, within: Duration) -> Delivered {
        let Awaited { hub, delivery } = &self;
        let set = delivery.message.set((message, Instant::now())).is_ok();
        assert!(set, "one message is followed");
        // They may have sent it already, and not have known that it is this one.
        hub.wake_all();
        let is_over = || delivery.is_finished() || hub.is_stopping();
        delivery.wait_until(within, is_over).await;
        delivery.so_far()
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.delivery.end(&self.hub);
        self.hub.deliveries.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Delivery {
    /// So many cores are to count their subscribers.
    fn new(topic: Arc<Topic>, message: OnceLock<(Committed, Instant)>, cores: usize) -> Self {
        Delivery {
            topic,
            message,
            subscribers: AtomicU64::new(0),
            written: AtomicU64::new(0),
            last_us: AtomicU64::new(0),
            uncounted: AtomicUsize::new(cores),
            awaited: AtomicUsize::new(cores),
            changed: Notify::new(),
            over: AtomicBool::new(false),
        }
    }

    /// No core has anybody left to wait for.
    pub fn is_finished(&self) -> bool {
        self.awaited.load(Ordering::Acquire) == 0
    }

    /// Waits until that is so, or for as long as `within`.
    pub async fn finished(&self, within: Duration) {
        self.wait_until(within, || self.is_finished()).await;
    }

    /// How the message has been delivered by now.
    pub fn so_far(&self) -> Delivered {
        let written = self.written.load(Ordering::Acquire);
        Delivered {
            subscribers: self.subscribers.load(Ordering::Acquire),
            written,
            last_us: (written > 0).then(|| self.last_us.load(Ordering::Acquire)),
        }
    }

    /// Nobody waits any more: the cores let go of it.
    pub fn end(&self, hub: &Hub) {
        self.over.store(true, Ordering::Release);
        if !self.is_finished() {
            hub.wake_all();
        }
    }

    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// The message, once it is published.
    pub fn message(&self) -> Option<&Committed> {
        self.message.get().map(|(message, _)| message)
    }

    /// When it was published.
    pub fn published(&self) -> Option<Instant> {
        self.message.get().map(|(_, at)| *at)
    }

    /// Nobody waits any more.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// A core has so many subscribers.
    pub fn count(&self, subscribers: u64) {
        self.subscribers.fetch_add(subscribers, Ordering::AcqRel);
        if subscribers == 0 {
            self.awaited.fetch_sub(1, Ordering::AcqRel);
        }
        self.uncounted.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_one();
    }

    /// So many more have had it written.
    pub fn note_written(&self, more: u64) {
        let (_, began) = self.message.get().expect("it is published");
        let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_us.fetch_max(us, Ordering::AcqRel);
        self.written.fetch_add(more, Ordering::AcqRel);
    }

    /// A core has nobody left to wait for.
    pub fn finish(&self) {
        self.awaited.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_one();
    }

    /// Whether `is_so` within that time.
    async fn wait_until(&self, time: Duration, is_so: impl Fn() -> bool) -> bool {
        /// The daemon's stopping wakes nobody here.
        const LOOK: Duration = Duration::from_millis(250);
        let end = tokio::time::Instant::now() + time;
        while !is_so() {
            let now = tokio::time::Instant::now();
            if now >= end {
                return false;
            }
            let _ = timeout_at(end.min(now + LOOK), self.changed.notified()).await;
        }
        true
    }
}
