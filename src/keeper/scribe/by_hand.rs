//! A scribe that works only when it is told to, for tests: what it has written is a matter of
//! the test's order, not of time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Work;
use crate::hub::{Hub, Todo};

/// Dropped, it ends as a process does that is killed.
pub(in crate::keeper) struct ByHand(Work);

impl ByHand {
    pub(in crate::keeper) fn open(hub: &Arc<Hub>, folder: &Path) -> ByHand {
        let mut work = Work::new(hub.clone(), folder.to_owned(), Duration::ZERO);
        work.open_soon().expect("the store can be opened");
        work.tidy_at += Duration::from_secs(1 << 20);
        ByHand(work)
    }

    /// Does what has been asked for, a bounded part of it.
    pub(in crate::keeper) fn step(&mut self) {
        let todo = self.0.hub.keeping().wait(Instant::now(), Duration::ZERO);
        self.0.work(todo).expect("the store works");
    }

    pub(in crate::keeper) fn sync(&mut self) {
        self.0.hub.keeping().want_sync();
        self.step();
    }

    /// Lets go of what is not to be kept.
    pub(in crate::keeper) fn tidy(&mut self) {
        self.0.tidy().expect("the store works");
    }

    /// Ends cleanly.
    pub(in crate::keeper) fn end(mut self) {
        self.step();
        let all = Todo {
            rest: true,
            ..Todo::default()
        };
        self.0.work(all).expect("the store works");
        self.0.end();
    }
}
