//! A page: a run of consecutive messages of one topic, as it lies on disk.
//!
//! | bytes | what |
//! |---|---|
//! | 72 | the head: what is in [`Head`], and a checksum over all else |
//! | 18 a message | the slots: where each message ends, and what is known of it |
//! | | the frames, back to back |
//! | | the rare parts of those that have some, back to back |
//!
//! Numbers are little-endian.

use std::ops::Range;

use xxhash_rust::xxh3::Xxh3;

use super::part::{Part, SlotIn, delta};
use crate::protocol::encoding::{Extras, Message};

pub(super) const HEAD_BYTES: usize = 72;
const SUM_AT: usize = 64;
const SLOT_BYTES: usize = 18;
const MAGIC: u32 = u32::from_le_bytes(*b"FFpg");
const VERSION: u16 = 1;
const FLAG_TEXT: u8 = 1;

/// What the head of a page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) topic: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) oldest_ms: u64,
    pub(super) newest_ms: u64,
    pub(super) count: u32,
    pub(super) frames_len: u32,
    pub(super) rare_len: u32,
}

impl Head {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        for number in [
            self.topic,
            self.first,
            self.last,
            self.oldest_ms,
            self.newest_ms,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.count, self.frames_len, self.rare_len, 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        debug_assert_eq!(out.len(), SUM_AT);
        out.extend_from_slice(&[0; HEAD_BYTES - SUM_AT]);
    }

    /// What the head at the start of `bytes` says, if there is one.
    pub(super) fn read(bytes: &[u8]) -> Option<Head> {
        let bytes = bytes.get(..HEAD_BYTES)?;
        if u32_at(bytes, 0)? != MAGIC || bytes[4..6] != VERSION.to_le_bytes() {
            return None;
        }
        Some(Head {
            topic: u64_at(bytes, 8)?,
            first: u64_at(bytes, 16)?,
            last: u64_at(bytes, 24)?,
            oldest_ms: u64_at(bytes, 32)?,
            newest_ms: u64_at(bytes, 40)?,
            count: u32_at(bytes, 48)?,
            frames_len: u32_at(bytes, 52)?,
            rare_len: u32_at(bytes, 56)?,
        })
    }

    fn slots_len(&self) -> usize {
        self.count as usize * SLOT_BYTES
    }

    /// Bytes of the whole page.
    pub(super) fn page_len(&self) -> u64 {
        let parts = [
            HEAD_BYTES as u64,
            self.slots_len() as u64,
            self.frames_len.into(),
            self.rare_len.into(),
        ];
        parts.iter().sum()
    }
}

