//! Where log lines go: standard error as text or JSON, or the journal.
//!
//! Set up once by `cli` before the daemon starts; a reload changes the filter.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::journal::{self, Entries, Journal};
use crate::config::{LogFormat, Settings};
use crate::lines::Lines;

/// From here on `tracing` events are logged, in the form that the settings ask
/// for. What is returned makes their levels follow other settings, and is the
/// queue that is to be flushed at the end.
///
/// # Errors
/// A sentence: the journal was asked for and cannot be reached.
pub(super) fn start(
    settings: &Settings,
) -> Result<(impl Fn(&Settings) + Send + 'static, Lines), String> {
    let (filter, handle) = reload::Layer::new(filter(settings));
    let (layer, lines) = layer(settings.log_format)?;
    lines.keep();
    let started = tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .try_init();
    // It only fails where lines are being written already.
    if let Err(cause) = started {
        tracing::debug!("logging was set up before: {cause}");
    }
    let follow = move |settings: &Settings| {
        if let Err(error) = handle.reload(self::filter(settings)) {
            tracing::warn!(%error, "cannot change what is logged");
        }
    };
    Ok((follow, lines))
}

/// Those that log lines of their own.
const LIBRARIES: [&str; 2] = ["fjall", "lsm_tree"];

/// The settings were checked when they were read.
fn filter(settings: &Settings) -> EnvFilter {
    let mut levels = settings.log.clone();
    let general = levels
        .split(',')
        .map(str::trim)
        .rfind(|part| !part.contains('='));
    // Libraries tell of their insides what is of use to those who trace everything.
    if matches!(general, Some("warn" | "info" | "debug")) {
        for library in LIBRARIES {
            levels += &format!(",{library}=warn");
        }
    }
    EnvFilter::try_new(&levels).unwrap_or_default()
}

/// Lines of text or JSON for standard error, or entries for the journal; each
/// through a queue of its own.
fn layer(format: LogFormat) -> Result<(Box<dyn Layer<Registry> + Send + Sync>, Lines), String> {
    let journal = match format {
        LogFormat::Journal => Some(
            Journal::connect()
                .map_err(|error| format!("cannot reach the journal (log_format): {error}"))?,
        ),
        LogFormat::Auto if journal::is_stderr() => Journal::connect().ok(),
        LogFormat::Auto | LogFormat::Text | LogFormat::Json => None,
    };
    let failed = |error: io::Error| format!("cannot start a thread for the log: {error}");
    if let Some(mut journal) = journal {
        let lines = Lines::start(move |entry| journal.send(entry)).map_err(failed)?;
        return Ok((Entries(lines.clone()).boxed(), lines));
    }
    let lines = Lines::start(|line| io::stderr().write_all(line)).map_err(failed)?;
    let (terminal, queue) = (io::stderr().is_terminal(), lines.clone());
    let plain = fmt::layer().with_writer(move || queue.clone());
    let layer = match format {
        LogFormat::Json => plain.json().flatten_event(true).boxed(),
        _ => plain.with_ansi(terminal).boxed(),
    };
    Ok((layer, lines))
}
