//! Reads the TOML file, and keeps the line of every value for the messages.
//!
//! What a value means is read in `value`. Called by `load`.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::fault::Fault;
use super::nearest::nearest;
use super::value::Given;
use super::{Kind, Row, Settings, TABLE, file_key};

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
    let mut faults = Vec::new();
    let mut text = text.to_owned();
    loop {
        let (table, errors) = DeTable::parse_recoverable(&text);
        let Some(error) = errors.first() else {
            let (entries, more) = entries(path, &text, table.get_ref());
            faults.extend(more);
            return (entries, faults);
        };
        let at = error.span().map_or(0, |span| span.start);
        let line = line_of(&text, at);
        if let Some((quoted, fault)) = quote(path, &text, line) {
            // As if it had been written so, what else is wrong is told as well.
            text = quoted;
            faults.push(fault);
            continue;
        }
        faults.push(Fault::Syntax {
            path: path.to_owned(),
            line,
            problem: error.message().lines().collect::<Vec<_>>().join(", "),
        });
        // What follows a broken line is guesswork, and would blame innocent lines. The
        // break may also lie further up, as at a bracket that is never closed.
        let lines: Vec<&str> = text.split_inclusive('\n').take(line - 1).collect();
        let mut prefixes = (0..=lines.len()).rev().map(|count| lines[..count].concat());
        let sound = prefixes.find(|before| DeTable::parse(before).is_ok());
        let sound = sound.unwrap_or_default();
        let (table, _) = DeTable::parse_recoverable(&sound);
        let (_, more) = entries(path, &sound, table.get_ref());
        faults.extend(more);
        return (Vec::new(), faults);
    }
}

/// Where `line` gives a setting a value that only lacks its quotes: the text with
/// them, and the fault.
fn quote(path: &Path, text: &str, line: usize) -> Option<(String, Fault)> {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let broken = lines.get(line - 1)?;
    let (key, value) = broken.split_once('=')?;
    let key = key.trim();
    // Below the heading of a table the key is that within it.
    let mut before = lines[..line - 1].iter().rev();
    let section = match before.find(|line| line.starts_with('[')) {
        None => "",
        Some(heading) if heading.trim() == "[cluster]" => "cluster.",
        Some(_) => return None,
    };
    let row = row_of(&format!("{section}{key}"))?;
    let value = value.split('#').next()?.trim();
    let is_bare = |c: char| !c.is_whitespace() && !"\"'[]{}=\\".contains(c);
    if value.is_empty() || !value.chars().all(is_bare) {
        return None;
    }
    let spelt = format!("{key} = \"{value}\"");
    let problem = match Settings::default().set(row.key, &Given(vec![value.to_owned()])) {
        Ok(()) => format!("put quotes around the value: {spelt}"),
        Err(problem) => problem,
    };
    let fault = Fault::InFile {
        path: path.to_owned(),
        line,
        key: row.key,
        problem,
    };
    // The value has been judged; the line stays, so that the others keep their numbers.
    lines[line - 1] = "\n";
    Some((lines.concat(), fault))
}

/// The setting with that key in the file.
fn row_of(key: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.file_key() == key)
}

