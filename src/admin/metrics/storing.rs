//! Figures of the store. Where there is none, those of its state have no sample.

use std::sync::atomic::{AtomicU64, Ordering};

use super::family::{Family, Unit, Values, family, plain};
use super::summing::gauge;
use crate::hub::{Hub, StoreState};

pub(super) fn read(hub: &Hub) -> Vec<Family> {
    let keeping = hub.keeping();
    let figures = &keeping.figures;
    let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    let count = |figure: &AtomicU64| Values::Counters(vec![plain(get(figure))]);
    let working = match keeping.state() {
        StoreState::Off => Vec::new(),
        state => vec![plain(u64::from(state == StoreState::Working))],
    };
    vec![
        family(
            "store_working",
            "1 while topics are stored on disk, 0 while the store fails; there only if there is one",
            Values::Gauges(working),
        ),
        family(
            "store_topics",
            "Topics that are kept on disk",
            gauge(get(&figures.topics)),
        ),
        family(
            "store",
            "Size of what the store holds on disk",
            gauge(get(&figures.bytes)),
        )
        .in_unit(Unit::Bytes),
        family(
            "store_written_messages",
            "Messages written to the store",
            count(&figures.written_messages),
        ),
        family(
            "store_written",
            "Bytes of messages written to the store",
            count(&figures.written_bytes),
        )
        .in_unit(Unit::Bytes),
        family(
            "store_syncs",
            "Times that what was written was made safe from a loss of power",
            count(&figures.syncs),
        ),
        family(
            "store_sync",
            "Time that took",
            Values::TimeCounters(vec![plain(get(&figures.sync_us) as f64 / 1e6)]),
        )
        .in_unit(Unit::Seconds),
        family(
            "store_errors",
            "Times that the store could not be written to or opened",
            count(&figures.errors),
        ),
        family(
            "store_holes",
            "Places in the history of topics at which stored messages are damaged",
            count(&figures.holes),
        ),
        family(
            "store_catch_ups",
            "Subscribers that were sent history from the store",
            count(&figures.catch_ups),
        ),
        family(
            "store_pages_read",
            "Pages of history that were read from the store for that, each once for all who wanted it in one form",
            count(&figures.pages_read),
        ),
        family(
            "store_read",
            "Size of the history from the store that is held for who comes back; beyond store_read_bytes_max they wait",
            gauge(hub.older_bytes()),
        )
        .in_unit(Unit::Bytes),
    ]
}
