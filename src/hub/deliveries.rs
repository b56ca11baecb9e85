//! Following one message to the sockets of its topic's subscribers, for a publisher who asks
//! how it was delivered. Each core counts its own subscribers before the message is published,
//! and tells how many have had it written; who asks waits for all cores, up to a bound.

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
            delivery: Arc::new(Delivery {
                topic,
                message: OnceLock::new(),
                subscribers: AtomicU64::new(0),
                written: AtomicU64::new(0),
                last_us: AtomicU64::new(0),
                uncounted: AtomicUsize::new(self.cores.len()),
                awaited: AtomicUsize::new(self.cores.len()),
                changed: Notify::new(),
                over: AtomicBool::new(false),
            }),
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
        let is_over = || delivery.awaited.load(Ordering::Acquire) == 0 || hub.is_stopping();
        delivery.wait_until(within, is_over).await;
        let written = delivery.written.load(Ordering::Acquire);
        Delivered {
            subscribers: delivery.subscribers.load(Ordering::Acquire),
            written,
            last_us: (written > 0).then(|| delivery.last_us.load(Ordering::Acquire)),
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.delivery.over.store(true, Ordering::Release);
        self.hub.deliveries.fetch_sub(1, Ordering::Relaxed);
        // So that they let go of it.
        if self.delivery.awaited.load(Ordering::Acquire) > 0 {
            self.hub.wake_all();
        }
    }
}

impl Delivery {
    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// The message, once it is published.
    pub fn message(&self) -> Option<&Committed> {
        self.message.get().map(|(message, _)| message)
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
