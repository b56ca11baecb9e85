use std::process::ExitCode;

use fanfare::cli::{self, Actions};
use fanfare::service;

fn main() -> ExitCode {
    cli::run(Actions {
        serve: service::serve,
        probe: service::probe,
    })
}
