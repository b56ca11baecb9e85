//! Reaching back: history that the raw view holds is written once for all in
//! another format, outside the topic's lock and in bounded steps, and then put
//! before what that view has.

use std::collections::VecDeque;
use std::sync::Arc;

use super::arena;
use super::budget::Budget;
use super::retention::Bounds;
use super::segment::{Entry, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Segment};
use super::sequencer::Sequencer;
use super::side::WriterLock;
use super::slots::{Base, SLOT_BYTES};
use super::topic::{Start, Topic};
use super::view::Interest;
use crate::protocol::encoding::{Encoding, Format};

/// What a step has led to.
#[derive(Debug)]
pub enum Reached {
    /// There is more to do.
    NotYet,
    /// The view reaches back, and the subscriber begins here: later than it wanted
    /// if there was no room.
    Done(Start),
}

/// A run that makes a view reach back. Dropped before it is done it leaves
/// nothing behind.
#[derive(Debug)]
pub struct Reach {
    topic: Arc<Topic>,
    format: Format,
    /// Keeps the view.
    _interest: Interest,
    /// What the subscriber wants.
    since: u64,
    /// What is being read, which leads to all that follows.
    raw: Arc<Segment>,
    /// The message of it that comes next.
    number: u32,
    /// All before this offset, from where the run began, has been written.
    written: u64,
    /// The view holds all from here on, as far as is known.
    until: u64,
    /// What has been written, oldest first. Positions come at the end.
    built: VecDeque<Built>,
    budget: Arc<Budget>,
    ended: bool,
}

#[derive(Debug)]
struct Built {
    segment: Segment,
    lock: WriterLock,
}

impl Topic {
    /// Begins to make a view reach back to what a subscriber wants that could begin
    /// at `raw` in the raw view. `None` while somebody else does so.
    ///
    /// # Panics
    /// If nobody is attached to the view.
    pub fn reach(self: &Arc<Self>, format: Format, raw: &Start) -> Option<Reach> {
        let mut sequencer = self.lock();
        let budget = sequencer.budget.clone();
        let view = sequencer.view_mut(format).expect("somebody is attached");
        if view.reaching {
            return None;
        }
        view.reaching = true;
        view.take_back();
        let until = view.first_offset();
        let interest = view.interest.clone().expect("somebody is attached");
        // By whole segments: what comes before in the first one is as likely to be
        // wanted as the rest.
        let first = raw.segments[0].clone();
        Some(Reach {
            topic: self.clone(),
            format,
            _interest: interest,
            since: raw.offset,
            written: first.first_offset(),
            raw: first,
            number: 0,
            until,
            built: VecDeque::new(),
            budget,
            ended: false,
        })
    }
}

impl Reach {
    /// Writes about `bytes_max` bytes of history, at least one message of it,
    /// or ends the run.
    pub fn step(
        &mut self,
        encoder: &mut impl Encoding,
        bytes_max: usize,
        bounds: &Bounds,
    ) -> Reached {
        assert!(!self.ended, "a run ends once");
        let mut bytes = 0;
        while bytes < bytes_max {
            match self.write_next(encoder, bounds) {
                Some(len) => bytes += len,
                None => match self.end() {
                    Some(start) => return Reached::Done(start),
                    None => continue,
                },
            }
        }
        Reached::NotYet
    }

