//! Advice for a number that is written with a unit the settings do not take, as
//! `"15m"` or `"16KB"`: how to write what is probably meant.
//!
//! Only words for a message come from here. Called by `value` when it refuses a
//! number.

use super::kind::{Kind, Size};

const SIZES: [(&str, u32); 14] = [
    ("b", 0),
    ("bytes", 0),
    ("k", 10),
    ("kb", 10),
    ("kib", 10),
    ("m", 20),
    ("mb", 20),
    ("mib", 20),
    ("g", 30),
    ("gb", 30),
    ("gib", 30),
    ("t", 40),
    ("tb", 40),
    ("tib", 40),
];

const TIMES: [(&str, u64); 13] = [
    ("ms", 1),
    ("s", 1000),
    ("sec", 1000),
    ("seconds", 1000),
    ("m", 60_000),
    ("min", 60_000),
    ("minutes", 60_000),
    ("h", 3_600_000),
    ("hours", 3_600_000),
    ("d", 86_400_000),
    ("days", 86_400_000),
    ("w", 604_800_000),
    ("weeks", 604_800_000),
];

/// How to write what `word` probably means, in brackets behind it.
pub(super) fn advice(word: &str, kind: Kind) -> Option<String> {
    let at = word.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = word.split_at(at);
    let number: f64 = number.trim().replace('_', "").parse().ok()?;
    let unit = unit.to_ascii_lowercase();
    let whole = |value: f64| (value >= 0.0 && value.fract() == 0.0).then_some(value as u64);
    match kind {
        Kind::Bytes(..) | Kind::MemoryShare(..) => {
            let (_, shift) = SIZES.iter().find(|(name, _)| *name == unit)?;
            let bytes = whole(number * (1u64 << shift) as f64)?;
            let spelt = Size(bytes).to_string().replace(' ', "");
            Some(format!("did you mean {spelt:?}?"))
        }
        Kind::Millis(..) | Kind::Seconds(..) => {
            let (_, ms) = TIMES.iter().find(|(name, _)| *name == unit)?;
            let (name, divisor) = match kind {
                Kind::Seconds(..) => ("seconds", 1000.0),
                _ => ("milliseconds", 1.0),
            };
            let number = whole(number * *ms as f64 / divisor)?;
            Some(format!("in {name} that is {number}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_spelt_as_they_can_be_written() {
        let meant = |word| advice(word, Kind::Bytes(0, u64::MAX)).unwrap_or_default();
        assert!(meant("16KB").contains("\"16KiB\""));
        assert!(meant("1.5 mb").contains("\"1536KiB\""));
        assert!(meant("100b").contains("\"100\""));
        assert!(meant("1g").contains("\"1GiB\""));
        for word in ["KB", "1.3b", "5 parsec", "-1KB", "100"] {
            assert_eq!(meant(word), "", "{word}");
        }
    }

    #[test]
    fn times_are_told_in_the_unit_of_the_setting() {
        let millis = |word| advice(word, Kind::Millis(0, u64::MAX)).unwrap_or_default();
        let seconds = |word| advice(word, Kind::Seconds(0, u64::MAX)).unwrap_or_default();
        assert_eq!(millis("15m"), "in milliseconds that is 900000");
        assert_eq!(millis("1.5s"), "in milliseconds that is 1500");
        assert_eq!(seconds("2 min"), "in seconds that is 120");
        assert_eq!(seconds("500ms"), "");
        assert_eq!(advice("5s", Kind::Count(0, 9)), None);
    }
}
