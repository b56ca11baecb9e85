//! What an operator should know, and would do next. The words stand here alone: `fanfare top` and
//! the dashboard show them as they are.

use serde::Serialize;

use super::cores::Core;
use super::limits::Limit;
use super::troubles::{Trouble, Troubles};
use crate::hub::{BEAT_MS_MAX, Hub, StoreState};

/// More would not be read.
const WARNINGS_MAX: usize = 20;
/// A core that is busier has little left for a burst.
const BUSY: f64 = 0.85;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Critical,
    Warning,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Warning {
    level: Level,
    /// The setting, the reason, or the core.
    about: String,
    says: String,
    next: &'static str,
    doc: &'static str,
}

/// What to do about a reason: its name, what has happened, what to do, and where more is said.
type Advice = (&'static str, &'static str, &'static str, &'static str);

const TOPICS: &str = "docs/topics.md#what-holds-for-a-topic";
const CODES: &str = "docs/operating.md#what-close-codes-mean";
const CONNECTIONS: &str = "docs/configuration.md#connections";

const CLOSES: [Advice; 9] = [
    (
        "lag",
        "subscribers were closed, as they were too far behind",
        "See who is slow below. A rule with lag_policy = \"skip\" or \"latest\" keeps them connected; a larger lag_bytes_max bears longer bursts.",
        TOPICS,
    ),
    (
        "stall",
        "subscribers were closed, as their sockets took nothing",
        "Clients hang, or their lines are gone; nothing is wrong here unless it is all of them: then look at the network.",
        CODES,
    ),
    (
        "rate",
        "publishers were closed, as they sent too fast",
        "Slow them down, or raise inbound_messages_per_s_max or inbound_bytes_per_s_max.",
        CODES,
    ),
    (
        "log_full",
        "publishers were closed, as a log had no room",
        "Readers keep the log full: see the slowest ones, and log_bytes_max and log_bytes_total_max.",
        CODES,
    ),
    (
        "partial_bytes",
        "publishers were closed, as memory for half-received messages was used up",
        "Raise partial_bytes_max, or lower message_bytes_max.",
        CODES,
    ),
    (
        "control_flood",
        "clients were closed that ask faster than they read",
        "Their users or their makers should know; nobody else is harmed.",
        "docs/abuse.md#floods",
    ),
    (
        "topics_full",
        "clients were closed, as no further topic could be had",
        "Raise topics_max.",
        "docs/configuration.md#topics",
    ),
    (
        "not_stored",
        "publishers were closed, as the cluster has not taken a message",
        "Look at the NATS servers, and at fanfare_cluster_failures_total.",
        "docs/cluster.md#when-something-fails",
    ),
    (
        "app_connections_max",
        "clients were closed, as their app has as many connections as it may",
        "Raise connections_max of the app.",
        "docs/configuration.md#rights",
    ),
];

const REJECTS: [Advice; 10] = [
    (
        "connections_max",
        "connections were refused, as there are as many as may be",
        "Raise connections_max and reload, or take another daemon beside this one.",
        CONNECTIONS,
    ),
    (
        "address_connections_max",
        "connections were refused of addresses that have too many",
        "Behind a proxy set trusted_proxies and proxy_header, or all clients share its address. Else raise connections_per_address_max, or leave it: the log names the address.",
        "docs/operating.md#behind-a-proxy",
    ),
    (
        "handshakes_max",
        "connections were refused, as too many were in their handshake",
        "After a restart of what is in between this passes. If it stays, raise handshakes_max or add cores.",
        CONNECTIONS,
    ),
    (
        "address_handshakes_max",
        "connections were refused of addresses with too many handshakes",
        "Behind a proxy set trusted_proxies and proxy_header. Else the log names the address.",
        "docs/operating.md#behind-a-proxy",
    ),
    (
        "api_connections_max",
        "backends were refused, as too many connections ask the server API",
        "Let backends keep fewer connections, or raise api_connections_max.",
        "docs/configuration.md#publishing-over-http",
    ),
    (
        "topics_max",
        "connections were refused, as no further topic could be had",
        "Raise topics_max.",
        "docs/configuration.md#topics",
    ),
    (
        "topic_unknown",
        "connections were refused, as the cluster does not answer",
        "Look at the NATS servers.",
        "docs/cluster.md#when-something-fails",
    ),
    (
        "origin",
        "pages of other origins were refused",
        "If they are yours, add their origin to origins; the log names it.",
        CONNECTIONS,
    ),
    (
        "host",
        "requests were refused that called this server by an unknown name",
        "If it is yours, add the name to hosts; the log says which.",
        CONNECTIONS,
    ),
    (
        "proxy_header",
        "a trusted proxy did not say whose connection it brings",
        "Set the proxy up to send what proxy_header says.",
        "docs/operating.md#behind-a-proxy",
    ),
];

