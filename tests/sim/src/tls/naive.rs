//! Records by the letter of RFC 8446, RFC 5288 and RFC 7905, one at a time and without any
//! thought of speed. It can send what no library would.

use fanfare::protocol::tls::{Suite, Traffic};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

use super::Kind;
use super::content::DATA;

/// One direction: it seals, or opens, one record after the other.
pub struct Naive {
    pub kind: Kind,
    secret: Vec<u8>,
    key: Vec<u8>,
    iv: Vec<u8>,
    /// Of the next record.
    pub number: u64,
}

impl Naive {
    pub fn new(kind: Kind, seed: u8) -> Naive {
        Naive::with_secret(kind, &kind.secret(seed))
    }

    pub fn with_secret(kind: Kind, secret: &[u8]) -> Naive {
        let mut naive = Naive {
            kind,
            secret: secret.to_vec(),
            key: Vec::new(),
            iv: Vec::new(),
            number: 0,
        };
        naive.derive();
        naive
    }

    /// The daemon's state of the same direction.
    pub fn ours(&self) -> Traffic {
        self.ours_with(self.iv.clone())
    }

    /// The same for receiving: where each record says its nonce, all that is known beforehand are
    /// four bytes of it.
    pub fn ours_receiving(&self) -> Traffic {
        let mut iv = self.iv.clone();
        if self.kind.has_explicit_nonce() {
            iv[4..].fill(0xEE);
        }
        self.ours_with(iv)
    }

    fn ours_with(&self, iv: Vec<u8>) -> Traffic {
        let Kind { is_13, suite } = self.kind;
        let ours = if is_13 {
            Traffic::tls13(suite, &self.secret, self.number)
        } else {
            let iv = iv.try_into().expect("an iv has 12 bytes");
            Traffic::tls12(suite, &self.key, iv, self.number)
        };
        ours.expect("all lengths are right")
    }

    /// The next keys (RFC 8446 section 7.2).
    pub fn update(&mut self) {
        self.secret = self.expand_label("traffic upd", self.secret.len());
        self.derive();
        self.number = 0;
    }

    /// A record with `content` of the type `kind`, and zeros behind that in TLS 1.3.
    pub fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        if self.kind.is_13 {
            let inner = [content, &[kind], &vec![0; padding]].concat();
            self.seal_inner(DATA, inner)
        } else {
            self.seal_inner(kind, content.to_vec())
        }
    }

    /// A record of which all is chosen but its version.
    pub fn seal_inner(&mut self, outer: u8, mut inner: Vec<u8>) -> Vec<u8> {
        let nonce = self.nonce();
        let explicit = if self.kind.has_explicit_nonce() {
            nonce[4..].to_vec()
        } else {
            Vec::new()
        };
        let len = explicit.len() + inner.len() + 16;
        let header = vec![outer, 3, 3, (len >> 8) as u8, len as u8];
        let aad = self.aad(&header, inner.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.cipher()
            .seal_in_place_append_tag(nonce, Aad::from(aad), &mut inner)
            .expect("it can be sealed");
        self.number += 1;
        [header, explicit, inner].concat()
    }

    /// The type and the content of a whole record; `None` if it does not open.
    pub fn open(&mut self, record: &[u8]) -> Option<(u8, Vec<u8>)> {
        let (header, body) = record.split_at_checked(5)?;
        let len = usize::from(header[3]) << 8 | usize::from(header[4]);
        if body.len() != len || header[1..3] != [3, 3] {
            return None;
        }
        let mut nonce = self.nonce();
        let mut sealed = body.to_vec();
        if self.kind.has_explicit_nonce() {
            let (explicit, rest) = body.split_at_checked(8)?;
            nonce[4..].copy_from_slice(explicit);
            sealed = rest.to_vec();
        }
        let aad = self.aad(header, sealed.len().checked_sub(16)?);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let cipher = self.cipher();
        let plain = cipher.open_in_place(nonce, Aad::from(aad), &mut sealed);
        let mut plain = plain.ok()?.to_vec();
        self.number += 1;
        if !self.kind.is_13 {
            return Some((header[0], plain));
        }
        while plain.last() == Some(&0) {
            plain.pop();
        }
        let kind = plain.pop()?;
        Some((kind, plain))
    }

    fn nonce(&self) -> [u8; 12] {
        let mut number = vec![0; 4];
        number.extend(self.number.to_be_bytes());
        let both = self.iv.iter().zip(number);
        let nonce: Vec<u8> = both.map(|(iv, number)| iv ^ number).collect();
        nonce.try_into().expect("an iv has 12 bytes")
    }

    fn aad(&self, header: &[u8], inner_bytes: usize) -> Vec<u8> {
        if self.kind.is_13 {
            return header.to_vec();
        }
        let mut aad = self.number.to_be_bytes().to_vec();
        aad.extend(&header[..3]);
        aad.extend([(inner_bytes >> 8) as u8, inner_bytes as u8]);
        aad
    }

    fn cipher(&self) -> LessSafeKey {
        let algorithm = match self.kind.suite {
            Suite::Aes128Gcm => &aead::AES_128_GCM,
            Suite::Aes256Gcm => &aead::AES_256_GCM,
            Suite::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        };
        LessSafeKey::new(UnboundKey::new(algorithm, &self.key).expect("a key of its length"))
    }

    fn derive(&mut self) {
        self.key = self.expand_label("key", self.kind.key_bytes());
        self.iv = self.expand_label("iv", 12);
    }

    /// RFC 8446 section 7.1, without context; the first block of HKDF-Expand is enough.
    fn expand_label(&self, label: &str, len: usize) -> Vec<u8> {
        let label = format!("tls13 {label}");
        let mut info = vec![0, len as u8, label.len() as u8];
        info.extend(label.bytes());
        info.extend([0, 1]);
        let hash = match self.kind.suite {
            Suite::Aes256Gcm => hmac::HMAC_SHA384,
            Suite::Aes128Gcm | Suite::ChaCha20Poly1305 => hmac::HMAC_SHA256,
        };
        let block = hmac::sign(&hmac::Key::new(hash, &self.secret), &info);
        block.as_ref()[..len].to_vec()
    }
}
