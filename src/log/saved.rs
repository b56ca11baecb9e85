//! A topic on its way into another process: its order, and where its segments
//! lie in the arenas, which go there as files. No message is copied.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::arena::{Arenas, Place};
use super::budget::Budget;
use super::head::Extent;
use super::kept::Kept;
use super::segment::Segment;
use super::sequencer::Sequencer;
use super::slots::Base;
use super::topic::{Topic, VIEWS_MAX};
use super::view::View;
use crate::protocol::encoding::Format;

/// All of a topic but its subscribers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTopic {
    pub name: String,
    /// See [`Topic::id`].
    pub id: u64,
    epoch: u64,
    /// Others decide on its messages; none before this offset is to be had.
    shared_from: Option<u64>,
    next_offset: u64,
    time_ms: u64,
    floor: u64,
    /// Raw first.
    views: Vec<SavedView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedView {
    /// See [`Format::index`].
    format: u8,
    /// Where the next segment begins, if there is none.
    base: SavedBase,
    segments: Vec<SavedSegment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedBase {
    start: u64,
    before: u64,
    first_offset: u64,
    time_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedSegment {
    base: SavedBase,
    len: u32,
    count: u32,
    /// None where the segment only marks a place.
    place: Option<Place>,
    /// The rare parts, and how much of their piece is used.
    side: Option<(Place, u32)>,
}

impl From<Base> for SavedBase {
    fn from(base: Base) -> Self {
        let Base {
            start,
            before,
            first_offset,
            time_ms,
        } = base;
        SavedBase {
            start,
            before,
            first_offset,
            time_ms,
        }
    }
}

impl From<SavedBase> for Base {
    fn from(base: SavedBase) -> Self {
        Base {
            start: base.start,
            before: base.before,
            first_offset: base.first_offset,
            time_ms: base.time_ms,
        }
    }
}

impl SavedView {
    /// From the oldest segment that is there for anybody, by the links to the
    /// one that is written to.
    fn new(view: &View, next_offset: u64, time_ms: u64) -> Self {
        let mut segments = Vec::new();
        let mut at = view.oldest_alive();
        while let Some(segment) = at {
            segments.push(SavedSegment::new(&segment));
            at = segment.next().cloned();
        }
        SavedView {
            format: view.format.index(),
            base: view.next_base(next_offset, time_ms).into(),
            segments,
        }
    }

    /// The view that was saved; `None` if there can be none like it.
    fn restore(&self, budget: &Arc<Budget>) -> Option<View> {
        let format = Format::from_index(self.format)?;
        let mut view = View::at(format, self.base.into());
        for saved in &self.segments {
            let segment = saved.restore(budget)?;
            let base = segment.base();
            let follows = view.tail().is_none_or(|tail| {
                let (slots, before) = (tail.slots(), tail.base());
                let last = slots.count();
                let time_ms = match last.checked_sub(1) {
                    Some(last) => slots.time_of(last),
                    None => before.time_ms,
                };
                base.start == view.head()
                    && base.before == view.count()
                    && base.first_offset >= slots.next_offset(last)
                    && base.time_ms >= time_ms
            });
            if !follows {
                return None;
            }
            view.push_saved(segment);
        }
        let ends = self.segments.is_empty()
            || (view.head() == self.base.start && view.count() == self.base.before);
        ends.then_some(view)
    }

    /// The offset and time that come next behind all that is held, at least.
    fn next(&self, view: &View) -> (u64, u64) {
        let Some(tail) = view.tail() else {
            return (self.base.first_offset, self.base.time_ms);
        };
        let slots = tail.slots();
        match slots.count().checked_sub(1) {
            Some(last) => (slots.next_offset(last + 1), slots.time_of(last)),
            None => (tail.first_offset(), tail.base().time_ms),
        }
    }
}

impl SavedSegment {
    fn new(segment: &Segment) -> Self {
        let extent = segment.extent();
        let (piece, side) = segment.pieces();
        SavedSegment {
            base: segment.base().into(),
            len: extent.len,
            count: extent.count,
            place: piece.map(|piece| piece.place()),
            side: side.map(|(piece, used)| (piece.place(), used)),
        }
    }

    fn restore(&self, budget: &Arc<Budget>) -> Option<Segment> {
        let base: Base = self.base.into();
        let fits = base.start.checked_add(u64::from(self.len)).is_some()
            && base.before.checked_add(u64::from(self.count)).is_some()
            && base.first_offset < u64::MAX - u64::from(u32::MAX)
            && base.time_ms < u64::MAX - u64::from(u32::MAX)
            && self.len < 1 << 31;
        if !fits {
            return None;
        }
        let Some(place) = self.place else {
            let empty = self.len == 0 && self.count == 0 && self.side.is_none();
            return empty.then(|| Segment::mark(base, budget.clone()));
        };
        let extent = Extent {
            len: self.len,
            count: self.count,
            sealed: false,
        };
        let piece = budget.claim(place)?;
        let side = match self.side {
            None => None,
            Some((place, used)) => match budget.claim(place) {
                Some(side) => Some((side, used)),
                None => {
                    budget.give_back(piece);
                    return None;
                }
            },
        };
        Segment::adopt(base, piece, extent, side, budget.clone())
    }
}

impl Topic {
    /// The topic as it stands. Nobody publishes meanwhile, or reads what was
    /// not held before.
    pub fn save(&self) -> SavedTopic {
        let sequencer = self.lock();
        let (next, time_ms) = (sequencer.next_offset, sequencer.time_ms);
        SavedTopic {
            name: self.name().to_string(),
            id: self.id(),
            epoch: self.epoch(),
            shared_from: self
                .kept()
                .filter(|kept| kept.is_shared())
                .map(Kept::oldest),
            next_offset: next,
            time_ms,
            floor: sequencer.floor,
            views: sequencer
                .views()
                .map(|view| SavedView::new(view, next, time_ms))
                .collect(),
        }
    }

    /// The topic that was saved, whose segments lie in `arenas`; `None` if there
    /// can be none like it. Its views wait for the readers that are to follow.
    pub fn restore(saved: &SavedTopic, cores: usize, arenas: Arc<Arenas>) -> Option<Topic> {
        let mut topic = Topic::new(saved.name.as_str().into(), saved.epoch, cores, arenas);
        topic.set_identity(saved.id);
        if let Some(oldest) = saved.shared_from {
            topic.share();
            topic.open(oldest);
        }
        let mut sequencer = topic.lock();
        sequencer.restore(saved)?;
        topic.note_formats(&sequencer);
        drop(sequencer);
        Some(topic)
    }
}

impl Sequencer {
    fn restore(&mut self, saved: &SavedTopic) -> Option<()> {
        self.next_offset = saved.next_offset;
        self.time_ms = saved.time_ms;
        self.floor = saved.floor;
        let mut views = Vec::new();
        for saved_view in &saved.views {
            let view = saved_view.restore(&self.budget)?;
            let (next, time_ms) = saved_view.next(&view);
            let fits = next <= saved.next_offset
                && time_ms <= saved.time_ms
                && views.iter().all(|other: &View| other.format != view.format);
            if !fits {
                return None;
            }
            views.push(view);
        }
        let floor_fits = (1..=saved.next_offset).contains(&saved.floor);
        if !floor_fits || views.is_empty() || views.len() > VIEWS_MAX {
            return None;
        }
        let raw = views.remove(0);
        self.raw = (raw.format == Format::Raw).then_some(raw)?;
        self.others = views;
        Some(())
    }
}
