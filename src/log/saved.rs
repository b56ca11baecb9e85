//! A topic on its way into another process: its order, its history, and what
//! slow readers still need of its logs, at the positions where it lies.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde::{Deserialize, Serialize};

use super::segment::{Budget, Segment};
use super::topic::{Age, Deflated, Topic, ViewKind};
use super::view::View;

/// All of a topic but its subscribers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTopic {
    pub name: String,
    epoch: u64,
    next_offset: u64,
    floor: u64,
    /// How old the messages from an offset on are at most, in milliseconds.
    ages: Vec<(u64, u64)>,
    raw: SavedView,
    deflated: Option<SavedView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedView {
    /// Position of the first byte.
    start: u64,
    first_offset: u64,
    /// Whole frames, back to back.
    bytes: Vec<u8>,
}

impl SavedView {
    /// The segments of `view`, and older ones that readers hold. All of them
    /// lead to the same tail, so the oldest one decides.
    fn new<'a>(view: &'a View, held: impl Iterator<Item = &'a Arc<Segment>>) -> Self {
        let mut segments: Vec<_> = view.segments().chain(held).collect();
        segments.sort_by_key(|segment| segment.start());
        segments.dedup_by_key(|segment| segment.start());
        SavedView {
            start: segments[0].start(),
            first_offset: segments[0].first_offset(),
            bytes: segments
                .iter()
                .flat_map(|s| s.published())
                .copied()
                .collect(),
        }
    }

    fn restore(&self, budget: Arc<Budget>) -> Option<View> {
        View::restore(self.start, self.first_offset, &self.bytes, budget)
    }
}

impl Topic {
    /// The topic as it stands; `held` are the segments that readers of its
    /// views hold. Nobody publishes meanwhile.
    pub fn save(&self, now_ms: u64, held: &[(ViewKind, Arc<Segment>)]) -> SavedTopic {
        let sequencer = self.lock();
        let of = |wanted: ViewKind| {
            let mine = move |(kind, _): &&(ViewKind, Arc<Segment>)| *kind == wanted;
            held.iter().filter(mine).map(|(_, segment)| segment)
        };
        let deflated = sequencer.deflated.as_ref();
        SavedTopic {
            name: self.name().to_string(),
            epoch: self.epoch(),
            next_offset: sequencer.next_offset,
            floor: sequencer.floor,
            ages: sequencer
                .ages
                .iter()
                .map(|age| (now_ms - age.at_ms, age.offset))
                .collect(),
            raw: SavedView::new(&sequencer.raw, of(ViewKind::Raw)),
            deflated: deflated.map(|d| SavedView::new(&d.view, of(ViewKind::Deflated))),
        }
    }

    /// The topic that was saved; `None` if there can be none like it. Its
    /// deflated view waits for the readers that are to follow.
    pub fn restore(
        saved: &SavedTopic,
        now_ms: u64,
        cores: usize,
        total_bytes: Arc<AtomicU64>,
    ) -> Option<Topic> {
        let mut topic = Topic::new(saved.name.as_str().into(), saved.epoch, cores, total_bytes);
        let sequencer = topic.sequencer_mut();
        let budget = Budget::new(sequencer.raw.budget().total().clone());
        sequencer.next_offset = saved.next_offset;
        sequencer.floor = saved.floor;
        sequencer.raw = saved.raw.restore(budget.clone())?;
        if let Some(deflated) = &saved.deflated {
            sequencer.deflated = Some(Deflated::new(deflated.restore(budget)?));
        }
        let age = |(age_ms, offset): &(u64, u64)| Age {
            at_ms: now_ms.saturating_sub(*age_ms),
            offset: *offset,
        };
        sequencer.ages = saved.ages.iter().map(age).collect::<VecDeque<_>>();
        let head = sequencer.raw.head();
        let fits = sequencer.raw.offset_at(head) == saved.next_offset
            && (1..=saved.next_offset).contains(&saved.floor);
        fits.then_some(topic)
    }
}
