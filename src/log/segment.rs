//! A segment: a piece of memory that messages are appended to. Their bytes grow
//! from the front, a slot for each of them from the back.
//!
//! What lies below the head,
//! and the slots of the messages that it counts, never change until the last
//! handle is gone; all else belongs to the writer.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::arena::{self, PIECE_BYTES_MAX, Piece};
use super::budget::Budget;
use super::head::{Extent, Head};
use crate::protocol::encoding::Extras;

/// Growth of a topic's segments: the first is small, as most topics are.
pub const SEGMENT_BYTES_MIN: usize = arena::UNIT_BYTES;
/// The largest ordinary segment. A message that is larger gets one of its own.
pub const SEGMENT_BYTES_MAX: usize = 1 << 20;

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
const _: () = assert!(SLOT_BYTES == 16 && SEGMENT_BYTES_MIN.is_multiple_of(SLOT_BYTES));

impl Slot {
    /// The payload is text.
    pub(super) const TEXT: u8 = 1;
}

/// Rare parts begin at multiples of this in their side piece.
const RARE_STEP: usize = 8;
const SIDE_BYTES_MAX: usize = RARE_STEP * (u16::MAX as usize);

/// A message about to be appended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) len: usize,
    pub(super) header_len: usize,
    pub(super) text: bool,
    pub(super) offset: u64,
    pub(super) time_ms: u64,
    /// The rare parts, as bytes; empty if there are none.
    pub(super) rare: &'a [u8],
}

/// Held by the one writer of a log: the view inside the topic's lock.
#[derive(Debug)]
pub(super) struct WriterLock(pub(super) ());

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

/// A piece of a log. Messages lie back to back from its start and none crosses
/// its end.
#[derive(Debug)]
pub struct Segment {
    base: Base,
    bytes: NonNull<u8>,
    capacity: u32,
    head: Head,
    /// The memory; none where the segment only marks a place.
    piece: Option<Piece>,
    side: OnceLock<Box<Side>>,
    next: OnceLock<Arc<Segment>>,
    budget: Arc<Budget>,
}

/// The memory of rare parts.
#[derive(Debug)]
struct Side {
    piece: Piece,
    /// Changed by the writer alone.
    used: AtomicU32,
}

