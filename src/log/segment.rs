//! A segment: a fixed piece of memory that frames are appended to.
//!
//! The only unsafe code of the log. Bytes below the head never change until
//! the last handle is gone; bytes above it belong to the writer.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::head::Head;

/// Growth of a topic's segments: the first is small, as most topics are.
pub const SEGMENT_BYTES_MIN: usize = 2 << 10;
/// The largest ordinary segment. A message that is larger gets one of its own.
pub const SEGMENT_BYTES_MAX: usize = 1 << 20;
/// One index entry for each so many bytes.
const BLOCK_BYTES: usize = 4 << 10;

const _: () = assert!(SEGMENT_BYTES_MAX.is_multiple_of(BLOCK_BYTES));

/// Bytes of segments that are alive: of one log, and of all of them.
#[derive(Debug)]
pub struct Budget {
    log_bytes: AtomicU64,
    total_bytes: Arc<AtomicU64>,
}

impl Budget {
    pub fn new(total_bytes: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Budget {
            log_bytes: AtomicU64::new(0),
            total_bytes,
        })
    }

    /// Bytes that this log holds, in its history or for its readers.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that all logs of the process hold.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Ordering::Relaxed)
    }

    /// What is counted for all logs of the process.
    pub fn total(&self) -> &Arc<AtomicU64> {
        &self.total_bytes
    }

    fn take(&self, bytes: u64) {
        self.log_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.total_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.log_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.total_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Where the first frame at or after a block's start lies, and how many
/// messages of the segment come before it. Written before the head is
/// published that covers it, so relaxed loads behind the head are enough.
#[derive(Debug, Default)]
struct Block {
    boundary: AtomicU32,
    count: AtomicU32,
}

/// A piece of a log. Frames lie back to back from its start and none crosses
/// its end.
#[derive(Debug)]
pub struct Segment {
    /// Position in the log of the first byte.
    start: u64,
    /// Offset of the first message.
    first_offset: u64,
    bytes: NonNull<u8>,
    capacity: u32,
    head: Head,
    next: OnceLock<Arc<Segment>>,
    blocks: Box<[Block]>,
    budget: Arc<Budget>,
}

// SAFETY: the memory is owned by the segment. Readers reach only what the head
// has published, which never changes again; the one writer is serialised by the
// topic's lock and touches only what lies above the head.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    /// An empty segment of `capacity` bytes at `start`.
    pub fn new(start: u64, first_offset: u64, capacity: usize, budget: Arc<Budget>) -> Arc<Self> {
        assert!(capacity > 0 && capacity < (1 << 31));
        // SAFETY: the layout has a size above zero.
        let bytes = unsafe { alloc_zeroed(Self::layout(capacity)) };
        let Some(bytes) = NonNull::new(bytes) else {
            handle_alloc_error(Self::layout(capacity))
        };
        budget.take(capacity as u64);
        Arc::new(Segment {
            start,
            first_offset,
            bytes,
            capacity: capacity as u32,
            head: Head::new(),
            next: OnceLock::new(),
            blocks: (0..capacity.div_ceil(BLOCK_BYTES))
                .map(|_| Block::default())
                .collect(),
            budget,
        })
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, 16).expect("a segment is below 2 GiB")
    }

    /// Position of the first byte.
    #[inline]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Offset of the first message.
    pub fn first_offset(&self) -> u64 {
        self.first_offset
    }

    /// Bytes of memory.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Position behind the last published byte, and whether that is final.
    #[inline]
    pub fn end(&self) -> (u64, bool) {
        let (len, sealed) = self.head.load();
        (self.start + u64::from(len), sealed)
    }

    /// The segment that follows. Set for good before the segment is sealed.
    pub fn next(&self) -> Option<&Arc<Segment>> {
        self.next.get()
    }

    /// What is published so far.
    #[inline]
    pub fn published(&self) -> &[u8] {
        let (len, _) = self.head.load();
        // SAFETY: bytes below the head were written before it was published
        // and are never written again while the segment lives.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr(), len as usize) }
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        (self.capacity - self.head.load().0) as usize
    }

    /// Lets `write` fill `len` bytes behind the head and publishes them as one
    /// message; on an error nothing is published. Called by the one writer,
    /// `messages` is how many the segment holds already.
    ///
    /// # Errors
    /// Those of `write`.
    pub(super) fn append<E>(
        &self,
        _lock: &mut super::view::WriterLock,
        len: usize,
        messages: u32,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (at, sealed) = self.head.load();
        assert!(!sealed && len <= (self.capacity - at) as usize);
        // SAFETY: the range lies above the head and inside the allocation, so
        // no reader has it, and the writer's lock makes this the only writer.
        // It was zeroed, so it is initialised.
        let room =
            unsafe { std::slice::from_raw_parts_mut(self.bytes.as_ptr().add(at as usize), len) };
        write(room)?;
        let end = at + len as u32;
        for block in at as usize / BLOCK_BYTES + 1..=end as usize / BLOCK_BYTES {
            if let Some(block) = self.blocks.get(block) {
                block.boundary.store(end, Ordering::Relaxed);
                block.count.store(messages + 1, Ordering::Relaxed);
            }
        }
        self.head.publish(end);
        Ok(())
    }

    /// Ends this segment in favour of `next`.
    pub(super) fn link(&self, next: Arc<Segment>) {
        let linked = self.next.set(next).is_ok();
        assert!(linked, "a segment is sealed once");
        self.head.seal();
    }

    /// The last indexed frame boundary at or before `at` (a length from the
    /// segment's start), and how many messages come before it.
    pub(super) fn landmark(&self, at: u32) -> (u32, u32) {
        let last = (at as usize / BLOCK_BYTES).min(self.blocks.len() - 1);
        for block in self.blocks[..=last].iter().rev() {
            let boundary = block.boundary.load(Ordering::Relaxed);
            if boundary <= at {
                return (boundary, block.count.load(Ordering::Relaxed));
            }
        }
        (0, 0)
    }

    /// The last indexed frame boundary with at most `messages` before it.
    pub(super) fn landmark_of_message(&self, messages: u32) -> (u32, u32) {
        let (end, _) = self.head.load();
        let known = self.blocks.len().min(end as usize / BLOCK_BYTES + 1);
        let after = self.blocks[..known]
            .partition_point(|block| block.count.load(Ordering::Relaxed) <= messages);
        match after.checked_sub(1) {
            Some(block) => (
                self.blocks[block].boundary.load(Ordering::Relaxed),
                self.blocks[block].count.load(Ordering::Relaxed),
            ),
            None => (0, 0),
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; no handle is left.
        unsafe { dealloc(self.bytes.as_ptr(), Self::layout(self.capacity as usize)) };
        self.budget.give_back(u64::from(self.capacity));
        // A chain of thousands would otherwise be dropped by recursion.
        let mut next = self.next.take();
        while let Some(segment) = next {
            next = Arc::into_inner(segment).and_then(|mut last| last.next.take());
        }
    }
}
