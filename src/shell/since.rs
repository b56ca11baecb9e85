//! Where a subscription begins, as `--since` says it.

use std::str::FromStr;

/// The first message that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    pub offset: u64,
    /// The history that the offset is of; without it, whichever there is.
    pub epoch: Option<String>,
}

impl FromStr for Since {
    type Err = &'static str;

    /// Reads `OFFSET` or `EPOCH-OFFSET`.
    fn from_str(text: &str) -> Result<Since, Self::Err> {
        const FORM: &str = "write OFFSET or EPOCH-OFFSET, where EPOCH is 1 to 16 hexadecimal digits: \
                            the first message that is wanted";
        let (epoch, offset) = match text.split_once('-') {
            Some((epoch, offset)) => (Some(epoch), offset),
            None => (None, text),
        };
        let is_number = !offset.is_empty() && offset.bytes().all(|b| b.is_ascii_digit());
        let is_epoch = |epoch: &str| {
            (1..=16).contains(&epoch.len()) && epoch.bytes().all(|b| b.is_ascii_hexdigit())
        };
        match offset.parse() {
            Ok(offset) if is_number && epoch.is_none_or(is_epoch) => Ok(Since {
                offset,
                epoch: epoch.map(str::to_owned),
            }),
            _ => Err(FORM),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_offset_with_or_without_its_history() {
        let since = |offset, epoch: Option<&str>| Since {
            offset,
            epoch: epoch.map(str::to_owned),
        };
        assert_eq!("7".parse(), Ok(since(7, None)));
        assert_eq!(
            "5a0c42d90ce2d1ba-8".parse(),
            Ok(since(8, Some("5a0c42d90ce2d1ba")))
        );
        for bad in [
            "",
            "-",
            "-7",
            "x",
            "+7",
            "7-",
            "g-7",
            "5a0c42d90ce2d1ba0-8",
            "1-2-3",
        ] {
            assert!(bad.parse::<Since>().is_err(), "{bad}");
        }
    }
}
