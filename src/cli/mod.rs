//! The command line: `fanfare [serve] | check-config FILE | probe | upgrade | subscribe | publish |
//! top`.
//!
//! What the daemon's commands do to the machine is handed in as [`Actions`] by `main`, so
//! that this module knows settings and words only. Those for the shell are clients.

#[cfg(test)]
mod generated;
mod journal;
mod logging;
mod shell;
mod upgrade;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use jiff::Timestamp;

use crate::config::{self, LogFormat, Reload, Settings, StartError};
use crate::lines::last_words;
use crate::shell::{End, publish, subscribe};
use crate::top::top;

/// What the commands call. Errors are sentences for the person at the terminal.
#[derive(Clone, Copy)]
pub struct Actions {
    /// Serves until it is told to stop; logging is set up by then.
    pub serve: fn(Settings, Reload) -> Result<(), StartError>,
    /// Tells what the kernel offers for these settings, or names what is missing
    /// and the cure.
    pub probe: fn(&Settings) -> Result<String, String>,
}

/// The command was carried out, and failed or found something wrong.
const EXIT_FAILED: u8 = 1;
/// The command line or the settings make no sense: a restart would not cure it.
const EXIT_USAGE: u8 = 2;

/// The settings of the daemon that the package sets up.
const INSTALLED: &str = "/etc/fanfare/fanfare.toml";

/// How long the end waits for whoever reads standard error, or the journal.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs the command that the process was started with.
pub fn run(actions: Actions) -> ExitCode {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("check-config", matches)) => check_config(matches),
        Some(("probe", matches)) => match config::from_matches(matches) {
            Ok(settings) => report((actions.probe)(&settings)),
            Err(error) => fail(EXIT_USAGE, &error.to_string()),
        },
        Some(("upgrade", matches)) => match config::of_running(matches, Path::new(INSTALLED)) {
            Ok(settings) => report(upgrade::upgrade(&settings)),
            Err(error) => fail(EXIT_USAGE, &error.to_string()),
        },
        Some(("subscribe", matches)) => {
            let wish = shell::read_subscribe(matches, Path::new(INSTALLED));
            end(wish.map(subscribe))
        }
        Some(("publish", matches)) => {
            let wish = shell::read_publish(matches, Path::new(INSTALLED));
            end(wish.map(publish))
        }
        Some(("top", matches)) => {
            let wish = shell::read_top(matches, Path::new(INSTALLED));
            end(wish.map(top))
        }
        Some((_, matches)) => serve(matches, actions.serve),
        None => serve(&matches, actions.serve),
    }
}

fn serve(matches: &ArgMatches, serve: fn(Settings, Reload) -> Result<(), StartError>) -> ExitCode {
    let loaded = match config::load(matches) {
        Ok(loaded) => loaded,
        Err(error) => return fail(EXIT_USAGE, &error.to_string()),
    };
    let settings = &loaded.settings;
    let (log, lines) = match logging::start(settings) {
        Ok(started) => started,
        Err(sentence) => return fail(EXIT_FAILED, &sentence),
    };
    let is_json = settings.log_format == LogFormat::Json;
    let matches = matches.clone();
    let reload = Reload {
        has_file: matches.get_one::<PathBuf>(config::CONFIG_OPTION).is_some(),
        read: Box::new(move || config::load(&matches)),
        log: Box::new(log),
    };
    for sentence in loaded.unused() {
        tracing::warn!("{sentence}");
    }
    let served = serve(loaded.settings, reload).map_err(|error| match error {
        StartError::Settings(sentence) => (EXIT_USAGE, sentence),
        StartError::Failed(sentence) => (EXIT_FAILED, sentence),
    });
    // Whoever collects lines of JSON is to find no other ones between them.
    let is_told = is_json && tracing::enabled!(tracing::Level::ERROR);
    if let (Err((_, sentence)), true) = (&served, is_told) {
        tracing::error!("{sentence}");
    }
    lines.flush(LAST_WORDS);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, _)) if is_told => ExitCode::from(code),
        Err((code, sentence)) => fail(code, &sentence),
    }
}

fn check_config(matches: &ArgMatches) -> ExitCode {
    let path = matches
        .get_one::<PathBuf>("file")
        .expect("clap asks for the file");
    match config::check_file(path) {
        Ok(settings) => {
            let now_s = Timestamp::now().as_second().try_into().unwrap_or(0);
            // They could be read a moment ago.
            let certificates = settings.certificates().ok();
            let of_certificates = certificates.map(|all| all.notes(now_s));
            let notes = settings.unused().into_iter();
            let notes = notes.chain(of_certificates.into_iter().flatten());
            let lines = std::iter::once("ok".to_owned()).chain(notes);
            let lines = lines.map(|line| format!("{}: {line}", path.display()));
            let topics = matches.get_many::<String>("topic").into_iter().flatten();
            let described = topics.map(|topic| settings.describe_topic(topic));
            let lines: Vec<_> = lines.chain(described).collect();
            report(Ok(lines.join("\n")))
        }
        Err(error) => fail(EXIT_USAGE, &error.to_string()),
    }
}

