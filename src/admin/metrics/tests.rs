use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::{env, fs};

use super::*;
use crate::config::Settings;
use crate::hub::TlsCounts;
use crate::hub::metrics::{Counter, Metrics, TurnTimes};

fn hub(cores: usize) -> Arc<Hub> {
    let settings = Settings {
        cores,
        ..Settings::default()
    };
    Hub::new(settings).unwrap()
}

fn classic_text(hub: &Arc<Hub>) -> String {
    classic(&Exposition::new(hub.clone()).open_metrics().unwrap())
}

/// Samples by name with labels.
fn samples(text: &str) -> HashMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name, value.parse().unwrap())
        })
        .collect()
}

/// Gives each counter of a core a number of its own. A field that is added to
/// [`Metrics`] must be named here before this compiles.
fn fill(metrics: &Metrics, from: u64) -> Vec<u64> {
    let Metrics {
        connections,
        capacity,
        handshakes,
        ring_handshakes,
        ring_handed_on,
        pages,
        messages_in,
        bytes_in,
        deliveries,
        bytes_out,
        encoded_messages,
        deflated_messages,
        deflate_saved_bytes,
        sends,
        pace_rests,
        short_writes,
        zero_copy_sends,
        zero_copy_copied,
        buffers_exhausted,
        accept_pauses,
        refusals,
        overflows,
        pauses,
        checks_aside,
        checks_postponed,
        room_waits,
        room_tries,
        read_uncompressed,
        lag_skips,
        lag_missed,
        reliefs,
        lag_bytes,
        stalled,
        cpu_us,
        pings,
        latest_given,
        joins,
        joins_lost,
        turns: TurnTimes { counts, sum_us },
        spin_us,
        closes,
        rejects,
        tls,
        tls_steps_aside,
        tls_steps_here,
        tls_kept_bytes,
        denials,
    } = metrics;
    let TlsCounts {
        handshakes: handshakes_of_tls,
        failures,
        faults,
        truncated,
    } = tls;
    let plain = [
        connections,
        capacity,
        handshakes,
        ring_handshakes,
        ring_handed_on,
        pages,
        messages_in,
        bytes_in,
        deliveries,
        bytes_out,
        encoded_messages,
        deflated_messages,
        deflate_saved_bytes,
        sends,
        pace_rests,
        short_writes,
        zero_copy_sends,
        zero_copy_copied,
        buffers_exhausted,
        accept_pauses,
        refusals,
        overflows,
        pauses,
        checks_aside,
        checks_postponed,
        room_waits,
        room_tries,
        read_uncompressed,
        lag_skips,
        lag_missed,
        reliefs,
        lag_bytes,
        stalled,
        pings,
        latest_given,
        joins,
        joins_lost,
        tls_steps_aside,
        tls_steps_here,
        tls_kept_bytes,
        truncated,
    ];
    let all = plain
        .into_iter()
        .chain(closes)
        .chain(rejects)
        .chain(handshakes_of_tls)
        .chain(failures)
        .chain(faults)
        .chain(denials);
    let mut given = Vec::new();
    for (place, counter) in all.enumerate() {
        counter.set(from + place as u64);
        given.push(counter.get());
    }
    counts.iter().for_each(|count: &Counter| count.set(2));
    sum_us.set(1_500_000);
    spin_us.set(2_250_000);
    cpu_us.set(2_500_000);
    given
}

#[test]
fn every_counter_of_a_core_is_told() {
    let hub = hub(1);
    let given = fill(&hub.mailbox(0).metrics, 700_001);
    let text = classic_text(&hub);
    let told: HashSet<u64> = samples(&text).values().map(|value| *value as u64).collect();
    for value in given {
        assert!(told.contains(&value), "{value} is not told:\n{text}");
    }
}

#[test]
fn cores_are_summed_but_for_lag_of_which_the_worst_counts() {
    let hub = hub(2);
    let (one, two) = (&hub.mailbox(0).metrics, &hub.mailbox(1).metrics);
    one.sends.set(3);
    two.sends.set(4);
    one.lag_bytes.set(10);
    two.lag_bytes.set(7);
    one.connections.set(1);
    two.connections.set(2);
    one.closes[0].set(5);
    two.closes[0].set(6);
    let text = classic_text(&hub);
    let samples = samples(&text);
    assert_eq!(samples["fanfare_sends_total"], 7.0);
    assert_eq!(samples["fanfare_lag_bytes"], 10.0);
    assert_eq!(samples["fanfare_connections{core=\"0\"}"], 1.0);
    assert_eq!(samples["fanfare_connections{core=\"1\"}"], 2.0);
    assert_eq!(samples["fanfare_closes_total{reason=\"peer\"}"], 11.0);
}

