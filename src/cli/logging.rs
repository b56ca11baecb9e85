//! Where log lines go: standard error as text or JSON, or the journal.
//!
//! Set up once by `cli` before the daemon starts; a reload changes the filter.

use std::io::{self, IsTerminal};

use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::journal::{self, Journal};
use crate::config::{LogFormat, Settings};

/// From here on `tracing` events are logged, in the form that the settings ask
/// for. What is returned makes their levels follow other settings.
///
/// # Errors
/// A sentence: the journal was asked for and cannot be reached.
pub(super) fn start(settings: &Settings) -> Result<impl Fn(&Settings) + Send + 'static, String> {
    let (filter, handle) = reload::Layer::new(filter(settings));
    let started = tracing_subscriber::registry()
        .with(lines(settings.log_format)?)
        .with(filter)
        .try_init();
    // It only fails where lines are being written already.
    if let Err(cause) = started {
        tracing::debug!("logging was set up before: {cause}");
    }
    Ok(move |settings: &Settings| {
        if let Err(error) = handle.reload(self::filter(settings)) {
            tracing::warn!(%error, "cannot change what is logged");
        }
    })
}

/// The settings were checked when they were read.
fn filter(settings: &Settings) -> EnvFilter {
    EnvFilter::try_new(&settings.log).unwrap_or_default()
}

fn lines(format: LogFormat) -> Result<Box<dyn Layer<Registry> + Send + Sync>, String> {
    let plain = || fmt::layer().with_writer(io::stderr);
    let text = || plain().with_ansi(io::stderr().is_terminal()).boxed();
    Ok(match format {
        LogFormat::Text => text(),
        LogFormat::Json => plain().json().flatten_event(true).boxed(),
        LogFormat::Auto if !journal::is_stderr() => text(),
        LogFormat::Auto => Journal::connect().map_or_else(|_| text(), Layer::boxed),
        LogFormat::Journal => Journal::connect()
            .map_err(|error| format!("cannot reach the journal (log_format): {error}"))?
            .boxed(),
    })
}
