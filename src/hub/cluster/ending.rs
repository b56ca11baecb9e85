//! Topics that are let go of: nobody reads them, their history has become another one, or
//! something else is to keep them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::hub::Hub;
use crate::log::Topic;

/// How long a topic is followed that nobody reads.
const IDLE_MS_MAX: u64 = 30_000;

impl Hub {
    /// Nobody has read a shared topic for a while: what it has, the cluster has as well.
    pub(in crate::hub) fn is_to_be_let_go(&self, topic: &Topic) -> bool {
        let idle_ms = self.now_ms().saturating_sub(topic.used_ms());
        let proposed = topic.kept().map_or(0, |kept| kept.proposed_bytes());
        topic.is_shared() && idle_ms > IDLE_MS_MAX && proposed == 0
    }

    /// A shared topic has been taken from the topics, which are locked: so nobody follows one
    /// of its name anew before this is told.
    pub(in crate::hub) fn unfollow(&self, topic: &Topic) {
        if let Some(kept) = topic.kept().filter(|kept| kept.is_shared())
            && kept.set_followed(false)
            && let Some(link) = self.cluster.link()
        {
            link.unfollow(topic.name());
            self.cluster.take_up(topic.name());
        }
    }

    /// A topic's history ends. Who reads it is told, and finds another topic of its name when
    /// it comes back.
    pub fn end_topic(&self, topic: &Arc<Topic>) {
        let mut topics = self.lock_topics();
        let is_it = |known: &Arc<Topic>| Arc::ptr_eq(known, topic);
        if topics.get(topic.name()).is_some_and(is_it) {
            topics.remove(topic.name());
            self.unfollow(topic);
        }
        drop(topics);
        self.cluster_figures.ended.fetch_add(1, Ordering::Relaxed);
        for mailbox in &self.cores {
            mailbox.end_topic(topic.clone());
        }
    }

    /// A topic's rule has been changed so that another one decides on its messages.
    pub(in crate::hub) fn look_at_sharing(&self, topic: &Arc<Topic>) {
        if self.is_to_be_shared(topic.name()) != topic.is_shared() && self.cluster.is_linked() {
            tracing::info!(topic = %topic.name(), "another keeper decides on a topic from now on");
            self.end_topic(topic);
        }
    }
}
