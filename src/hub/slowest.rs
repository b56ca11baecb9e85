//! The connections that are furthest behind, for people who look at the daemon. Each core leaves
//! a list of its own here, at the end of the walk over its connections that it makes anyway, and
//! only while somebody looks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::protocol::dialect::Dialect;

/// So many are remembered for each core.
pub const SLOWEST_MAX: usize = 32;

/// Cores go on making lists for so long after somebody has looked.
const LOOKED_MS: u64 = 10_000;

/// A connection whose socket is full.
#[derive(Debug, Clone)]
pub struct Slow {
    pub address: SocketAddr,
    pub dialect: Dialect,
    pub tls: bool,
    /// Whose it is, if it has a name.
    pub user: Option<Box<str>>,
    /// The topic that it is furthest behind on.
    pub topic: Option<Arc<str>>,
    pub subscriptions: usize,
    /// Over all that it follows.
    pub lag_bytes: u64,
    /// Since when its socket has taken nothing.
    pub stalled_ms: u64,
}

/// The lists of all cores.
#[derive(Debug)]
pub struct Slowest {
    /// When nobody looks any more.
    until_ms: AtomicU64,
    cores: Box<[Mutex<Vec<Slow>>]>,
}

impl Slowest {
    pub(super) fn new(cores: usize) -> Self {
        Slowest {
            until_ms: AtomicU64::new(0),
            cores: (0..cores).map(|_| Mutex::default()).collect(),
        }
    }

    /// The slow connections by their core, the furthest behind first. From now on, for a while,
    /// cores remember them: the first look in a long time finds none.
    pub fn look(&self, now_ms: u64) -> Vec<(usize, Slow)> {
        let until_ms = self.until_ms.swap(now_ms + LOOKED_MS, Ordering::Relaxed);
        if until_ms <= now_ms {
            // What was seen when somebody looked last has long changed.
            self.cores.iter().for_each(|core| lock(core).clear());
            return Vec::new();
        }
        let mut all = Vec::new();
        for (core, list) in self.cores.iter().enumerate() {
            all.extend(lock(list).iter().cloned().map(|slow| (core, slow)));
        }
        all.sort_by_key(|(_, slow)| std::cmp::Reverse(slow.lag_bytes));
        all
    }

    /// Somebody looks, so that a list is worth making.
    pub fn is_watched(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms.load(Ordering::Relaxed)
    }

    /// A core has walked over all of its connections, and these were the furthest behind.
    pub fn tell(&self, core: usize, slow: Vec<Slow>) {
        debug_assert!(slow.len() <= SLOWEST_MAX);
        *lock(&self.cores[core]) = slow;
    }
}

fn lock(list: &Mutex<Vec<Slow>>) -> MutexGuard<'_, Vec<Slow>> {
    list.lock().expect("nothing panics inside the lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(lag_bytes: u64) -> Slow {
        Slow {
            address: ([127, 0, 0, 1], 1).into(),
            dialect: Dialect::Raw,
            tls: false,
            user: None,
            topic: None,
            subscriptions: 0,
            lag_bytes,
            stalled_ms: 0,
        }
    }

    #[test]
    fn lists_are_made_while_somebody_looks_and_shown_furthest_first() {
        let slowest = Slowest::new(2);
        assert!(!slowest.is_watched(5));
        assert!(slowest.look(5).is_empty());
        assert!(slowest.is_watched(6));
        slowest.tell(0, vec![slow(3)]);
        slowest.tell(1, vec![slow(9), slow(1)]);
        let seen = |now_ms| -> Vec<_> {
            let seen = slowest.look(now_ms).into_iter();
            seen.map(|(core, slow)| (core, slow.lag_bytes)).collect()
        };
        assert_eq!(seen(1_000), [(1, 9), (0, 3), (1, 1)]);
        // A core that has caught up says so too.
        slowest.tell(1, Vec::new());
        assert_eq!(seen(2_000), [(0, 3)]);
        assert!(!slowest.is_watched(12_000));
        assert_eq!(seen(12_000), []);
        assert_eq!(seen(12_001), []);
    }
}
