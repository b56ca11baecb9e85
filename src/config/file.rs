//! The TOML file, read with the line of every value.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::load::Fault;
use super::value::Given;
use super::{Row, TABLE};

/// One setting as the file gives it.
#[derive(Debug)]
pub(super) struct Entry {
    pub row: &'static Row,
    pub given: Given,
    /// From 1.
    pub line: usize,
}

/// Reads `text`, which came from `path`: all settings that could be made out, in
/// the order of the file, and every fault on the way.
pub(super) fn read(path: &Path, text: &str) -> (Vec<Entry>, Vec<Fault>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What follows a broken line is guesswork, and would blame innocent lines.
        let faults = errors.iter().map(|error| Fault::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            problem: error.message().lines().collect::<Vec<_>>().join(", "),
        });
        return (Vec::new(), faults.collect());
    }

    let mut pairs: Vec<_> = table.get_ref().iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    let mut entries = Vec::new();
    let mut faults = Vec::new();
    for (key, value) in pairs {
        let Some(row) = TABLE.iter().find(|row| row.key == key.get_ref().as_ref()) else {
            faults.push(unknown(
                path,
                key.get_ref(),
                line_of(text, key.span().start),
            ));
            continue;
        };
        let line = line_of(text, value.span().start);
        match given(row, value.get_ref()) {
            Ok(given) => entries.push(Entry { row, given, line }),
            Err(problem) => faults.push(Fault::InFile {
                path: path.to_owned(),
                line,
                key: row.key,
                problem,
            }),
        }
    }
    (entries, faults)
}

fn unknown(path: &Path, key: &str, line: usize) -> Fault {
    let mut keys: Vec<_> = TABLE.iter().map(|row| row.key).collect();
    keys.sort_unstable();
    Fault::Unknown {
        path: PathBuf::from(path),
        line,
        key: key.to_owned(),
        allowed: keys.join(", "),
    }
}

fn given(row: &Row, value: &DeValue) -> Result<Given, String> {
    match value {
        DeValue::Array(items) if row.kind.is_list() => {
            let words = items.iter().map(|item| word(row, item.get_ref()));
            words.collect::<Result<_, _>>().map(Given)
        }
        _ => word(row, value).map(|word| Given(vec![word])),
    }
}

fn word(row: &Row, value: &DeValue) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(integer) if row.kind.is_number() => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix());
            // TOML promises no integers beyond 64 bits; such a word is refused by its range.
            Ok(number.map_or_else(|_| integer.to_string(), |number| number.to_string()))
        }
        other => Err(format!(
            "a value of type {} is not allowed, allowed: {}",
            other.type_str(),
            row.kind
        )),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let (_, faults) = read(Path::new("f.toml"), text);
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_keep_their_line() {
        let text = "# first\n\ncores = 2\nlisten = [\n  \"127.0.0.1:1\",\n  \"[::1]:2\",\n]\nlag_bytes_max = 0x10_0000\n";
        let (entries, faults) = read(Path::new("f.toml"), text);
        assert!(faults.is_empty());
        let seen: Vec<_> = entries
            .iter()
            .map(|entry| (entry.row.key, entry.line))
            .collect();
        assert_eq!(seen, [("cores", 3), ("listen", 4), ("lag_bytes_max", 8)]);
        assert_eq!(entries[1].given.0, ["127.0.0.1:1", "[::1]:2"]);
        assert_eq!(entries[2].given.0, ["1048576"]);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_all_keys() {
        let found = faults("cores = 2\nmessage_bytes = 5\n\n[http]\nport = 1\n");
        assert_eq!(found.len(), 2);
        assert!(
            found[0].starts_with("f.toml, line 2: there is no setting \"message_bytes\""),
            "{}",
            found[0]
        );
        assert!(
            found[0].contains("message_bytes_max, message_ms_max, origins"),
            "{}",
            found[0]
        );
        assert!(
            found[1].starts_with("f.toml, line 4: there is no setting \"http\""),
            "{}",
            found[1]
        );
    }

    #[test]
    fn a_wrong_type_is_named_with_what_is_allowed() {
        assert_eq!(
            faults("\nlag_policy = true\ntopics_max = 1.5\nlog = 3\ncores = [1]\n"),
            [
                "f.toml, line 2: lag_policy: a value of type boolean is not allowed, allowed: close, skip",
                "f.toml, line 3: topics_max: a value of type float is not allowed, allowed: 1 to 10000000",
                "f.toml, line 4: log: a value of type integer is not allowed, allowed: error, warn, info, \
                 debug, trace, off, or a list as info,fanfare::core=debug",
                "f.toml, line 5: cores: a value of type array is not allowed, allowed: 1 to 256, \
                 or auto for one per processor",
            ]
        );
    }

    #[test]
    fn broken_toml_is_named_with_its_line() {
        for (text, line) in [
            ("cores = 2\nlog =\n", 2),
            ("cores = 2\ncores = 3\n", 2),
            ("\n\n= 3\n", 3),
        ] {
            let found = faults(text);
            assert!(
                found[0].starts_with(&format!("f.toml, line {line}: ")),
                "{found:?}"
            );
        }
    }
}
