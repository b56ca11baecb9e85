//! What is counted of the cluster, and how much of some there is now. The hub counts what it does
//! itself; what the link to the NATS servers counts is copied here from time to time.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Hub;

/// Figures of the cluster, for metrics.
#[derive(Debug, Default)]
pub struct ClusterFigures {
    /// Messages of the cluster that were written into logs.
    pub committed: AtomicU64,
    /// Proposals that were stored, and that were not.
    pub stored: AtomicU64,
    pub failed: AtomicU64,
    /// Ranges of messages that may have been and are gone.
    pub gaps: AtomicU64,
    /// Topics whose history became another one.
    pub ended: AtomicU64,
    /// How often a topic's messages were let go of for a while, as its log had no room.
    pub stalls: AtomicU64,
    pub link: LinkFigures,
    /// Whether there is a link, and whether it is connected: 0, 1 or 2.
    state: AtomicU64,
}

macro_rules! link_figures {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What the link says of itself.
        #[derive(Debug, Default)]
        pub struct LinkFigures {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }
    };
}

link_figures! {
    committed,
    unwanted,
    repeated,
    unreadable,
    forged,
    fetched,
    gaps,
    tail_checks,
    tail_misses,
    replica_lags,
    sent,
    stored,
    duplicates,
    retries,
    failed_away,
    failed_unknown,
    failed_overtaken,
    failed_full,
    failed_too_large,
    failed_refused,
    connects,
    disconnects,
    slow_consumers,
    leader_changes,
    epochs,
    refused_credentials,
    silences,
    nodes_lost,
    history_questions,
    /// Topics that are followed now.
    topics,
    /// Other nodes that are known now.
    nodes,
    /// Bytes that wait to be stored now.
    proposed_bytes,
}

const AWAY: u64 = 1;
const CONNECTED: u64 = 2;

impl ClusterFigures {
    /// There is a link, which is connected or not.
    pub fn set_connected(&self, is_connected: bool) {
        let state = if is_connected { CONNECTED } else { AWAY };
        self.state.store(state, Ordering::Relaxed);
    }

    /// `None` where there is no cluster.
    pub fn is_connected(&self) -> Option<bool> {
        let state = self.state.load(Ordering::Relaxed);
        (state != 0).then_some(state == CONNECTED)
    }
}

impl Hub {
    /// What is counted of the cluster.
    pub fn cluster_figures(&self) -> &ClusterFigures {
        &self.cluster_figures
    }
}
