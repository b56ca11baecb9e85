//! What is to be looked at again after a while, each key once.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

#[derive(Debug)]
pub(super) struct Timers<K> {
    times: HashMap<K, u64>,
    order: BTreeSet<(u64, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers {
            times: HashMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Clone + Hash + Ord> Timers<K> {
    /// Sets the timer of `key`, if it is not set.
    pub(super) fn set(&mut self, key: &K, at_ms: u64) {
        if self.times.contains_key(key) {
            return;
        }
        self.times.insert(key.clone(), at_ms);
        self.order.insert((at_ms, key.clone()));
    }

    /// Returns whether it was set.
    pub(super) fn cancel(&mut self, key: &K) -> bool {
        let Some(at_ms) = self.times.remove(key) else {
            return false;
        };
        self.order.remove(&(at_ms, key.clone()))
    }

    /// Those that are due, which are not set any more.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Vec<K> {
        let mut due = Vec::new();
        while let Some((at_ms, _)) = self.order.first()
            && *at_ms <= now_ms
        {
            let (_, key) = self.order.pop_first().expect("it is there");
            self.times.remove(&key);
            due.push(key);
        }
        due
    }

    /// When the next one is due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.order.first().map(|(at_ms, _)| *at_ms)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.order.iter().map(|(_, key)| key)
    }

    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// Cancels those that are not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&K) -> bool) {
        self.times.retain(|key, _| wanted(key));
        self.order.retain(|(_, key)| wanted(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_once_unless_it_is_cancelled() {
        let mut timers = Timers::default();
        for (key, at_ms) in [("c", 30), ("a", 10), ("b", 20), ("a", 15)] {
            timers.set(&key, at_ms);
        }
        assert_eq!((timers.next_ms(), timers.len()), (Some(10), 3));
        assert!(timers.take_due(9).is_empty());
        assert!(timers.cancel(&"b") && !timers.cancel(&"b"));
        assert_eq!(timers.take_due(30), ["a", "c"]);
        assert_eq!((timers.next_ms(), timers.len()), (None, 0));
        timers.set(&"a", 40);
        timers.set(&"d", 40);
        timers.retain(|key| *key == "d");
        assert_eq!(timers.keys().collect::<Vec<_>>(), [&"d"]);
        assert_eq!(timers.take_due(40), ["d"]);
    }
}
