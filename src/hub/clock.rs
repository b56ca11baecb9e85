//! Where a hub has its time from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// What the machine's clock begins with: history that comes from another
/// process may be as old as history can be, and still has a time.
const EARLIEST_MS: u64 = 100_000_000;

/// The time of a hub and all its cores, in milliseconds.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's, counted from its making, and the Unix time of that.
    Monotonic(Instant, u64),
    /// One that is set by hand, so that a run on it can be repeated exactly, and
    /// the Unix time beside it.
    Manual(Arc<AtomicU64>, Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock, beginning now.
    pub fn monotonic() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_ms = unix.map_or(0, |unix| unix.as_millis() as u64);
        Clock::Monotonic(Instant::now(), unix_ms)
    }

    /// The present time.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        match self {
            Clock::Monotonic(..) => EARLIEST_MS + self.elapsed_ms(),
            Clock::Manual(now_ms, _) => now_ms.load(Ordering::Relaxed),
        }
    }

    /// The present time, in microseconds.
    #[inline]
    pub fn now_us(&self) -> u64 {
        match self {
            Clock::Monotonic(began, _) => EARLIEST_MS * 1000 + began.elapsed().as_micros() as u64,
            Clock::Manual(now_ms, _) => now_ms.load(Ordering::Relaxed) * 1000,
        }
    }

    /// The Unix time of a moment of this clock, in milliseconds. It follows this
    /// clock, so that no history goes because somebody sets the machine's.
    #[inline]
    pub fn unix_ms(&self, at_ms: u64) -> u64 {
        match self {
            Clock::Monotonic(_, unix_ms) => unix_ms + at_ms.saturating_sub(EARLIEST_MS),
            Clock::Manual(now_ms, unix_ms) => {
                let ago_ms = now_ms.load(Ordering::Relaxed).saturating_sub(at_ms);
                unix_ms.load(Ordering::Relaxed).saturating_sub(ago_ms)
            }
        }
    }

    /// Milliseconds since it was made.
    pub fn elapsed_ms(&self) -> u64 {
        match self {
            Clock::Monotonic(began, _) => began.elapsed().as_millis() as u64,
            Clock::Manual(..) => self.now_ms(),
        }
    }

    /// The date, in seconds since 1970.
    pub fn unix_s(&self) -> u64 {
        match self {
            // Before 1970 a clock is wrong anyway.
            Clock::Monotonic(..) => Timestamp::now().as_second().try_into().unwrap_or(0),
            Clock::Manual(now_ms, _) => now_ms.load(Ordering::Relaxed) / 1000,
        }
    }

    /// The time of day as people there have it, `HH:MM:SS`.
    pub fn time_of_day(&self) -> String {
        let now = match self {
            Clock::Monotonic(..) => Zoned::now(),
            // All that is told apart by the clock has to be told by this one.
            Clock::Manual(now_ms, _) => Timestamp::UNIX_EPOCH
                .saturating_add(SignedDuration::from_millis(
                    now_ms.load(Ordering::Relaxed) as i64
                ))
                .expect("a duration in time units")
                .to_zoned(TimeZone::UTC),
        };
        now.strftime("%H:%M:%S").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_may_be_older_than_the_clock_and_still_the_clock_begins_at_nothing() {
        let clock = Clock::monotonic();
        assert!(clock.now_ms() >= EARLIEST_MS);
        let (before_ms, now_us, after_ms) = (clock.now_ms(), clock.now_us(), clock.now_ms());
        assert!((before_ms..=after_ms).contains(&(now_us / 1000)));
        assert!(clock.elapsed_ms() < EARLIEST_MS);
        assert!(clock.unix_s() > 1_700_000_000);
    }
}
