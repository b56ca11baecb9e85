//! Every figure of the daemon, written once: its name, its meaning, and where it is
//! read.
//!
//! Nothing is counted here: cores count in [`Metrics`], the hub knows the rest.
//! Called by `metrics` for each answer, and by the test that writes
//! `docs/metrics.md`.

use crate::hub::metrics::{Counter, Metrics};
use crate::hub::{Hub, Mailbox};

use super::clustering;
use super::family::{Family, Sample, Unit, Values, family, plain};
use super::hooking;
use super::process::Process;
use super::sealing;
use super::storing;
use super::summing::{encoded, gauge, per_core, sum, times};
use super::traced;
use super::troubling;

/// All figures as they are now.
pub(super) fn read(hub: &Hub, process: &Process) -> Vec<Family> {
    let mut families = present(hub);
    families.extend(traffic(hub));
    families.extend(troubling::read(hub));
    families.extend(work(hub));
    families.extend(limits(hub));
    families.extend(sealing::read(hub));
    families.extend(storing::read(hub));
    families.extend(clustering::read(hub));
    families.extend(hooking::read(hub));
    families.extend(traced::read(hub));
    families.extend(process.read());
    families
}

/// What there is at the moment.
fn present(hub: &Hub) -> Vec<Family> {
    let version = ("version", env!("CARGO_PKG_VERSION").to_owned());
    let build = Values::Gauges(vec![Sample {
        label: Some(version),
        value: 1,
    }]);
    let uptime_s = hub.uptime_ms() as f64 / 1e3;
    let connections = per_core(hub, |core| core.metrics.connections.get());
    let lag_bytes = hub
        .mailboxes()
        .iter()
        .map(|core| core.metrics.lag_bytes.get());
    let lag_bytes = lag_bytes.max().unwrap_or(0);
    let admission = hub.admission();
    vec![
        family(
            "build_info",
            "Always 1; the label tells the version that runs",
            build,
        ),
        family(
            "ready",
            "1 while new connections are served, 0 while starting or stopping",
            gauge(u64::from(hub.is_ready())),
        ),
        family(
            "uptime",
            "Time since the process started",
            Values::Times(vec![plain(uptime_s)]),
        )
        .in_unit(Unit::Seconds),
        family(
            "connections",
            "Open connections of each core: WebSockets and streams of events",
            Values::Gauges(connections),
        ),
        family(
            "users",
            "Users that have connections, each once; all without a name are one",
            gauge(hub.users().count() as u64),
        ),
        family(
            "rosters_written",
            "Lists of members that were written for clients of apps which join presence channels, each once for all who join at about the same time",
            Values::Counters(vec![plain(hub.rosters().written())]),
        ),
        family(
            "rosters",
            "Memory that such lists hold, which are known or on their way; beyond rosters_bytes_max joins wait",
            gauge(hub.rosters().bytes()),
        )
        .in_unit(Unit::Bytes),
        family(
            "revocations",
            "Revocations of tokens that are kept; there may be 65536",
            gauge(hub.revocations_len() as u64),
        ),
        family(
            "token_checks_waiting",
            "Tokens that wait for a helper thread; beyond token_checks_waiting_max others wait with their connections",
            gauge(hub.checks_waiting() as u64),
        ),
        family(
            "tokens_remembered",
            "Tokens that have been checked and are known again; there may be 65536, of 32 MiB together",
            gauge(hub.remembered_len() as u64),
        ),
        family(
            "api_connections",
            "Connections that ask the server API on public listeners",
            gauge(hub.visitors() as u64),
        ),
        family(
            "delivery_acks",
            "Publishers that wait to be told how a message was delivered",
            gauge(hub.deliveries() as u64),
        ),
        family(
            "idempotency_keys",
            "Requests with an Idempotency-Key, and messages with an idempotency_key, whose answers are kept, or that are under way",
            gauge(hub.receipts() as u64),
        ),
        family(
            "handshakes_in_flight",
            "Connections whose opening handshake is not finished yet",
            gauge(admission.handshakes() as u64),
        ),
        family(
            "topics",
            "Topics that exist",
            gauge(hub.topics_len() as u64),
        ),
        family(
            "idle_topics",
            "Those of them that nobody follows and that keep no message, known for retain_ms_max to who comes back",
            gauge(hub.idle_topics() as u64),
        ),
        family(
            "log",
            "Memory that the logs of all topics hold",
            gauge(hub.log_bytes()),
        )
        .in_unit(Unit::Bytes),
        family(
            "partial",
            "Memory that half-received messages, and records of TLS, hold",
            gauge(hub.partial_bytes()),
        )
        .in_unit(Unit::Bytes),
        family(
            "stalled_connections",
            "Connections whose socket was full at the last look: they read slowly, or not at all",
            Values::Gauges(per_core(hub, |core| core.metrics.stalled.get())),
        ),
        family(
            "lag",
            "How far the furthest of all subscribers is behind its topic",
            gauge(lag_bytes),
        )
        .in_unit(Unit::Bytes),
    ]
}

