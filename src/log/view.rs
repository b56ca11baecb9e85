//! A view: a topic's messages in one format, with those who read it. This is
//! the writing side, kept under the topic's lock.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::arena::Piece;
use super::budget::Budget;
use super::interest::Listener;
use super::segment::{Entry, Segment};
use super::side::WriterLock;
use super::slots::Base;
use crate::protocol::encoding::Format;

/// Each core's interest in a view. Who holds it keeps the view.
pub type Interest = Arc<[Listener]>;

/// Where positions begin in all views but the raw one, so that history can be
/// put before what is there. The number of messages before begins there too.
pub(super) const MIDDLE: u64 = 1 << 62;

/// A view without a reader is kept so long, as readers come back.
const IDLE_MS_MAX: u64 = 10_000;

/// The writing side of one view.
#[derive(Debug)]
pub(super) struct View {
    pub(super) format: Format,
    /// The history, oldest first. The last one is written to; there is none
    /// while the topic has no history and nobody reads.
    segments: VecDeque<Arc<Segment>>,
    /// Older ones, which are gone unless a reader holds them. Each leads to the
    /// next, so those that are alive are the last ones.
    given_up: Vec<Weak<Segment>>,
    /// What the next segment would begin with, while there is none.
    base: Base,
    pub(super) interest: Option<Interest>,
    idle_since_ms: Option<u64>,
    /// Somebody is writing history that is to be put before what is there.
    pub(super) reaching: bool,
    pub(super) lock: WriterLock,
}

impl View {
    /// An empty view whose next message has `offset`.
    pub(super) fn new(format: Format, offset: u64, time_ms: u64) -> Self {
        let start = if format == Format::Raw { 0 } else { MIDDLE };
        View::at(
            format,
            Base {
                start,
                before: start,
                first_offset: offset,
                time_ms,
            },
        )
    }

    pub(super) fn at(format: Format, base: Base) -> Self {
        View {
            format,
            segments: VecDeque::new(),
            given_up: Vec::new(),
            base,
            interest: None,
            idle_since_ms: None,
            reaching: false,
            lock: WriterLock(()),
        }
    }

    pub(super) fn tail(&self) -> Option<&Arc<Segment>> {
        self.segments.back()
    }

    pub(super) fn segments(&self) -> &VecDeque<Arc<Segment>> {
        &self.segments
    }

    /// Position behind the last message.
    #[inline]
    pub(super) fn head(&self) -> u64 {
        self.tail().map_or(self.base.start, |tail| tail.end().0)
    }

    /// Messages there have been.
    #[inline]
    pub(super) fn count(&self) -> u64 {
        let count = |tail: &Arc<Segment>| tail.base().before + u64::from(tail.extent().count);
        self.tail().map_or(self.base.before, count)
    }

    /// Position of the oldest byte that is held.
    pub(super) fn start(&self) -> u64 {
        self.segments.front().map_or(self.base.start, |s| s.start())
    }

    /// No message that is held has a smaller offset.
    pub(super) fn first_offset(&self) -> u64 {
        let first = self.segments.front();
        first.map_or(self.base.first_offset, |s| s.first_offset())
    }

    /// What a segment behind the last one begins with.
    pub(super) fn next_base(&self, first_offset: u64, time_ms: u64) -> Base {
        Base {
            start: self.head(),
            before: self.count(),
            first_offset,
            time_ms,
        }
    }

    /// A segment is written to from now on.
    pub(super) fn push(&mut self, segment: Segment) {
        self.push_saved(segment);
        if self.segments.len() == 2 && self.segments[0].capacity() == 0 {
            self.give_up_oldest();
        }
    }

    /// A segment follows that was saved with those before.
    pub(super) fn push_saved(&mut self, segment: Segment) {
        let segment = Arc::new(segment);
        if let Some(tail) = self.tail() {
            tail.link(segment.clone());
        }
        if self.segments.is_empty() {
            // Most topics stay with the place where their first segment will begin.
            self.segments.reserve_exact(1);
        }
        // Most topics have one.
        if self.segments.is_empty() {
            self.segments.reserve_exact(1);
        }
        self.segments.push_back(segment);
    }

