//! Log lines about what peers do come no faster than a person reads them.

use std::sync::atomic::{AtomicU64, Ordering};

/// The time between two lines of a kind.
const INTERVAL_MS: u64 = 10_000;

/// Lets one line of a kind through now and then.
#[derive(Debug, Default)]
pub struct Seldom {
    next_ms: AtomicU64,
    held_back: AtomicU64,
}

/// The kinds of lines that any peer can bring about.
#[derive(Debug, Default)]
pub struct Complaints {
    /// An address is at a limit of its own.
    pub address: Seldom,
    /// A core cannot accept.
    pub accepting: Seldom,
    /// An admin listener cannot.
    pub admin_accepting: Seldom,
    /// A page of a foreign origin has asked.
    pub origin: Seldom,
    /// A name was asked for that is none of ours.
    pub host: Seldom,
    /// Who comes back wants what cannot be read.
    pub store_reading: Seldom,
    /// The cluster has not taken what somebody has published.
    pub cluster: Seldom,
    /// The server of an app has not taken what it was told.
    pub webhooks: Seldom,
}

impl Seldom {
    /// Whether a line may be written now: then how many have been held back since the last.
    pub fn admit(&self, now_ms: u64) -> Option<u64> {
        let due = |next_ms| (next_ms <= now_ms).then_some(now_ms + INTERVAL_MS);
        let admitted = self
            .next_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, due);
        if admitted.is_err() {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.held_back.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_goes_through_in_a_while_and_tells_how_many_did_not() {
        let line = Seldom::default();
        assert_eq!(line.admit(1000), Some(0));
        for now_ms in [1000, 1001, 10_999] {
            assert_eq!(line.admit(now_ms), None);
        }
        assert_eq!(line.admit(11_000), Some(3));
        assert_eq!(line.admit(11_001), None);
        assert_eq!(line.admit(1_000_000), Some(1));
    }
}
