//! One direction of a connection: its keys and the number of its next record.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::alert::Alert;
use super::content::{ContentType, PLAIN_BYTES_MAX};
use super::fault::Fault;
use super::keys::Keys;
use super::messages;
use super::record;
use super::sealer::Sealer;
use super::suite::{Suite, Version};

/// The keys of one direction and the number of its next record. Zeroized when dropped; shows
/// nothing of its keys. Not to be cloned: one number must never meet two contents.
#[derive(Serialize, Deserialize)]
pub struct Traffic {
    keys: Keys,
    next: u64,
}

impl Traffic {
    /// TLS 1.3, from a traffic secret. `None`: the secret is not as long as the suite's hash.
    pub fn tls13(suite: Suite, secret: &[u8], next: u64) -> Option<Traffic> {
        Some(Traffic {
            keys: Keys::tls13(suite, secret)?,
            next,
        })
    }

    /// TLS 1.2, where a nonce is `iv` with the number over its end, as rustls has it; of what is
    /// received in GCM only the first four bytes of `iv` count. `None`: the key is not as long
    /// as the suite's.
    pub fn tls12(suite: Suite, key: &[u8], iv: [u8; 12], next: u64) -> Option<Traffic> {
        Some(Traffic {
            keys: Keys::tls12(suite, key, iv)?,
            next,
        })
    }

    /// The number of the next record.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// A record's bytes beyond its content: 22 in TLS 1.3; in TLS 1.2 29 with GCM and 21 with
    /// ChaCha20-Poly1305.
    pub fn overhead(&self) -> usize {
        record::overhead(self.keys.version(), self.keys.suite())
    }

    /// How many records of data the keys may still seal, or have sealed by the peer (RFC 8446
    /// section 5.5). At 0 new keys are due ([`Traffic::key_update`]), or the connection's end
    /// where there are none; both find room above.
    pub fn records_left(&self) -> u64 {
        self.keys.suite().records_max().saturating_sub(self.next)
    }

    /// Whether the keys can be replaced: in TLS 1.3.
    pub fn can_update(&self) -> bool {
        self.keys.version() == Version::Tls13
    }

    /// The key expanded, for the records of one send. It counts nothing: see
    /// [`Traffic::advance`].
    pub fn sealer(&self) -> Sealer {
        Sealer::new(self.keys.cipher())
    }

    /// So many records have gone out for good: their numbers are never used again.
    pub fn advance(&mut self, records: u64) {
        let next = self.next.checked_add(records);
        self.next = next.expect("a number of a record is below 2^64");
    }

    /// Seals and counts: for what is not sealed again. Appends as many records to `out` as
    /// `plain` takes, none if it is empty.
    pub fn seal(&mut self, kind: ContentType, plain: &[u8], out: &mut Vec<u8>) {
        if plain.is_empty() {
            return;
        }
        let sealer = self.sealer();
        out.reserve(plain.len() + plain.len().div_ceil(PLAIN_BYTES_MAX) * self.overhead());
        for content in plain.chunks(PLAIN_BYTES_MAX) {
            sealer.seal(self.next, kind, out, |out| out.extend_from_slice(content));
            self.advance(1);
        }
    }

    /// A KeyUpdate that asks for none in return, under the old key; from then on the next key.
    ///
    /// # Panics
    /// In TLS 1.2: see [`Traffic::can_update`].
    pub fn key_update(&mut self, out: &mut Vec<u8>) {
        self.change_keys(&messages::key_update(false), out);
    }

    /// The same, and the peer is to take new keys as well.
    ///
    /// # Panics
    /// In TLS 1.2: see [`Traffic::can_update`].
    pub fn request_key_update(&mut self, out: &mut Vec<u8>) {
        self.change_keys(&messages::key_update(true), out);
    }

    fn change_keys(&mut self, message: &[u8], out: &mut Vec<u8>) {
        assert!(self.can_update(), "TLS 1.2 updates no keys");
        self.seal(ContentType::Handshake, message, out);
        self.update();
    }

    /// An alert: close_notify and no_renegotiation as warnings, all others fatal.
    pub fn alert(&mut self, alert: Alert, out: &mut Vec<u8>) {
        self.seal(ContentType::Alert, &alert.message(), out);
    }

    /// How long the record is that begins with `start`; `None` while that cannot be told.
    pub(super) fn record_bytes(&self, start: &[u8]) -> Result<Option<usize>, Fault> {
        record::record_bytes(self.keys.version(), self.keys.suite(), start)
    }

    /// Opens the next record in place: the kind of its content, and where that is.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(ContentType, Range<usize>), Fault> {
        // It is below the last number that there is, so that counting on cannot wrap.
        if self.next > self.keys.suite().number_max() {
            return Err(Fault::AfterLimit);
        }
        let opened = self.keys.cipher().open(self.next, record)?;
        self.next += 1;
        Ok(opened)
    }

    /// The next keys, whose records are counted from 0.
    pub fn update(&mut self) {
        self.keys.update();
        self.next = 0;
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Traffic({:?}, next {})", self.keys, self.next)
    }
}
