//! Latencies, and what a run leaves behind as JSON.
//!
//! Filled in by `fleet` and the scenarios; read by `summary`, `report` and
//! `compare`.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::check::Tally;
use crate::server::Usage;

const LOWEST_NS: u64 = 1_000;
const HIGHEST_NS: u64 = 600_000_000_000;

/// Nanoseconds from when a message was due to when it was heard: 1 µs to ten
/// minutes, three digits exact.
#[derive(Clone)]
pub struct Latency(Histogram<u64>);

/// The same with two digits, for what needs less memory.
#[derive(Clone)]
pub struct Rough(Histogram<u64>);

macro_rules! histogram {
    ($name:ident, $digits:literal) => {
        impl Default for $name {
            fn default() -> Self {
                let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, $digits);
                $name(histogram.expect("sane bounds"))
            }
        }
        impl $name {
            pub fn record(&mut self, ns: u64) {
                self.0.saturating_record(ns);
            }
            pub fn add(&mut self, other: &Self) {
                self.0.add(&other.0).expect("the same bounds");
            }
            pub fn count(&self) -> u64 {
                self.0.len()
            }
            pub fn at(&self, quantile: f64) -> u64 {
                self.0.value_at_quantile(quantile)
            }
            pub fn quantiles(&self) -> Quantiles {
                Quantiles::of(&self.0)
            }
        }
    };
}
histogram!(Latency, 3);
histogram!(Rough, 2);

/// A histogram as it is reported; all values in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    pub count: u64,
    pub min: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub p9999: u64,
    pub max: u64,
    /// (quantile, value) pairs, finer towards 1, for plotting.
    pub curve: Vec<(f64, u64)>,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Quantiles {
        if histogram.is_empty() {
            return Quantiles::default();
        }
        let mut curve = Vec::new();
        for step in 0..=60 {
            // Ten points per decade of the rest: 0, 0.206, … 0.9, … 0.99, …
            let quantile = 1.0 - 10f64.powf(-f64::from(step) / 10.0);
            curve.push((quantile, histogram.value_at_quantile(quantile)));
            if (1.0 - quantile) * (histogram.len() as f64) < 1.0 {
                break;
            }
        }
        Quantiles {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            p9999: histogram.value_at_quantile(0.9999),
            max: histogram.max(),
            curve,
        }
    }
}

/// The one in the middle; of an even number the mean of the two there. 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_by(f64::total_cmp);
    let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
    (values[low] + values[high]) / 2.0
}

/// One phase of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PhaseResult {
    pub name: String,
    /// Where it lies in the run, without its warm-up, in seconds.
    pub from_s: f64,
    pub until_s: f64,
    /// Messages per second that were asked for; absent with a window.
    pub rate: Option<f64>,
    pub published_per_second: f64,
    pub delivered: u64,
    pub delivered_per_second: f64,
    pub megabytes_per_second: f64,
    /// Due to heard, over all steady connections.
    pub latency: Quantiles,
    /// Due to heard by the last of the steady connections, of each message; empty with
    /// several client threads.
    #[serde(default)]
    pub last: Quantiles,
    /// Due to sent: what this tool itself added.
    pub lateness: Quantiles,
    pub handshakes: Quantiles,
    pub returns: Quantiles,
    /// From the order to return until all that was missed has been heard.
    #[serde(default)]
    pub caught_up: Quantiles,
    pub server: Option<ServerPhase>,
    /// Processor time of this tool, in processors.
    pub client_cores: f64,
    pub notes: Vec<(String, String)>,
}

/// What a phase cost the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerPhase {
    pub cores: f64,
    pub cpu_us_per_delivery: f64,
    /// Of the processor time; absent if there was too little to tell.
    pub user_share: Option<f64>,
    pub resident_bytes: u64,
    pub resident_bytes_max: u64,
}

/// One point of the run's course.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Point {
    pub t_s: f64,
    pub published_per_second: f64,
    pub delivered_per_second: f64,
    pub p50: Option<u64>,
    pub p99: Option<u64>,
    pub max: Option<u64>,
    pub lag: u64,
    pub open: u64,
    pub server_cores: Option<f64>,
    pub server_resident_bytes: Option<u64>,
    pub client_cores: f64,
}

