//! A topic whose messages are stored outside of memory as well: what the log knows of
//! that, and how who stores them reads them.
//!
//! What is not stored yet is not given up: the memory of the log pays for it, so that
//! publishers wait where the store is slow. What is stored may go, and is had from the
//! store again, by whoever asks for it ([`super::OutOfReach::Stored`]).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::head::Told;
use super::segment::Segment;
use super::slots::Slot;
use super::topic::Topic;
use super::view::View;

/// What is known of a topic's messages in the store.
#[derive(Debug)]
pub struct Kept {
    on: AtomicBool,
    told: Told,
    /// All messages before this offset are stored, or have been given up for good.
    stored: AtomicU64,
    /// Where that is in the raw view.
    stored_at: AtomicU64,
    /// No message before this offset is had from the store.
    oldest: AtomicU64,
    /// From this offset on none is missing.
    whole_from: AtomicU64,
}

/// How far others are behind what is published to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Bytes that the latest core has not offered to its subscribers yet, in the view it reads.
    pub unread_bytes: u64,
    /// Bytes that wait to be stored.
    pub unstored_bytes: u64,
}

/// Where a topic stands in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// All before this offset are stored, or gone.
    pub stored: u64,
    /// No message before this offset is there.
    pub oldest: u64,
    /// From this offset on none is missing.
    pub whole_from: u64,
}

impl Kept {
    fn new() -> Self {
        Kept {
            on: AtomicBool::new(false),
            told: Told::new(),
            stored: AtomicU64::new(0),
            stored_at: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            whole_from: AtomicU64::new(0),
        }
    }

    /// True for the first publisher since [`Kept::heard`]: it is to tell who stores the
    /// topic's messages. Called after the publish.
    #[inline]
    pub fn tell(&self) -> bool {
        self.told.tell()
    }

    /// Who stores them is about to look.
    pub fn heard(&self) {
        self.told.heard();
    }

    /// All messages before this offset are stored, or have been given up for good.
    pub fn stored(&self) -> u64 {
        self.stored.load(Ordering::Acquire)
    }

    /// Where that is in the raw view.
    pub(super) fn stored_at(&self) -> u64 {
        self.stored_at.load(Ordering::Acquire)
    }

    /// No message before this offset is in the store.
    pub fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }

    /// The store has given up what comes before. False if it had already.
    pub fn note_oldest(&self, oldest: u64) -> bool {
        self.oldest.fetch_max(oldest, Ordering::AcqRel) < oldest
    }

    /// From this offset on no message is missing.
    pub fn whole_from(&self) -> u64 {
        self.whole_from.load(Ordering::Acquire)
    }

    /// Messages before this offset are missing.
    pub fn note_hole(&self, until: u64) {
        self.whole_from.fetch_max(until, Ordering::AcqRel);
    }
}

/// Messages that lie together in one segment of the raw view; keeps them alive.
#[derive(Debug)]
pub struct Run {
    segment: Arc<Segment>,
    numbers: Range<u32>,
}

/// One message of a [`Run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSlot<'a> {
    /// Where its frame ends in the run's bytes.
    pub end: u32,
    pub offset: u64,
    pub time_ms: u64,
    pub header_len: u8,
    pub text: bool,
    /// Its rare parts, as they are encoded; empty if there are none.
    pub rare: &'a [u8],
}

impl Run {
    /// Frames of all its messages, back to back.
    pub fn frames(&self) -> &[u8] {
        let slots = self.segment.slots();
        let from = slots.start_of(self.numbers.start);
        let to = slots.start_of(self.numbers.end);
        &self.segment.published()[from as usize..to as usize]
    }

    pub fn slots(&self) -> impl Iterator<Item = RunSlot<'_>> {
        let slots = self.segment.slots();
        let begins = slots.start_of(self.numbers.start);
        self.numbers.clone().map(move |number| {
            let slot = slots.get(number);
            RunSlot {
                end: slot.end - begins,
                offset: slots.offset_of(number),
                time_ms: slots.time_of(number),
                header_len: slot.header_len,
                text: slot.flags & Slot::TEXT != 0,
                rare: slots.rare_bytes(number),
            }
        })
    }

    /// The offset that comes next behind it.
    pub fn next_offset(&self) -> u64 {
        self.segment.slots().next_offset(self.numbers.end)
    }

    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

