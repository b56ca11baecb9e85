//! The manual page and the shells' completions are made of the command tree and
//! kept beside the source, where packages find them. With `UPDATE_DOCS=1` set
//! while this test runs, they are written anew.

use std::io::Write;
use std::{env, fs};

use clap::Command;
use clap::builder::PossibleValuesParser;
use clap_complete::{Shell, generate};

use super::command;
use crate::config::TABLE;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging");

const FILES_SECTION: &str = "\
.SH FILES
.TP
\\fI/etc/fanfare/fanfare.toml\\fR
The settings that fanfare.service reads; each is explained there.
.SH SIGNALS
.TP
\\fBSIGHUP\\fR
Read the settings again; what cannot change while it runs is named in the log.
.TP
\\fBSIGTERM\\fR, \\fBSIGINT\\fR
Say goodbye to all and end; a second one ends it at once.
";

/// In place of one that lists every option.
const SYNOPSIS: &str = "\
.SH SYNOPSIS
.SY fanfare
.RI [ serve ]
.RI [ OPTIONS ]
.YS
.SY fanfare
check-config
.I FILE
.YS
.SY fanfare
probe
.RI [ OPTIONS ]
.YS
.SY fanfare
upgrade
.RI [ OPTIONS ]
.YS
.SY fanfare
subscribe
.RI [ OPTIONS ]
.IR TOPIC ...
.YS
.SY fanfare
publish
.RI [ OPTIONS ]
.IR TOPIC \" [\" MESSAGE ]
.YS
.SY fanfare
top
.RI [ OPTIONS ]
.YS
";

fn manual_page() -> Vec<u8> {
    let mut page = Vec::new();
    let manual = clap_mangen::Man::new(command());
    let written = manual
        .render_title(&mut page)
        .and_then(|()| manual.render_name_section(&mut page))
        .and_then(|()| page.write_all(SYNOPSIS.as_bytes()))
        .and_then(|()| manual.render_description_section(&mut page))
        .and_then(|()| manual.render_options_section(&mut page))
        .and_then(|()| manual.render_subcommands_section(&mut page))
        .and_then(|()| manual.render_extra_section(&mut page))
        .and_then(|()| manual.render_version_section(&mut page));
    written.expect("a vector takes all");
    page.extend_from_slice(FILES_SECTION.as_bytes());
    page
}

/// With the values that an option takes: what is refused is told in sentences of
/// our own, so that the command itself does not know them.
fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let with_values = |command: Command| {
        TABLE.iter().fold(command, |command, row| {
            let values = row.kind.values();
            let list = || PossibleValuesParser::new(values.iter().copied());
            match values.is_empty() {
                true => command,
                false => command.mut_arg(row.key, |option| option.value_parser(list())),
            }
        })
    };
    let mut command = with_values(command());
    for name in ["serve", "upgrade"] {
        command = command.mut_subcommand(name, with_values);
    }
    generate(shell, &mut command, "fanfare", &mut script);
    script
}

#[test]
fn the_synopsis_is_short_and_names_every_command() {
    for command in command().get_subcommands() {
        assert!(
            SYNOPSIS.contains(command.get_name()),
            "{}",
            command.get_name()
        );
    }
    let page = String::from_utf8(manual_page()).unwrap();
    let (_, synopsis) = page.split_once(".SH SYNOPSIS").unwrap();
    let (synopsis, _) = synopsis.split_once(".SH DESCRIPTION").unwrap();
    assert!(synopsis.lines().count() < 40, "{synopsis}");
}

#[test]
fn completions_offer_the_values_of_every_choice() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = String::from_utf8(completions(shell)).unwrap();
        let lines: Vec<_> = script.lines().collect();
        for row in TABLE {
            // In bash the values stand on the line below the option.
            let option = row.option();
            let offers = |value: &str| {
                lines.windows(2).any(|pair| {
                    pair[0].contains(&option) && pair.iter().any(|line| line.contains(value))
                })
            };
            for value in row.kind.values() {
                assert!(offers(value), "{shell}: {option} {value}");
            }
        }
    }
}

#[test]
fn the_manual_page_and_completions_show_the_command_line_as_it_is() {
    let files = [
        ("fanfare.1", manual_page()),
        ("completions/fanfare.bash", completions(Shell::Bash)),
        ("completions/_fanfare", completions(Shell::Zsh)),
        ("completions/fanfare.fish", completions(Shell::Fish)),
    ];
    for (name, should) in files {
        let path = format!("{FOLDER}/{name}");
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &should).unwrap();
        } else {
            assert!(
                fs::read(&path).unwrap_or_default() == should,
                "{path} is out of date: run the tests once with UPDATE_DOCS=1"
            );
        }
    }
}