/// Writes the head and the slots of `part` to `out`, which it empties first. They are followed
/// by the part's frames and rare parts, as they are.
pub(super) fn encode(topic: u64, part: &Part<'_>, out: &mut Vec<u8>) -> Head {
    let first = part.slots.first().expect("a part has messages");
    let last = part.slots.last().expect("a part has messages");
    let head = Head {
        topic,
        first: first.offset,
        last: last.offset,
        oldest_ms: first.time_ms,
        newest_ms: last.time_ms.max(first.time_ms),
        count: part.slots.len() as u32,
        frames_len: part.frames.len() as u32,
        rare_len: part.rare.len() as u32,
    };
    out.clear();
    head.write(out);
    for slot in part.slots {
        let numbers = [
            slot.end - part.frames_at,
            delta(slot.offset, first.offset).expect("the part was made so"),
            delta(slot.time_ms, first.time_ms).expect("the part was made so"),
            slot.rare_len,
        ];
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let flags = if slot.text { FLAG_TEXT } else { 0 };
        out.extend_from_slice(&[slot.header_len, flags]);
    }
    let sum = sum([&out[..SUM_AT], &out[HEAD_BYTES..], part.frames, part.rare]);
    out[SUM_AT..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    head
}

fn sum(parts: [&[u8]; 4]) -> u64 {
    let mut sum = Xxh3::new();
    parts.iter().for_each(|part| sum.update(part));
    sum.digest()
}

/// A page that was read and found whole. Its messages have numbers from 0.
pub struct Page {
    bytes: Vec<u8>,
    head: Head,
    /// Messages at its start that are not wanted any more.
    skipped: usize,
    /// Where the rare parts of each message begin; empty if none has some.
    rare_starts: Vec<u32>,
}

impl Page {
    /// The page that `bytes` are; `None` if they are none, or not as they were written.
    pub(super) fn read(bytes: Vec<u8>) -> Option<Page> {
        let head = Head::read(&bytes)?;
        if head.page_len() != bytes.len() as u64 || head.count == 0 {
            return None;
        }
        let written = u64_at(&bytes, SUM_AT)?;
        if sum([&bytes[..SUM_AT], &bytes[HEAD_BYTES..], &[], &[]]) != written {
            return None;
        }
        let mut page = Page {
            bytes,
            head,
            skipped: 0,
            rare_starts: Vec::new(),
        };
        page.check()?;
        Some(page)
    }

    /// Looks at the slots once, so that no look-up can fail later.
    fn check(&mut self) -> Option<()> {
        let (mut end, mut rare, mut newest) = (0u32, 0u32, None);
        let mut rare_starts = Vec::new();
        for number in 0..self.head.count as usize {
            let slot = self.slot(number);
            if u32::from(slot.header_len) > slot.end.checked_sub(end)? {
                return None;
            }
            if newest.is_some_and(|newest| slot.offset <= newest) {
                return None;
            }
            if self.head.rare_len > 0 {
                rare_starts.push(rare);
            }
            (end, newest) = (slot.end, Some(slot.offset));
            rare = rare.checked_add(slot.rare_len)?;
        }
        let first = self.slot(0).offset;
        let whole = end == self.head.frames_len
            && rare == self.head.rare_len
            && first == self.head.first
            && newest == Some(self.head.last);
        self.rare_starts = rare_starts;
        whole.then_some(())
    }

    /// Hides the messages below `floor`. False if that are all.
    pub(super) fn skip_below(&mut self, floor: u64) -> bool {
        let all = self.head.count as usize;
        while self.skipped < all && self.slot(self.skipped).offset < floor {
            self.skipped += 1;
        }
        self.skipped < all
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    pub fn first_offset(&self) -> u64 {
        self.slot(self.skipped).offset
    }

    pub fn last_offset(&self) -> u64 {
        self.head.last
    }

    /// The offset behind the last message, from which reading goes on.
    pub fn next_offset(&self) -> u64 {
        self.head.last.saturating_add(1)
    }

    /// How many messages there are: at least one.
    #[allow(clippy::len_without_is_empty, reason = "no page is empty")]
    pub fn len(&self) -> usize {
        self.head.count as usize - self.skipped
    }

    /// Bytes that the page takes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.rare_starts.len() * size_of::<u32>()
    }

    /// Number of the first message at or behind `offset`; [`Page::len`] if there is none.
    pub fn number_from(&self, offset: u64) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.offset(middle) < offset {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    pub fn offset(&self, number: usize) -> u64 {
        self.slot(self.skipped + number).offset
    }

    pub fn time_ms(&self, number: usize) -> u64 {
        self.slot(self.skipped + number).time_ms
    }

    /// The message's frame: its header and its payload.
    pub fn frame(&self, number: usize) -> &[u8] {
        &self.frames()[self.frame_range(self.skipped + number)]
    }

    /// The message's encoded extras; empty if it has none.
    pub fn rare(&self, number: usize) -> &[u8] {
        let number = self.skipped + number;
        let Some(&start) = self.rare_starts.get(number) else {
            return &[];
        };
        let all = &self.bytes[self.bytes.len() - self.head.rare_len as usize..];
        &all[start as usize..][..self.slot(number).rare_len as usize]
    }

    /// What is known of the message beside its bytes. Its `end` counts from the start of the
    /// page's first message, hidden ones included.
    pub fn slot_of(&self, number: usize) -> SlotIn {
        self.slot(self.skipped + number)
    }

    /// The message, whose `topic` and `epoch` the caller knows.
    pub fn message<'a>(&'a self, topic: &'a str, epoch: u64, number: usize) -> Message<'a> {
        let slot = self.slot(self.skipped + number);
        Message {
            topic,
            epoch,
            offset: slot.offset,
            time_ms: slot.time_ms,
            text: slot.text,
            payload: &self.frame(number)[slot.header_len.into()..],
            extras: Extras::decode(self.rare(number)),
        }
    }

    fn frames(&self) -> &[u8] {
        let start = HEAD_BYTES + self.head.slots_len();
        &self.bytes[start..][..self.head.frames_len as usize]
    }

    fn frame_range(&self, number: usize) -> Range<usize> {
        let start = match number {
            0 => 0,
            _ => self.slot(number - 1).end,
        };
        start as usize..self.slot(number).end as usize
    }

    /// The slot of the `number`th message, hidden ones included.
    fn slot(&self, number: usize) -> SlotIn {
        assert!(number < self.head.count as usize);
        let bytes = &self.bytes[HEAD_BYTES + number * SLOT_BYTES..][..SLOT_BYTES];
        let number = |at| u32_at(bytes, at).expect("a slot has four numbers");
        SlotIn {
            end: number(0),
            offset: self.head.first.saturating_add(number(4).into()),
            time_ms: self.head.oldest_ms.saturating_add(number(8).into()),
            rare_len: number(12),
            header_len: bytes[16],
            text: bytes[17] & FLAG_TEXT != 0,
        }
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.head.fmt(f)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Gives anything long enough the checksum of a page.
#[cfg(test)]
pub(super) fn seal(bytes: &mut [u8]) {
    if bytes.len() >= HEAD_BYTES {
        let sum = sum([&bytes[..SUM_AT], &bytes[HEAD_BYTES..], &[], &[]]);
        bytes[SUM_AT..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    }
}
