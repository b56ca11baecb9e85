//! The publish and read protocol of one segment, and how a core is told.
//!
//! It stands alone, on whatever `sync` its parent names, so that the model
//! checker in `tests/log_model.rs` runs this very file.

use super::sync::{AtomicBool, AtomicU64, Ordering};

/// Set once the writer has moved on: nothing follows in this segment, and the
/// next one is linked.
const SEALED: u64 = 1 << 31;
const LEN: u64 = SEALED - 1;

/// What is published of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes from the front.
    pub len: u32,
    /// Messages.
    pub count: u32,
    /// That is final.
    pub sealed: bool,
}

/// How much of a segment is published, and whether that is final: one word.
#[derive(Debug, Default)]
pub struct Head(AtomicU64);

impl Head {
    pub fn new(len: u32, count: u32) -> Self {
        assert!(u64::from(len) <= LEN);
        Head(AtomicU64::new(u64::from(count) << 32 | u64::from(len)))
    }

    /// What a reader may read. One acquire load; all bytes below the length and
    /// the slots of all messages are visible after it.
    #[inline]
    pub fn load(&self) -> Extent {
        let word = self.0.load(Ordering::Acquire);
        Extent {
            len: (word & LEN) as u32,
            count: (word >> 32) as u32,
            sealed: word & SEALED != 0,
        }
    }

    /// Publishes everything below `len` as `count` messages. Only the writer
    /// calls this, under the topic's lock, after it wrote the bytes and slots.
    #[inline]
    pub fn publish(&self, len: u32, count: u32) {
        assert!(u64::from(len) <= LEN);
        let word = u64::from(count) << 32 | u64::from(len);
        self.0.store(word, Ordering::Release);
    }

    /// Ends the segment. The next one must be linked before, as a reader
    /// follows the link as soon as it sees this.
    pub fn seal(&self) {
        let word = self.0.load(Ordering::Relaxed);
        self.0.store(word | SEALED, Ordering::Release);
    }
}

/// "This core has been told": set by publishers, cleared by the core before it
/// reads the head, so that a burst of messages is one wake and no growth is
/// missed.
#[derive(Debug, Default)]
pub struct Told(AtomicBool);

impl Told {
    pub fn new() -> Self {
        Told(AtomicBool::new(false))
    }

    /// True for the first publisher since the core last looked: it must wake
    /// the core. Called after the publish.
    #[inline]
    pub fn tell(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Somebody has told the core something that it has not looked at.
    #[inline]
    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// The core is about to look; growth from here on is told again.
    #[inline]
    pub fn heard(&self) {
        // A swap, not a store: it reads the publisher's write and so makes
        // what was published before it visible to the look that follows.
        self.0.swap(false, Ordering::AcqRel);
    }
}