/// What was found wrong, by group of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    pub steady: Tally,
    pub coming: Tally,
    pub stalling: Tally,
    /// Connections that the server closed although they behaved, by close code.
    pub closed: BTreeMap<u16, u64>,
    /// The same of readers that had stalled: the server's right.
    pub closed_stalling: BTreeMap<u16, u64>,
    /// Topics whose subscribers heard several publishers in different orders.
    pub topics_in_disorder: u64,
    pub topics_compared: u64,
    pub one_order_required: bool,
}

impl Checks {
    /// Sentences for what makes the run fail; none if it is clean.
    pub fn failures(&self) -> Vec<String> {
        let mut all = self.steady.clone();
        all.add(&self.coming);
        let mut stalling = self.stalling.clone();
        // Whoever stalls may miss messages, but what it hears must be in order.
        stalling.lost = 0;
        all.add(&stalling);
        let mut out = Vec::new();
        for (count, what) in [
            (all.lost, "deliveries were lost"),
            (all.duplicated, "deliveries were doubled"),
            (all.reordered, "deliveries were out of order"),
            (all.corrupt, "messages were damaged"),
            (all.misrouted, "messages reached another topic's subscriber"),
        ] {
            if count > 0 {
                out.push(format!("{count} {what}"));
            }
        }
        for (code, count) in &self.closed {
            out.push(format!(
                "{count} connections were closed by the server (code {code})"
            ));
        }
        if self.one_order_required && self.topics_in_disorder > 0 {
            let count = self.topics_in_disorder;
            out.push(format!(
                "{count} topics were heard in different orders by different subscribers"
            ));
        }
        out
    }
}

/// The machine that a run was made on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub kernel: String,
    pub processors: u64,
    pub processor: String,
    pub memory_bytes: u64,
}

/// A whole run: what `--json` writes and `compare` and `--report` read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    pub tool: String,
    pub version: String,
    pub scenario: String,
    /// Seconds since 1970.
    pub started_unix: u64,
    pub command: Vec<String>,
    pub url: String,
    pub machine: Machine,
    pub subscribers: u64,
    pub publishers: u64,
    pub topics: u64,
    pub message_bytes: u64,
    pub client_threads: u64,
    pub phases: Vec<PhaseResult>,
    /// The scenario's own results, in reading order: (name, value).
    pub findings: Vec<(String, String)>,
    /// The same as numbers, for `compare`: name to value, less is better.
    pub figures: BTreeMap<String, f64>,
    pub checks: Checks,
    pub failures: Vec<String>,
    /// What the reader should know before trusting the numbers.
    pub warnings: Vec<String>,
    pub server_at_start: Option<Usage>,
    pub server_at_end: Option<Usage>,
    pub series: Vec<Point>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_three_digits_and_the_curve_rises() {
        let mut latency = Latency::default();
        for micros in 1..=100_000u64 {
            latency.record(micros * 1_000);
        }
        let q = latency.quantiles();
        let near = |value: u64, wanted: f64| (value as f64 / wanted - 1.0).abs() < 0.002;
        assert!(near(q.p50, 50e6) && near(q.p99, 99e6) && near(q.max, 100e6));
        assert!(
            q.curve
                .windows(2)
                .all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1)
        );
        assert!(near(q.curve.last().unwrap().1, 100e6));
    }

    #[test]
    fn what_is_beyond_the_range_is_kept_at_its_end() {
        let mut latency = Latency::default();
        latency.record(u64::MAX);
        latency.record(0);
        assert_eq!(latency.count(), 2);
        assert!(latency.at(1.0) >= HIGHEST_NS);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn an_empty_histogram_reports_zeros() {
        assert_eq!(Rough::default().quantiles(), Quantiles::default());
    }

    #[test]
    fn each_kind_of_fault_fails_a_run_but_a_stalled_reader_may_miss_messages() {
        let mut checks = Checks::default();
        checks.stalling.lost = 5;
        checks.closed_stalling.insert(1013, 2);
        checks.topics_in_disorder = 1;
        assert_eq!(checks.failures(), [""; 0]);
        checks.coming.lost = 1;
        checks.stalling.reordered = 1;
        checks.steady.duplicated = 2;
        checks.closed.insert(1006, 3);
        checks.one_order_required = true;
        assert_eq!(checks.failures().len(), 5);
    }
}