impl Topic {
    /// An empty topic whose messages are in a store, and whose next one has `offset`.
    pub fn of_store(
        name: Arc<str>,
        epoch: u64,
        cores: usize,
        arenas: Arc<super::Arenas>,
        (offset, time_ms): (u64, u64),
        standing: Standing,
    ) -> Self {
        let topic = Topic::new(name, epoch, cores, arenas);
        topic.lock().begin_at(offset, time_ms);
        topic.keep(Some(standing));
        topic
    }

    /// What is published is to be stored from now on, and what memory holds. A topic that
    /// has been in a store stands there as it says.
    pub fn keep(&self, standing: Option<Standing>) {
        let mut sequencer = self.lock();
        let held = sequencer.raw_first_offset();
        let standing = standing.unwrap_or(Standing {
            stored: held,
            oldest: held,
            whole_from: 0,
        });
        let kept = self.kept.get_or_init(|| Arc::new(Kept::new()));
        kept.stored.store(standing.stored, Ordering::Release);
        let at = sequencer.position_of(standing.stored);
        kept.stored_at.store(at, Ordering::Release);
        kept.oldest.store(standing.oldest, Ordering::Release);
        kept.whole_from
            .store(standing.whole_from, Ordering::Release);
        sequencer.kept = Some(kept.clone());
        kept.on.store(true, Ordering::Release);
    }

    /// Nothing of it is stored any more.
    pub fn keep_no_more(&self) {
        let mut sequencer = self.lock();
        if let Some(kept) = sequencer.kept.take() {
            kept.on.store(false, Ordering::Release);
        }
    }

    /// All messages before this offset are stored.
    pub fn note_stored(&self, next: u64) {
        let sequencer = self.lock();
        if let Some(kept) = &sequencer.kept {
            kept.stored.fetch_max(next, Ordering::AcqRel);
            let at = sequencer.position_of(next);
            kept.stored_at.fetch_max(at, Ordering::AcqRel);
        }
    }

    /// What is known of it in the store, if it is kept there.
    #[inline]
    pub fn kept(&self) -> Option<&Kept> {
        let kept = self.kept.get()?;
        kept.on.load(Ordering::Acquire).then_some(kept)
    }

    /// What is published so far is not wanted any more. Returns the offset behind it.
    pub fn remove_history(&self) -> u64 {
        let mut sequencer = self.lock();
        let next = sequencer.next_offset;
        sequencer.floor = next;
        sequencer.shed(0);
        next
    }

    /// What memory holds from an offset on, about `bytes_max` bytes of it.
    pub fn held_from(&self, offset: u64, bytes_max: usize) -> Vec<Run> {
        let segments = {
            let sequencer = self.lock();
            if offset >= sequencer.next_offset || sequencer.raw.segments().is_empty() {
                return Vec::new();
            }
            sequencer.raw.locate(offset).1
        };
        let (mut runs, mut bytes) = (Vec::new(), 0);
        for segment in segments {
            let slots = segment.slots();
            let from = slots.before_offset(offset);
            let begins = slots.start_of(from) as usize;
            let enough = begins + bytes_max.saturating_sub(bytes);
            let most = slots.ended_by(u32::try_from(enough).unwrap_or(u32::MAX));
            // A message that is longer goes alone.
            let to = most.max(from + 1).min(slots.count());
            if from < to {
                bytes += slots.start_of(to) as usize - begins;
                let whole = to == slots.count();
                let numbers = from..to;
                runs.push(Run { segment, numbers });
                if !whole {
                    break;
                }
            }
            if bytes >= bytes_max {
                break;
            }
        }
        runs
    }

    /// The offset of the oldest message that memory holds, or of the next one.
    pub fn held_first(&self) -> u64 {
        self.lock().raw_first_offset()
    }

    /// How far others are behind what is published.
    pub fn backlog(&self) -> Backlog {
        let sequencer = self.lock();
        let unstored = |kept: &Arc<Kept>| sequencer.raw.head().saturating_sub(kept.stored_at());
        Backlog {
            unread_bytes: sequencer.views().map(View::behind).max().unwrap_or(0),
            unstored_bytes: sequencer.kept.as_ref().map_or(0, unstored),
        }
    }
}
