//! Public keys in PEM (RFC 7468): of any kind as `PUBLIC KEY` (RFC 5280 section 4.1.2.7), and
//! of RSA as `RSA PUBLIC KEY` (RFC 8017 appendix A.1.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::material::{KeyError, Material, rsa};

const BEGIN: &str = "-----BEGIN ";

// Object identifiers, as DER has them.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

const DAMAGED: KeyError = KeyError::Damaged("a public key in PEM");

pub(super) fn is_pem(text: &[u8]) -> bool {
    let begin = BEGIN.as_bytes();
    text.windows(begin.len()).any(|window| window == begin)
}

/// The first key in `text`.
pub(super) fn read(text: &[u8]) -> Result<Material, KeyError> {
    let text = str::from_utf8(text).map_err(|_| DAMAGED)?;
    let (_, rest) = text.split_once(BEGIN).ok_or(DAMAGED)?;
    let (label, rest) = rest.split_once("-----").ok_or(DAMAGED)?;
    let (body, _) = rest.split_once("-----END ").ok_or(DAMAGED)?;
    if label.ends_with("PRIVATE KEY") {
        return Err(KeyError::Private);
    }
    if label.ends_with("CERTIFICATE") {
        return Err(KeyError::Certificate);
    }
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).map_err(|_| DAMAGED)?;
    match label {
        "PUBLIC KEY" => subject_public_key(&der),
        "RSA PUBLIC KEY" => rsa_public_key(&der),
        _ => Err(KeyError::PemKind),
    }
}

fn subject_public_key(der: &[u8]) -> Result<Material, KeyError> {
    let mut whole = Der(Der(der).next(SEQUENCE)?);
    let mut algorithm = Der(whole.next(SEQUENCE)?);
    let bits = whole.next(BIT_STRING)?;
    // Before the bytes stands how many bits are not used.
    let Some((0, key)) = bits.split_first().map(|(unused, key)| (*unused, key)) else {
        return Err(DAMAGED);
    };
    match algorithm.next(OBJECT_IDENTIFIER)? {
        RSA => rsa_public_key(key),
        EC => ec_point(algorithm.next(OBJECT_IDENTIFIER)?, key),
        ED25519 if key.len() == 32 => Ok(Material::Ed25519(key.into())),
        _ => Err(KeyError::Kind),
    }
}

fn rsa_public_key(der: &[u8]) -> Result<Material, KeyError> {
    let mut whole = Der(Der(der).next(SEQUENCE)?);
    let n = whole.next(INTEGER)?;
    rsa(n, whole.next(INTEGER)?)
}

fn ec_point(curve: &[u8], point: &[u8]) -> Result<Material, KeyError> {
    match (curve, point) {
        (P256, [4, coordinates @ ..]) if coordinates.len() == 64 => {
            Ok(Material::P256(point.into()))
        }
        (P384, [4, coordinates @ ..]) if coordinates.len() == 96 => {
            Ok(Material::P384(point.into()))
        }
        _ => Err(KeyError::Kind),
    }
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// What is left of some DER (X.690).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, which must be of that kind.
    fn next(&mut self, tag: u8) -> Result<&'a [u8], KeyError> {
        let (found, rest) = self.0.split_first().ok_or(DAMAGED)?;
        let (len, rest) = match rest.split_first().ok_or(DAMAGED)? {
            (short @ 0..=0x7f, rest) => (usize::from(*short), rest),
            // Keys are shorter than 64 KiB.
            (long @ 0x81..=0x82, rest) => {
                let (len, rest) = rest
                    .split_at_checked(usize::from(long & 0x7f))
                    .ok_or(DAMAGED)?;
                let add = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
                (len.iter().fold(0, add), rest)
            }
            _ => return Err(DAMAGED),
        };
        let (content, rest) = rest.split_at_checked(len).ok_or(DAMAGED)?;
        if *found != tag {
            return Err(DAMAGED);
        }
        self.0 = rest;
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_public_key_is_told_what_it_is() {
        let pem = |label: &str, body: &str| {
            read(format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").as_bytes())
        };
        assert_eq!(pem("PRIVATE KEY", "AA=="), Err(KeyError::Private));
        assert_eq!(pem("EC PRIVATE KEY", "AA=="), Err(KeyError::Private));
        assert_eq!(pem("CERTIFICATE", "AA=="), Err(KeyError::Certificate));
        assert_eq!(pem("DH PARAMETERS", "AA=="), Err(KeyError::PemKind));
        for broken in ["", "AA==", "MAA=", "MIL//w==", "*"] {
            assert_eq!(pem("PUBLIC KEY", broken), Err(DAMAGED), "{broken}");
        }
        assert_eq!(read(b"-----BEGIN PUBLIC KEY-----"), Err(DAMAGED));
    }
}
