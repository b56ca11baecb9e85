//! What cores and the hub count, put together.

use crate::hub::metrics::{Counter, Metrics, TURN_US_BOUNDS, TurnTimes};
use crate::hub::{Hub, Mailbox};

use super::family::{Sample, Times, Values, plain};

pub(super) fn gauge(value: u64) -> Values {
    Values::Gauges(vec![plain(value)])
}

/// A counter's sum over all cores.
pub(super) fn sum(hub: &Hub, counter: fn(&Metrics) -> &Counter) -> Values {
    let cores = hub.mailboxes().iter();
    let sum = cores.map(|core| counter(&core.metrics).get()).sum();
    Values::Counters(vec![plain(sum)])
}

pub(super) fn encoded(hub: &Hub) -> u64 {
    let cores = hub.mailboxes().iter();
    let by_cores: u64 = cores.map(|core| core.metrics.encoded_messages.get()).sum();
    by_cores + hub.encoded()
}

pub(super) fn per_core<T>(hub: &Hub, value: impl Fn(&Mailbox) -> T) -> Vec<Sample<T>> {
    let cores = hub.mailboxes().iter().enumerate();
    cores
        .map(|(core, mailbox)| Sample {
            label: Some(("core", core.to_string())),
            value: value(mailbox),
        })
        .collect()
}

/// A list of counters, summed over all cores; `names` are in its order.
pub(super) fn by_label(
    hub: &Hub,
    label: &'static str,
    names: impl Iterator<Item = &'static str>,
    counters: fn(&Metrics) -> &[Counter],
) -> Values {
    let cores = hub.mailboxes();
    let sum = |place: usize| {
        let counts = cores
            .iter()
            .map(|core| counters(&core.metrics)[place].get());
        counts.sum()
    };
    let samples = names.enumerate().map(|(place, name)| Sample {
        label: Some((label, name.to_owned())),
        value: sum(place),
    });
    Values::Counters(samples.collect())
}

pub(super) fn times(turns: &TurnTimes) -> Times {
    let bounds_s = TURN_US_BOUNDS.iter().map(|us| *us as f64 / 1e6);
    let counts = turns.counts.iter().map(Counter::get);
    Times {
        sum_s: turns.sum_us.get() as f64 / 1e6,
        buckets: bounds_s.chain([f64::INFINITY]).zip(counts).collect(),
    }
}
