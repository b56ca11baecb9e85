//! One record, sealed or opened with an expanded key.

use std::ops::Range;

use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};

use super::content::{ContentType, PLAIN_BYTES_MAX};
use super::fault::Fault;
use super::suite::{Suite, Version};

/// Content type, version and length.
pub(super) const HEADER_BYTES: usize = 5;
/// All suites have tags of 16 bytes.
pub(super) const TAG_BYTES: usize = 16;
/// The version on every record after a handshake, in TLS 1.3 too (RFC 8446 section 5.2).
const VERSION: [u8; 2] = [3, 3];

/// A key ready for use: about 500 bytes, so it lives for the records of one send.
pub(super) struct Cipher {
    version: Version,
    suite: Suite,
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
}

impl Cipher {
    /// `key` has the length that `suite` wants: whoever keeps it sees to that.
    pub(super) fn new(version: Version, suite: Suite, key: &[u8], iv: [u8; NONCE_LEN]) -> Cipher {
        let key = UnboundKey::new(suite.aead(), key).expect("the key is of its suite's length");
        let key = LessSafeKey::new(key);
        Cipher {
            version,
            suite,
            key,
            iv,
        }
    }

    /// Appends record `number` to `out`; its content is what `fill` appends.
    pub(super) fn seal(
        &self,
        number: u64,
        kind: ContentType,
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        assert!(
            number <= self.suite.number_max(),
            "a key must not seal record {number}"
        );
        let start = out.len();
        let outer = match self.version {
            Version::Tls12 => kind,
            Version::Tls13 => ContentType::ApplicationData,
        };
        out.extend_from_slice(&[outer as u8, VERSION[0], VERSION[1], 0, 0]);
        let nonce = self.nonce(number);
        let explicit_bytes = self.version.explicit_nonce_bytes(self.suite);
        out.extend_from_slice(&nonce[NONCE_LEN - explicit_bytes..]);
        let body = out.len();
        fill(out);
        let content_bytes = out.len().checked_sub(body).expect("fill only appends");
        assert!(
            content_bytes <= PLAIN_BYTES_MAX,
            "a record holds at most {PLAIN_BYTES_MAX} bytes, not {content_bytes}"
        );
        if self.version == Version::Tls13 {
            out.push(kind as u8);
        }
        // It fits: content and what a cipher adds is far below 2^16.
        let len = (out.len() - start - HEADER_BYTES + TAG_BYTES) as u16;
        out[start + 3..start + HEADER_BYTES].copy_from_slice(&len.to_be_bytes());
        let aad = self.aad(number, outer, len, content_bytes as u16);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(aad.bytes()), &mut out[body..])
            .expect("a record is shorter than any cipher's limit");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens record `number`, header and all, in place: the kind of its content and where
    /// that is. The header has been checked by [`record_bytes`].
    pub(super) fn open(
        &self,
        number: u64,
        record: &mut [u8],
    ) -> Result<(ContentType, Range<usize>), Fault> {
        let outer = ContentType::from_wire(record[0]).ok_or(Fault::ContentType)?;
        let body = HEADER_BYTES + self.version.explicit_nonce_bytes(self.suite);
        let tag_at = record.len().checked_sub(TAG_BYTES).ok_or(Fault::TooShort)?;
        let inner_bytes = tag_at.checked_sub(body).ok_or(Fault::TooShort)?;

        let mut nonce = self.nonce(number);
        let explicit = &record[HEADER_BYTES..body];
        nonce[NONCE_LEN - explicit.len()..].copy_from_slice(explicit);
        // Both are below 2^16, as the header's length is.
        let len = (record.len() - HEADER_BYTES) as u16;
        let aad = self.aad(number, outer, len, inner_bytes as u16);
        let tag = Tag::try_from(&record[tag_at..]).map_err(|_| Fault::TooShort)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .open_in_place_separate_tag(
                nonce,
                Aad::from(aad.bytes()),
                tag,
                &mut record[body..tag_at],
                0..,
            )
            .map_err(|_| Fault::BadTag)?;

        let inner = &record[body..tag_at];
        if inner.len() > PLAIN_BYTES_MAX + self.version.inner_type_bytes() {
            return Err(Fault::TooLong);
        }
        if self.version == Version::Tls12 {
            return Ok((outer, body..tag_at));
        }
        let type_at = inner.iter().rposition(|&byte| byte != 0);
        let type_at = type_at.ok_or(Fault::NoContent)?;
        let kind = ContentType::from_wire(inner[type_at]).ok_or(Fault::ContentType)?;
        Ok((kind, body..body + type_at))
    }

    /// RFC 8446 section 5.3 and RFC 7905 section 2: the iv with the number over its end. For GCM
    /// in TLS 1.2 the sender may choose; rustls, whose iv this is, does the same.
    fn nonce(&self, number: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, over) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= over;
        }
        nonce
    }

    /// What is authenticated beside the content. `len` is that of the header.
    fn aad(&self, number: u64, outer: ContentType, len: u16, content_bytes: u16) -> Beside {
        let mut beside = Beside {
            bytes: [0; 13],
            len: 0,
        };
        match self.version {
            // RFC 5246 section 6.2.3.3: number, type, version, length of the content.
            Version::Tls12 => {
                beside.push(&number.to_be_bytes());
                beside.push(&[outer as u8, VERSION[0], VERSION[1]]);
                beside.push(&content_bytes.to_be_bytes());
            }
            // RFC 8446 section 5.2: the header.
            Version::Tls13 => {
                beside.push(&[outer as u8, VERSION[0], VERSION[1]]);
                beside.push(&len.to_be_bytes());
            }
        }
        beside
    }
}

/// Up to 13 bytes of associated data.
struct Beside {
    bytes: [u8; 13],
    len: usize,
}

impl Beside {
    fn push(&mut self, more: &[u8]) {
        self.bytes[self.len..self.len + more.len()].copy_from_slice(more);
        self.len += more.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A record's bytes beyond its content.
pub(super) fn overhead(version: Version, suite: Suite) -> usize {
    HEADER_BYTES + version.explicit_nonce_bytes(suite) + version.inner_type_bytes() + TAG_BYTES
}

/// How long the record is that begins with `start`, header and all; `None` while its header is
/// not whole.
///
/// # Errors
/// A header that no record of this connection may have.
pub(super) fn record_bytes(
    version: Version,
    suite: Suite,
    start: &[u8],
) -> Result<Option<usize>, Fault> {
    let Some(&[kind, major, minor, high, low]) = start.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    match ContentType::from_wire(kind) {
        None => return Err(Fault::ContentType),
        Some(ContentType::ChangeCipherSpec) => return Err(Fault::ChangeCipherSpec),
        // Alerts and handshake messages are encrypted too: nothing but data is seen.
        Some(kind) if version == Version::Tls13 && kind != ContentType::ApplicationData => {
            return Err(Fault::ContentType);
        }
        Some(_) => {}
    }
    if [major, minor] != VERSION {
        return Err(Fault::Version);
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    let added_bytes = version.explicit_nonce_bytes(suite) + TAG_BYTES;
    let len_max = match version {
        // RFC 8446 section 5.2.
        Version::Tls13 => PLAIN_BYTES_MAX + 256,
        // RFC 5246 section 6.2.3 allows 2048 more than the content for any cipher. What is known
        // here adds less, so that a longer record can only hold too much.
        Version::Tls12 => PLAIN_BYTES_MAX + added_bytes,
    };
    if len > len_max {
        return Err(Fault::TooLong);
    }
    if len < added_bytes {
        return Err(Fault::TooShort);
    }
    Ok(Some(HEADER_BYTES + len))
}
