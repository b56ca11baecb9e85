//! What a run found, in the form that is written as JSON, shown as a table,
//! drawn as a page, and compared.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::check::Faults;

/// The whole of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    pub scenario: String,
    pub command: String,
    pub url: String,
    pub machine: String,
    /// Seconds since 1970.
    pub started_at: u64,
    pub phases: Vec<Phase>,
    /// What is particular to the scenario.
    pub figures: Vec<Figure>,
    pub faults: Faults,
    /// The first few faults in words.
    pub examples: Vec<String>,
    /// Why connections ended that should not have, and how many.
    pub ends: Vec<(String, u64)>,
    /// Sentences about what to make of it.
    pub remarks: Vec<String>,
    pub timeline: Vec<Point>,
}

impl Outcome {
    /// Whether all that was sent came, once and in order.
    pub fn is_sound(&self) -> bool {
        !self.faults.any()
    }
}

/// A number with a name; lower is better unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: Unit,
    pub better: Better,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Count,
    PerSecond,
    Seconds,
    Nanoseconds,
    Bytes,
    Percent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    Lower,
    Higher,
    Neither,
}

/// A stretch of the run during which one thing held.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    pub seconds: f64,
    pub published: u64,
    pub deliveries: u64,
    pub latency: Latency,
    pub server: Option<ServerCost>,
    /// How late a message left this tool at most; large figures mean that the
    /// load itself was the bottleneck.
    pub late_ns_max: u64,
}

impl Phase {
    pub fn deliveries_per_s(&self) -> f64 {
        if self.seconds > 0.0 {
            self.deliveries as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// Time from the intended sending to the arrival, in nanoseconds.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
    pub mean: f64,
    /// Share (0 to 1) and latency, for drawing.
    pub curve: Vec<(f64, u64)>,
}

impl Latency {
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Latency::default();
        }
        // 0, then ever closer to 1: 0.5, 0.75 and so on in finer steps.
        let shares = (0..=60).map(|step| 1.0 - 0.5f64.powf(step as f64 / 4.0));
        let enough = 1.0 - 1.0 / histogram.len() as f64;
        let shares = shares.filter(|&share| share <= enough).chain([1.0]);
        Latency {
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
            mean: histogram.mean(),
            curve: shares
                .map(|share| (share, histogram.value_at_quantile(share)))
                .collect(),
        }
    }
}

/// What a phase cost the server.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ServerCost {
    pub cpu_ns: u64,
    /// 0 to 1.
    pub user_share: f64,
    pub resident_bytes_before: u64,
    pub resident_bytes_after: u64,
}

impl ServerCost {
    pub fn ns_per(&self, deliveries: u64) -> f64 {
        self.cpu_ns as f64 / deliveries.max(1) as f64
    }
}

/// One slice of the run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Point {
    /// At its end, since the run began.
    pub at_s: f64,
    pub seconds: f64,
    pub published: u64,
    pub deliveries: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
    pub late_ns_max: u64,
    pub open: u64,
    /// Deliveries that were still to come.
    pub behind: u64,
    pub cpu_ns: Option<u64>,
    pub resident_bytes: Option<u64>,
}
