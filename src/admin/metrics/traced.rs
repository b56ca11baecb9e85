//! Figures of traces.

use std::sync::atomic::{AtomicU64, Ordering};

use super::family::{Family, Sample, Values, family, plain};
use super::summing::gauge;
use crate::hub::Hub;

pub(super) fn read(hub: &Hub) -> Vec<Family> {
    let figures = &hub.traces().figures;
    let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    let count = |figure: &AtomicU64| Values::Counters(vec![plain(get(figure))]);
    let drops = [
        ("busy", &figures.dropped_busy),
        ("full", &figures.dropped_full),
        ("refused", &figures.dropped_refused),
    ];
    let drops = drops.map(|(reason, figure)| Sample {
        label: Some(("reason", reason.to_owned())),
        value: get(figure),
    });
    vec![
        family(
            "traces",
            "Messages and handshakes that were to be traced, by trace_sample_ratio or a traceparent",
            count(&figures.sampled),
        ),
        family(
            "traces_exported",
            "Those of them that the collector has taken",
            count(&figures.exported),
        ),
        family(
            "trace_drops",
            "Those of them that no collector is told of: as many messages were being followed as may be (busy), too many waited for the collector (full), or it did not want them (refused)",
            Values::Counters(drops.into()),
        ),
        family(
            "trace_export_failures",
            "Requests to the collector that failed",
            count(&figures.failures),
        ),
        family(
            "traces_under_way",
            "Messages that are being followed to the sockets of their subscribers for their traces; there may be 64",
            gauge(hub.traces().under_way() as u64),
        ),
    ]
}
