//! How the cores do.

use serde::Serialize;

use crate::hub::Hub;

/// A core.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Core {
    pub(super) core: usize,
    pub(super) connections: u64,
    pub(super) capacity: u64,
    pub(super) stalled: u64,
    pub(super) lag_bytes: u64,
    /// The share of a processor that its thread used.
    pub(super) load: Option<f64>,
    /// Since its loop has turned.
    pub(super) turn_age_ms: u64,
}

pub(super) fn read(hub: &Hub, loads: &[Option<f64>]) -> Vec<Core> {
    let now_ms = hub.now_ms();
    let cores = hub.mailboxes().iter().zip(loads).enumerate();
    let read = cores.map(|(core, (mailbox, load))| Core {
        core,
        connections: mailbox.metrics.connections.get(),
        capacity: mailbox.metrics.capacity.get(),
        stalled: mailbox.metrics.stalled.get(),
        lag_bytes: mailbox.metrics.lag_bytes.get(),
        load: *load,
        turn_age_ms: now_ms.saturating_sub(mailbox.beat_ms()),
    });
    read.collect()
}