    /// Writes the next message and returns how long it is, its slot included;
    /// `None` if there is none.
    fn write_next(&mut self, encoder: &mut impl Encoding, bounds: &Bounds) -> Option<usize> {
        while self.number >= self.raw.slots().count() {
            // Sealed first: what is sealed grows no more.
            let sealed = self.raw.end().1;
            if !sealed || self.number < self.raw.slots().count() {
                break;
            }
            self.raw = self.raw.next().expect("linked before sealed").clone();
            self.number = 0;
        }
        let raw = self.raw.clone();
        let (slots, number) = (raw.slots(), self.number);
        // What comes into the segment that is written to comes into the view too.
        let offset = (number < slots.count()).then(|| slots.offset_of(number));
        let Some(offset) = offset.filter(|offset| *offset < self.until) else {
            // There may be offsets of no message up to where the view begins.
            self.written = self.written.max(self.until);
            return None;
        };
        self.number += 1;
        let payload = slots.payload(number);
        if offset < self.written {
            // Written already, before the view gave up what followed.
            return Some(SLOT_BYTES);
        }
        let topic = self.topic.clone();
        let message = topic.message(&slots, number);
        let bound = encoder.bound(self.format, &message);
        let entry = |len| Entry {
            len,
            header_len: 0,
            text: message.text,
            offset,
            time_ms: message.time_ms,
            rare: &[],
        };
        self.written = offset + 1;
        if self.make_room(&entry(bound), bounds) {
            let last = self.built.back_mut().expect("room was made");
            let room = last.segment.unpublished(&mut last.lock, bound);
            let len = encoder.write(self.format, &message, room);
            assert!(len <= bound, "an encoding keeps its bound");
            last.segment.publish(&mut last.lock, &entry(len));
        } else {
            // Without this message those before it are of no use.
            self.built.clear();
        }
        Some(payload.len() + SLOT_BYTES)
    }

    /// False if there is no room, though all that was written before is given
    /// up.
    fn make_room(&mut self, entry: &Entry<'_>, bounds: &Bounds) -> bool {
        let last = self.built.back();
        if last.is_some_and(|built| built.segment.fits(entry)) {
            return true;
        }
        let capacity = last.map_or(0, |built| built.segment.capacity());
        let least = arena::round(entry.len + SLOT_BYTES);
        let grown = bounds.grown(
            capacity.max(SEGMENT_BYTES_MAX / 16),
            self.budget.total_bytes(),
        );
        let wanted = arena::round(grown.max(least).max(SEGMENT_BYTES_MIN));
        let fits = |len: usize| {
            self.budget.log_bytes() + len as u64 <= bounds.log_bytes_max
                && self.budget.total_bytes() + len as u64 <= bounds.log_bytes_total_max
        };
        let len = loop {
            // The raw view's history is not given up for another's.
            if let Some(len) = [wanted, least].into_iter().find(|len| fits(*len)) {
                break len;
            }
            if self.built.pop_front().is_none() {
                return false;
            }
        };
        let Some(piece) = self.budget.take(len) else {
            return false;
        };
        let base = Base {
            start: 0,
            before: 0,
            first_offset: entry.offset,
            time_ms: entry.time_ms,
        };
        self.built.push_back(Built {
            segment: Segment::new(base, piece, self.budget.clone()),
            lock: WriterLock(()),
        });
        true
    }

    /// Puts what has been written before the view's history, unless the view
    /// has meanwhile given up what should follow: then that comes next.
    fn end(&mut self) -> Option<Start> {
        let topic = self.topic.clone();
        let mut sequencer = topic.lock();
        let view = sequencer.view_mut(self.format).expect("it has a reader");
        view.take_back();
        self.until = view.first_offset();
        if self.written < self.until {
            return None;
        }
        self.ended = true;
        let Sequencer {
            next_offset,
            time_ms,
            ..
        } = *sequencer;
        let built = std::mem::take(&mut self.built);
        let view = sequencer.view_mut(self.format).expect("it has a reader");
        view.reaching = false;
        view.mark(next_offset, time_ms, &self.budget);
        view.prepend(join(built, &view.segments()[0]));
        let offset = self.since.max(view.first_offset());
        Some(sequencer.start_at(self.format, offset.min(next_offset)))
    }
}

/// Gives segments their positions, which end where `next` starts, and links
/// each to the one behind it.
fn join(built: VecDeque<Built>, next: &Arc<Segment>) -> Vec<Arc<Segment>> {
    let mut next = next.clone();
    let mut joined: Vec<_> = built
        .into_iter()
        .rev()
        .map(|Built { mut segment, .. }| {
            let extent = segment.extent();
            let base = next.base();
            let start = base.start - u64::from(extent.len);
            segment.place(start, base.before - u64::from(extent.count));
            segment.link(next.clone());
            next = Arc::new(segment);
            next.clone()
        })
        .collect();
    joined.reverse();
    joined
}

impl Drop for Reach {
    fn drop(&mut self) {
        if !self.ended {
            let mut sequencer = self.topic.lock();
            if let Some(view) = sequencer.view_mut(self.format) {
                view.reaching = false;
            }
        }
    }
}
