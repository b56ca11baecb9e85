//! Where traces go, how many, and what the collector is shown.

use std::fs;

use super::Settings;
use super::fault::{ConfigError, Fault};
use super::kind::Kind;
use super::value::{Given, Value, refuse};
use crate::protocol::http::ServerUrl;

/// Where a collector takes traces, below the address that it is known by (OTLP 1, "OTLP/HTTP
/// request").
const PATH: &str = "/v1/traces";

impl Value for Option<ServerUrl> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let word = given.one(kind)?;
        if word.is_empty() {
            return Ok(None);
        }
        // The word is not shown: it may hold a secret.
        let refused = |why: &str| format!("the address is not allowed: {why}, allowed: {kind}");
        let url = ServerUrl::parse_any(word).map_err(|fault| refused(&fault.to_string()))?;
        let below = url.below(PATH);
        below.map(Some).ok_or_else(|| refused("it has a query"))
    }
}

/// A part of all, from none to every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio(u64);

impl Ratio {
    /// Whether one is chosen that has drawn this number, of all numbers by chance.
    #[inline]
    pub fn admits(self, drawn: u64) -> bool {
        drawn < self.0 || self.0 == u64::MAX
    }
}

impl Value for Ratio {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let word = given.one(kind)?;
        let number = word.parse().ok();
        let number = number.filter(|number: &f64| (0.0..=1.0).contains(number));
        match number {
            // What is beyond the greatest number becomes that.
            Some(number) => Ok(Ratio((number * u64::MAX as f64) as u64)),
            None => refuse(word, kind),
        }
    }
}

/// Name and value of a header.
pub type Header = (Box<str>, Box<str>);

impl Settings {
    /// What each request to the collector bears besides: the lines of `otlp_headers_file`.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is no header.
    pub fn otlp_headers(&self) -> Result<Vec<Header>, ConfigError> {
        let Some(path) = self.otlp_headers_file.clone() else {
            return Ok(Vec::new());
        };
        let fault = |fault| ConfigError(vec![fault]);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) => return Err(fault(Fault::Unreadable { path, cause })),
        };
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty());
        let headers = lines.map(|(at, line)| header(line).ok_or(at + 1));
        match headers.collect() {
            Ok(headers) => Ok(headers),
            Err(line) => Err(fault(Fault::Header { path, line })),
        }
    }
}

fn header(line: &str) -> Option<Header> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim();
    // RFC 9110 section 5.6.2: a token.
    let of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let of_values = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    let fits = !name.is_empty() && name.bytes().all(of_names) && value.bytes().all(of_values);
    fits.then(|| (name.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check_file;

    #[test]
    fn a_collector_is_named_by_the_address_above_its_paths() {
        let read = |word: &str| Option::<ServerUrl>::read(&word.into(), &Kind::Collector);
        assert_eq!(read(""), Ok(None));
        for (word, whole) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            (
                "https://a.example/otlp/",
                "https://a.example/otlp/v1/traces",
            ),
        ] {
            assert_eq!(read(word).unwrap().unwrap().text(), whole);
        }
        for (word, why) in [
            ("collector:4318", "begin with https:// or http://"),
            ("http://a/?key=hush", "it has a query"),
            ("http://ann:hush@a", "no user and password"),
        ] {
            let refused = read(word).unwrap_err();
            assert!(
                refused.contains(why) && refused.contains("allowed: http://"),
                "{refused}"
            );
            assert!(!refused.contains("hush"), "{refused}");
        }
    }

    #[test]
    fn a_ratio_is_from_0_to_1_and_admits_as_many() {
        let read = |word: &str| Ratio::read(&word.into(), &Kind::Ratio);
        let (none, half, all) = (read("0").unwrap(), read("0.5").unwrap(), read("1").unwrap());
        assert!(!none.admits(0) && all.admits(u64::MAX));
        assert!(half.admits(u64::MAX / 4) && !half.admits(u64::MAX / 4 * 3));
        assert!(read("1e-9").unwrap().admits(1 << 33));
        for word in ["", "1.1", "-0.1", "NaN", "inf", "10%", "half"] {
            let refused = read(word).unwrap_err();
            assert!(refused.contains("0 to 1"), "{refused}");
        }
    }

    #[test]
    fn in_the_file_a_ratio_is_a_number_with_or_without_a_point() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for value in ["0.25", "\"0.25\"", "1", "1.0", "\"1\""] {
            fs::write(file.path(), format!("trace_sample_ratio = {value}\n")).unwrap();
            let read = check_file(file.path()).unwrap().trace_sample_ratio;
            let word = value.trim_matches('"');
            assert_eq!(Ratio::read(&word.into(), &Kind::Ratio), Ok(read), "{value}");
        }
    }

    #[test]
    fn headers_are_lines_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let settings = Settings {
            otlp_headers_file: Some(file.path().into()),
            ..Settings::default()
        };
        let read = |text: &str| {
            fs::write(file.path(), text).unwrap();
            settings.otlp_headers().map_err(|error| error.to_string())
        };
        let headers = read("Authorization: Basic aHVzaA==\r\n\nx-scope:  a b \n").unwrap();
        let named = |name: &str, value: &str| (name.into(), value.into());
        let wanted = [
            named("Authorization", "Basic aHVzaA=="),
            named("x-scope", "a b"),
        ];
        assert_eq!(headers, wanted);
        for text in [
            "a: b\nhush",
            "a: b\n: hush",
            "a: b\nx y: hush",
            "a: b\nx: hush\u{7f}",
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains("line 2"), "{refused}");
            assert!(!refused.contains("hush"), "{refused}");
        }
        assert!(Settings::default().otlp_headers().unwrap().is_empty());
    }
}
