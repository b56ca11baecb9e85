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
    /// All from the oldest segment on that `view` or one of its readers holds. The
    /// links between segments lead from there to the tail; nobody need hold those in
    /// the middle. A segment without messages begins where the next one does, so its
    /// place alone does not tell it from that one.
    fn new<'a>(view: &'a View, held: impl Iterator<Item = &'a Arc<Segment>>) -> Self {
        let segments = view.segments().chain(held);
        let oldest = segments.min_by_key(|segment| segment.start());
        let oldest = oldest.expect("a view has a segment");
        let chain = std::iter::successors(Some(oldest), |segment| segment.next());
        SavedView {
            start: oldest.start(),
            first_offset: oldest.first_offset(),
            bytes: chain.flat_map(|s| s.published()).copied().collect(),
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
        sequencer.newest_ms = sequencer.ages.back().map_or(0, |age| age.at_ms);
        let head = sequencer.raw.head();
        let fits = sequencer.raw.offset_at(head) == saved.next_offset
            && (1..=saved.next_offset).contains(&saved.floor);
        fits.then_some(topic)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::log::{Bounds, Retention};
    use crate::protocol::ws::Opcode;

    const RETENTION: Retention = Retention {
        messages_max: 60,
        bytes_max: 1 << 20,
        age_ms_max: 1_000_000,
        bounds: Bounds {
            log_bytes_max: 4 << 20,
            log_bytes_total_max: 16 << 20,
        },
    };

    fn publish(topic: &Topic, len: usize) {
        let write = |room: &mut [u8]| {
            room.fill(len as u8);
            Ok::<_, Infallible>(())
        };
        topic
            .publish(Opcode::Binary, len, 1, &RETENTION, None, write)
            .unwrap();
    }

    fn again(saved: &SavedTopic) -> Topic {
        Topic::restore(saved, 1, 2, Arc::default()).expect("it was saved like that")
    }

    #[test]
    fn a_topic_is_saved_and_restored_any_number_of_times() {
        let mut random = fastrand::Rng::with_seed(10);
        for _ in 0..200 {
            let mut topic = Topic::new("t".into(), 5, 2, Arc::default());
            if random.bool() {
                topic.add_inflating_reader(15);
            }
            for time in 0..5 {
                // Often none, so that the same history is saved again.
                for _ in 0..random.usize(..20) * usize::from(random.bool()) {
                    let large = random.usize(..20_000);
                    publish(&topic, random.usize(..=large));
                }
                let saved = topic.save(1, &[]);
                topic = again(&saved);
                assert_eq!(topic.save(1, &[]), saved, "time {time}");
            }
        }
    }

    #[test]
    fn a_reader_far_back_has_all_up_to_the_tail_saved() {
        let topic = Topic::new("t".into(), 5, 2, Arc::default());
        let first = topic.start(ViewKind::Raw, None, &RETENTION).segments;
        let held = [(ViewKind::Raw, first[0].clone())];
        for _ in 0..2000 {
            publish(&topic, 1000);
        }
        let restored = again(&topic.save(1, &held));
        let start = restored.resume(ViewKind::Raw, 0).expect("it is all there");
        assert_eq!(start.offset, 1);
    }
}
