//! Numbers, times and tables as people read them.
//!
//! Called by everything that prints.

/// `1234567.0` as `1.23M`: three figures and a unit.
pub fn count(value: f64) -> String {
    let (value, unit) = match value.abs() {
        big if big >= 1e9 => (value / 1e9, "G"),
        big if big >= 1e6 => (value / 1e6, "M"),
        big if big >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    format!("{}{unit}", figures(value))
}

/// Nanoseconds as `1.23 ms`.
pub fn time(ns: f64) -> String {
    match ns.abs() {
        long if long >= 1e9 => format!("{} s", figures(ns / 1e9)),
        long if long >= 1e6 => format!("{} ms", figures(ns / 1e6)),
        _ => format!("{} µs", figures(ns / 1e3)),
    }
}

/// Bytes as `1.23 MiB`.
pub fn bytes(value: f64) -> String {
    match value.abs() {
        big if big >= 1073741824.0 => format!("{} GiB", figures(value / 1073741824.0)),
        big if big >= 1048576.0 => format!("{} MiB", figures(value / 1048576.0)),
        big if big >= 1024.0 => format!("{} KiB", figures(value / 1024.0)),
        _ => format!("{} B", figures(value)),
    }
}

/// Three significant figures, whole numbers whole.
pub fn figures(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        big if big >= 99.95 || value.fract() == 0.0 => format!("{value:.0}"),
        big if big >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Seconds since 1970 as `2026-02-28 13:45 UTC`.
pub fn date(unix: u64) -> String {
    let (days, seconds) = (unix / 86_400, unix % 86_400);
    // The civil calendar by eras of 400 years that begin on March 1st, so that
    // the leap day comes last.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// Rows under a header; the first column to the left, numbers to the right.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max();
        widest.unwrap_or(0).max(header[column].chars().count())
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut out = String::new();
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            if column == 0 {
                out += &format!("  {cell}{pad}");
            } else {
                out += &format!("  {pad}{cell}");
            }
        }
        out.trim_end().to_string() + "\n"
    };
    let mut out = line(header.to_vec());
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    out += &line(rule.iter().map(String::as_str).collect());
    for row in rows {
        out += &line(row.iter().map(String::as_str).collect());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_figures_and_say_their_unit() {
        assert_eq!(count(1_234_567.0), "1.23M");
        assert_eq!(count(9_999.0), "9999");
        assert_eq!(time(1_234.0), "1.23 µs");
        assert_eq!(time(12_345_678.0), "12.3 ms");
        assert_eq!(time(2e9), "2 s");
        assert_eq!(bytes(1536.0), "1.50 KiB");
        assert_eq!(bytes(0.0), "0 B");
    }

    #[test]
    fn dates_hold_across_leap_days_and_years() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_798_761_599), "2026-12-31 23:59 UTC");
    }

    #[test]
    fn columns_line_up() {
        let text = table(
            &["name", "value"],
            &[
                vec!["a".into(), "1".into()],
                vec!["longer".into(), "1000 µs".into()],
            ],
        );
        let ends: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "{text}");
    }
}
