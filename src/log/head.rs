//! The publish and read protocol of one segment: a single atomic word.
//!
//! It stands alone, on whatever `sync` its parent names, so that the model
//! checker in `tests/log_model.rs` runs this very file.

use super::sync::{AtomicBool, AtomicU32, Ordering};

/// Set once the writer has moved on: nothing follows in this segment, and the
/// next one is linked.
const SEALED: u32 = 1 << 31;

/// How many bytes of a segment are published, and whether that is final.
#[derive(Debug, Default)]
pub struct Head(AtomicU32);

impl Head {
    pub fn new() -> Self {
        Head(AtomicU32::new(0))
    }

    /// What a reader may read: the published length, and whether it is final.
    /// One acquire load; everything below the length is visible after it.
    #[inline]
    pub fn load(&self) -> (u32, bool) {
        let word = self.0.load(Ordering::Acquire);
        (word & !SEALED, word & SEALED != 0)
    }

    /// Publishes everything below `len`. Only the writer calls this, under the
    /// topic's lock, after it wrote the bytes.
    #[inline]
    pub fn publish(&self, len: u32) {
        assert!(len < SEALED);
        self.0.store(len, Ordering::Release);
    }

    /// Ends the segment. The next one must be linked before, as a reader
    /// follows the link as soon as it sees this.
    pub fn seal(&self) {
        let len = self.0.load(Ordering::Relaxed);
        self.0.store(len | SEALED, Ordering::Release);
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

    /// The core is about to look; growth from here on is told again.
    #[inline]
    pub fn heard(&self) {
        // A swap, not a store: it reads the publisher's write and so makes
        // what was published before it visible to the look that follows.
        self.0.swap(false, Ordering::AcqRel);
    }
}
