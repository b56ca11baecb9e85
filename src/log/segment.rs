//! A segment: a piece of memory that messages are appended to. Their bytes grow
//! from the front, a slot for each of them from the back (`slots`), and what only
//! few have lies in a piece of its own (`side`).
//!
//! What lies below the head, and the slots of the messages that it counts, never change until the last
//! handle is gone; all else belongs to the writer.

use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use super::arena::{self, PIECE_BYTES_MAX, Piece};
use super::budget::Budget;
use super::head::{Extent, Head};
use super::side::{SIDE_BYTES_MAX, Side, WriterLock};
use super::slots::{Base, SLOT_BYTES, Slot, Slots};

/// Growth of a topic's segments: the first is small, as most topics are.
pub const SEGMENT_BYTES_MIN: usize = arena::UNIT_BYTES;
const _: () = assert!(SEGMENT_BYTES_MIN.is_multiple_of(SLOT_BYTES));
/// The largest ordinary segment. A message that is larger gets one of its own.
pub const SEGMENT_BYTES_MAX: usize = 1 << 20;

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
        self.below(self.head.load())
    }

    /// The bytes below a head that was loaded.
    #[inline]
    fn below(&self, head: Extent) -> &[u8] {
        // SAFETY: bytes below the head were written before it was published
        // and are never written again while the segment, which owns them, lives.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr(), head.len as usize) }
    }

    /// The messages that are published so far.
    #[inline]
    pub(super) fn slots(&self) -> Slots<'_> {
        let extent = self.head.load();
        let slots = match extent.count {
            // A mark has no memory, not even for none.
            0 => &[],
            // SAFETY: the head counts these messages, so their slots, which lie there
            // aligned to four bytes, were written before and are never written again
            // while the segment, which owns them, lives.
            count => unsafe { std::slice::from_raw_parts(self.slot_at(count - 1), count as usize) },
        };
        Slots::new(
            self.base,
            self.below(extent),
            slots,
            self.side.get().map(|side| &**side),
        )
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
            && (entry.rare.is_empty()
                || self
                    .side
                    .get()
                    .is_none_or(|side| side.fits(entry.rare.len())))
    }

    /// The size of the side piece that is to be had before a message with rare
    /// parts of `len` bytes comes; `None` if there is one.
    pub(super) fn side_wanted(&self, len: usize) -> Option<usize> {
        let wanted = (self.capacity() / 4).clamp(len, SIDE_BYTES_MAX.max(len));
        self.side.get().is_none().then(|| arena::round(wanted))
    }

    pub(super) fn add_side(&self, _lock: &mut WriterLock, piece: Piece) {
        let added = self.side.set(Box::new(Side::new(piece, 0))).is_ok();
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
        let rare = match (entry.rare, self.side.get()) {
            ([], _) => 0,
            (rare, side) => side.expect("added before the message").append(lock, rare),
        };
        let slot = Slot {
            end,
            offset: (entry.offset - self.base.first_offset) as u32,
            time: (entry.time_ms - self.base.time_ms) as u32,
            header_len: entry.header_len as u8,
            flags: if entry.text { Slot::TEXT } else { 0 },
            rare,
        };
        // SAFETY: the slot lies above the bytes and below the slots that are
        // published, as `fits` says, inside the segment's memory and aligned to
        // four bytes; the lock makes this the only writer.
        unsafe { self.slot_at(extent.count).write(slot) };
        self.head.publish(end, extent.count + 1);
        self.base.start + u64::from(extent.len)
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
        (self.piece.as_ref(), side.map(|side| side.piece()))
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
            segment.side = OnceLock::from(Box::new(Side::new(piece, used)));
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

impl Drop for Segment {
    fn drop(&mut self) {
        if let Some(piece) = self.piece.take() {
            self.budget.give_back(piece);
        }
        if let Some(side) = self.side.take() {
            self.budget.give_back(side.into_piece());
        }
        // A chain of thousands would otherwise be dropped by recursion.
        let mut next = self.next.take();
        while let Some(segment) = next {
            next = Arc::into_inner(segment).and_then(|mut last| last.next.take());
        }
    }
}