/// What has come in and gone out.
fn traffic(hub: &Hub) -> Vec<Family> {
    let count = |counter: fn(&Metrics) -> &Counter| sum(hub, counter);
    vec![
        family(
            "handshakes",
            "Opening handshakes answered with 101, and streams of events that have begun",
            count(|m| &m.handshakes),
        ),
        family(
            "ring_handshakes",
            "Those of them that began and ended in the ring",
            count(|m| &m.ring_handshakes),
        ),
        family(
            "ring_handed_on",
            "Connections that were accepted in the ring and answered elsewhere: pages, refusals, whatever is no opening",
            count(|m| &m.ring_handed_on),
        ),
        family(
            "pages",
            "Pages and other plain answers of the public listeners",
            count(|m| &m.pages),
        ),
        family(
            "received_messages",
            "Messages received from WebSocket publishers",
            count(|m| &m.messages_in),
        ),
        family(
            "received",
            "Payload of the messages received from WebSocket publishers",
            count(|m| &m.bytes_in),
        )
        .in_unit(Unit::Bytes),
        family(
            "token_checks",
            "Tokens of connections and subscriptions that were checked, as they were not remembered",
            Values::Counters(vec![plain(hub.token_checks())]),
        ),
        family(
            "posted_messages",
            "Messages published over HTTP",
            Values::Counters(vec![plain(hub.posts().messages())]),
        ),
        family(
            "posted_waits",
            "Messages over HTTP that waited for room, or for cores that were behind",
            Values::Counters(vec![plain(hub.posts().waits())]),
        ),
        family(
            "idempotency_replays",
            "Requests and messages that were answered as the one before with their Idempotency-Key or idempotency_key",
            Values::Counters(vec![plain(hub.receipts_repeated())]),
        ),
        family(
            "log_sheds",
            "Times that history was given up early, as all logs had reached log_bytes_total_max",
            Values::Counters(vec![plain(hub.sheds())]),
        ),
        family(
            "topic_evictions",
            "Topics without readers that went with their history, as there were topics_max",
            Values::Counters(vec![plain(hub.evictions())]),
        ),
        family(
            "history_full_pages",
            "Pages of history that ended at history_page_messages_max or history_page_bytes_max",
            Values::Counters(vec![plain(hub.full_pages())]),
        ),
        family(
            "deliveries",
            "Messages sent, one for each subscriber that got it",
            count(|m| &m.deliveries),
        ),
        family(
            "sent",
            "Bytes that the kernel took for WebSocket connections, frame headers included",
            count(|m| &m.bytes_out),
        )
        .in_unit(Unit::Bytes),
        family(
            "sends",
            "Sends from logs; deliveries divided by it tells how well bursts merge",
            count(|m| &m.sends),
        ),
        family(
            "pace_rests",
            "Times that a topic which had grown rested on a core before it was sent on, by pace_ms",
            count(|m| &m.pace_rests),
        ),
        family(
            "zero_copy_sends",
            "Sends that the kernel took without a copy at first",
            count(|m| &m.zero_copy_sends),
        ),
        family(
            "zero_copy_copied",
            "Zero-copy sends that the kernel copied after all",
            count(|m| &m.zero_copy_copied),
        ),
        family(
            "encoded_messages",
            "Messages written in another encoding than raw, when published or as history, once for all who read them so",
            Values::Counters(vec![plain(encoded(hub))]),
        ),
        family(
            "deflated_messages",
            "Messages compressed, once for all who read them so",
            count(|m| &m.deflated_messages),
        ),
        family(
            "deflate_saved",
            "Bytes that did not go out thanks to compression, over all subscribers",
            count(|m| &m.deflate_saved_bytes),
        )
        .in_unit(Unit::Bytes),
        family(
            "latest_given",
            "Newcomers that were given the newest message at once, by the rule of their topic",
            count(|m| &m.latest_given),
        ),
        family(
            "joins",
            "Joins and leaves of clients that were told to subscribers, each once for all of them",
            count(|m| &m.joins),
        ),
        family("pings", "Pings sent to silent peers", count(|m| &m.pings)),
    ]
}