#[test]
fn times_are_in_seconds_and_those_of_turns_a_cumulative_histogram() {
    let hub = hub(1);
    fill(&hub.mailbox(0).metrics, 1);
    let text = classic_text(&hub);
    let samples = samples(&text);
    assert_eq!(samples["fanfare_core_cpu_seconds_total{core=\"0\"}"], 2.5);
    assert_eq!(samples["fanfare_turn_seconds_sum{core=\"0\"}"], 1.5);
    assert_eq!(samples["fanfare_spin_seconds_total{core=\"0\"}"], 2.25);
    assert_eq!(samples["fanfare_turn_seconds_count{core=\"0\"}"], 22.0);
    let bucket =
        |le: &str| samples[&*format!("fanfare_turn_seconds_bucket{{le=\"{le}\",core=\"0\"}}")];
    assert_eq!(
        (bucket("0.00001"), bucket("0.001"), bucket("1.0")),
        (2.0, 10.0, 20.0)
    );
    assert_eq!(bucket("+Inf"), 22.0);
}

#[test]
fn names_follow_the_conventions_and_each_has_a_meaning() {
    let mut names = HashSet::new();
    for family in families::read(&hub(1), &Process::new()) {
        let words = family.name.bytes();
        assert!(
            words.clone().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{}",
            family.name
        );
        assert!(!family.name.ends_with("_total"), "{}", family.name);
        assert!(names.insert(name(&family)), "{} twice", family.name);
        assert!(
            !family.help.is_empty() && !family.help.ends_with('.'),
            "{}",
            family.help
        );
    }
}

#[test]
fn both_formats_are_well_formed() {
    let open = Exposition::new(hub(2)).open_metrics().unwrap();
    assert!(open.ends_with("\n# EOF\n"), "{open}");
    assert!(open.contains("\n# UNIT fanfare_log_bytes bytes\n"));
    assert!(open.contains("# TYPE fanfare_sends counter\n"));
    let classic = classic(&open);
    assert!(classic.contains("# HELP fanfare_sends_total Sends from logs;"));
    assert!(classic.contains("# TYPE fanfare_sends_total counter\nfanfare_sends_total 0\n"));
    assert!(classic.contains("# TYPE fanfare_turn_seconds histogram\n"));
    assert!(!classic.contains("# UNIT") && !classic.contains("# EOF"));
}

/// A family's name as in the older format.
fn name(family: &Family) -> String {
    let unit = match family.unit {
        Some(family::Unit::Bytes) => "_bytes",
        Some(family::Unit::Seconds) => "_seconds",
        None => "",
    };
    let total = match family.values {
        Values::Counters(_) | Values::TimeCounters(_) => "_total",
        _ => "",
    };
    format!("{}_{}{unit}{total}", family.prefix, family.name)
}

const INTRODUCTION: &str = "\
# Metrics

What `GET /metrics` on the admin listener tells, in the OpenMetrics format for those
who ask for it (as Prometheus does), else in the older Prometheus text format.
Counters start at 0 with the process. Where there is no label `core`, the figure is
for all cores together.

| name | type | label | meaning |
|---|---|---|---|
";

const REASONS: &str = "
Messages per send, which is how well bursts merge:

    rate(fanfare_deliveries_total[1m]) / rate(fanfare_sends_total[1m])

How full the daemon is, by the setting and by what the file tables have room for:

    sum by (instance) (fanfare_connections) / max by (instance) (fanfare_connections_max)
    fanfare_connections / fanfare_connections_capacity
";

/// `docs/metrics.md`, as it should be.
fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    let families = families::read(&hub(1), &Process::new());
    for family in &families {
        let (kind, label) = match &family.values {
            Values::Counters(samples) => ("counter", label(samples)),
            Values::TimeCounters(samples) => ("counter", label(samples)),
            Values::Gauges(samples) => ("gauge", label(samples)),
            Values::Times(samples) => ("gauge", label(samples)),
            Values::Histograms(samples) => ("histogram", label(samples)),
        };
        let (name, help) = (name(family), family.help);
        writeln!(page, "| `{name}` | {kind} | {label} | {help} |").unwrap();
    }
    page += REASONS;
    for family in &families {
        let Values::Counters(samples) = &family.values else {
            continue;
        };
        if samples.len() > 1 {
            let reasons = samples.iter().filter_map(|sample| sample.label.as_ref());
            let reasons: Vec<String> = reasons.map(|(_, name)| format!("`{name}`")).collect();
            writeln!(
                page,
                "\n{} of `{}`: {}",
                if label(samples) == "`kind`" {
                    "Kinds"
                } else {
                    "Reasons"
                },
                name(family),
                reasons.join(", ")
            )
            .unwrap();
        }
    }
    page
}

fn label<T>(samples: &[Sample<T>]) -> String {
    let label = samples.first().and_then(|sample| sample.label.as_ref());
    label.map_or(String::new(), |(name, _)| format!("`{name}`"))
}

/// With `UPDATE_DOCS=1` set, the page is written anew.
#[test]
fn the_documentation_lists_the_metrics_as_they_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(path, markdown()).unwrap();
    }
    let page = fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == markdown(),
        "{path} is out of date: run the tests once with UPDATE_DOCS=1"
    );
}
