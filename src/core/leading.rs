//! How cores share out who comes to a listener that all of them accept from.

use std::time::Duration;

use crate::hub::{Hub, Mailbox};

/// Connections that a core may have over its even share before it leaves those
/// that wait in a shared listener to others; an eighth of the share besides.
const LEAD_MAX: u64 = 16;
/// How long it leaves them to others. Then it takes one: the others may be busy.
pub(super) const STEP_BACK: Duration = Duration::from_millis(2);

/// Whether a core has clearly more connections than the others on average, with those `besides`
/// that it has not answered yet.
pub(super) fn leads(hub: &Hub, core: usize, besides: u64) -> bool {
    let cores = hub.mailboxes();
    let held = |core: &Mailbox| core.metrics.connections.get();
    let share = cores.iter().map(held).sum::<u64>() / cores.len() as u64;
    held(&cores[core]) + besides > share + share / 8 + LEAD_MAX
}
