//! Numbers with units, as the command line takes them: `2k`, `20%`, `300ms`.
//!
//! Called by `args`.

use std::time::Duration;

use crate::stamp::STAMP_BYTES;

fn number(text: &str) -> Result<f64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1e6),
            None => (text, 1.0),
        },
    };
    let value = digits.parse::<f64>().ok().filter(|v| v.is_finite());
    value
        .map(|v| v * unit)
        .ok_or_else(|| "write a number, as 500, 20k or 1.5m".into())
}

pub(super) fn positive_count(text: &str) -> Result<u64, String> {
    match number(text)? {
        count if count >= 1.0 && count.fract() == 0.0 && count <= 1e9 => Ok(count as u64),
        _ => Err("write a whole number from 1 on, as 500 or 20k".into()),
    }
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    match number(text)? {
        rate if rate > 0.0 && rate <= 1e8 => Ok(rate),
        _ => Err("write messages per second above 0, as 50 or 20k".into()),
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    match number(text.trim_end_matches('%'))? {
        percent if percent > 0.0 && percent < 100.0 => Ok(percent),
        _ => Err("write a percentage above 0 and below 100".into()),
    }
}

pub(super) fn factor(text: &str) -> Result<f64, String> {
    match number(text)? {
        factor if factor > 1.0 && factor <= 100.0 => Ok(factor),
        _ => Err("write a number above 1, as 1.5".into()),
    }
}

/// Bytes; `k` and `m` count by 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match bytes {
        Some(bytes) if bytes < STAMP_BYTES as u64 => Err(format!(
            "a message holds at least {STAMP_BYTES} bytes: who sent it, its number and its time"
        )),
        Some(bytes) if bytes <= 64 << 20 => Ok(bytes),
        Some(_) => Err("at most 64m".into()),
        None => Err("write bytes, as 64, 16k or 1m".into()),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let units = [
        ("ms", 1e-3),
        ("us", 1e-6),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let found = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let seconds = found.and_then(|(digits, seconds)| Some(digits.parse::<f64>().ok()? * seconds));
    match seconds {
        Some(seconds) if (0.0..=1e7).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write a time with its unit, as 500ms, 10s, 5m or 2h".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_units_and_nonsense_is_told_what_to_write() {
        assert_eq!(positive_count("20k"), Ok(20_000));
        assert_eq!(size("16k"), Ok(16_384));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(rate("0.5"), Ok(0.5));
        assert_eq!(share("10%"), Ok(10.0));
        for error in [
            positive_count("0").unwrap_err(),
            positive_count("1.5").unwrap_err(),
            rate("-1").unwrap_err(),
            rate("nan").unwrap_err(),
            size("23").unwrap_err(),
            size("99999m").unwrap_err(),
            duration("10").unwrap_err(),
            duration("-1s").unwrap_err(),
            share("100").unwrap_err(),
            factor("1").unwrap_err(),
        ] {
            assert!(error.len() > 8, "{error}");
        }
    }
}
