//! What `info` tells of this server.

use std::fs;
use std::sync::LazyLock;

use crate::hub::Hub;
use crate::protocol::centrifugo::api::Node;

/// Names this process among all.
static UID: LazyLock<String> = LazyLock::new(|| format!("{:032x}", fastrand::u128(..)));

/// The figures as they are now.
pub(super) fn node(hub: &Hub) -> Node {
    let topics = hub.topics("", "", usize::MAX);
    let counts = topics.iter().map(|(_, summary)| summary.subscribers);
    let (num_channels, num_subs) = counts
        .filter(|count| *count > 0)
        .fold((0, 0), |(channels, subs), count| {
            (channels + 1, subs + count)
        });
    let clients = hub.mailboxes().iter();
    let host = fs::read_to_string("/proc/sys/kernel/hostname");
    Node {
        uid: UID.clone(),
        // Where that cannot be read, the name is empty.
        name: host.unwrap_or_default().trim().to_owned(),
        version: concat!("fanfare ", env!("CARGO_PKG_VERSION")).to_owned(),
        num_clients: clients.map(|core| core.metrics.connections.get()).sum(),
        num_users: hub.users().count() as u64,
        num_channels,
        num_subs,
        uptime_s: hub.uptime_ms() / 1000,
    }
}
