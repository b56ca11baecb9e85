//! Adds up what the threads report: to points of the run's course, and to results
//! of phases.
//!
//! Called by `fleet` at each interval and at the end of a phase.

use std::sync::atomic::Ordering;

use nix::sys::resource::{UsageWho, getrusage};

use super::{CHILDREN_LOOK_NS, Current, Fleet};
use crate::server::{Usage, Watched};
use crate::shared::{Group, Interval};
use crate::stats::{Latency, PhaseResult, Point, Rough, ServerPhase};

/// Everything counted at one moment.
#[derive(Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) at_ns: u64,
    pub(super) delivered: u64,
    pub(super) server: Option<Usage>,
    pub(super) own_ns: u64,
}

/// What one phase amounts to, over all threads.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) latency: Latency,
    pub(super) last: Rough,
    pub(super) lateness: Rough,
    pub(super) handshakes: Rough,
    pub(super) returns: Rough,
    pub(super) caught_up: Rough,
    pub(super) bytes: u64,
    pub(super) delivered: u64,
}

impl Fleet {
    pub(super) fn take_interval(&mut self, interval: &Interval) {
        let totals = self.totals.entry(interval.phase).or_default();
        totals.latency.add(&interval.latency);
        totals.last.add(&interval.last);
        totals.lateness.add(&interval.lateness);
        totals.handshakes.add(&interval.handshakes);
        totals.returns.add(&interval.returns);
        totals.caught_up.add(&interval.caught_up);
        totals.bytes += interval.bytes;
        totals.delivered += interval.delivered;
        let seconds = self.shared.plan.interval_ns as f64 / 1e9;
        let (point, latency) = self.point(interval.index);
        point.published_per_second += interval.published as f64 / seconds;
        point.delivered_per_second += interval.delivered as f64 / seconds;
        latency.add(&interval.latency);
    }

    pub(super) fn point(&mut self, index: u64) -> &mut (Point, Latency) {
        let seconds = self.shared.plan.interval_ns as f64 / 1e9;
        let entry = self.points.entry(index);
        entry.or_insert_with(|| {
            let point = Point {
                t_s: (index as f64 + 0.5) * seconds,
                ..Point::default()
            };
            (point, Latency::default())
        })
    }

    /// Adds to the run's course what only the coordinator sees.
    pub(super) fn take_point(&mut self, now: u64) {
        let before = self.sampled;
        if now >= self.next_children_ns {
            self.next_children_ns = now + CHILDREN_LOOK_NS;
            if let Some(watched) = &mut self.watched {
                watched.find_children();
            }
        }
        let sample = self.sample();
        self.sampled = sample;
        let span_ns = (sample.at_ns - before.at_ns).max(1) as f64;
        let lag = self.shared.lag();
        let open = [Group::Steady, Group::Coming, Group::Stalling];
        let open = open.iter().map(|group| self.shared.open(*group)).sum();
        let index = before.at_ns / self.shared.plan.interval_ns;
        let (point, latency) = self.point(index);
        point.lag = lag;
        point.open = open;
        point.client_cores = (sample.own_ns - before.own_ns) as f64 / span_ns;
        if let (Some(now), Some(before)) = (sample.server, before.server) {
            point.server_cores = Some(now.cpu_ns_since(&before) as f64 / span_ns);
            point.server_resident_bytes = Some(now.resident_bytes);
        }
        let rate = (sample.delivered - before.delivered) as f64 / span_ns * 1e9;
        let p99 = (latency.count() > 0).then(|| latency.at(0.99));
        self.progress.show(open, rate, p99, lag);
    }

    pub(super) fn sum_up(&mut self, current: Current, end: Sample) -> PhaseResult {
        let start = current.at_warm.unwrap_or(end);
        let totals = self
            .totals
            .remove(&current.phase.number)
            .unwrap_or_default();
        let last = self.shared.counters.iter();
        let last = last
            .map(|c| c.last_delivery_ns.load(Ordering::Relaxed))
            .max();
        // The span ends with the last delivery, if the server was behind.
        let until_ns = current.phase.until_ns.min(end.at_ns).max(last.unwrap_or(0));
        let from_ns = current.phase.warm_ns.min(until_ns);
        let seconds = ((until_ns - from_ns) as f64 / 1e9).max(1e-9);
        let delivered = end.delivered - start.delivered;
        let counted_seconds = (until_ns.saturating_sub(start.at_ns) as f64 / 1e9).max(1e-9);
        let cpu_seconds = ((end.at_ns - start.at_ns) as f64).max(1.0);
        let server = match (start.server, end.server) {
            (Some(before), Some(now)) => {
                let cpu_ns = now.cpu_ns_since(&before) as f64;
                Some(ServerPhase {
                    cores: cpu_ns / cpu_seconds,
                    cpu_us_per_delivery: cpu_ns / 1e3 / delivered.max(1) as f64,
                    user_share: now.user_share_since(&before),
                    resident_bytes: now.resident_bytes,
                    resident_bytes_max: self.resident_max,
                })
            }
            _ => None,
        };
        // Bytes are counted over the whole phase; its measured share is that of the deliveries.
        let measured = delivered as f64 / totals.delivered.max(1) as f64;
        PhaseResult {
            name: current.name,
            from_s: from_ns as f64 / 1e9,
            until_s: until_ns as f64 / 1e9,
            rate: current.rate,
            // Messages due within the measured span; its first moment is exact here.
            published_per_second: totals.lateness.count() as f64 / seconds,
            delivered,
            delivered_per_second: delivered as f64 / counted_seconds,
            megabytes_per_second: totals.bytes as f64 * measured / 1e6 / counted_seconds,
            latency: totals.latency.quantiles(),
            last: totals.last.quantiles(),
            lateness: totals.lateness.quantiles(),
            handshakes: totals.handshakes.quantiles(),
            returns: totals.returns.quantiles(),
            caught_up: totals.caught_up.quantiles(),
            server,
            client_cores: (end.own_ns - start.own_ns) as f64 / cpu_seconds,
            notes: Vec::new(),
        }
    }

    pub(super) fn sample(&mut self) -> Sample {
        let server = self.watched.as_ref().map(Watched::usage);
        if let Some(usage) = server {
            self.resident_max = self.resident_max.max(usage.resident_bytes);
        }
        Sample {
            at_ns: self.shared.now_ns(),
            delivered: self.shared.delivered(),
            server,
            own_ns: own_cpu_ns(),
        }
    }
}

fn own_cpu_ns() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        let times = [usage.user_time(), usage.system_time()];
        let ns = times.map(|t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_usec() as u64 * 1_000);
        ns.iter().sum()
    })
}
