//! What a segment knows of its messages: for each where its bytes end, its offset and
//! time, and where its rare parts lie. The reading side: the segment writes slots, and
//! lends out those that are published.

use super::side::Side;
use crate::protocol::encoding::Extras;

/// What is known of one message: 16 bytes, in the memory of the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Slot {
    /// Where its bytes end, from the segment's start.
    pub(super) end: u32,
    /// Its offset, from the segment's first one.
    pub(super) offset: u32,
    /// Its time, from the segment's, in milliseconds.
    pub(super) time: u32,
    /// Bytes before its payload.
    pub(super) header_len: u8,
    pub(super) flags: u8,
    /// Where its rare parts begin in the side piece, in steps of eight bytes
    /// from one on; 0 if it has none.
    pub(super) rare: u16,
}

pub const SLOT_BYTES: usize = size_of::<Slot>();
const _: () = assert!(SLOT_BYTES == 16);

impl Slot {
    /// The payload is text.
    pub(super) const TEXT: u8 = 1;
}

/// What comes before a segment in its view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    /// Position of the segment's first byte.
    pub(super) start: u64,
    /// Messages of the view before it.
    pub(super) before: u64,
    /// No message in it has a smaller offset.
    pub(super) first_offset: u64,
    /// No message in it is older.
    pub(super) time_ms: u64,
}

/// The messages of a segment up to some point.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a> {
    base: Base,
    bytes: &'a [u8],
    /// The newest comes first.
    slots: &'a [Slot],
    side: Option<&'a Side>,
}

impl<'a> Slots<'a> {
    /// Messages whose bytes, slots (the newest first) and rare parts these are.
    #[inline]
    pub(super) fn new(
        base: Base,
        bytes: &'a [u8],
        slots: &'a [Slot],
        side: Option<&'a Side>,
    ) -> Self {
        Slots {
            base,
            bytes,
            slots,
            side,
        }
    }

    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.slots.len() as u32
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> Slot {
        self.slots[self.slots.len() - 1 - number as usize]
    }

    /// Where a message begins, or the end of the last one, from the segment's
    /// start.
    #[inline]
    pub(super) fn start_of(&self, number: u32) -> u32 {
        number.checked_sub(1).map_or(0, |last| self.get(last).end)
    }

    pub(super) fn offset_of(&self, number: u32) -> u64 {
        self.base.first_offset + u64::from(self.get(number).offset)
    }

    pub(super) fn time_of(&self, number: u32) -> u64 {
        self.base.time_ms + u64::from(self.get(number).time)
    }

    /// How many messages come before the first for which `is_before` is false.
    #[inline]
    fn partition(&self, is_before: impl Fn(Slot) -> bool) -> u32 {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.get(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// How many messages end at or before `at`, from the segment's start.
    #[inline]
    pub(super) fn ended_by(&self, at: u32) -> u32 {
        // Nearly all who ask stand at the end.
        if at >= self.bytes.len() as u32 {
            return self.count();
        }
        self.partition(|slot| slot.end <= at)
    }

    /// How many messages end before `at`, from the segment's start.
    pub(super) fn ended_before(&self, at: u32) -> u32 {
        self.partition(|slot| slot.end < at)
    }

    /// How many messages have a smaller offset.
    pub(super) fn before_offset(&self, offset: u64) -> u32 {
        let from_first = offset.saturating_sub(self.base.first_offset);
        self.partition(|slot| u64::from(slot.offset) < from_first)
    }

    /// How many messages are older.
    pub(super) fn before_time(&self, time_ms: u64) -> u32 {
        let from_base = time_ms.saturating_sub(self.base.time_ms);
        self.partition(|slot| u64::from(slot.time) < from_base)
    }

    /// The offset that comes next behind so many messages.
    pub(super) fn next_offset(&self, number: u32) -> u64 {
        match number.checked_sub(1) {
            Some(last) => self.offset_of(last) + 1,
            None => self.base.first_offset,
        }
    }

    pub(super) fn payload(&self, number: u32) -> &'a [u8] {
        let (start, slot) = (self.start_of(number), self.get(number));
        &self.bytes[start as usize + usize::from(slot.header_len)..slot.end as usize]
    }

    pub(super) fn extras(&self, number: u32) -> Option<Extras<'a>> {
        let bytes = self.side?.part(self.get(number).rare)?;
        Extras::decode(bytes)
    }

    /// The same as bytes; empty if there are none.
    pub(super) fn rare_bytes(&self, number: u32) -> &'a [u8] {
        let part = |side: &'a Side| side.part(self.get(number).rare);
        let bytes = self.side.and_then(part).unwrap_or_default();
        let len = Extras::decode(bytes).map_or(0, |extras| extras.encoded_len());
        &bytes[..len]
    }

    /// It is all as the writer of a segment leaves it.
    pub(super) fn are_sound(&self) -> bool {
        let mut last = Slot {
            end: 0,
            offset: 0,
            time: 0,
            header_len: 0,
            flags: 0,
            rare: 0,
        };
        for number in 0..self.count() {
            let slot = self.get(number);
            let follows = number == 0 || slot.offset > last.offset;
            let sound = slot.end >= last.end
                && slot.end <= self.bytes.len() as u32
                && u32::from(slot.header_len) <= slot.end - last.end
                && follows
                && slot.time >= last.time
                && slot.flags & !Slot::TEXT == 0
                && (slot.rare == 0 || self.extras(number).is_some());
            if !sound {
                return false;
            }
            last = slot;
        }
        last.end == self.bytes.len() as u32
    }
}