    /// Puts history before what is there: consecutive segments that end where
    /// the first one starts, the last of them linked to it.
    pub(super) fn prepend(&mut self, segments: Vec<Arc<Segment>>) {
        for segment in segments.into_iter().rev() {
            self.segments.push_front(segment);
        }
    }

    /// Sees to it that there is a segment, for a reader to stand at.
    pub(super) fn mark(&mut self, next_offset: u64, time_ms: u64, budget: &Arc<Budget>) {
        if self.segments.is_empty() {
            let base = self.next_base(next_offset, time_ms);
            self.push(Segment::mark(base, budget.clone()));
        }
    }

    /// The bytes that the next message of `len` bytes is to be written to.
    #[inline]
    pub(super) fn unpublished(&mut self, len: usize) -> &mut [u8] {
        let tail = self.segments.back().expect("room was made");
        tail.unpublished(&mut self.lock, len)
    }

    /// Publishes what has been written there. Returns where it begins.
    #[inline]
    pub(super) fn publish(&mut self, entry: &Entry<'_>) -> u64 {
        let tail = self.segments.back().expect("room was made");
        tail.publish(&mut self.lock, entry)
    }

    pub(super) fn add_side(&mut self, piece: Piece) {
        let tail = self.segments.back().expect("room was made");
        tail.add_side(&mut self.lock, piece);
    }

    /// Gives up the oldest segment. False if it is the only one.
    pub(super) fn give_up_oldest(&mut self) -> bool {
        if self.segments.len() < 2 {
            return false;
        }
        let oldest = self.segments.pop_front().expect("there are two");
        self.note_given_up(&oldest);
        true
    }

    fn note_given_up(&mut self, segment: &Arc<Segment>) {
        let is_gone = |segment: &Weak<Segment>| segment.strong_count() == 0;
        let gone = self.given_up.partition_point(is_gone);
        self.given_up.drain(..gone);
        if Arc::strong_count(segment) > 1 {
            self.given_up.push(Arc::downgrade(segment));
        }
    }

    /// The oldest segment that is still there, in history or for a reader. All
    /// newer ones are there too, as each leads to the next.
    pub(super) fn oldest_alive(&self) -> Option<Arc<Segment>> {
        let held = self.given_up.iter().find_map(Weak::upgrade);
        held.or_else(|| self.segments.front().cloned())
    }

    /// Takes segments back into the history that readers still hold: no others
    /// may be put in their place.
    pub(super) fn take_back(&mut self) {
        while let Some(segment) = self.given_up.pop().and_then(|s| s.upgrade()) {
            self.segments.push_front(segment);
        }
        self.given_up.clear();
    }

    /// Gives up the segments that hold only messages before `offset`.
    #[inline]
    pub(super) fn trim(&mut self, offset: u64) {
        while let Some(second) = self.segments.get(1)
            && second.first_offset() <= offset
        {
            self.give_up_oldest();
        }
    }

    /// Gives up everything, so that a topic that has gone quiet holds nothing.
    /// Readers stand at a mark behind it.
    pub(super) fn empty(&mut self, next_offset: u64, time_ms: u64, budget: &Arc<Budget>) {
        while self.give_up_oldest() {}
        let Some(tail) = self.tail() else { return };
        let base = self.next_base(next_offset, time_ms);
        if Arc::strong_count(tail) > 1 {
            // A reader follows it.
            if tail.capacity() > 0 {
                self.push(Segment::mark(base, budget.clone()));
                self.give_up_oldest();
            }
        } else {
            self.base = base;
            self.segments.clear();
        }
    }

