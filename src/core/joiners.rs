//! Who waits to be let into a channel of an app. Kept by the reactor, and used in `channels`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::log::Topic;

/// Those who have come to a channel and have not been told who is there, by their slot and the
/// number of the topic.
#[derive(Default)]
pub(super) struct Joiners {
    waiting: BTreeMap<(u32, u64), Joiner>,
    /// They are looked at again then.
    pub(super) due_ms: u64,
}

pub(super) struct Joiner {
    pub(super) topic: Arc<Topic>,
    /// Held so that it is there when somebody else comes.
    pub(super) companion: Arc<Topic>,
    /// The change that it is.
    pub(super) change: u64,
    pub(super) is_cache: bool,
    /// Since when there is no room for it, by the core's patience: what it slept is no waiting.
    pub(super) since_ms: u64,
}

impl Joiners {
    pub(super) fn wait(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The topics that a connection has come to and is not subscribed to yet.
    pub(super) fn topics_of(&self, slot: u32) -> impl Iterator<Item = &Arc<Topic>> {
        let of = self.waiting.range((slot, 0)..=(slot, u64::MAX));
        of.map(|(_, joiner)| &joiner.topic)
    }

    pub(super) fn insert(&mut self, slot: u32, joiner: Joiner) {
        self.waiting.insert((slot, joiner.topic.id()), joiner);
    }

    /// All who wait.
    pub(super) fn all(&self) -> Vec<(u32, u64)> {
        self.waiting.keys().copied().collect()
    }

    pub(super) fn take(&mut self, slot: u32, topic: u64) -> Option<Joiner> {
        self.waiting.remove(&(slot, topic))
    }

    /// A connection does not want to be let in any more. True if it was waiting for that.
    pub(super) fn remove(&mut self, slot: u32, topic: &Topic) -> bool {
        self.take(slot, topic.id()).is_some()
    }
}