// SAFETY: the memory is owned by the segment through its piece. Readers reach
// only what the head has published, which never changes again; the one writer
// is serialised by the topic's lock and touches only what is not published.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    /// An empty segment in `piece`.
    pub(super) fn new(base: Base, piece: Piece, budget: Arc<Budget>) -> Segment {
        let bytes = NonNull::new(piece.bytes()).expect("memory is somewhere");
        let capacity = piece.len();
        assert!(capacity.is_multiple_of(SLOT_BYTES) && capacity <= PIECE_BYTES_MAX);
        Segment {
            base,
            bytes,
            capacity: capacity as u32,
            head: Head::new(0, 0),
            piece: Some(piece),
            side: OnceLock::new(),
            next: OnceLock::new(),
            budget,
        }
    }

    /// A place in a log at which the next segment begins: it has no memory.
    pub(super) fn mark(base: Base, budget: Arc<Budget>) -> Segment {
        Segment {
            base,
            bytes: NonNull::dangling(),
            capacity: 0,
            head: Head::new(0, 0),
            piece: None,
            side: OnceLock::new(),
            next: OnceLock::new(),
            budget,
        }
    }

    /// Position of the first byte.
    #[inline]
    pub fn start(&self) -> u64 {
        self.base.start
    }

    /// No message in it has a smaller offset, and none before it has this one
    /// or a larger one.
    pub fn first_offset(&self) -> u64 {
        self.base.first_offset
    }

    pub(super) fn base(&self) -> Base {
        self.base
    }

    /// Moves a segment that nobody knows yet.
    pub(super) fn place(&mut self, start: u64, before: u64) {
        self.base.start = start;
        self.base.before = before;
    }

    /// Bytes of memory.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// What is published so far.
    #[inline]
    pub(super) fn extent(&self) -> Extent {
        self.head.load()
    }

    /// Position behind the last published byte, and whether that is final.
    #[inline]
    pub fn end(&self) -> (u64, bool) {
        let extent = self.head.load();
        (self.base.start + u64::from(extent.len), extent.sealed)
    }

    /// The segment that follows. Set for good before the segment is sealed.
    pub fn next(&self) -> Option<&Arc<Segment>> {
        self.next.get()
    }

    /// The bytes that are published so far.
    #[inline]
    pub fn published(&self) -> &[u8] {
        let len = self.head.load().len as usize;
        // SAFETY: bytes below the head were written before it was published
        // and are never written again while the segment, which owns them, lives.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr(), len) }
    }

    /// The messages that are published so far.
    #[inline]
    pub(super) fn slots(&self) -> Slots<'_> {
        Slots {
            segment: self,
            extent: self.head.load(),
        }
    }

    #[inline]
    fn slot_at(&self, number: u32) -> *mut Slot {
        let from_end = (number as usize + 1) * SLOT_BYTES;
        let at = self.capacity as usize - from_end;
        self.bytes.as_ptr().wrapping_add(at).cast()
    }

    /// Bytes that are neither published nor a message's slot.
    #[inline]
    fn room(&self, extent: Extent) -> usize {
        self.capacity as usize - extent.len as usize - extent.count as usize * SLOT_BYTES
    }

    /// `entry` fits behind what is there.
    #[inline]
    pub(super) fn fits(&self, entry: &Entry<'_>) -> bool {
        let extent = self.head.load();
        let fits_u32 = |value: u64, base: u64| value - base <= u64::from(u32::MAX);
        !extent.sealed
            && entry.len + SLOT_BYTES <= self.room(extent)
            && fits_u32(entry.offset, self.base.first_offset)
            && fits_u32(entry.time_ms, self.base.time_ms)
            && (entry.rare.is_empty() || self.side_fits(entry.rare.len()))
    }

    fn side_fits(&self, len: usize) -> bool {
        let Some(side) = self.side.get() else {
            return true;
        };
        side.used.load(Ordering::Relaxed) as usize + len <= side.piece.len().min(SIDE_BYTES_MAX)
    }

    /// The size of the side piece that is to be had before a message with rare
    /// parts of `len` bytes comes; `None` if there is one.
    pub(super) fn side_wanted(&self, len: usize) -> Option<usize> {
        let wanted = (self.capacity() / 4).clamp(len, SIDE_BYTES_MAX.max(len));
        self.side.get().is_none().then(|| arena::round(wanted))
    }

    pub(super) fn add_side(&self, _lock: &mut WriterLock, piece: Piece) {
        let side = Side {
            piece,
            used: AtomicU32::new(0),
        };
        let added = self.side.set(Box::new(side)).is_ok();
        assert!(added, "a segment has one side piece");
    }

    /// The first `len` bytes that are not published, for the writer to fill.
    #[inline]
    pub(super) fn unpublished<'a>(&'a self, _lock: &'a mut WriterLock, len: usize) -> &'a mut [u8] {
        let extent = self.head.load();
        assert!(!extent.sealed && len + SLOT_BYTES <= self.room(extent));
        // SAFETY: the range lies above the head and below the slots, inside the
        // segment's memory, so no reader has it, and the writer's lock, which
        // stays borrowed, makes this the only writer. A piece is initialised.
        unsafe {
            let at = self.bytes.as_ptr().add(extent.len as usize);
            std::slice::from_raw_parts_mut(at, len)
        }
    }

    /// The same bytes once they are filled, for the writer to read.
    pub(super) fn filled<'a>(&'a self, _lock: &'a WriterLock, len: usize) -> &'a [u8] {
        let extent = self.head.load();
        assert!(len + SLOT_BYTES <= self.room(extent));
        // SAFETY: as in `unpublished`; while the lock is borrowed shared nobody
        // can write there.
        unsafe {
            let at = self.bytes.as_ptr().add(extent.len as usize);
            std::slice::from_raw_parts(at, len)
        }
    }

    /// Publishes the first bytes that are not published as one message. Returns
    /// the position where it begins.
    #[inline]
    pub(super) fn publish(&self, lock: &mut WriterLock, entry: &Entry<'_>) -> u64 {
        let extent = self.head.load();
        assert!(self.fits(entry), "room was made for it");
        let end = extent.len + entry.len as u32;
        let slot = Slot {
            end,
            offset: (entry.offset - self.base.first_offset) as u32,
            time: (entry.time_ms - self.base.time_ms) as u32,
            header_len: entry.header_len as u8,
            flags: if entry.text { Slot::TEXT } else { 0 },
            rare: self.append_rare(lock, entry.rare),
        };
        // SAFETY: the slot lies above the bytes and below the slots that are
        // published, as `fits` says, inside the segment's memory and aligned to
        // four bytes; the lock makes this the only writer.
        unsafe { self.slot_at(extent.count).write(slot) };
        self.head.publish(end, extent.count + 1);
        self.base.start + u64::from(extent.len)
    }

    fn append_rare(&self, _lock: &mut WriterLock, bytes: &[u8]) -> u16 {
        if bytes.is_empty() {
            return 0;
        }
        let side = self.side.get().expect("added before the message");
        let used = side.used.load(Ordering::Relaxed) as usize;
        assert!(used + bytes.len() <= side.piece.len());
        // SAFETY: what lies behind `used` has been shown to nobody, and the
        // lock makes this the only writer; it ends inside the side piece.
        unsafe {
            let to = side.piece.bytes().add(used);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        let end = (used + bytes.len()).next_multiple_of(RARE_STEP);
        side.used.store(end as u32, Ordering::Release);
        (used / RARE_STEP + 1) as u16
    }

    /// Ends this segment in favour of `next`.
    pub(super) fn link(&self, next: Arc<Segment>) {
        let linked = self.next.set(next).is_ok();
        assert!(linked, "a segment is sealed once");
        self.head.seal();
    }

    /// The memory of the bytes and of the rare parts, with how much of the
    /// latter is used.
    pub(super) fn pieces(&self) -> (Option<&Piece>, Option<(&Piece, u32)>) {
        let side = self.side.get();
        let side = side.map(|side| (&side.piece, side.used.load(Ordering::Relaxed)));
        (self.piece.as_ref(), side)
    }

    /// Takes what another process published in `piece`, `extent`, and in `side`
    /// as this segment's. `None` if what lies there is not what a segment has.
    pub(super) fn adopt(
        base: Base,
        piece: Piece,
        extent: Extent,
        side: Option<(Piece, u32)>,
        budget: Arc<Budget>,
    ) -> Option<Segment> {
        let mut segment = Segment::new(base, piece, budget);
        if let Some((piece, used)) = side {
            let fits = used as usize <= piece.len();
            let used = AtomicU32::new(used);
            segment.side = OnceLock::from(Box::new(Side { piece, used }));
            if !fits {
                return None;
            }
        }
        let slots_len = (extent.count as usize).checked_mul(SLOT_BYTES)?;
        let used = slots_len.checked_add(extent.len as usize)?;
        if used > segment.capacity() {
            return None;
        }
        segment.head = Head::new(extent.len, extent.count);
        segment.slots().are_sound().then_some(segment)
    }
}

