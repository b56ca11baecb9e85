//! Room for another topic where there are as many as there may be.
//!
//! The topic goes that nobody reads and that was quiet longest, with its history: otherwise
//! one client with a message for each of `topics_max` names would shut out everybody's new
//! topics for as long as history is kept.

use std::collections::HashMap;
use std::sync::Arc;

use crate::log::{Kept, Topic};

/// One look finds this share of the topics, so that a flood of names does not take a look for
/// each. What has become quiet since waits for the next one.
const FOUND_SHARE: usize = 64;
/// The time between two looks, while all topics are in use.
const NEXT_LOOK_MS: u64 = 1000;

/// The topics that may go next.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// By how long they have been quiet, the longest last.
    found: Vec<(u64, Arc<str>)>,
    next_look_ms: u64,
    /// How many have gone.
    pub(super) evicted: u64,
}

impl Quiet {
    /// Removes one of `topics` and returns it. `None` if all are in use.
    pub(super) fn evict(
        &mut self,
        topics: &mut HashMap<Arc<str>, Arc<Topic>>,
        now_ms: u64,
    ) -> Option<Arc<Topic>> {
        self.take_found(topics)
            .or_else(|| self.look(topics, now_ms).then(|| self.take_found(topics))?)
    }

    fn take_found(&mut self, topics: &mut HashMap<Arc<str>, Arc<Topic>>) -> Option<Arc<Topic>> {
        while let Some((newest_ms, name)) = self.found.pop() {
            let still = |topic: &Arc<Topic>| may_go(topic) && topic.newest_ms() == newest_ms;
            if topics.get(&name).is_some_and(still) {
                self.evicted += 1;
                return topics.remove(&name);
            }
        }
        None
    }

    fn look(&mut self, topics: &HashMap<Arc<str>, Arc<Topic>>, now_ms: u64) -> bool {
        if now_ms < self.next_look_ms {
            return false;
        }
        let unused = topics.iter().filter(|(_, topic)| may_go(topic));
        let mut found: Vec<_> = unused
            .map(|(name, topic)| (topic.newest_ms(), name))
            .collect();
        if found.is_empty() {
            self.next_look_ms = now_ms + NEXT_LOOK_MS;
            return false;
        }
        let wanted = topics.len().div_ceil(FOUND_SHARE);
        if found.len() > wanted {
            found.select_nth_unstable(wanted);
            found.truncate(wanted);
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        self.found = found
            .into_iter()
            .map(|(newest_ms, name)| (newest_ms, name.clone()))
            .collect();
        true
    }
}

/// Nobody uses it, and no store has to be told.
fn may_go(topic: &Arc<Topic>) -> bool {
    is_unused(topic) && topic.kept().is_none_or(Kept::is_shared)
}

/// Nobody reads it, nor is about to. Handles are only ever made from the map, so while that is
/// locked one is the last.
pub(super) fn is_unused(topic: &Arc<Topic>) -> bool {
    Arc::strong_count(topic) == 1
}
