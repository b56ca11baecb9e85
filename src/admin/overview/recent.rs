//! How much counters have grown in the last minute.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How far back it goes.
const REACH: Duration = Duration::from_secs(60);
/// Moments that are kept: those in between are left out.
const MOMENTS_MAX: usize = 60;

/// Counters as they were at moments of the last minute, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    moments: VecDeque<(Instant, Box<[u64]>)>,
}

impl Recent {
    /// The counters stand so at the moment, which is later than all before.
    pub(super) fn note(&mut self, now: Instant, totals: &[u64]) {
        while let Some((oldest, _)) = self.moments.front()
            && now - *oldest > REACH
        {
            self.moments.pop_front();
        }
        let apart = REACH / MOMENTS_MAX as u32;
        let mut last = self.moments.iter().rev();
        // The newest one moves on until it is far enough from the one before.
        if let (Some((newest, _)), Some((before, _))) = (last.next(), last.next())
            && *newest - *before < apart
        {
            self.moments.pop_back();
        }
        self.moments.push_back((now, totals.into()));
    }

    /// By how much the counter in that place has grown.
    pub(super) fn growth(&self, place: usize) -> u64 {
        match (self.moments.front(), self.moments.back()) {
            (Some((_, oldest)), Some((_, newest))) => newest[place].saturating_sub(oldest[place]),
            _ => 0,
        }
    }

    /// How far back it reaches.
    pub(super) fn reach_ms(&self) -> u64 {
        match (self.moments.front(), self.moments.back()) {
            (Some((oldest, _)), Some((newest, _))) => (*newest - *oldest).as_millis() as u64,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reaches_back_a_minute_and_keeps_few_moments() {
        let mut recent = Recent::default();
        assert_eq!((recent.reach_ms(), recent.growth(0)), (0, 0));
        let begin = Instant::now();
        for number in 0..=400 {
            let now = begin + Duration::from_millis(500 * number);
            recent.note(now, &[10 * number]);
            assert!(recent.moments.len() <= MOMENTS_MAX + 2);
        }
        assert!((59_000..=60_000).contains(&recent.reach_ms()));
        // Twenty a second.
        assert_eq!(recent.growth(0) * 50, recent.reach_ms());
        // After a pause there is one moment, and nothing is known.
        recent.note(begin + Duration::from_secs(1000), &[9000]);
        assert_eq!((recent.reach_ms(), recent.growth(0)), (0, 0));
    }
}
