//! What is counted, at one moment, and how fast it has grown since the moment before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::troubles;
use crate::admin::metrics::process;
use crate::hub::Hub;
use crate::hub::metrics::{Counter, Metrics};
use crate::log::Summary;

/// Topics after which the others that this thread serves get a turn.
const TURN_TOPICS: usize = 1024;

/// A counter and its rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Rate {
    total: u64,
    per_s: Option<f64>,
}

/// What was counted at one moment.
pub(super) struct Sample {
    pub(super) taken: Instant,
    /// Since the sample before.
    pub(super) window_ms: Option<u64>,
    pub(super) traffic: Vec<(&'static str, Rate)>,
    /// The share of a processor that each core has used.
    pub(super) core_loads: Vec<Option<f64>>,
    core_cpu_us: Vec<u64>,
    /// The processors that all threads have used.
    pub(super) load: Option<f64>,
    pub(super) process: Process,
    pub(super) topics: Vec<TopicRow>,
    /// In the order of [`troubles::totals`].
    pub(super) troubles: Vec<u64>,
}

/// Of the process, what the kernel tells.
#[derive(Debug, Default)]
pub(super) struct Process {
    cpu_s: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) open_fds_max: Option<u64>,
}

/// A topic.
pub(super) struct TopicRow {
    id: u64,
    pub(super) name: Arc<str>,
    pub(super) summary: Summary,
    pub(super) messages_per_s: Option<f64>,
    pub(super) bytes_per_s: Option<f64>,
}

impl Sample {
    /// Counts, beside what was counted before.
    pub(super) async fn take(hub: &Hub, before: Option<&Sample>, taken: Instant) -> Sample {
        let window = before.map(|before| taken - before.taken);
        let before_totals = before.into_iter().flat_map(|before| &before.traffic);
        let before_totals: HashMap<_, _> = before_totals
            .map(|(name, rate)| (*name, rate.total))
            .collect();
        let traffic = traffic(hub).into_iter().map(|(name, total)| {
            let before = before_totals.get(name).copied();
            let per_s = growth(before, total, window);
            (name, Rate { total, per_s })
        });
        let core_cpu_us: Vec<u64> = hub
            .mailboxes()
            .iter()
            .map(|core| core.metrics.cpu_us.get())
            .collect();
        let core_loads = core_cpu_us.iter().enumerate().map(|(core, cpu_us)| {
            let before = before.map(|before| before.core_cpu_us[core]);
            // It is counted by the tick, which is no whole part of the window.
            growth(before, *cpu_us, window).map(|us| rounded((us / 1e6).min(1.0)))
        });
        let process = Process::read();
        let load = || {
            let (now_s, before_s) = (process.cpu_s?, before?.process.cpu_s?);
            Some(rounded((now_s - before_s).max(0.0) / window?.as_secs_f64()))
        };
        Sample {
            taken,
            window_ms: window.map(|window| window.as_millis() as u64),
            traffic: traffic.collect(),
            core_loads: core_loads.collect(),
            load: load(),
            core_cpu_us,
            troubles: troubles::totals(hub),
            topics: topics(hub, before.map_or(&[], |before| &before.topics), window).await,
            process,
        }
    }
}

async fn topics(hub: &Hub, before: &[TopicRow], window: Option<Duration>) -> Vec<TopicRow> {
    let before = before.iter().map(|row| (row.id, &row.summary));
    let before: HashMap<u64, &Summary> = before.collect();
    let all = hub.all_topics();
    let mut rows = Vec::with_capacity(all.len());
    for (number, topic) in all.into_iter().enumerate() {
        if number % TURN_TOPICS == TURN_TOPICS - 1 {
            yield_now().await;
        }
        let summary = hub.summary(&topic);
        let known = before.get(&topic.id());
        let growth = |figure: fn(&Summary) -> u64| {
            growth(known.map(|known| figure(known)), figure(&summary), window)
        };
        rows.push(TopicRow {
            id: topic.id(),
            name: topic.name().clone(),
            summary,
            messages_per_s: growth(|summary| summary.messages),
            bytes_per_s: growth(|summary| summary.frame_bytes),
        });
    }
    rows
}

fn traffic(hub: &Hub) -> [(&'static str, u64); 7] {
    let sum = |counter: fn(&Metrics) -> &Counter| {
        let cores = hub.mailboxes().iter();
        cores.map(|core| counter(&core.metrics).get()).sum()
    };
    [
        ("messages_in", sum(|m| &m.messages_in)),
        ("messages_posted", hub.posts().messages()),
        ("bytes_in", sum(|m| &m.bytes_in)),
        ("deliveries", sum(|m| &m.deliveries)),
        ("bytes_out", sum(|m| &m.bytes_out)),
        ("sends", sum(|m| &m.sends)),
        ("handshakes", sum(|m| &m.handshakes)),
    ]
}

/// By how much a second something has grown that was not counted anew meanwhile.
fn growth(before: Option<u64>, now: u64, window: Option<Duration>) -> Option<f64> {
    let more = now.checked_sub(before?)?;
    Some(rounded(more as f64 / window?.as_secs_f64()))
}

/// More digits would say more than is known.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

impl Process {
    fn read() -> Process {
        Process {
            cpu_s: process::cpu_s().ok(),
            resident_bytes: process::resident_bytes().ok(),
            open_fds: process::open_fds().ok(),
            open_fds_max: process::max_fds().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_known_of_what_was_counted_before_and_not_anew() {
        let window = Some(Duration::from_millis(500));
        assert_eq!(growth(Some(10), 15, window), Some(10.0));
        assert_eq!(growth(Some(10), 10, window), Some(0.0));
        for unknown in [
            growth(None, 15, window),
            growth(Some(10), 15, None),
            growth(Some(15), 10, window),
        ] {
            assert_eq!(unknown, None);
        }
    }
}
