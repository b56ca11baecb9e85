//! Log lines on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, Settings};

/// From here on `tracing` events become lines on standard error, one each.
/// A second call in one process changes nothing.
pub(super) fn start(settings: &Settings) {
    // The settings were checked when they were read.
    let filter = EnvFilter::try_new(&settings.log).unwrap_or_default();
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match settings.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // It only fails where lines are being written already.
    if let Err(cause) = started {
        tracing::debug!("logging was set up before: {cause}");
    }
}
