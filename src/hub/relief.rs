//! Where memory for logs is short although no history is left to give up, readers
//! that lag keep it. One round of this looks over all cores for the one that keeps
//! most, and has its core deal with it by its topic's policy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::Hub;

/// Rounds of relief: one at a time.
#[derive(Debug, Default)]
pub struct Relief {
    /// How often anything has changed in `round`; cores look at this first.
    changes: AtomicU64,
    /// Rounds by which memory came free.
    helps: AtomicU64,
    round: Mutex<Option<Round>>,
}

#[derive(Debug)]
struct Round {
    /// The epoch of the topic that is full; `None` is all together.
    scope: Option<u64>,
    /// What the worst reader of each core keeps, once the core has looked.
    reports: Vec<Option<u64>>,
    /// The core that has the worst of all.
    chosen: Option<usize>,
}

impl Relief {
    /// Begins a round, unless one is under way.
    pub fn ask(&self, scope: Option<u64>, hub: &Hub) {
        let mut round = self.lock();
        if round.is_none() {
            *round = Some(Round {
                scope,
                reports: vec![None; hub.mailboxes().len()],
                chosen: None,
            });
            self.changes.fetch_add(1, Ordering::Release);
            drop(round);
            hub.wake_all();
        }
    }

    /// Something has changed since a core last looked, which keeps `seen`.
    pub fn has_changed(&self, seen: &mut u64) -> bool {
        has_grown(&self.changes, seen)
    }

    /// Rounds have made room since a core last asked, which keeps `seen`.
    pub fn has_helped(&self, seen: &mut u64) -> bool {
        has_grown(&self.helps, seen)
    }

    /// What the round under way is about, if this core has not reported yet.
    pub fn asks(&self, core: usize) -> Option<Option<u64>> {
        let round = self.lock();
        let round = round.as_ref()?;
        round.reports[core].is_none().then_some(round.scope)
    }

    /// The worst reader of this core keeps so many bytes. The last report
    /// chooses, or ends the round where nobody keeps any.
    pub fn report(&self, core: usize, bytes: u64, hub: &Hub) {
        let mut lock = self.lock();
        let Some(round) = lock.as_mut() else {
            return;
        };
        round.reports[core] = Some(bytes);
        let known: Option<Vec<u64>> = round.reports.iter().copied().collect();
        let Some(known) = known else {
            return;
        };
        let worst = (0..known.len()).max_by_key(|core| known[*core]);
        let worst = worst.expect("there is a core");
        if known[worst] == 0 {
            *lock = None;
            return;
        }
        round.chosen = Some(worst);
        self.changes.fetch_add(1, Ordering::Release);
        drop(lock);
        hub.mailbox(worst).wake();
    }

    /// What the round is about, if this core is to act.
    pub fn chosen(&self, core: usize) -> Option<Option<u64>> {
        let round = self.lock();
        let round = round.as_ref()?;
        (round.chosen == Some(core)).then_some(round.scope)
    }

    /// The chosen core has acted. If memory came free, those who wait for room may look
    /// again; if none did, they must not at once, or round would follow round for nothing.
    pub fn done(&self, freed: bool, hub: &Hub) {
        *self.lock() = None;
        if freed {
            self.helps.fetch_add(1, Ordering::Release);
            hub.wake_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Round>> {
        self.round.lock().expect("nothing panics inside the lock")
    }
}

fn has_grown(count: &AtomicU64, seen: &mut u64) -> bool {
    let count = count.load(Ordering::Acquire);
    std::mem::replace(seen, count) != count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn only_a_round_that_freed_memory_counts_as_help() {
        let settings = Settings {
            cores: 2,
            ..Settings::default()
        };
        let hub = Hub::new(settings).unwrap();
        let relief = hub.relief();
        let (mut changes, mut helps) = (0, 0);
        for freed in [false, true, false] {
            relief.ask(Some(7), &hub);
            // One round at a time.
            relief.ask(None, &hub);
            assert!(relief.has_changed(&mut changes));
            assert_eq!(relief.asks(0), Some(Some(7)));
            relief.report(0, 10, &hub);
            assert_eq!(relief.asks(0), None);
            relief.report(1, 20, &hub);
            assert_eq!((relief.chosen(0), relief.chosen(1)), (None, Some(Some(7))));
            relief.done(freed, &hub);
            assert_eq!(relief.has_helped(&mut helps), freed);
            assert_eq!(relief.chosen(1), None);
        }
    }
}
