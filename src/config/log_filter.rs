//! Checks what `log` is set to: a level, and levels for parts of the program.
//!
//! The library that filters the lines takes a word that it does not know for the
//! name of a part; it then logs everything of that part and nothing of all others.
//! So the words are checked here, before the library sees them. Called by `value`.

use super::nearest::nearest;

pub(super) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// What people write for them.
const ALIASES: [(&str, &str); 6] = [
    ("warning", "warn"),
    ("err", "error"),
    ("information", "info"),
    ("verbose", "debug"),
    ("all", "trace"),
    ("none", "off"),
];
/// The parts of the program that have lines of their own.
const PARTS: [&str; 19] = [
    "admin", "bind", "cli", "client", "config", "core", "handover", "hub", "keeper", "lines",
    "log", "mask", "page", "protocol", "ring", "service", "shell", "top", "main",
];

/// Reads `LEVEL`, or a list of such and `fanfare::PART=LEVEL`; returns it in lower case.
///
/// # Errors
/// The word that means nothing, and what was probably meant.
pub(super) fn read(word: &str) -> Result<String, String> {
    let word = word.to_ascii_lowercase();
    for part in word.split(',').map(str::trim) {
        let level = match part.split_once('=') {
            None => part,
            Some((target, level)) => {
                check_target(target)?;
                level
            }
        };
        if !LEVELS.contains(&level) {
            let alias = ALIASES.iter().find(|(alias, _)| *alias == level);
            let meant = alias.map(|(_, level)| *level).or(nearest(level, LEVELS));
            let meant = meant.map_or(String::new(), |level| format!(" (did you mean {level:?}?)"));
            return Err(format!("{level:?} is no level{meant}"));
        }
    }
    Ok(word)
}

fn check_target(target: &str) -> Result<(), String> {
    let part = match target.split_once("::") {
        Some(("fanfare", rest)) => rest.split("::").next().unwrap_or_default(),
        None if target == "fanfare" => return Ok(()),
        _ => {
            return Err(format!(
                "{target:?} is no part of fanfare, as fanfare::core is"
            ));
        }
    };
    if PARTS.contains(&part) {
        return Ok(());
    }
    Err(format!(
        "fanfare has no part {part:?}: there are {}",
        PARTS.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_levels_of_parts_are_read() {
        for word in [
            "off",
            "info,fanfare::core=debug",
            "warn, fanfare::hub::live=trace,fanfare=info",
        ] {
            assert_eq!(read(word).as_deref(), Ok(word));
        }
        assert_eq!(read("WARN").as_deref(), Ok("warn"));
    }

    #[test]
    fn a_word_that_would_silence_everything_is_refused_with_what_was_meant() {
        for (word, meant) in [
            ("warning", "\"warn\""),
            ("inof", "\"info\""),
            ("info,fanfare::core=warning", "\"warn\""),
            ("hyper", "no level"),
            ("", "no level"),
            ("info,", "no level"),
            ("fanfare::coer=debug", "there are admin"),
            ("tokio=debug", "no part of fanfare"),
            ("[span]=debug", "no part of fanfare"),
        ] {
            let sentence = read(word).unwrap_err();
            assert!(sentence.contains(meant), "{word}: {sentence}");
        }
    }

    #[test]
    fn the_parts_are_those_that_there_are() {
        let lib = include_str!("../lib.rs");
        let parts = lib.lines().filter_map(|line| line.strip_prefix("pub mod "));
        let mut parts: Vec<_> = parts.map(|line| line.trim_end_matches(';')).collect();
        parts.push("main");
        assert_eq!(parts, PARTS);
    }
}
