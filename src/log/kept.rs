//! A topic whose messages are stored outside of memory as well: what the log knows of
//! that, and how who stores them reads them.
//!
//! What is not stored yet is not given up: the memory of the log pays for it, so that
//! publishers wait where the store is slow. What is stored may go, and is had from the
//! store again, by whoever asks for it ([`super::OutOfReach::Stored`]).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::head::Told;
use super::segment::Segment;
use super::slots::Slot;

/// What is known of a topic's messages in the store.
#[derive(Debug)]
pub struct Kept {
    pub(super) on: AtomicBool,
    told: Told,
    /// All messages before this offset are stored, or have been given up for good.
    pub(super) stored: AtomicU64,
    /// Where that is in the raw view.
    pub(super) stored_at: AtomicU64,
    /// No message before this offset is had from the store.
    pub(super) oldest: AtomicU64,
    /// From this offset on none is missing.
    pub(super) whole_from: AtomicU64,
    /// Others decide on its messages, and store them before they are published here.
    pub(super) is_shared: bool,
    /// Somebody has asked for what they have.
    pub(super) is_followed: AtomicBool,
    /// How far back it is to be had is known.
    pub(super) is_open: AtomicBool,
    /// Bytes that are proposed to them.
    pub(super) proposed_bytes: AtomicU64,
    /// Ranges of offsets in which messages are missing from what memory may hold, the last ones.
    gaps: Mutex<VecDeque<(u64, u64)>>,
}

/// Gaps of one topic that are told to who comes back; older ones become one.
const GAPS_MAX: usize = 32;

/// How far others are behind what is published to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Bytes that the latest core has not offered to its subscribers yet, in the view it reads,
    /// and those that are proposed and not decided on.
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
    pub(super) fn new() -> Self {
        Kept {
            on: AtomicBool::new(false),
            told: Told::new(),
            stored: AtomicU64::new(0),
            stored_at: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            whole_from: AtomicU64::new(0),
            is_shared: false,
            is_followed: AtomicBool::new(false),
            is_open: AtomicBool::new(false),
            proposed_bytes: AtomicU64::new(0),
            gaps: Mutex::default(),
        }
    }

    /// What others store before it is published needs no storing.
    pub(super) fn shared() -> Self {
        let kept = Kept::new();
        kept.on.store(true, Ordering::Relaxed);
        kept.stored.store(u64::MAX, Ordering::Relaxed);
        kept.stored_at.store(u64::MAX, Ordering::Relaxed);
        // Nobody here is to be told of it.
        kept.told.tell();
        Kept {
            is_shared: true,
            ..kept
        }
    }

    /// Others decide on its messages, and store them before they are published here.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Bytes that are proposed to them, and not decided on.
    pub fn proposed_bytes(&self) -> u64 {
        self.proposed_bytes.load(Ordering::Relaxed)
    }

    pub fn note_proposed(&self, bytes: u64) {
        self.proposed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn note_decided(&self, bytes: u64) {
        self.proposed_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What they have is to be followed from now on, or no more. True if that is a change.
    pub fn set_followed(&self, follows: bool) -> bool {
        self.is_followed.swap(follows, Ordering::AcqRel) != follows
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

    /// Messages with these offsets are missing.
    pub fn note_gap(&self, from: u64, to: u64) {
        self.note_hole(to + 1);
        let mut gaps = self.lock_gaps();
        gaps.push_back((from, to));
        if gaps.len() > GAPS_MAX {
            let (first, _) = gaps.pop_front().expect("it is not empty");
            gaps[0].0 = first;
        }
    }

    /// What is missing from `since` on.
    pub fn gaps_from(&self, since: u64) -> Vec<(u64, u64)> {
        let gaps = self.lock_gaps();
        let behind = gaps.iter().filter(|(_, to)| *to >= since);
        behind.map(|(from, to)| ((*from).max(since), *to)).collect()
    }

    fn lock_gaps(&self) -> MutexGuard<'_, VecDeque<(u64, u64)>> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages before this offset are missing.
    pub fn note_hole(&self, until: u64) {
        self.whole_from.fetch_max(until, Ordering::AcqRel);
    }
}

/// Messages that lie together in one segment of the raw view; keeps them alive.
#[derive(Debug)]
pub struct Run {
    pub(super) segment: Arc<Segment>,
    pub(super) numbers: Range<u32>,
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
