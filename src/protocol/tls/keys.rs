//! The keys of one direction, kept short, and how TLS 1.3 derives them.

use std::fmt;

use ring::hkdf::{KeyType, Prk};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::record::Cipher;
use super::suite::{Suite, Version};

const SECRET_BYTES_MAX: usize = 48;
const KEY_BYTES_MAX: usize = 32;
const IV_BYTES: usize = 12;

/// What records are sealed or opened with. The key schedule of its cipher is expanded at use,
/// as it is five times as long. Zeroized when dropped. Never cloned: the same key twice would
/// seal two contents with one nonce.
#[derive(Serialize, Deserialize)]
pub(super) struct Keys {
    version: Version,
    suite: Suite,
    key: [u8; KEY_BYTES_MAX],
    iv: [u8; IV_BYTES],
    /// What the next keys are derived from; zeros in TLS 1.2. In pieces, as serde knows no
    /// arrays of 48 bytes.
    secret: [[u8; 16]; 3],
}

const _: () = assert!(size_of::<[[u8; 16]; 3]>() == SECRET_BYTES_MAX);

impl Keys {
    /// `None`: the secret is not as long as the suite's hash.
    pub(super) fn tls13(suite: Suite, secret: &[u8]) -> Option<Keys> {
        if secret.len() != suite.secret_bytes() {
            return None;
        }
        let mut keys = Keys {
            version: Version::Tls13,
            suite,
            key: [0; KEY_BYTES_MAX],
            iv: [0; IV_BYTES],
            secret: [[0; 16]; 3],
        };
        keys.secret.as_flattened_mut()[..secret.len()].copy_from_slice(secret);
        keys.derive();
        Some(keys)
    }

    /// `None`: the key is not as long as the suite's.
    pub(super) fn tls12(suite: Suite, key: &[u8], iv: [u8; IV_BYTES]) -> Option<Keys> {
        if key.len() != suite.key_bytes() {
            return None;
        }
        let mut keys = Keys {
            version: Version::Tls12,
            suite,
            key: [0; KEY_BYTES_MAX],
            iv,
            secret: [[0; 16]; 3],
        };
        keys.key[..key.len()].copy_from_slice(key);
        Some(keys)
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn suite(&self) -> Suite {
        self.suite
    }

    pub(super) fn cipher(&self) -> Cipher {
        Cipher::new(self.version, self.suite, self.key(), self.iv)
    }

    /// Whether these are the very key and iv.
    pub(super) fn are(&self, key: &[u8], iv: &[u8]) -> bool {
        self.key() == key && self.iv == iv
    }

    /// The next generation (RFC 8446 section 7.2). TLS 1.2 has none.
    pub(super) fn update(&mut self) {
        assert!(self.version == Version::Tls13, "TLS 1.2 updates no keys");
        let mut next = [0; SECRET_BYTES_MAX];
        let next_secret = &mut next[..self.suite.secret_bytes()];
        expand_label(self.suite, self.secret(), b"traffic upd", next_secret);
        self.secret.as_flattened_mut()[..next_secret.len()].copy_from_slice(next_secret);
        next.zeroize();
        self.derive();
    }

    /// Key and iv of the secret (RFC 8446 section 7.3).
    fn derive(&mut self) {
        let (mut key, mut iv) = ([0; KEY_BYTES_MAX], [0; IV_BYTES]);
        let key_bytes = self.suite.key_bytes();
        expand_label(self.suite, self.secret(), b"key", &mut key[..key_bytes]);
        expand_label(self.suite, self.secret(), b"iv", &mut iv);
        self.key = key;
        self.iv = iv;
        key.zeroize();
        iv.zeroize();
    }

    fn key(&self) -> &[u8] {
        &self.key[..self.suite.key_bytes()]
    }

    fn secret(&self) -> &[u8] {
        &self.secret.as_flattened()[..self.suite.secret_bytes()]
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
        self.secret.zeroize();
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.version, self.suite)
    }
}

/// HKDF-Expand-Label without a context (RFC 8446 section 7.1).
fn expand_label(suite: Suite, secret: &[u8], label: &[u8], out: &mut [u8]) {
    const PREFIX: &[u8] = b"tls13 ";
    let out_len = (out.len() as u16).to_be_bytes();
    let label_len = [(PREFIX.len() + label.len()) as u8];
    let info = [&out_len[..], &label_len, PREFIX, label, &[0]];
    Prk::new_less_safe(suite.hkdf(), secret)
        .expand(&info, Len(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("a key is far shorter than 255 hashes");
}

struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}
