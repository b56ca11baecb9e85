//! Figures of webhooks.

use std::sync::atomic::{AtomicU64, Ordering};

use super::family::{Family, Sample, Values, family, plain};
use super::summing::gauge;
use crate::hub::Hub;

pub(super) fn read(hub: &Hub) -> Vec<Family> {
    let figures = &hub.hooks().figures;
    let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    let count = |figure: &AtomicU64| Values::Counters(vec![plain(get(figure))]);
    let drops = [
        ("busy", &figures.dropped_busy),
        ("full", &figures.dropped_full),
        ("late", &figures.dropped_late),
    ];
    let drops = drops.map(|(reason, figure)| Sample {
        label: Some(("reason", reason.to_owned())),
        value: get(figure),
    });
    vec![
        family(
            "webhook_events",
            "Events that servers of apps were to be told of, once for each address",
            count(&figures.events),
        ),
        family(
            "webhook_told_events",
            "Those of them that the server has taken",
            count(&figures.told),
        ),
        family(
            "webhook_failures",
            "Requests of webhooks that failed, and were to be made again",
            count(&figures.failures),
        ),
        family(
            "webhook_drops",
            "Events that no server is told of: they happened faster than they were looked at (busy), too many waited for a server that did not take them (full), or for too long (late)",
            Values::Counters(drops.into()),
        ),
        family(
            "webhook_waiting",
            "Events that wait for their server to take them",
            gauge(get(&figures.waiting)),
        ),
    ]
}
