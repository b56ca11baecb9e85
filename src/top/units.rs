//! Numbers in few letters.

/// A number of things: `950`, `12.3k`, `4.0M`.
pub(super) fn count(value: f64) -> String {
    match value {
        value if value < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
        value if value < 9_999.5 => format!("{value:.0}"),
        value if value < 999_950.0 => format!("{:.1}k", value / 1e3),
        value if value < 999_950_000.0 => format!("{:.1}M", value / 1e6),
        value => format!("{:.1}G", value / 1e9),
    }
}

/// A size: `950 B`, `12.3 KiB`.
pub(super) fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = value;
    for (place, unit) in units.iter().enumerate() {
        if value < 1023.95 || place == units.len() - 1 {
            return match place {
                0 => format!("{value:.0} {unit}"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1024.0;
    }
    unreachable!("the last unit takes all")
}

/// A rate that may not be known yet.
pub(super) fn rate(per_s: Option<f64>, written: fn(f64) -> String) -> String {
    per_s.map_or_else(|| "–".into(), written)
}

/// A time: `250 ms`, `12 s`, `3 h 5 min`, `2 d 4 h`.
pub(super) fn time(ms: u64) -> String {
    let (s, min, h, d) = (ms / 1000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{s} s"),
        60_000..3_600_000 => format!("{min} min {} s", s % 60),
        3_600_000..86_400_000 => format!("{h} h {} min", min % 60),
        _ => format!("{d} d {} h", h % 24),
    }
}

/// A text in at most so many letters, its end left out where it has more.
pub(super) fn short(text: &str, most: usize) -> String {
    match text.chars().count() <= most {
        true => text.to_owned(),
        false => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            kept + "…"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0", "0 B"),
            (0.4, "0.4", "0 B"),
            (950.0, "950", "950 B"),
            (9_999.0, "9999", "9.8 KiB"),
            (12_345.0, "12.3k", "12.1 KiB"),
            (1_048_576.0, "1.0M", "1.0 MiB"),
            (3e9, "3.0G", "2.8 GiB"),
        ];
        for (value, as_count, as_bytes) in cases {
            assert_eq!(count(value), as_count);
            assert_eq!(bytes(value), as_bytes);
        }
        assert_eq!(rate(None, count), "–");
        assert_eq!(rate(Some(2.0), bytes), "2 B");
    }

    #[test]
    fn times_have_two_units_at_most() {
        for (ms, text) in [
            (250, "250 ms"),
            (12_999, "12 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(time(ms), text);
        }
    }

    #[test]
    fn long_texts_lose_their_end() {
        assert_eq!(short("über", 4), "über");
        assert_eq!(short("überall", 4), "übe…");
    }
}
