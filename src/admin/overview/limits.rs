//! What is bounded, how much of it is used, and what to do when it comes near its end.

use serde::Serialize;

use super::sampling::Process;
use crate::hub::Hub;
use crate::protocol::rights::REVOCATIONS_MAX;

/// Something that is bounded.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Limit {
    /// As the setting is called, or what else says it.
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) used: u64,
    pub(super) max: u64,
    unit: &'static str,
    /// From which part of it on it is near its end.
    #[serde(skip)]
    pub(super) near: f64,
    /// What an operator would do next.
    #[serde(skip)]
    pub(super) next: &'static str,
    #[serde(skip)]
    pub(super) doc: &'static str,
}

impl Limit {
    /// How much of it is used.
    pub(super) fn part(&self) -> f64 {
        self.used as f64 / self.max as f64
    }
}

/// All of them, the nearest to its end first.
pub(super) fn read(hub: &Hub, process: &Process) -> Vec<Limit> {
    let mut limits = of_connections(hub);
    limits.extend(of_memory(hub));
    limits.extend(of_waiting(hub));
    if let (Some(used), Some(max)) = (process.open_fds, process.open_fds_max) {
        limits.push(count(
            "LimitNOFILE",
            "open files",
            used,
            max,
            "Raise LimitNOFILE of the unit (ulimit -n elsewhere) and restart with an upgrade.",
            TUNE,
        ));
    }
    // What is off has no limit.
    limits.retain(|limit| limit.max > 0);
    limits.sort_by(|a, b| b.part().total_cmp(&a.part()));
    limits
}

const NEAR: f64 = 0.8;
const TUNE: &str = "docs/operating.md#tune";
const SETTINGS: &str = "docs/configuration.md#connections";
const MEMORY: &str = "docs/operating.md#size";

fn of_connections(hub: &Hub) -> Vec<Limit> {
    let (settings, admission) = (hub.settings(), hub.admission());
    let fullest = hub.mailboxes().iter().map(|core| {
        let metrics = &core.metrics;
        (metrics.connections.get(), metrics.capacity.get())
    });
    let part = |(used, room): &(u64, u64)| *used as f64 / (*room).max(1) as f64;
    let fullest = fullest.max_by(|a, b| part(a).total_cmp(&part(b)));
    let (used, room) = fullest.unwrap_or_default();
    vec![
        count(
            "connections_max",
            "connections",
            admission.connections() as u64,
            settings.connections_max as u64,
            "Raise connections_max and reload, or take another daemon beside this one. Beyond it \
             new connections are answered 503.",
            SETTINGS,
        ),
        count(
            "connections_capacity",
            "connections of the fullest core",
            used,
            room,
            "Give it more cores, or raise what bounds its file table, LimitNOFILE or \
             connections_max, and restart with an upgrade. Connections that come to a full core \
             are refused while others have room.",
            TUNE,
        ),
        count(
            "handshakes_max",
            "handshakes under way",
            admission.handshakes() as u64,
            settings.handshakes_max as u64,
            "If clients come back in a storm, this passes. If it stays, somebody opens connections \
             and says nothing: look at rejects, and at handshakes_per_address_max.",
            "docs/abuse.md#slow-loris-in-every-phase",
        ),
        count(
            "api_connections_max",
            "connections to the server API on public listeners",
            hub.visitors() as u64,
            settings.api_connections_max as u64,
            "Let backends keep fewer connections, or raise api_connections_max.",
            "docs/configuration.md#publishing-over-http",
        ),
        Limit {
            near: 0.95,
            ..count(
                "topics_max",
                "topics",
                hub.topics_len() as u64,
                settings.topics_max as u64,
                "Beyond it the topic goes that nobody reads and that was quiet longest, with its \
                 history. Raise topics_max, or shorten retain_ms_max so that unused ones go sooner.",
                "docs/configuration.md#topics",
            )
        },
    ]
}

