//! What a certificate says of itself (RFC 5280): the names that it is for, and until when it
//! is valid. Whether it can be trusted is for those who are shown it.
//!
//! Called by `config`, with the server's own certificates.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// What is told of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// DNS names, in lower case; one may begin with `*.`.
    pub names: Vec<Box<str>>,
    /// The last moment at which it is valid, in seconds since 1970.
    pub until_s: i64,
}

/// The bytes are no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no X.509 certificate")]
pub struct NoCertificate;

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// See [`NoCertificate`].
    pub fn read(der: &[u8]) -> Result<Certificate, NoCertificate> {
        read(der).ok_or(NoCertificate)
    }

    /// Whether it is for the host of that name (RFC 6125 section 6.4: a star is one label).
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            None => name.eq_ignore_ascii_case(host),
            Some(parent) => host.split_once('.').is_some_and(|(label, rest)| {
                !label.is_empty() && parent.eq_ignore_ascii_case(rest)
            }),
        })
    }
}

// Tags of DER (X.690 section 8.1.2).
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The version, and the extensions (RFC 5280 section 4.1).
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// A `dNSName` (RFC 5280 section 4.2.1.6).
const DNS_NAME: u8 = 0x82;
/// 2.5.29.17, the subject's alternative names.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

fn read(der: &[u8]) -> Option<Certificate> {
    let mut whole = Der(Der(der).take(SEQUENCE)?);
    let mut body = Der(whole.take(SEQUENCE)?);
    if body.tag() == Some(VERSION) {
        body.any()?;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        body.any()?;
    }
    let mut validity = Der(body.take(SEQUENCE)?);
    validity.any()?;
    let (tag, until) = validity.any()?;
    let until_s = seconds(tag, until)?;
    let mut names = Vec::new();
    while let Some((tag, content)) = body.any() {
        if tag == EXTENSIONS {
            let mut extensions = Der(Der(content).take(SEQUENCE)?);
            while let Some((SEQUENCE, extension)) = extensions.any() {
                names.extend(names_in(extension)?);
            }
        }
    }
    Some(Certificate { names, until_s })
}

/// The DNS names of an extension, if it is the one with names.
fn names_in(extension: &[u8]) -> Option<Vec<Box<str>>> {
    let mut extension = Der(extension);
    if extension.take(OBJECT_IDENTIFIER)? != SUBJECT_ALT_NAME {
        return Some(Vec::new());
    }
    if extension.tag() == Some(BOOLEAN) {
        extension.any()?;
    }
    let mut all = Der(Der(extension.take(OCTET_STRING)?).take(SEQUENCE)?);
    let mut names = Vec::new();
    while let Some((tag, name)) = all.any() {
        if tag == DNS_NAME {
            names.push(str::from_utf8(name).ok()?.to_ascii_lowercase().into());
        }
    }
    Some(names)
}

/// A time as certificates have it (RFC 5280 section 4.1.2.5): always with seconds and in UTC.
fn seconds(tag: u8, time: &[u8]) -> Option<i64> {
    let text = str::from_utf8(time).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match tag {
        UTC_TIME if text.len() == 12 => {
            let year: i16 = text[..2].parse().ok()?;
            (
                if year < 50 { 2000 + year } else { 1900 + year },
                &text[2..],
            )
        }
        GENERALIZED_TIME if text.len() == 14 => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let pair = |at: usize| rest[2 * at..2 * at + 2].parse::<i8>().ok();
    let time = DateTime::new(year, pair(0)?, pair(1)?, pair(2)?, pair(3)?, pair(4)?, 0).ok()?;
    let zoned: Timestamp = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(zoned.as_second())
}

/// The rest of a sequence in DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The tag of what comes next.
    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of what comes next, which must have that tag.
    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let (tag, content) = self.any()?;
        (tag == wanted).then_some(content)
    }

    /// Tag and content of what comes next.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, short, rest @ ..] = self.0 else {
            return None;
        };
        let (len, rest) = match short {
            0..=0x7f => (usize::from(*short), rest),
            // The one between means a length that is told by an end, which DER forbids.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(short - 0x80))?;
                let len = bytes
                    .iter()
                    .fold(0, |len, byte| len << 8 | usize::from(*byte));
                (len, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((*tag, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str], change: impl FnOnce(&mut rcgen::CertificateParams)) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_names_and_the_end_of_a_certificate_are_read() {
        let der = made(&["A.example", "*.b.example", "10.0.0.1"], |params| {
            params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        });
        let read = Certificate::read(&der).unwrap();
        assert_eq!(
            read.names.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
            ["a.example", "*.b.example"]
        );
        let end: Timestamp = "2031-02-03T00:00:00Z".parse().unwrap();
        assert_eq!(read.until_s, end.as_second());
        // Beyond 2049 the time is written otherwise.
        let far = made(&["a"], |params| {
            params.not_after = rcgen::date_time_ymd(2087, 1, 2)
        });
        let end: Timestamp = "2087-01-02T00:00:00Z".parse().unwrap();
        assert_eq!(Certificate::read(&far).unwrap().until_s, end.as_second());
    }

    #[test]
    fn a_star_is_one_label() {
        let certificate = Certificate {
            names: vec!["a.example".into(), "*.b.example".into()],
            until_s: 0,
        };
        for host in ["a.example", "A.Example.", "x.b.example", "X.B.example"] {
            assert!(certificate.is_for(host), "{host}");
        }
        for host in [
            "b.example",
            "x.y.b.example",
            ".b.example",
            "x.a.example",
            "",
        ] {
            assert!(!certificate.is_for(host), "{host}");
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_no_certificate_and_nothing_worse() {
        let der = made(&["a.example"], |_| {});
        for len in 0..der.len() {
            assert_eq!(Certificate::read(&der[..len]), Err(NoCertificate), "{len}");
        }
        for at in 0..der.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = der.clone();
                changed[at] ^= change;
                // It may still be one, of another name.
                let _ = Certificate::read(&changed);
            }
        }
    }
}
