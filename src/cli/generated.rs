//! The manual page and the shells' completions are made of the command tree and
//! kept beside the source, where packages find them. With `UPDATE_DOCS=1` set
//! while this test runs, they are written anew.

use std::{env, fs};

use clap_complete::{Shell, generate};

use super::command;

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

fn manual_page() -> Vec<u8> {
    let mut page = Vec::new();
    let manual = clap_mangen::Man::new(command());
    manual.render(&mut page).expect("a vector takes all");
    page.extend_from_slice(FILES_SECTION.as_bytes());
    page
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut command(), "fanfare", &mut script);
    script
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
