//! A topic: the order of its messages, their log, and which cores listen.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::head::Told;
use super::segment::{Budget, Segment};
use super::view::{AppendError, Bounds, View};
use crate::protocol::ws::frame::{self, Opcode};

/// What a topic keeps for subscribers that return, and how much it may hold.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub messages_max: u64,
    pub bytes_max: u64,
    pub age_ms_max: u64,
    pub bounds: Bounds,
}

/// Ages are noted this finely: a share of the retained age.
const AGE_STEPS: u64 = 128;

/// A message as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its number in the topic, from 1.
    pub offset: u64,
    /// Where its frame lies in the raw view.
    pub range: Range<u64>,
}

/// Where a subscriber begins.
#[derive(Debug)]
pub struct Start {
    /// Position in the raw view of the first byte it gets.
    pub position: u64,
    /// Offset of the first message it gets.
    pub offset: u64,
    /// The segments from there on; keeps them alive.
    pub segments: Vec<Arc<Segment>>,
}

/// The state of a topic for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Offset of the newest message, 0 before the first.
    pub offset: u64,
    /// Offset of the oldest message that a returning subscriber can have.
    pub first_offset: u64,
    pub log_bytes: u64,
    pub subscribers: u64,
}

/// A topic and all that cores share of it.
#[derive(Debug)]
pub struct Topic {
    name: Arc<str>,
    epoch: u64,
    sequencer: Mutex<Sequencer>,
    listeners: Box<[Listener]>,
}

#[derive(Debug)]
struct Sequencer {
    next_offset: u64,
    /// Offset of the oldest message that a returning subscriber can have.
    floor: u64,
    ages: VecDeque<Age>,
    raw: View,
}

/// "Everything from `offset` on is not older than this."
#[derive(Debug)]
struct Age {
    at_ms: u64,
    offset: u64,
}

/// One core's interest in a topic.
#[derive(Debug)]
pub struct Listener {
    /// Subscribers on that core.
    pub subscribers: AtomicU32,
    /// The core's own number for the topic, while it has subscribers.
    pub place: AtomicU32,
    pub told: Told,
}

impl Topic {
    /// An empty topic. `epoch` is random and names this history.
    pub fn new(name: Arc<str>, epoch: u64, cores: usize, total_bytes: Arc<AtomicU64>) -> Self {
        Topic {
            name,
            epoch,
            sequencer: Mutex::new(Sequencer {
                next_offset: 1,
                floor: 1,
                ages: VecDeque::new(),
                raw: View::new(1, Budget::new(total_bytes)),
            }),
            listeners: (0..cores)
                .map(|_| Listener {
                    subscribers: AtomicU32::new(0),
                    place: AtomicU32::new(0),
                    told: Told::new(),
                })
                .collect(),
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Changes when the history is lost.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The core's side of the topic.
    #[inline]
    pub fn listener(&self, core: usize) -> &Listener {
        &self.listeners[core]
    }

    /// All cores' sides of the topic.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Appends one message whose payload of `len` bytes is filled in by
    /// `write`. If that fails, nobody ever sees any of it.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn publish<E>(
        &self,
        opcode: Opcode,
        len: usize,
        now_ms: u64,
        retention: &Retention,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Published, AppendError<E>> {
        let mut sequencer = self.lock();
        let offset = sequencer.next_offset;
        let mut header = [0; 10];
        let header_len = frame::encode(&mut header, opcode, false, len);
        let bounds = retention.bounds;
        let range = sequencer
            .raw
            .append(offset, header_len + len, bounds, |room| {
                let (head, payload) = room.split_at_mut(header_len);
                head.copy_from_slice(&header[..header_len]);
                write(payload)
            })?;
        sequencer.next_offset = offset + 1;
        sequencer.note_age(offset, now_ms, retention.age_ms_max);
        sequencer.trim(retention);
        Ok(Published { offset, range })
    }

    /// Where a subscriber begins that wants all from offset `since` on, or all
    /// that comes from now on. What is not retained any more is left out: the
    /// start names the first offset there is.
    pub fn start(&self, since: Option<u64>, retention: &Retention) -> Start {
        let sequencer = self.lock();
        let next = sequencer.next_offset;
        let offset = match since {
            Some(since) => since.clamp(sequencer.floor(retention), next),
            None => next,
        };
        let (position, segments) = sequencer.raw.locate(offset);
        Start {
            position,
            offset,
            segments,
        }
    }

    /// Lets go of what has grown too old. True when no history is left.
    pub fn expire(&self, now_ms: u64, retention: &Retention) -> bool {
        let mut sequencer = self.lock();
        let oldest_ms = now_ms.saturating_sub(retention.age_ms_max);
        // A note covers all messages up to the next one, so it goes when the
        // next one is too old as well, or when its own span has passed.
        let step = retention.age_ms_max / AGE_STEPS;
        while sequencer
            .ages
            .front()
            .is_some_and(|age| age.at_ms + step < oldest_ms)
        {
            sequencer.ages.pop_front();
            let next = sequencer.next_offset;
            let floor = sequencer.ages.front().map_or(next, |age| age.offset);
            sequencer.floor = sequencer.floor.max(floor);
        }
        let (floor, next) = (sequencer.floor, sequencer.next_offset);
        sequencer.raw.trim(floor, 0);
        if floor == next {
            sequencer.raw.shrink(next);
        }
        floor == next
    }

    /// Gives up the history to make room.
    pub fn forget(&self) {
        let mut sequencer = self.lock();
        let next = sequencer.next_offset;
        sequencer.floor = next;
        sequencer.ages.clear();
        sequencer.raw.trim(next, 0);
        sequencer.raw.shrink(next);
    }

    /// The state for people.
    pub fn summary(&self, retention: &Retention) -> Summary {
        let subscribers = self
            .listeners
            .iter()
            .map(|l| u64::from(l.subscribers.load(Ordering::Relaxed)))
            .sum();
        let sequencer = self.lock();
        Summary {
            offset: sequencer.next_offset - 1,
            first_offset: sequencer.floor(retention),
            log_bytes: sequencer.raw.bytes(),
            subscribers,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sequencer> {
        self.sequencer
            .lock()
            .expect("no publisher panics inside the lock")
    }
}

impl Sequencer {
    /// Offset of the oldest message that may still be had, exact to the
    /// message. Memory is let go by whole segments, so more may lie there.
    fn floor(&self, retention: &Retention) -> u64 {
        let oldest = self.raw.head().saturating_sub(retention.bytes_max);
        let by_bytes = if oldest > 0 {
            self.raw.offset_at(oldest)
        } else {
            1
        };
        self.floor.max(by_bytes).max(self.raw.first_offset())
    }

    fn note_age(&mut self, offset: u64, now_ms: u64, age_ms_max: u64) {
        let step = age_ms_max / AGE_STEPS;
        if self.ages.back().is_none_or(|age| age.at_ms + step < now_ms) {
            self.ages.push_back(Age {
                at_ms: now_ms,
                offset,
            });
        }
    }

    fn trim(&mut self, retention: &Retention) {
        let by_messages = self.next_offset.saturating_sub(retention.messages_max);
        self.floor = self.floor.max(by_messages);
        while self.ages.len() > 1 && self.ages[1].offset <= self.floor {
            self.ages.pop_front();
        }
        let oldest = self.raw.head().saturating_sub(retention.bytes_max);
        self.raw.trim(self.floor, oldest);
    }
}
