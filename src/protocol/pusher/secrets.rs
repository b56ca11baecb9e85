//! The secrets of an app, and what is signed with them: HMAC with SHA-256, in hexadecimal
//! digits.

use std::fmt;

use ring::hmac;

/// Bytes of a signature.
const TAG_BYTES: usize = 32;

/// The secrets of an app. Several are valid at a time while one takes the other's place; the
/// first one signs.
#[derive(Clone, Default)]
pub struct Secrets(Vec<Secret>);

#[derive(Clone)]
struct Secret {
    text: Box<str>,
    key: hmac::Key,
}

impl Secrets {
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let secret = |text: String| Secret {
            key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()),
            text: text.into(),
        };
        Secrets(secrets.into_iter().map(secret).collect())
    }

    /// Whether `signature` is that of `message` by one of the secrets. How long that takes
    /// says nothing of how much of it fits.
    pub fn verify(&self, message: &[u8], signature: &str) -> bool {
        let mut tag = [0; TAG_BYTES];
        from_hex(signature, &mut tag)
            && self
                .0
                .iter()
                .any(|secret| hmac::verify(&secret.key, message, &tag).is_ok())
    }

    /// The signature of `message`; empty where there is no secret.
    pub fn sign(&self, message: &[u8]) -> String {
        let Some(secret) = self.0.first() else {
            return String::new();
        };
        to_hex(hmac::sign(&secret.key, message).as_ref())
    }
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        let texts = |secrets: &Self| -> Vec<Box<str>> {
            secrets.0.iter().map(|secret| secret.text.clone()).collect()
        };
        texts(self) == texts(other)
    }
}

impl Eq for Secrets {}

/// No log shows them.
impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} secrets", self.0.len())
    }
}

/// Bytes as two digits each.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// Fills `bytes` from two digits each; `false` where the text is anything else.
pub(super) fn from_hex(text: &str, bytes: &mut [u8]) -> bool {
    let half = |digit: u8| char::from(digit).to_digit(16).map(|half| half as u8);
    let is_long_enough = text.len() == 2 * bytes.len();
    let mut read = bytes.iter_mut().zip(text.as_bytes().chunks_exact(2));
    is_long_enough
        && read.all(|(byte, digits)| {
            let value = half(digits[0]).zip(half(digits[1]));
            value.is_some_and(|(high, low)| {
                *byte = high << 4 | low;
                true
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_of_the_secrets_has_signed_is_believed() {
        let (old, new) = ("old".to_owned(), "new".to_owned());
        let by_old = Secrets::new([old.clone()]).sign(b"message");
        let both = Secrets::new([new.clone(), old]);
        assert!(both.verify(b"message", &by_old));
        assert!(both.verify(b"message", &by_old.to_uppercase()));
        assert_eq!(
            both.sign(b"message"),
            Secrets::new([new.clone()]).sign(b"message")
        );
        assert!(!Secrets::new([new]).verify(b"message", &by_old));
        assert!(!both.verify(b"massage", &by_old));
        for text in [
            "",
            "00",
            &by_old[1..],
            &format!("{by_old}0"),
            &"é".repeat(32),
            &"zz".repeat(32),
        ] {
            assert!(!both.verify(b"message", text), "{text}");
        }
        assert!(!Secrets::default().verify(b"message", &by_old));
        assert_eq!(format!("{both:?}"), "2 secrets");
    }

    #[test]
    fn digits_are_read_as_they_are_written() {
        let mut random = fastrand::Rng::with_seed(1);
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
            let mut read = vec![0; len];
            assert!(from_hex(&to_hex(&bytes), &mut read));
            assert_eq!(read, bytes);
        }
    }
}