const POSTS: [Advice; 3] = [
    (
        "room",
        "messages over HTTP were refused for want of room",
        "Cores are behind, or readers keep a log full: see cores and the slowest connections. Publishers should try again with the same Idempotency-Key.",
        "docs/api.md#where-there-is-no-room",
    ),
    (
        "delivery_acks",
        "publishers were refused, as too many wait for acks",
        "Raise delivery_acks_max, or ask for ack=delivered less often.",
        "docs/configuration.md#publishing-over-http",
    ),
    (
        "idempotency_keys",
        "publishers were refused, as too many keys are under way",
        "Raise idempotency_keys_max.",
        "docs/api.md#sending-again-idempotency-key",
    ),
];

const SIGNS: [Advice; 8] = [
    (
        "lag_skips",
        "times subscribers were skipped over messages, by their topic's policy",
        "See who is slow below. If many are, publish less, or give lag_bytes_max room for the bursts.",
        TOPICS,
    ),
    (
        "room_waits",
        "messages waited for room in a log",
        "Readers keep what the log may hold: see the slowest ones, and log_bytes_max.",
        "docs/operating.md#size",
    ),
    (
        "publisher_pauses",
        "times a publisher was read from no further, as cores were behind",
        "That is how publishers are slowed down. If cores are busy, add some; if clients are slow, see the slowest ones.",
        "docs/configuration.md#messages",
    ),
    (
        "buffers_exhausted",
        "receives found no free buffer",
        "Raise receive_buffers and restart with an upgrade.",
        "docs/configuration.md#running",
    ),
    (
        "accept_pauses",
        "times new connections were left waiting for want of file descriptors",
        "Raise LimitNOFILE.",
        "docs/operating.md#tune",
    ),
    (
        "ring_refusals",
        "times the kernel had no memory for a core's requests",
        "Raise LimitMEMLOCK, and see whether the machine is short of memory.",
        "docs/operating.md#tune",
    ),
    (
        "joins_lost",
        "joins and leaves could not be told for want of room",
        "Raise log_bytes_max.",
        "docs/topics.md#who-is-there",
    ),
    (
        "log_lines_dropped",
        "log lines were dropped, as whoever reads the log is too slow",
        "See whether the journal, or the reader of standard error, is stuck.",
        "docs/operating.md#what-log-lines-mean",
    ),
];

/// All there is to warn of, the gravest first.
pub(super) fn make(
    hub: &Hub,
    cores: &[Core],
    limits: &[Limit],
    troubles: &Troubles,
) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = cores.iter().filter_map(of_core).collect();
    if hub.keeping().state() == StoreState::Failing {
        warnings.push(Warning {
            level: Level::Critical,
            about: "store".into(),
            says: "the store on disk fails".into(),
            next: "See the log for the cause: a full disk, a read-only one, or a failing one. Nothing is lost while it is mended in time.",
            doc: "docs/history.md#when-the-disk-lets-one-down",
        });
    }
    if hub.cluster_figures().is_connected() == Some(false) {
        warnings.push(Warning {
            level: Level::Critical,
            about: "cluster".into(),
            says: "the cluster's NATS servers are away".into(),
            next: "Look at the NATS servers, and at the way to them. Topics of the cluster take no messages meanwhile.",
            doc: "docs/cluster.md#when-something-fails",
        });
    }
    warnings.extend(limits.iter().filter_map(of_limit));
    for (list, advice) in [
        (&troubles.rejects, &REJECTS[..]),
        (&troubles.closes, &CLOSES),
        (&troubles.post_refusals, &POSTS),
        (&troubles.signs, &SIGNS),
    ] {
        warnings.extend(
            list.iter()
                .filter_map(|trouble| of_trouble(trouble, advice)),
        );
    }
    warnings.sort_by_key(|warning| warning.level);
    warnings.truncate(WARNINGS_MAX);
    warnings
}

fn of_core(core: &Core) -> Option<Warning> {
    let Core {
        core: number,
        load,
        turn_age_ms,
        ..
    } = core;
    if *turn_age_ms > BEAT_MS_MAX {
        return Some(Warning {
            level: Level::Critical,
            about: format!("core {number}"),
            says: format!("core {number} has not turned for {turn_age_ms} ms"),
            next: "Its thread is held up: see whether the machine swaps or its processors are taken by others; the watchdog restarts the daemon.",
            doc: "docs/operating.md#watch",
        });
    }
    let busy = (*load)?;
    (busy >= BUSY).then(|| Warning {
        level: Level::Warning,
        about: format!("core {number}"),
        says: format!("core {number} uses {:.0} % of its processor", 100.0 * busy),
        next: "Give the daemon more cores, or spread its topics over more machines. If one topic makes the load, see the topics by rate.",
        doc: "docs/operating.md#tune",
    })
}

fn of_limit(limit: &Limit) -> Option<Warning> {
    let part = limit.part();
    if part < limit.near {
        return None;
    }
    Some(Warning {
        level: match part >= 1.0 {
            true => Level::Critical,
            false => Level::Warning,
        },
        about: limit.name.into(),
        says: format!(
            "{} are at {:.0} % of {}",
            limit.what,
            100.0 * part,
            limit.name
        ),
        next: limit.next,
        doc: limit.doc,
    })
}

