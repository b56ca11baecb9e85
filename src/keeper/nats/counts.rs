//! What the link counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::event::Failure;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// How often each thing has happened since the link was started, and how much of some
        /// there is now.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The same while it is counted. Written by the link's thread.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            pub(super) fn read(&self) -> Counts {
                Counts { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counts! {
    /// Messages given on in the order of their topics.
    committed,
    /// Messages heard on topics that nobody follows here.
    unwanted,
    /// Messages that came again.
    repeated,
    /// Messages whose subject is no topic, or whose headers name no place.
    unreadable,
    /// Messages that claim an origin or a user without a node's signature.
    forged,
    /// Messages that were missing and fetched.
    fetched,
    /// Gaps that were told.
    gaps,
    /// Questions for a topic's end.
    tail_checks,
    /// Topics whose end had messages that were not heard.
    tail_misses,
    /// Answers of replicas that lacked what the leader had.
    replica_lags,
    /// Messages sent to the stream, retries included.
    sent,
    /// Messages stored.
    stored,
    /// Messages that the stream had before.
    duplicates,
    /// Messages sent again, or asked about.
    retries,
    /// Proposals that were not stored, as NATS was away until the time limit.
    failed_away,
    /// Proposals that no answer came to until the time limit.
    failed_unknown,
    /// Proposals that a later one of the same publisher was stored before.
    failed_overtaken,
    /// Proposals refused as the stream is full.
    failed_full,
    /// Proposals refused as they are too large.
    failed_too_large,
    /// Proposals refused for another reason.
    failed_refused,
    /// Times that a connection was made.
    connects,
    /// Times that the connection was lost.
    disconnects,
    /// Times that the server or the client library dropped messages as they were not read in time.
    slow_consumers,
    /// Times that a stream's leader was another one.
    leader_changes,
    /// Times that a history was another one.
    epochs,
    /// Times that credentials were refused.
    refused_credentials,
    /// Questions that were not answered in time.
    silences,
    /// Nodes that were forgotten as nothing was heard of them.
    nodes_lost,
    /// Questions for history, each for a page or a step of a search.
    history_questions,
    /// Topics that are followed now.
    topics,
    /// Other nodes that are known now.
    nodes,
    /// Bytes of proposals that wait now.
    proposed_bytes,
}

impl Counters {
    pub(super) fn failure(&self, failure: &Failure) {
        let counter = match failure {
            Failure::Away => &self.failed_away,
            Failure::Unknown => &self.failed_unknown,
            Failure::Overtaken => &self.failed_overtaken,
            Failure::Full => &self.failed_full,
            Failure::TooLarge => &self.failed_too_large,
            Failure::NoRoom | Failure::Refused(_) => &self.failed_refused,
        };
        counter.one();
    }
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(super) fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }
}
