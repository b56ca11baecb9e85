//! Figures of TLS.

use super::family::{Family, Sample, Unit, Values, family, plain};
use super::summing::{gauge, sum};
use crate::hub::metrics::Counter;
use crate::hub::{Hub, TLS_HANDSHAKES, TlsCounts, TlsFailure};
use crate::protocol::tls::Fault;

pub(super) fn read(hub: &Hub) -> Vec<Family> {
    let failures = TlsFailure::ALL.map(TlsFailure::name);
    let faults = Fault::ALL.each_ref().map(Fault::name);
    let kept = hub.mailboxes().iter();
    let kept = kept.map(|core| core.metrics.tls_kept_bytes.get());
    let truncated = of_all(hub).map(|counts| counts.truncated.get());
    vec![
        family(
            "tls_handshakes",
            "Handshakes of TLS, by version and whether a session was taken up again",
            by_label(hub, "kind", &TLS_HANDSHAKES, |counts| &counts.handshakes),
        ),
        family(
            "tls_handshake_failures",
            "Handshakes of TLS that failed, by reason",
            by_label(hub, "reason", &failures, |counts| &counts.failures),
        ),
        family(
            "tls_faults",
            "Connections that broke the protocol of TLS before their request was answered, or with the server API, by reason",
            by_label(hub, "reason", &faults, |counts| &counts.faults),
        ),
        family(
            "tls_truncated",
            "Peers that ended what they send without having said so over TLS: it may have been cut short",
            Values::Counters(vec![plain(truncated.sum())]),
        ),
        family(
            "tls_steps_aside",
            "Steps of handshakes that helper threads did, as signatures are slow",
            sum(hub, |m| &m.tls_steps_aside),
        ),
        family(
            "tls_steps_here",
            "Such steps that a core did itself, as too many waited for the helpers",
            sum(hub, |m| &m.tls_steps_here),
        ),
        family(
            "tls_kept",
            "Memory of ciphertext that connections keep whose sockets have not taken it: the rest of a record that is no run of a log, 16 KiB for each at most",
            gauge(kept.sum()),
        )
        .in_unit(Unit::Bytes),
        family(
            "tls_reload_failures",
            "Times that new certificates could not be used, and the old ones stayed",
            Values::Counters(vec![plain(hub.tls().failed_reloads())]),
        ),
        family(
            "tls_certificate_expiry",
            "Time until each certificate that is shown expires, below 0 if it has",
            Values::Times(expiries(hub)),
        )
        .in_unit(Unit::Seconds),
    ]
}

/// What each core has counted, and the thread of the other listeners.
fn of_all(hub: &Hub) -> impl Iterator<Item = &TlsCounts> {
    let cores = hub.mailboxes().iter();
    let by_cores = cores.map(|core| &core.metrics.tls);
    by_cores.chain([hub.tls().counts()])
}

/// A list of counters, summed; `names` are in its order.
fn by_label(
    hub: &Hub,
    label: &'static str,
    names: &[&'static str],
    counters: fn(&TlsCounts) -> &[Counter],
) -> Values {
    let sum = |place: usize| {
        of_all(hub)
            .map(|counts| counters(counts)[place].get())
            .sum()
    };
    let samples = names.iter().enumerate().map(|(place, name)| Sample {
        label: Some((label, (*name).to_owned())),
        value: sum(place),
    });
    Values::Counters(samples.collect())
}

fn expiries(hub: &Hub) -> Vec<Sample<f64>> {
    let Some(served) = hub.tls().served() else {
        return Vec::new();
    };
    let now_s = hub.unix_s() as i64;
    let shown = served.certificates.iter();
    let sample = shown.map(|(chain_file, leaf)| Sample {
        label: Some(("chain_file", chain_file.display().to_string())),
        value: (leaf.until_s - now_s) as f64,
    });
    sample.collect()
}