/// Tells how a command for the shell has ended, if it did not as it was asked to.
fn end(ended: Result<End, End>) -> ExitCode {
    let end = ended.unwrap_or_else(|end| end);
    match end.sentence() {
        Some(sentence) => fail(end.code(), sentence),
        None => ExitCode::SUCCESS,
    }
}

fn report(outcome: Result<String, String>) -> ExitCode {
    match outcome {
        // `println!` would panic where the reader of a pipe has left.
        Ok(text) => match writeln!(io::stdout(), "{}", text.trim_end()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(EXIT_FAILED),
        },
        Err(sentences) => fail(EXIT_FAILED, &sentences),
    }
}

fn fail(code: u8, sentences: &str) -> ExitCode {
    let lines = sentences.lines();
    let text = lines.map(|sentence| format!("fanfare: {sentence}\n"));
    last_words(text.collect(), LAST_WORDS);
    ExitCode::from(code)
}

/// The whole command tree, also for whoever makes a manual page or completions of it.
pub fn command() -> Command {
    let check_config = Command::new("check-config")
        .about("Say whether a settings file is right, or what is wrong in which line")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The TOML file"),
        )
        .arg(
            Arg::new("topic")
                .long("topic")
                .value_name("NAME")
                .action(ArgAction::Append)
                .help("Also say which rule this topic gets, who may do what with it and what holds for it; repeatable"),
        );
    let probe = Command::new("probe")
        .about(
            "Say whether this kernel and its limits offer what fanfare needs, or what is missing",
        )
        .args(config::options());
    let upgrade = Command::new("upgrade")
        .about("Have the running daemon hand over to a newer one without a disconnect")
        .after_help(format!(
            "Without --config and --admin it asks the daemon that {INSTALLED} is for, if there is such."
        ))
        .args(config::options());
    let serve = Command::new("serve")
        .about("Serve; also what happens without a command")
        .after_help(AFTER_HELP)
        .args(config::options());
    Command::new("fanfare")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "A WebSocket broadcast server on io_uring: one message in, every subscriber hears it",
        )
        .after_help(AFTER_HELP)
        .subcommands([serve, check_config, probe, upgrade])
        .subcommands(shell::commands())
        .args_conflicts_with_subcommands(true)
        .args(config::options())
}

const AFTER_HELP: &str = "\
Every option is also a key of the file, with underscores: --lag-policy skip is
lag_policy = \"skip\". Bytes may carry KiB, MiB or GiB.

README.md and docs/configuration.md, beside the source, say more.
Exit codes: 0 done, 1 failed, 2 the command line or the settings are wrong.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TABLE;

    #[test]
    fn the_command_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn help_names_every_option_with_its_default() {
        let help = command().term_width(0).render_long_help().to_string();
        for row in TABLE {
            let option = format!("--{} <", row.option());
            let line = help
                .lines()
                .skip_while(|line| !line.contains(&option))
                .take(2);
            let text = line.collect::<Vec<_>>().join(" ");
            assert!(text.contains(row.help), "{option} is not explained: {text}");
            assert!(
                text.contains("[default: "),
                "{option} has no default: {text}"
            );
        }
        for heading in [
            "Addresses:",
            "Running:",
            "Connections:",
            "Messages:",
            "Compression:",
            "Rights:",
            "Topics:",
        ] {
            assert!(help.contains(heading), "{heading}");
        }
    }

    #[test]
    fn options_work_with_and_without_the_word_serve() {
        for words in [
            &["fanfare", "--cores", "3"][..],
            &["fanfare", "serve", "--cores", "3"],
        ] {
            let matches = command().get_matches_from(words);
            let matches = matches.subcommand_matches("serve").unwrap_or(&matches);
            assert_eq!(config::from_matches(matches).unwrap().cores, 3);
        }
    }

    #[test]
    fn a_misspelt_command_is_a_usage_error() {
        for words in [
            &["fanfare", "sevre"][..],
            &["fanfare", "check-config"],
            &["fanfare", "--port", "1"],
        ] {
            let error = command().try_get_matches_from(words).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(EXIT_USAGE), "{words:?}");
        }
    }
}
