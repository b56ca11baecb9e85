//! Whose trace a request belongs to, as its header `traceparent` says (W3C Trace Context,
//! level 1, section 3.2).

/// The header.
pub const TRACEPARENT: &str = "traceparent";

/// What version 00 has: version, trace, span, flags, with dashes between.
const BYTES: usize = 55;
/// Of the flags: the caller records the trace.
const SAMPLED: u8 = 1;

/// The span that a request was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The trace, by its id.
    pub trace: u128,
    /// The span in it.
    pub span: u64,
    pub is_sampled: bool,
}

impl Parent {
    /// Reads the header's value. What is none counts as if it were not there.
    pub fn parse(text: &[u8]) -> Option<Parent> {
        let (known, rest) = text.split_at_checked(BYTES)?;
        let [version, trace, span, flags] = parts(known)?;
        let version = hex(version)?;
        // A later version may say more behind another dash.
        let ends = match version {
            0xff => false,
            0 => rest.is_empty(),
            _ => rest.is_empty() || rest[0] == b'-',
        };
        let (trace, span, flags) = (hex(trace)?, hex(span)? as u64, hex(flags)? as u8);
        (ends && trace != 0 && span != 0).then_some(Parent {
            trace,
            span,
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

fn parts(text: &[u8]) -> Option<[&[u8]; 4]> {
    let mut parts = text.split(|byte| *byte == b'-');
    let found = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let is_right = found.map(<[u8]>::len) == [2, 32, 16, 2] && parts.next().is_none();
    is_right.then_some(found)
}

/// A number of hexadecimal digits, 32 at most, without capital letters.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_parent_is_a_trace_a_span_and_whether_it_is_sampled() {
        let parent = Parent::parse(VALUE.as_bytes()).unwrap();
        assert_eq!(
            parent,
            Parent {
                trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
                span: 0xb7ad_6b71_6920_3331,
                is_sampled: true,
            }
        );
        for (flags, is_sampled) in [("00", false), ("02", false), ("ff", true)] {
            let value = VALUE.replace("-01", &format!("-{flags}"));
            let parent = Parent::parse(value.as_bytes()).unwrap();
            assert_eq!(parent.is_sampled, is_sampled, "{flags}");
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = VALUE.replacen("00", "cc", 1);
        assert!(Parent::parse(later.as_bytes()).is_some());
        let more = format!("{later}-what-the-future-holds");
        assert!(Parent::parse(more.as_bytes()).is_some());
    }

    /// Byte by byte, as the recommendation draws it.
    fn naive(text: &[u8]) -> bool {
        let is_known = |(at, byte): (usize, &u8)| match at {
            2 | 35 | 52 => *byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
        };
        let has_all = text.len() >= BYTES && text.iter().take(BYTES).enumerate().all(is_known);
        has_all
            && !text.starts_with(b"ff")
            && text[3..35] != [b'0'; 32]
            && text[36..52] != [b'0'; 16]
            && (text.len() == BYTES || (!text.starts_with(b"00") && text[BYTES] == b'-'))
    }

    #[test]
    fn it_agrees_with_the_naive_reader() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut read = 0;
        for _ in 0..20_000 {
            let mut text = VALUE.as_bytes().to_vec();
            if rng.bool() {
                text.extend_from_slice(b"-01");
            }
            for _ in 0..rng.usize(..3) {
                let at = rng.usize(..text.len());
                text[at] = *rng.choice(b"0123456789abcdefABCDEF-_ g\xff").expect("one");
            }
            text.truncate(rng.usize(50..60));
            let parent = Parent::parse(&text);
            assert_eq!(parent.is_some(), naive(&text), "{text:?}");
            read += u32::from(parent.is_some());
        }
        assert!(read > 1000, "{read}");
    }

    #[test]
    fn what_is_no_such_value_is_nothing() {
        for value in [
            "",
            "00",
            // Another version than there can be.
            &VALUE.replacen("00", "ff", 1),
            &VALUE.replacen("00", "0x", 1),
            &VALUE.to_uppercase(),
            &VALUE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &VALUE.replace("b7ad6b7169203331", &"0".repeat(16)),
            &VALUE.replace("-b7", "b-7"),
            &VALUE.replace("-01", "-0"),
            &VALUE.replace("-01", "-0g"),
            &VALUE.replace('-', "_"),
            &format!("{VALUE}-more"),
            &format!("{}.", VALUE.replacen("00", "cc", 1)),
            &format!(" {VALUE}"),
        ] {
            assert_eq!(Parent::parse(value.as_bytes()), None, "{value:?}");
        }
    }
}
