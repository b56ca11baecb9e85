//! A topic as who stores its messages sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::kept::{Backlog, Kept, Run, Standing};
use super::topic::Topic;
use super::view::View;

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
    ///
    /// # Panics
    /// If others decide on its messages.
    pub fn keep(&self, standing: Option<Standing>) {
        assert!(!self.is_shared());
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
        assert!(!self.is_shared());
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
        let proposed = sequencer
            .kept
            .as_ref()
            .map_or(0, |kept| kept.proposed_bytes());
        let unread = sequencer.views().map(View::behind).max().unwrap_or(0);
        Backlog {
            unread_bytes: unread + proposed,
            unstored_bytes: sequencer.kept.as_ref().map_or(0, unstored),
        }
    }
}
