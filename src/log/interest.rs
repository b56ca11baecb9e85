//! Who reads a view: for each core how many subscribers it has, by which number
//! it knows the view, and how far it has got.
//!
//! Like `head.rs` it stands alone, for the model checker.

use super::head::Told;
use super::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

/// One core's interest in a view of a topic.
#[derive(Debug)]
pub struct Listener {
    subscribers: AtomicU32,
    place: AtomicU32,
    pub told: Told,
    /// Up to here the core has offered the view to all its subscribers.
    passed: AtomicU64,
}

impl Default for Listener {
    fn default() -> Self {
        Listener {
            subscribers: AtomicU32::new(0),
            place: AtomicU32::new(0),
            told: Told::new(),
            passed: AtomicU64::new(u64::MAX),
        }
    }
}

impl Listener {
    /// One more subscriber on the core, which knows the view as `place`. The
    /// core looks at the log after this, and a publisher that comes behind the
    /// look finds the core.
    pub fn join(&self, place: u32) {
        let first = self.subscribers.load(Ordering::Relaxed) == 0;
        // The number comes before the count, which publishers look at first.
        self.place.store(place, Ordering::Release);
        if first {
            self.told.heard();
            // Nobody waits for a core that has just come.
            self.passed.store(u64::MAX, Ordering::Relaxed);
        }
        self.subscribers.fetch_add(1, Ordering::AcqRel);
    }

    /// One subscriber less on the core.
    pub fn leave(&self) {
        let before = self.subscribers.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "who leaves has joined");
    }

    /// Subscribers on the core.
    #[inline]
    pub fn subscribers(&self) -> u32 {
        self.subscribers.load(Ordering::Acquire)
    }

    /// The core's own number for the view. Only while it has subscribers.
    pub fn place(&self) -> u32 {
        self.place.load(Ordering::Acquire)
    }

    /// The core's number for the view, if the core has subscribers and has to
    /// be woken because the view has grown. Called after the publish.
    #[inline]
    pub fn tell(&self) -> Option<u32> {
        (self.subscribers() > 0 && self.told.tell()).then(|| self.place())
    }

    /// The core has offered everything up to `position` to all its subscribers.
    /// A look at [`Waiting::take`] follows.
    #[inline]
    pub fn pass(&self, position: u64) {
        self.passed.store(position, Ordering::Release);
        // Either the look that follows sees who waits, or who waits sees this
        // position: see `Waiting::wait`.
        fence(Ordering::SeqCst);
    }

    /// How far the core is behind in offering a view that ends at `head`.
    #[inline]
    pub fn behind(&self, head: u64) -> u64 {
        if self.subscribers() == 0 {
            return 0;
        }
        head.saturating_sub(self.passed.load(Ordering::Acquire))
    }
}

/// Some publisher is to be woken when cores have caught up.
#[derive(Debug, Default)]
pub struct Waiting(AtomicBool);

impl Waiting {
    pub fn new() -> Self {
        Waiting(AtomicBool::new(false))
    }

    /// A publisher will wait, unless it finds by a look at
    /// [`Listener::behind`], after this, that it need not.
    pub fn wait(&self) {
        self.0.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Somebody waits. Asked after [`Listener::pass`].
    #[inline]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Those who wait are about to be woken; who waits from here on is seen
    /// again.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }
}
