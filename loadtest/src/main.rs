//! The command `fanfare-loadtest`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use loadtest::args::{Cli, Command, Common};
use loadtest::outcome::Outcome;
use loadtest::progress::Line;
use loadtest::session::Trouble;
use loadtest::{html, scenario, table};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Fanout(args) => run(&args.common, |line| scenario::fanout(&args, line)),
        Command::Idle(args) => run(&args.common, |line| scenario::idle(&args, line)),
        Command::Storm(args) => run(&args.common, |line| scenario::storm(&args, line)),
        Command::Slow(args) => run(&args.common, |line| scenario::slow(&args, line)),
        Command::Soak(args) => run(&args.common, |line| scenario::soak(&args, line)),
        Command::Ramp(args) => run(&args.common, |line| scenario::ramp(&args, line)),
        Command::Compare { a, b } => match read(&a).and_then(|a| Ok((a, read(&b)?))) {
            Ok((a, b)) => {
                print!("{}", table::compare(&a, &b));
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error, 2),
        },
    }
}

fn run(common: &Common, go: impl FnOnce(&mut Line) -> Result<Outcome, Trouble>) -> ExitCode {
    if let Err(error) = common.check() {
        let _ = clap::Command::new("fanfare-loadtest")
            .error(ErrorKind::ValueValidation, error)
            .print();
        return ExitCode::from(2);
    }
    let mut line = Line::new(common.quiet);
    let done = go(&mut line);
    line.end();
    let outcome = match done {
        Ok(outcome) => outcome,
        Err(error @ Trouble::Pid(_)) => return fail(&error.to_string(), 2),
        Err(error) => return fail(&error.to_string(), 1),
    };
    print!("{}", table::show(&outcome));
    let json = || serde_json::to_string_pretty(&outcome).expect("plain data");
    let written = write(common.json.as_deref(), json)
        .and_then(|()| write(common.report.as_deref(), || html::page(&outcome)));
    match written {
        Err(error) => fail(&error, 1),
        Ok(()) if outcome.is_sound() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
    }
}

fn write(path: Option<&Path>, text: impl FnOnce() -> String) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, text()).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn read(path: &Path) -> Result<Outcome, String> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    serde_json::from_str(&text)
        .map_err(|error| format!("{name} is not a result of this tool (--json): {error}"))
}

fn fail(error: &str, code: u8) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(code)
}
