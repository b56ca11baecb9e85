//! Prints one line for each address on standard output, in the form of the log
//! lines, once the daemon serves.
//!
//! Called by `service` at the end of the start. Scripts and tests wait for these
//! lines.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use crate::config::{LogFormat, Place};

/// A log line as the JSON form of the log has it.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    message: &'a str,
    address: String,
    target: &'static str,
}

/// Tells where the daemon listens. Whoever does not read it may still want to be
/// served, above all a connection that has been taken over.
pub(super) fn announce(places: &[Place], tls_places: &[Place], format: LogFormat) {
    let mut out = io::stdout().lock();
    let plain = places.iter().map(|place| (place, false));
    for (place, tls) in plain.chain(tls_places.iter().map(|place| (place, true))) {
        let written = writeln!(out, "{}", line(place, tls, format)).and_then(|()| out.flush());
        if let Err(error) = written {
            tracing::warn!(%error, "cannot write to standard output");
        }
    }
}

fn line(place: &Place, tls: bool, format: LogFormat) -> String {
    let message = match (place, tls) {
        (Place::Tcp(address), false) => format!("listening on http://{address}/"),
        (Place::Tcp(address), true) => format!("listening on https://{address}/"),
        (Place::Unix(_), false) => format!("listening on {place}"),
        (Place::Unix(_), true) => format!("listening on {place} with TLS"),
    };
    if format != LogFormat::Json {
        return message;
    }
    let line = Line {
        timestamp: format!("{:.6}", Timestamp::now()),
        level: "INFO",
        message: &message,
        address: place.to_string(),
        target: module_path!(),
    };
    simd_json::to_string(&line).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use simd_json::prelude::*;

    use super::*;

    #[test]
    fn the_line_is_json_where_the_log_is() {
        let place = Place::parse("unix:/run/a \"b\"").unwrap();
        let plain = line(&place, false, LogFormat::Text);
        assert_eq!(plain, "listening on unix:/run/a \"b\"");
        let mut json = line(&place, false, LogFormat::Json).into_bytes();
        let json = simd_json::to_owned_value(&mut json).unwrap();
        assert_eq!(json.get_str("message"), Some(&plain[..]));
        assert_eq!(json.get_str("level"), Some("INFO"));
        assert!(json.get_str("timestamp").unwrap().ends_with('Z'));
    }
}
