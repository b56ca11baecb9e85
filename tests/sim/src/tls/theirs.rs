//! rustls' own protection of records, with the keys that [`naive`](super::naive) has.

use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::crypto::ring::cipher_suite;
use rustls::crypto::tls13::OkmBlock;
use rustls::internal::{derive_traffic_iv, derive_traffic_key};
use rustls::{ContentType, ProtocolVersion, SupportedCipherSuite, Tls13CipherSuite};

use fanfare::protocol::tls::Suite;

use super::Kind;

/// One direction, by rustls: it seals, or opens, one record after the other.
pub struct Theirs {
    kind: Kind,
    secret: OkmBlock,
    write: Box<dyn MessageEncrypter>,
    read: Box<dyn MessageDecrypter>,
    /// Of the next record.
    pub number: u64,
}

impl Theirs {
    pub fn new(kind: Kind, seed: u8) -> Theirs {
        Theirs::with_secret(kind, OkmBlock::new(&kind.secret(seed)))
    }

    fn with_secret(kind: Kind, secret: OkmBlock) -> Theirs {
        let suite = suite13(kind.suite);
        let expander = suite.hkdf_provider.expander_for_okm(&secret);
        let key = || derive_traffic_key(expander.as_ref(), suite.aead_alg);
        let iv = || derive_traffic_iv(expander.as_ref());
        let (write, read) = if kind.is_13 {
            let aead = suite.aead_alg;
            (aead.encrypter(key(), iv()), aead.decrypter(key(), iv()))
        } else {
            let iv = iv();
            let fixed_bytes = if kind.has_explicit_nonce() { 4 } else { 12 };
            let (fixed, explicit) = iv.as_ref().split_at(fixed_bytes);
            let SupportedCipherSuite::Tls12(suite) = suite12(kind.suite) else {
                unreachable!("it is of TLS 1.2");
            };
            let aead = suite.aead_alg;
            (
                aead.encrypter(key(), fixed, explicit),
                aead.decrypter(key(), fixed),
            )
        };
        Theirs {
            kind,
            secret,
            write,
            read,
            number: 0,
        }
    }

    pub fn update(&mut self) {
        let suite = suite13(self.kind.suite);
        let expander = suite.hkdf_provider.expander_for_okm(&self.secret);
        let len = [0, expander.hash_len() as u8];
        let label = b"tls13 traffic upd";
        let secret = expander.expand_block(&[&len, &[label.len() as u8], label, &[0]]);
        *self = Theirs::with_secret(self.kind, secret);
    }

    /// `content` fits one record.
    pub fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ: ContentType::from(kind),
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(content),
        };
        let sealed = self.write.encrypt(message, self.number);
        self.number += 1;
        sealed.expect("rustls seals it").encode()
    }

    /// The type and the content of a whole record; `None` if rustls does not open it.
    pub fn open(&mut self, record: &[u8]) -> Option<(u8, Vec<u8>)> {
        let mut body = record.get(5..)?.to_vec();
        let version = ProtocolVersion::from(u16::from_be_bytes([record[1], record[2]]));
        let message = InboundOpaqueMessage::new(ContentType::from(record[0]), version, &mut body);
        let opened = self.read.decrypt(message, self.number).ok()?;
        self.number += 1;
        Some((opened.typ.into(), opened.payload.to_vec()))
    }
}

fn suite13(suite: Suite) -> &'static Tls13CipherSuite {
    let suite = match suite {
        Suite::Aes128Gcm => cipher_suite::TLS13_AES_128_GCM_SHA256,
        Suite::Aes256Gcm => cipher_suite::TLS13_AES_256_GCM_SHA384,
        Suite::ChaCha20Poly1305 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    };
    suite.tls13().expect("it is of TLS 1.3")
}

fn suite12(suite: Suite) -> SupportedCipherSuite {
    match suite {
        Suite::Aes128Gcm => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Suite::Aes256Gcm => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Suite::ChaCha20Poly1305 => cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}