fn of_memory(hub: &Hub) -> Vec<Limit> {
    let settings = hub.settings();
    let lags = hub.mailboxes().iter();
    let lag = lags.map(|core| core.metrics.lag_bytes.get()).max();
    let proposed = &hub.cluster_figures().link.proposed_bytes;
    vec![
        // Up to seven eighths it is history, which is given up where room is needed.
        Limit {
            near: 0.95,
            ..bytes(
                "log_bytes_total_max",
                "logs of all topics",
                hub.log_bytes(),
                settings.log_bytes_total_max,
                "Slow subscribers keep what others have read: see the slowest ones. Raise \
                 log_bytes_total_max if there is memory, or lower lag_bytes_max.",
                MEMORY,
            )
        },
        bytes(
            "partial_bytes_max",
            "half-received messages",
            hub.partial_bytes(),
            settings.partial_bytes_max,
            "Publishers send large messages slowly, or many at once. Raise partial_bytes_max, or \
             lower message_bytes_max and message_ms_max.",
            MEMORY,
        ),
        bytes(
            "lag_bytes_max",
            "lag of the furthest subscriber",
            lag.unwrap_or(0),
            settings.lag_bytes_max,
            "It is about to be skipped or closed by its topic's lag_policy. If many are, their \
             lines are too slow for what is published: publish less, or take lag_policy = \"latest\".",
            "docs/topics.md#what-holds-for-a-topic",
        ),
        bytes(
            "rosters_bytes_max",
            "lists of members on their way",
            hub.rosters().bytes(),
            settings.rosters_bytes_max,
            "Many join large presence channels at once; beyond it they wait. Raise rosters_bytes_max.",
            "docs/configuration.md#protocols",
        ),
        bytes(
            "store_read_bytes_max",
            "history from the store for who comes back",
            hub.older_bytes(),
            settings.store_read_bytes_max,
            "Many come back at once for old history and wait for one another. It passes; raise \
             store_read_bytes_max if it is often so.",
            "docs/history.md#when-it-is-read",
        ),
        bytes(
            "cluster.proposed_bytes_max",
            "messages that the cluster is to store",
            proposed.load(std::sync::atomic::Ordering::Relaxed),
            settings.cluster_proposed_bytes_max,
            "The NATS servers store more slowly than is published, or are away: look at them.",
            "docs/cluster.md#when-something-fails",
        ),
    ]
}

fn of_waiting(hub: &Hub) -> Vec<Limit> {
    let settings = hub.settings();
    vec![
        count(
            "delivery_acks_max",
            "publishers that wait for acks",
            hub.deliveries() as u64,
            settings.delivery_acks_max as u64,
            "Ask for ack=delivered less often, or raise delivery_acks_max.",
            "docs/configuration.md#publishing-over-http",
        ),
        // Old ones make room.
        Limit {
            near: 1.0,
            ..count(
                "idempotency_keys_max",
                "answers kept for requests that come again",
                hub.receipts() as u64,
                settings.idempotency_keys_max as u64,
                "The oldest answers go before idempotency_ms_max is over, and a request that comes \
                 again after that is carried out twice. Raise idempotency_keys_max.",
                "docs/api.md#sending-again-idempotency-key",
            )
        },
        count(
            "token_checks_waiting_max",
            "tokens that wait to be checked",
            hub.checks_waiting() as u64,
            settings.token_checks_waiting_max as u64,
            "More come with new tokens than can be checked. It passes after a storm; Ed25519 and \
             ES256 are cheaper to check than RSA.",
            "docs/tokens.md#what-a-check-costs",
        ),
        count(
            "revocations",
            "revocations of tokens",
            hub.revocations_len() as u64,
            REVOCATIONS_MAX as u64,
            "Say until when in expire_at, so that revocations end, or change the key.",
            "docs/api.md#revoking-tokens",
        ),
    ]
}

fn count(
    name: &'static str,
    what: &'static str,
    used: u64,
    max: u64,
    next: &'static str,
    doc: &'static str,
) -> Limit {
    Limit {
        name,
        what,
        used,
        max,
        unit: "count",
        near: NEAR,
        next,
        doc,
    }
}

fn bytes(
    name: &'static str,
    what: &'static str,
    used: u64,
    max: usize,
    next: &'static str,
    doc: &'static str,
) -> Limit {
    Limit {
        unit: "bytes",
        ..count(name, what, used, max as u64, next, doc)
    }
}
