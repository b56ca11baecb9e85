//! When connections are to be looked at of which nothing is awaited but a sign of life, or that
//! their token expires: what is far off costs nothing until then, however many there are.
//!
//! A calendar has a list of slots for each of its days, of which only those that are over are
//! looked at. What is put down is a promise to look, not a time limit: who has been heard
//! meanwhile, or has left, stays where it stands, and is looked at once too often. So whoever has
//! the slot next may not be looked at before.

use super::time::TICK;

/// Days of a calendar, which are as long as it takes for the longest interval to fit in.
const DAYS: usize = 256;
/// Nothing comes sooner than with the next tick.
const DAY_MS_MIN: u64 = TICK.as_millis() as u64;

/// The end of a day's list.
const END: u32 = u32::MAX;
/// What stands in no list.
const NOWHERE: u32 = u32::MAX - 1;

/// A slot stands in at most one day's list: 4 bytes for each that was ever put down.
#[derive(Debug)]
pub(super) struct Calendar {
    /// By slot: the next one of the same day.
    next: Vec<u32>,
    /// The first of each day, whose number is taken modulo [`DAYS`].
    first: [u32; DAYS],
    day_ms: u64,
    /// The number of the first day that is not over.
    today: u64,
}

impl Calendar {
    /// An empty one, for slots below `slots`.
    pub(super) fn new(slots: usize) -> Self {
        Calendar {
            // Reserved, and touched only as slots are put down.
            next: Vec::with_capacity(slots),
            first: [END; DAYS],
            day_ms: DAY_MS_MIN,
            today: 0,
        }
    }

    /// Forgets everything. From now on what is put down lies up to `ahead_ms` ahead.
    pub(super) fn begin_anew(&mut self, now_ms: u64, ahead_ms: u64) {
        self.next.fill(NOWHERE);
        self.first = [END; DAYS];
        self.day_ms = ahead_ms.div_ceil(DAYS as u64 - 2).max(DAY_MS_MIN);
        self.today = now_ms / self.day_ms + 1;
    }

    /// A slot is to be looked at once that time has come. One that is put down already is looked
    /// at when that was to be.
    pub(super) fn put_down(&mut self, slot: u32, at_ms: u64) {
        let number = slot as usize;
        if self.next.len() <= number {
            self.next.resize(number + 1, NOWHERE);
        }
        if self.next[number] != NOWHERE {
            return;
        }
        let last = self.today + DAYS as u64 - 1;
        let day = at_ms.div_ceil(self.day_ms).clamp(self.today, last);
        let first = &mut self.first[day as usize % DAYS];
        self.next[number] = std::mem::replace(first, slot);
    }

    /// Those whose day is over, in the order in which they lie in memory. They stand nowhere now.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Vec<u32> {
        let mut due = Vec::new();
        let end = now_ms / self.day_ms + 1;
        // Once all days have been looked at, nothing is left.
        for _ in 0..DAYS {
            if self.today >= end {
                break;
            }
            let first = &mut self.first[self.today as usize % DAYS];
            let mut slot = std::mem::replace(first, END);
            while slot != END {
                due.push(slot);
                slot = std::mem::replace(&mut self.next[slot as usize], NOWHERE);
            }
            self.today += 1;
        }
        self.today = self.today.max(end);
        due.sort_unstable();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(now_ms: u64, ahead_ms: u64) -> Calendar {
        let mut calendar = Calendar::new(100);
        calendar.begin_anew(now_ms, ahead_ms);
        calendar
    }

    #[test]
    fn a_slot_is_looked_at_once_and_not_before_its_time() {
        for (ahead_ms, late_ms) in [(10, 250), (30_000, 250), (3_600_000, 14_200)] {
            let mut calendar = calendar(1_000_000, ahead_ms);
            let mut rng = fastrand::Rng::with_seed(ahead_ms);
            let mut wanted: Vec<u64> = (0..1000)
                .map(|_| 1_000_000 + rng.u64(..=ahead_ms))
                .collect();
            for (slot, at_ms) in wanted.iter().enumerate() {
                calendar.put_down(slot as u32, *at_ms);
            }
            let mut now_ms = 1_000_000;
            while now_ms <= 1_000_000 + ahead_ms + late_ms {
                now_ms += rng.u64(1..=250);
                for slot in calendar.take_due(now_ms) {
                    let at_ms = std::mem::replace(&mut wanted[slot as usize], u64::MAX);
                    assert!(at_ms <= now_ms, "{slot} is early, or comes again");
                    assert!(now_ms < at_ms + late_ms + 250, "{slot} is late");
                }
            }
            assert!(wanted.iter().all(|at_ms| *at_ms == u64::MAX));
        }
    }

    #[test]
    fn who_is_put_down_twice_is_looked_at_when_that_was_to_be_first() {
        let mut calendar = calendar(0, 30_000);
        calendar.put_down(7, 5_000);
        calendar.put_down(7, 10_000);
        assert_eq!(calendar.take_due(5_000), [7]);
        assert!(calendar.take_due(30_000).is_empty());
        calendar.put_down(7, 31_000);
        assert_eq!(calendar.take_due(31_000), [7]);
    }

    #[test]
    fn what_lies_too_far_ahead_is_looked_at_as_late_as_can_be() {
        let mut calendar = calendar(0, 30_000);
        calendar.put_down(1, u64::MAX);
        assert!(calendar.take_due(30_000).is_empty());
        assert_eq!(calendar.take_due(250 * 256), [1]);
    }

    #[test]
    fn after_a_long_sleep_everybody_is_looked_at() {
        let mut calendar = calendar(0, 30_000);
        (0..50).for_each(|slot| calendar.put_down(slot, u64::from(slot) * 600));
        let all: Vec<u32> = (0..50).collect();
        assert_eq!(calendar.take_due(1 << 40), all);
        calendar.put_down(3, (1 << 40) + 500);
        assert_eq!(calendar.take_due((1 << 40) + 750), [3]);
    }

    #[test]
    fn another_interval_makes_it_empty() {
        let mut calendar = calendar(0, 30_000);
        calendar.put_down(2, 1_000);
        calendar.begin_anew(500, 90_000);
        assert!(calendar.take_due(100_000).is_empty());
        calendar.put_down(2, 101_000);
        assert_eq!(calendar.take_due(101_500), [2]);
    }
}