fn entries(path: &Path, text: &str, table: &DeTable) -> (Vec<Entry>, Vec<Fault>) {
    let mut pairs: Vec<_> = Vec::new();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match (name, value.get_ref()) {
            ("cluster", DeValue::Table(cluster)) => pairs.extend(
                cluster
                    .iter()
                    .map(|(key, value)| (format!("{name}.{}", key.get_ref()), key, value)),
            ),
            _ => pairs.push((name.to_owned(), key, value)),
        }
    }
    pairs.sort_by_key(|(_, key, _)| key.span().start);
    let mut entries = Vec::new();
    let mut faults = Vec::new();
    for (name, key, value) in pairs {
        let Some(row) = row_of(&name) else {
            let is_section = matches!(value.get_ref(), DeValue::Table(_));
            faults.push(Fault::Unknown {
                path: path.to_owned(),
                line: line_of(text, key.span().start),
                advice: unknown(&name, is_section),
                key: name,
            });
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

/// What to do about a key that there is not.
fn unknown(key: &str, is_section: bool) -> String {
    if key == "cluster" {
        return "it is a table, [cluster], and its settings stand below it".into();
    }
    let above = key.strip_prefix("cluster.").and_then(row_of);
    if let Some(row) = above {
        let meant = row.file_key();
        return format!("{meant} stands above [cluster], at the top of the file");
    }
    match nearest(&key.replace('.', "_"), TABLE.iter().map(|row| row.key)) {
        Some(meant) => format!("did you mean {}?", file_key(meant)),
        None if is_section => {
            "[cluster], [[topics]], [[apps]] and [[tls_certificates]] are the only sections, all other settings stand at the top of the file"
                .into()
        }
        None => "`fanfare --help` lists them, with dashes for underscores".into(),
    }
}

fn given(row: &Row, value: &DeValue) -> Result<Given, String> {
    match value {
        DeValue::Table(_) if row.kind.is_table() => Ok(Given(vec![inline(value)])),
        DeValue::Array(items) if row.kind.is_list() => {
            let words = items.iter().map(|item| word(row, item.get_ref()));
            words.collect::<Result<_, _>>().map(Given)
        }
        _ => word(row, value).map(|word| Given(vec![word])),
    }
}

fn word(row: &Row, value: &DeValue) -> Result<String, String> {
    match value {
        DeValue::Table(_) if row.kind.is_table() => Ok(inline(value)),
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(integer) if row.kind.is_number() => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix());
            // TOML promises no integers beyond 64 bits; such a word is refused by its range.
            Ok(number.map_or_else(|_| integer.to_string(), |number| number.to_string()))
        }
        DeValue::Float(float) if matches!(row.kind, Kind::Ratio) => Ok(float.to_string()),
        DeValue::Boolean(is_on) if matches!(row.kind, Kind::Choice(names) if names.contains(&"on")) =>
        {
            let meant = if *is_on { "on" } else { "off" };
            Err(format!(
                "{is_on} is not allowed (did you mean {meant:?}?), allowed: {}",
                row.kind
            ))
        }
        other => Err(format!(
            "a value of type {} is not allowed{}, allowed: {}",
            other.type_str(),
            match row.kind.is_number() {
                true => "",
                false => " (put it in quotes)",
            },
            row.kind
        )),
    }
}

/// A value as it would stand in an inline table, which is how a command line gives it.
fn inline(value: &DeValue) -> String {
    match value {
        DeValue::String(text) => toml::Value::from(text.as_ref()).to_string(),
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(is_on) => is_on.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| inline(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let pair = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
                let key = toml::Value::from(key.get_ref().as_ref());
                format!("{key} = {}", inline(value.get_ref()))
            };
            let pairs: Vec<_> = table.iter().map(pair).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
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
    fn an_unknown_key_is_named_with_its_line_and_what_was_meant() {
        assert_eq!(
            faults(
                "cores = 2\nmesage_bytes_max = 5\nlag-policy = 1\nport = 1\n\n[http]\nport = 1\n"
            ),
            [
                "f.toml, line 2: there is no setting \"mesage_bytes_max\": \
                 did you mean message_bytes_max?",
                "f.toml, line 3: there is no setting \"lag-policy\": did you mean lag_policy?",
                "f.toml, line 4: there is no setting \"port\": \
                 `fanfare --help` lists them, with dashes for underscores",
                "f.toml, line 6: there is no setting \"http\": \
                 [cluster], [[topics]], [[apps]] and [[tls_certificates]] are the only sections, all other settings stand at the top of the file",
            ]
        );
    }

    #[test]
    fn a_value_that_lacks_its_quotes_is_told_so_and_what_else_is_wrong_too() {
        let text = "listen = 127.0.0.1:8000\nidle_ms_max = 15m # fifteen minutes\n\
                    foo = 1\nadmin = off\n";
        assert_eq!(
            faults(text),
            [
                "f.toml, line 1: listen: put quotes around the value: \
                 listen = \"127.0.0.1:8000\"",
                "f.toml, line 2: idle_ms_max: \"15m\" is not allowed (in milliseconds that is \
                 900000), allowed: 20 to 86400000 milliseconds",
                "f.toml, line 4: admin: put quotes around the value: admin = \"off\"",
                "f.toml, line 3: there is no setting \"foo\": \
                 `fanfare --help` lists them, with dashes for underscores",
            ]
        );
    }

    #[test]
    fn what_comes_before_a_broken_line_is_told_as_well() {
        let found = faults("foo = 1\ncores = [\nlag_policy = \"skip\"\n");
        assert!(found[0].contains("not valid TOML"), "{found:?}");
        assert!(found[1].contains("no setting \"foo\""), "{found:?}");
    }

    #[test]
    fn a_wrong_type_is_named_with_what_is_allowed() {
        assert_eq!(
            faults("\nlag_policy = true\ntopics_max = 1.5\nlog = 3\ncores = [1]\n"),
            [
                "f.toml, line 2: lag_policy: a value of type boolean is not allowed (put it in quotes), \
                 allowed: close, skip, latest",
                "f.toml, line 3: topics_max: a value of type float is not allowed, allowed: 1 to 10000000",
                "f.toml, line 4: log: a value of type integer is not allowed (put it in quotes), allowed: \
                 error, warn, info, \
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
