//! Figures of TLS.

use super::family::{Family, Sample, Unit, Values, family, plain};
use super::summing::{by_label, sum};
use crate::hub::metrics::TLS_HANDSHAKES;
use crate::hub::{Hub, TlsFailure};
use crate::protocol::tls::Fault;

pub(super) fn read(hub: &Hub) -> Vec<Family> {
    let failures = TlsFailure::ALL.iter().map(|failure| failure.name());
    vec![
        family(
            "tls_handshakes",
            "Handshakes of TLS on public listeners, by version and whether a session was taken up again",
            by_label(hub, "kind", TLS_HANDSHAKES.into_iter(), |m| {
                &m.tls_handshakes
            }),
        ),
        family(
            "tls_handshake_failures",
            "Handshakes of TLS on public listeners that failed, by reason",
            by_label(hub, "reason", failures, |m| &m.tls_failures),
        ),
        family(
            "tls_faults",
            "Connections that broke the protocol of TLS before their request was answered, or with the server API, by reason",
            faults(hub),
        ),
        family(
            "tls_truncated",
            "Peers that ended what they send without having said so over TLS: it may have been cut short",
            sum(hub, |m| &m.tls_truncated),
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

/// Those that cores have met, and those of visitors.
fn faults(hub: &Hub) -> Values {
    let by_cores = by_label(hub, "reason", Fault::ALL.iter().map(Fault::name), |m| {
        &m.tls_faults
    });
    let Values::Counters(mut samples) = by_cores else {
        return by_cores;
    };
    for (place, sample) in samples.iter_mut().enumerate() {
        sample.value += hub.tls().faults(place);
    }
    Values::Counters(samples)
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
