//! A load test for WebSocket broadcast servers, any of them: thousands of
//! simulated clients on io_uring that measure how long messages take and check
//! that each connection hears every one once and in order.
//!
//! The tool shares no code with the server that it was written for, so that one
//! witnesses for the other.

pub mod api;
pub mod args;
pub mod check;
pub mod client;
pub mod codec;
pub mod compare;
pub mod dialect;
pub mod events;
pub mod fleet;
pub mod layout;
pub mod metrics;
mod plot;
pub mod post;
pub mod progress;
pub mod report;
pub mod ring;
pub mod scenario;
pub mod server;
pub mod shared;
pub mod stamp;
pub mod stats;
pub mod summary;
pub mod target;
pub mod text;
pub mod tls;

use std::fs;
use std::path::Path;

use thiserror::Error;

use args::{Cli, Command, Common};
use fleet::FleetError;
use stats::Run;

/// Exit status of a run that found faults, and of a comparison that found a loss.
const FAULTY: u8 = 1;
/// Exit status when the arguments make no sense (also that of unknown options).
const BAD_ARGUMENTS: u8 = 2;
/// Exit status when the test could not be carried through.
const NOT_RUN: u8 = 3;

/// Why there is no result.
#[derive(Debug, Error)]
pub enum Error {
    #[error("{0}")]
    Arguments(String),
    #[error("{0}")]
    Fleet(#[from] FleetError),
    #[error("{0}")]
    Metrics(String),
    #[error("cannot {action} {path}: {reason}")]
    File {
        action: &'static str,
        path: String,
        reason: String,
    },
}

/// Does what the command line asks; returns the exit status.
pub fn run(cli: &Cli) -> u8 {
    let done = match &cli.command {
        Command::Compare(args) => compare::run(args),
        Command::Post(args) => post::run(args),
        Command::Fanout(args) => measure(cli, &args.common),
        Command::Storm(args) => measure(cli, &args.common),
        Command::Recover(args) => measure(cli, &args.common),
        Command::Idle(args) => measure(cli, &args.common),
        Command::Slow(args) => measure(cli, &args.common),
        Command::Soak(args) => measure(cli, &args.common),
        Command::Ramp(args) => measure(cli, &args.common),
    };
    match done {
        Ok(true) => 0,
        Ok(false) => FAULTY,
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                Error::Arguments(_) => BAD_ARGUMENTS,
                _ => NOT_RUN,
            }
        }
    }
}

/// True if the run is clean.
fn measure(cli: &Cli, common: &Common) -> Result<bool, Error> {
    // A run of hours must not end at a file that cannot be written.
    for path in [&common.json, &common.report].into_iter().flatten() {
        write(path, "")?;
    }
    let run = scenario::execute(&cli.command)?;
    print!("{}", summary::of(&run));
    if let Some(path) = &common.json {
        let text = serde_json::to_string_pretty(&run).expect("a run is plain data");
        write(path, &text)?;
    }
    if let Some(path) = &common.report {
        write(path, &report::page(&run))?;
    }
    Ok(run.failures.is_empty())
}

/// Reads a result that `--json` wrote.
pub fn load(path: &Path) -> Result<Run, Error> {
    let failed = |reason: String| Error::File {
        action: "read",
        path: path.display().to_string(),
        reason,
    };
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text)
        .map_err(|error| failed(format!("it is no result of --json: {error}")))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| Error::File {
        action: "write",
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}
