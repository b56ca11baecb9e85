//! What a core knows of the pace of its feeds: how far each may be sent, and which rest until
//! their time has come. Kept by the feeds and the reactor, looked at by `pacing`.

use std::collections::BTreeSet;

/// What a feed knows of its pace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Its subscribers may be sent the log up to here.
    pub(super) released: u64,
    /// When that was last moved on, in microseconds of the hub's clock.
    pub(super) released_us: u64,
    /// It has grown, and rests until then; 0 where it does not rest.
    pub(super) rests_until_us: u64,
}

impl Pace {
    /// There is none: all of the log may be sent.
    pub(super) const NONE: Pace = Pace {
        released: u64::MAX,
        released_us: 0,
        rests_until_us: 0,
    };

    pub(super) fn rests(&self) -> bool {
        self.rests_until_us > 0
    }
}

/// The feeds of a core that rest, each once, by when their time comes.
#[derive(Debug, Default)]
pub(super) struct Resting(BTreeSet<(u64, u32)>);

impl Resting {
    pub(super) fn add(&mut self, until_us: u64, feed: u32) {
        let is_new = self.0.insert((until_us, feed));
        assert!(is_new, "a feed rests once");
    }

    pub(super) fn remove(&mut self, until_us: u64, feed: u32) {
        let was_there = self.0.remove(&(until_us, feed));
        assert!(was_there, "who rests is known");
    }

    /// When the time of the first one comes.
    #[inline]
    pub(super) fn first_us(&self) -> Option<u64> {
        self.0.first().map(|(until_us, _)| *until_us)
    }

    /// One whose time has come.
    pub(super) fn due(&self, now_us: u64) -> Option<u32> {
        let (until_us, feed) = self.0.first()?;
        (*until_us <= now_us).then_some(*feed)
    }

    pub(super) fn feeds(&self) -> Vec<u32> {
        self.0.iter().map(|(_, feed)| *feed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_is_due_first_and_nobody_before_its_time() {
        let mut resting = Resting::default();
        assert_eq!((resting.first_us(), resting.due(u64::MAX)), (None, None));
        for (until_us, feed) in [(30, 1), (10, 2), (20, 3)] {
            resting.add(until_us, feed);
        }
        assert_eq!((resting.first_us(), resting.due(9)), (Some(10), None));
        assert_eq!(resting.due(10), Some(2));
        resting.remove(10, 2);
        assert_eq!(resting.due(19), None);
        assert_eq!(resting.feeds(), [3, 1]);
    }
}