    /// The position of the first message at or behind `offset`, or the head,
    /// and the segments from there on. Such messages must be held.
    pub(super) fn locate(&self, offset: u64) -> (u64, Vec<Arc<Segment>>) {
        let is_before = |s: &Arc<Segment>| s.first_offset() <= offset;
        let segments = self.segments.partition_point(is_before);
        let first = segments.saturating_sub(1);
        let segment = &self.segments[first];
        let slots = segment.slots();
        let at = slots.start_of(slots.before_offset(offset));
        (
            segment.start() + u64::from(at),
            self.segments.range(first..).cloned().collect(),
        )
    }

    /// The offset of the first message that begins at or behind `position`,
    /// and `None` behind all.
    pub(super) fn offset_at(&self, position: u64) -> Option<u64> {
        let segments = self.segments.partition_point(|s| s.start() <= position);
        let mut rest = self.segments.range(segments.saturating_sub(1)..);
        rest.find_map(|segment| {
            let slots = segment.slots();
            let at = position.saturating_sub(segment.start()) as u32;
            // The first that begins there comes behind the first that ends
            // there, or is the first of all.
            let number = if at == 0 {
                0
            } else {
                slots.ended_before(at) + 1
            };
            (number < slots.count()).then(|| slots.offset_of(number))
        })
    }

    /// The offset of the first message with `count` before it, if there is one.
    pub(super) fn offset_behind(&self, count: u64) -> Option<u64> {
        let segments = self.segments.partition_point(|s| s.base().before <= count);
        let mut rest = self.segments.range(segments.saturating_sub(1)..);
        rest.find_map(|segment| {
            let slots = segment.slots();
            let number = count.saturating_sub(segment.base().before);
            let number = u32::try_from(number).ok()?;
            (number < slots.count()).then(|| slots.offset_of(number))
        })
    }

    /// The offset of the first message that is not older than `time_ms`, if
    /// there is one.
    pub(super) fn offset_since(&self, time_ms: u64) -> Option<u64> {
        // The last one whose first message may be older.
        let segments = self
            .segments
            .partition_point(|s| s.base().time_ms < time_ms);
        let mut rest = self.segments.range(segments.saturating_sub(1)..);
        rest.find_map(|segment| {
            let slots = segment.slots();
            let number = slots.before_time(time_ms);
            (number < slots.count()).then(|| slots.offset_of(number))
        })
    }

    /// The segments from the one that holds `position` on, if it is held.
    pub(super) fn segments_from(&self, position: u64) -> Option<Vec<Arc<Segment>>> {
        let after = self.segments.partition_point(|s| s.start() <= position);
        let first = after.checked_sub(1)?;
        (position <= self.head()).then(|| self.segments.range(first..).cloned().collect())
    }

    /// Each core's interest in the view, made for the first reader.
    pub(super) fn interest(&mut self, cores: usize) -> Interest {
        self.idle_since_ms = None;
        let interest = self
            .interest
            .get_or_insert_with(|| (0..cores).map(|_| Listener::default()).collect());
        interest.clone()
    }

    /// Nobody has read the view for a while. Its interest goes.
    pub(super) fn is_idle(&mut self, now_ms: u64) -> bool {
        if self
            .interest
            .as_ref()
            .is_some_and(|i| Arc::strong_count(i) > 1)
        {
            self.idle_since_ms = None;
            return false;
        }
        let since_ms = *self.idle_since_ms.get_or_insert(now_ms);
        let idle = now_ms.saturating_sub(since_ms) >= IDLE_MS_MAX;
        if idle {
            self.interest = None;
        }
        idle
    }

    /// How far the slowest core is behind in offering the view.
    pub(super) fn behind(&self) -> u64 {
        let head = self.head();
        let listeners = self.interest.iter().flat_map(|cores| cores.iter());
        let behind = listeners.map(|listener| listener.behind(head));
        behind.max().unwrap_or(0)
    }

    /// Subscribers on all cores.
    pub(super) fn subscribers(&self) -> u64 {
        let listeners = self.interest.iter().flat_map(|cores| cores.iter());
        listeners.map(|l| u64::from(l.subscribers())).sum()
    }
}