/// The messages of a segment up to some point.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a> {
    segment: &'a Segment,
    extent: Extent,
}

impl<'a> Slots<'a> {
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.extent.count
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> Slot {
        assert!(number < self.extent.count);
        // SAFETY: the head counts the message, so its slot was written before
        // and is never written again while the segment, which owns it, lives.
        unsafe { self.segment.slot_at(number).read() }
    }

    /// Where a message begins, or the end of the last one, from the segment's
    /// start.
    #[inline]
    pub(super) fn start_of(&self, number: u32) -> u32 {
        number.checked_sub(1).map_or(0, |last| self.get(last).end)
    }

    pub(super) fn offset_of(&self, number: u32) -> u64 {
        self.segment.base.first_offset + u64::from(self.get(number).offset)
    }

    pub(super) fn time_of(&self, number: u32) -> u64 {
        self.segment.base.time_ms + u64::from(self.get(number).time)
    }

    /// How many messages come before the first for which `is_before` is false.
    #[inline]
    fn partition(&self, is_before: impl Fn(Slot) -> bool) -> u32 {
        let (mut low, mut high) = (0, self.extent.count);
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
        if at >= self.extent.len {
            return self.extent.count;
        }
        self.partition(|slot| slot.end <= at)
    }

    /// How many messages end before `at`, from the segment's start.
    pub(super) fn ended_before(&self, at: u32) -> u32 {
        self.partition(|slot| slot.end < at)
    }

    /// How many messages have a smaller offset.
    pub(super) fn before_offset(&self, offset: u64) -> u32 {
        let from_first = offset.saturating_sub(self.segment.base.first_offset);
        self.partition(|slot| u64::from(slot.offset) < from_first)
    }

    /// How many messages are older.
    pub(super) fn before_time(&self, time_ms: u64) -> u32 {
        let from_base = time_ms.saturating_sub(self.segment.base.time_ms);
        self.partition(|slot| u64::from(slot.time) < from_base)
    }

    /// The offset that comes next behind so many messages.
    pub(super) fn next_offset(&self, number: u32) -> u64 {
        match number.checked_sub(1) {
            Some(last) => self.offset_of(last) + 1,
            None => self.segment.base.first_offset,
        }
    }

    pub(super) fn payload(&self, number: u32) -> &'a [u8] {
        let (start, slot) = (self.start_of(number), self.get(number));
        let bytes = self.segment.published();
        &bytes[start as usize + usize::from(slot.header_len)..slot.end as usize]
    }

    pub(super) fn extras(&self, number: u32) -> Option<Extras<'a>> {
        let at = usize::from(self.get(number).rare.checked_sub(1)?) * RARE_STEP;
        let bytes = self.segment.side.get()?.parts();
        Extras::decode(bytes.get(at..)?)
    }

    /// It is all as the writer of a segment leaves it.
    fn are_sound(&self) -> bool {
        let mut last = Slot {
            end: 0,
            offset: 0,
            time: 0,
            header_len: 0,
            flags: 0,
            rare: 0,
        };
        for number in 0..self.extent.count {
            let slot = self.get(number);
            let follows = number == 0 || slot.offset > last.offset;
            let sound = slot.end >= last.end
                && slot.end <= self.extent.len
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
        last.end == self.extent.len
    }
}

impl Side {
    /// What is used so far. Only what a published slot points to is read.
    fn parts(&self) -> &[u8] {
        let used = self.used.load(Ordering::Acquire) as usize;
        // SAFETY: bytes below `used` were written before it was stored, and are
        // never written again while the segment, which owns them, lives.
        unsafe { std::slice::from_raw_parts(self.piece.bytes(), used.min(self.piece.len())) }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Some(piece) = self.piece.take() {
            self.budget.give_back(piece);
        }
        if let Some(side) = self.side.take() {
            self.budget.give_back(side.piece);
        }
        // A chain of thousands would otherwise be dropped by recursion.
        let mut next = self.next.take();
        while let Some(segment) = next {
            next = Arc::into_inner(segment).and_then(|mut last| last.next.take());
        }
    }
}