/// Of what has happened in the last minute, if there is something to be done about it.
fn of_trouble(trouble: &Trouble, advice: &[Advice]) -> Option<Warning> {
    let (reason, says, next, doc) = *advice
        .iter()
        .find(|(reason, ..)| *reason == trouble.reason)?;
    (trouble.recent > 0).then(|| Warning {
        level: Level::Warning,
        about: reason.into(),
        says: format!("{} {says}", trouble.recent),
        next,
        doc,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;

    use super::*;
    use crate::config::{Settings, TABLE};
    use crate::hub::PostRefusal;
    use crate::protocol::http::Reject;
    use crate::protocol::reason::CloseReason;

    fn all() -> impl Iterator<Item = &'static Advice> {
        CLOSES.iter().chain(&REJECTS).chain(&POSTS).chain(&SIGNS)
    }

    #[test]
    fn advice_is_about_reasons_that_there_are() {
        for (reason, ..) in CLOSES {
            assert!(
                CloseReason::all().any(|known| known.name() == reason),
                "{reason}"
            );
        }
        for (reason, ..) in REJECTS {
            assert!(
                Reject::ALL.iter().any(|known| known.name() == reason),
                "{reason}"
            );
        }
        for (reason, ..) in POSTS {
            assert!(
                PostRefusal::ALL.iter().any(|known| known.name() == reason),
                "{reason}"
            );
        }
        let metrics = include_str!("../../../docs/metrics.md");
        for (sign, ..) in SIGNS {
            assert!(
                metrics.contains(&format!("`fanfare_{sign}_total`")),
                "{sign}"
            );
        }
    }

    #[test]
    fn advice_names_settings_and_pages_that_exist() {
        let known: HashSet<&str> = TABLE.iter().map(|row| row.key).collect();
        let hub = crate::hub::Hub::new(Settings::default()).unwrap();
        let limits = super::super::limits::read(&hub, &Default::default());
        // What the dashboard opens the row of a setting for, and what is no setting.
        let keys: HashSet<String> = TABLE.iter().map(|row| row.file_key()).collect();
        for limit in &limits {
            let is_setting = !["connections_capacity", "revocations"].contains(&limit.name);
            assert_eq!(keys.contains(limit.name), is_setting, "{}", limit.name);
        }
        let of_limits = limits.iter().map(|limit| (limit.next, limit.doc));
        let advice = all().map(|(_, _, next, doc)| (*next, *doc));
        for (next, doc) in advice.chain(of_limits) {
            let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
            for word in next.split(|c| !is_part(c)) {
                if word.ends_with("_max") {
                    assert!(known.contains(word), "{word}");
                }
            }
            let (file, anchor) = doc.split_once('#').unwrap();
            let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
            let page = fs::read_to_string(path).unwrap();
            let headings = page.lines().filter_map(|line| line.strip_prefix('#'));
            let mut anchors = headings.map(|line| {
                let words = line.trim_start_matches('#').trim().to_lowercase();
                let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
                words
                    .chars()
                    .filter(kept)
                    .collect::<String>()
                    .replace(' ', "-")
            });
            assert!(anchors.any(|known| known == anchor), "{doc}");
        }
    }

    #[test]
    fn a_busy_core_and_one_that_is_stuck_are_told_apart() {
        let core = |load, turn_age_ms| Core {
            core: 3,
            connections: 1,
            capacity: 1,
            stalled: 0,
            lag_bytes: 0,
            load,
            turn_age_ms,
        };
        assert!(of_core(&core(Some(0.5), 10)).is_none());
        assert!(of_core(&core(None, 10)).is_none());
        let busy = of_core(&core(Some(0.9), 10)).unwrap();
        assert_eq!((busy.level, &*busy.about), (Level::Warning, "core 3"));
        assert_eq!(busy.says, "core 3 uses 90 % of its processor");
        let stuck = of_core(&core(Some(0.9), BEAT_MS_MAX + 1)).unwrap();
        assert_eq!(stuck.level, Level::Critical);
    }

    #[test]
    fn a_limit_warns_from_near_its_end_on() {
        let limit = |used| {
            let mut limit = limits_of_hundred();
            limit.used = used;
            limit
        };
        assert!(of_limit(&limit(79)).is_none());
        assert_eq!(of_limit(&limit(80)).unwrap().level, Level::Warning);
        let full = of_limit(&limit(100)).unwrap();
        assert_eq!(full.level, Level::Critical);
        assert_eq!(full.says, "connections are at 100 % of connections_max");
    }

    fn limits_of_hundred() -> Limit {
        let hub = crate::hub::Hub::new(Settings {
            connections_max: 100,
            ..Settings::default()
        })
        .unwrap();
        let limits = super::super::limits::read(&hub, &Default::default());
        limits
            .into_iter()
            .find(|limit| limit.name == "connections_max")
            .unwrap()
    }
}
