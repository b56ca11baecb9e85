//! The command line of the load test; everything else is in the library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    ExitCode::from(loadtest::run(&loadtest::args::Cli::parse()))
}
