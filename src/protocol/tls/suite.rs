//! Ciphers and versions: what differs between them.

use ring::{aead, hkdf};
use serde::{Deserialize, Serialize};

/// A cipher; TLS 1.3 and TLS 1.2 have all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suite {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

/// The versions whose records are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

/// AES-GCM may seal 2^24.5 full records with one key (RFC 8446 section 5.5). The bound for data
/// is lower, so that what ends or renews the key has room above it. It is rustls' bound.
const GCM_RECORDS_MAX: u64 = 1 << 24;
/// No record gets a number beyond: 2^24.5, rounded down.
const GCM_NUMBER_MAX: u64 = 23_726_566;
const _: () = assert!(GCM_RECORDS_MAX < GCM_NUMBER_MAX);

impl Suite {
    pub(super) fn aead(self) -> &'static aead::Algorithm {
        match self {
            Suite::Aes128Gcm => &aead::AES_128_GCM,
            Suite::Aes256Gcm => &aead::AES_256_GCM,
            Suite::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    /// The hash that TLS 1.3 derives keys with (RFC 8446 appendix B.4).
    pub(super) fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Suite::Aes128Gcm | Suite::ChaCha20Poly1305 => hkdf::HKDF_SHA256,
            Suite::Aes256Gcm => hkdf::HKDF_SHA384,
        }
    }

    pub(super) fn key_bytes(self) -> usize {
        self.aead().key_len()
    }

    /// The traffic secret is as long as the hash.
    pub(super) fn secret_bytes(self) -> usize {
        match self {
            Suite::Aes128Gcm | Suite::ChaCha20Poly1305 => 32,
            Suite::Aes256Gcm => 48,
        }
    }

    /// Records of data that one key may seal. ChaCha20-Poly1305 ends with its numbers, which
    /// must not wrap.
    pub(super) fn records_max(self) -> u64 {
        match self {
            Suite::Aes128Gcm | Suite::Aes256Gcm => GCM_RECORDS_MAX,
            Suite::ChaCha20Poly1305 => u64::MAX - (1 << 16),
        }
    }

    /// The last number that a record may have, be it data or not.
    pub(super) fn number_max(self) -> u64 {
        match self {
            Suite::Aes128Gcm | Suite::Aes256Gcm => GCM_NUMBER_MAX,
            Suite::ChaCha20Poly1305 => u64::MAX - 1,
        }
    }
}

impl Version {
    /// Bytes of the nonce that a record carries in the clear: RFC 5288 section 3 lets the sender
    /// choose eight; later suites derive all of it from the number.
    pub(super) fn explicit_nonce_bytes(self, suite: Suite) -> usize {
        match (self, suite) {
            (Version::Tls12, Suite::Aes128Gcm | Suite::Aes256Gcm) => 8,
            _ => 0,
        }
    }

    /// Bytes behind the content and before the tag: TLS 1.3 hides the content's type there.
    pub(super) fn inner_type_bytes(self) -> usize {
        match self {
            Version::Tls12 => 0,
            Version::Tls13 => 1,
        }
    }
}