/// How the cores do.
fn work(hub: &Hub) -> Vec<Family> {
    let now_ms = hub.now_ms();
    let age_s = |core: &Mailbox| now_ms.saturating_sub(core.beat_ms()) as f64 / 1e3;
    let ages = Values::Times(per_core(hub, age_s));
    let spun_s = |core: &Mailbox| core.metrics.spin_us.get() as f64 / 1e6;
    let spins = Values::TimeCounters(per_core(hub, spun_s));
    let cpu_s = |core: &Mailbox| core.metrics.cpu_us.get() as f64 / 1e6;
    let cpu = Values::TimeCounters(per_core(hub, cpu_s));
    let turns = Values::Histograms(per_core(hub, |core| times(&core.metrics.turns)));
    vec![
        family(
            "core_cpu",
            "Processor time that each core's thread has used",
            cpu,
        )
        .in_unit(Unit::Seconds),
        family(
            "turn",
            "How long the turns of each core's reactor took",
            turns,
        )
        .in_unit(Unit::Seconds),
        family(
            "spin",
            "Time that each core has looked out for something to do instead of sleeping, by spin_us",
            spins,
        )
        .in_unit(Unit::Seconds),
        family(
            "last_turn_age",
            "Time since the last turn of each core's reactor",
            ages,
        )
        .in_unit(Unit::Seconds),
    ]
}

/// The limits, to compare with. Named as the settings are.
fn limits(hub: &Hub) -> Vec<Family> {
    let settings = hub.settings();
    let limit = |name, help, value: usize| family(name, help, gauge(value as u64));
    vec![
        limit(
            "connections_max",
            "The setting: connections in total",
            settings.connections_max,
        ),
        family(
            "connections_capacity",
            "Connections that each core has room for: entries in its ring's file table, as many as LimitNOFILE allows, and no more than twice its even share of connections_max or 30,000",
            Values::Gauges(per_core(hub, |core| core.metrics.capacity.get())),
        ),
        limit(
            "connections_per_address_max",
            "The setting: connections from one IP address",
            settings.connections_per_address_max,
        ),
        limit(
            "handshakes_max",
            "The setting: handshakes in flight",
            settings.handshakes_max,
        ),
        limit(
            "topics_max",
            "The setting: topics that exist at one time",
            settings.topics_max,
        ),
        limit(
            "message_bytes_max",
            "The setting: size of one message",
            settings.message_bytes_max,
        ),
        limit(
            "partial_bytes_max",
            "The setting: size of all half-received messages together",
            settings.partial_bytes_max,
        ),
        limit(
            "log_bytes_max",
            "The setting: size of the log of one topic",
            settings.log_bytes_max,
        ),
        limit(
            "log_bytes_total_max",
            "The setting: size of the logs of all topics together",
            settings.log_bytes_total_max,
        ),
        limit(
            "lag_bytes_max",
            "The setting: how far a subscriber may fall behind",
            settings.lag_bytes_max,
        ),
    ]
}
