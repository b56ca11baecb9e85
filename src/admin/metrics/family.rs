//! What figures are made of.

use prometheus_client::metrics::MetricType;

/// Figures of one name.
pub(super) struct Family {
    pub(super) prefix: &'static str,
    /// Without prefix, unit and the `_total` of a counter.
    pub(super) name: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) help: &'static str,
    pub(super) values: Values,
}

/// What a figure is counted in, if not in pieces.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Bytes,
    Seconds,
}

impl From<Unit> for prometheus_client::registry::Unit {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::Bytes => Self::Bytes,
            Unit::Seconds => Self::Seconds,
        }
    }
}

pub(super) enum Values {
    Counters(Vec<Sample<u64>>),
    /// Counters in seconds.
    TimeCounters(Vec<Sample<f64>>),
    Gauges(Vec<Sample<u64>>),
    /// Gauges in seconds.
    Times(Vec<Sample<f64>>),
    Histograms(Vec<Sample<Times>>),
}

/// One figure and its label, if it has one.
pub(super) struct Sample<T> {
    pub(super) label: Option<Label>,
    pub(super) value: T,
}

/// Name and value of a label.
pub(super) type Label = (&'static str, String);

/// A histogram of durations.
pub(super) struct Times {
    pub(super) sum_s: f64,
    /// Upper bound in seconds, the last one infinite, and how many lie between
    /// it and the one before.
    pub(super) buckets: Vec<(f64, u64)>,
}

/// Begins the names of all figures that only Fanfare has.
const PREFIX: &str = "fanfare";

/// Figures that only Fanfare has.
pub(super) fn family(name: &'static str, help: &'static str, values: Values) -> Family {
    Family {
        prefix: PREFIX,
        name,
        unit: None,
        help,
        values,
    }
}

impl Family {
    pub(super) fn in_unit(mut self, unit: Unit) -> Self {
        self.unit = Some(unit);
        self
    }

    pub(super) fn metric_type(&self) -> MetricType {
        match self.values {
            Values::Counters(_) | Values::TimeCounters(_) => MetricType::Counter,
            Values::Gauges(_) | Values::Times(_) => MetricType::Gauge,
            Values::Histograms(_) => MetricType::Histogram,
        }
    }
}

pub(super) fn plain<T>(value: T) -> Sample<T> {
    Sample { label: None, value }
}
