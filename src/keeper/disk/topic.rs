//! What is known of a topic while its store is open.

use std::collections::VecDeque;

use super::error::StoreError;
use super::index::Index;
use super::record::{PageRecord, TopicRecord};

/// What is stored of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The oldest offset that may still be had.
    pub oldest: u64,
    /// The offset of the newest message.
    pub newest: u64,
    /// Messages in the pages. The oldest page may begin with some that are below `oldest`;
    /// they count too.
    pub messages: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: u64,
    pub(super) epoch: u64,
    pub(super) next_offset: u64,
    pub(super) time_ms: u64,
    pub(super) floor: u64,
    /// The highest offset that was ever appended, as far as it is known.
    pub(super) newest: Option<u64>,
    messages: u64,
    bytes: u64,
    /// The oldest page. Where it lies may have changed since.
    front: Option<(u64, PageRecord)>,
    /// Pages that the index names and that are kept.
    indexed: u64,
    /// Pages that the index names below this offset are on their way out.
    gone: u64,
    /// Pages that the index does not name yet, oldest first.
    pub(super) pending: VecDeque<(u64, PageRecord)>,
    /// Checksum of the topic's record in the index, if there is one.
    pub(super) written: Option<u64>,
    /// The record is no longer as the index has it.
    pub(super) dirty: bool,
}

impl Topic {
    pub(super) fn new(id: u64, epoch: u64) -> Topic {
        Topic {
            id,
            epoch,
            next_offset: 1,
            time_ms: 0,
            floor: 0,
            newest: None,
            messages: 0,
            bytes: 0,
            front: None,
            indexed: 0,
            gone: 0,
            pending: VecDeque::new(),
            written: None,
            dirty: false,
        }
    }

    pub(super) fn from_record(record: &TopicRecord, written: u64) -> Topic {
        Topic {
            next_offset: record.next_offset,
            time_ms: record.time_ms,
            floor: record.floor,
            written: Some(written),
            ..Topic::new(record.id, record.epoch)
        }
    }

    pub(super) fn record(&self, leaps: u64) -> TopicRecord {
        TopicRecord {
            id: self.id,
            epoch: self.epoch,
            next_offset: self.next_offset,
            leaps,
            time_ms: self.time_ms,
            floor: self.floor,
        }
    }

    /// The index names this page, behind all that it was told of before.
    pub(super) fn add_indexed(&mut self, first: u64, record: PageRecord) {
        self.indexed += 1;
        self.add(first, record);
    }

    /// A page was appended that the index does not name yet.
    pub(super) fn add_pending(&mut self, first: u64, record: PageRecord) {
        self.pending.push_back((first, record));
        self.add(first, record);
    }

    fn add(&mut self, first: u64, record: PageRecord) {
        self.messages += u64::from(record.count);
        self.bytes += u64::from(record.bytes);
        self.newest = Some(record.last);
        self.front.get_or_insert((first, record));
    }

    /// The index names all pages now.
    pub(super) fn take_pending(&mut self) -> VecDeque<(u64, PageRecord)> {
        self.indexed += self.pending.len() as u64;
        std::mem::take(&mut self.pending)
    }

    pub(super) fn stored(&self) -> Option<Stored> {
        let (first, _) = self.front.as_ref()?;
        let newest = self.newest?;
        (self.floor <= newest).then_some(Stored {
            oldest: self.floor.max(*first),
            newest,
            messages: self.messages,
            bytes: self.bytes,
        })
    }

    /// Gives up the pages below `floor`; `removed` is called for those that the index names.
    pub(super) fn trim(
        &mut self,
        floor: u64,
        index: &Index,
        removed: &mut Vec<(u64, u64)>,
    ) -> Result<(), StoreError> {
        self.raise_floor(floor);
        while let Some((_, front)) = self.front
            && front.last < self.floor
        {
            self.give_up_front(index, removed)?;
        }
        Ok(())
    }

    /// Gives up the oldest pages while what is left is enough.
    pub(super) fn retain(
        &mut self,
        messages_max: u64,
        bytes_max: u64,
        oldest_ms: u64,
        index: &Index,
        removed: &mut Vec<(u64, u64)>,
    ) -> Result<(), StoreError> {
        while let Some((_, front)) = self.front {
            let enough = self.messages - u64::from(front.count) >= messages_max
                || self.bytes - u64::from(front.bytes) >= bytes_max
                || front.newest_ms < oldest_ms;
            if !enough {
                break;
            }
            self.raise_floor(front.last.saturating_add(1));
            self.give_up_front(index, removed)?;
        }
        if let Some((first, front)) = self.front {
            let beyond = self.messages.saturating_sub(messages_max);
            // Where there are gaps between the offsets, no count tells the offset.
            if front.last - first + 1 == u64::from(front.count) {
                self.raise_floor(first + beyond);
            }
        }
        Ok(())
    }

    /// Gives up all pages.
    pub(super) fn clear(
        &mut self,
        index: &Index,
        removed: &mut Vec<(u64, u64)>,
    ) -> Result<(), StoreError> {
        while self.front.is_some() {
            self.give_up_front(index, removed)?;
        }
        Ok(())
    }

    fn raise_floor(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
    }

    fn give_up_front(
        &mut self,
        index: &Index,
        removed: &mut Vec<(u64, u64)>,
    ) -> Result<(), StoreError> {
        let Some((first, front)) = self.front.take() else {
            return Ok(());
        };
        self.messages -= u64::from(front.count);
        self.bytes -= u64::from(front.bytes);
        if self.indexed > 0 {
            self.indexed -= 1;
            self.gone = first.saturating_add(1);
            removed.push((self.id, first));
        } else {
            self.pending.pop_front();
        }
        self.front = match self.indexed {
            0 => self.pending.front().copied(),
            _ => index.page_from(self.id, self.gone)?,
        };
        Ok(())
    }
}
