//! The handshake messages that may come, or go out, after a handshake.

use serde::{Deserialize, Serialize};

use super::fault::Fault;

const CLIENT_HELLO: u8 = 1;
const KEY_UPDATE_TYPE: u8 = 24;
/// How a KeyUpdate begins: its body is one byte (RFC 8446 section 4.6.3).
const KEY_UPDATE_HEAD: [u8; HEAD_BYTES] = [KEY_UPDATE_TYPE, 0, 0, 1];
/// A message's type and the length of its body.
const HEAD_BYTES: usize = 4;
/// A ClientHello that asks for renegotiation is skipped up to this length. What browsers send
/// is below 2 KiB, with post-quantum key shares too.
const HELLO_BYTES_MAX: u32 = 1 << 14;

/// A KeyUpdate, which may ask the peer for one of its own.
pub(super) fn key_update(requests: bool) -> [u8; HEAD_BYTES + 1] {
    let [kind, high, middle, low] = KEY_UPDATE_HEAD;
    [kind, high, middle, low, u8::from(requests)]
}

/// A message that has come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    KeyUpdate { requested: bool },
    ClientHello,
}

/// Puts messages together from the fragments in records. Only the head is kept: the body of
/// a KeyUpdate is one byte, and that of a ClientHello is skipped.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Messages {
    head: [u8; HEAD_BYTES],
    head_bytes: u8,
    body_bytes_left: u16,
}

impl Messages {
    /// Whether a message has begun and not ended.
    pub(super) fn is_inside(&self) -> bool {
        self.head_bytes > 0
    }

    /// KeyUpdate, the only message that TLS 1.3 has for a client after its handshake. It must end
    /// its record.
    pub(super) fn tls13(&mut self, fragment: &[u8]) -> Result<Option<Message>, Fault> {
        let Some(body) = self.read_head(fragment, KEY_UPDATE_TYPE)? else {
            return Ok(None);
        };
        if self.head != KEY_UPDATE_HEAD {
            return Err(Fault::Decode);
        }
        let requested = match body {
            [] => return Ok(None),
            [0] => false,
            [1] => true,
            [_] => return Err(Fault::Illegal),
            [..] => return Err(Fault::KeyChange),
        };
        *self = Messages::default();
        Ok(Some(Message::KeyUpdate { requested }))
    }

    /// ClientHello, by which a client asks for renegotiation in TLS 1.2.
    pub(super) fn tls12(&mut self, fragment: &[u8]) -> Result<Option<Message>, Fault> {
        let begins = usize::from(self.head_bytes) < HEAD_BYTES;
        let Some(body) = self.read_head(fragment, CLIENT_HELLO)? else {
            return Ok(None);
        };
        if begins {
            let [_, high, middle, low] = self.head;
            let len = u32::from_be_bytes([0, high, middle, low]);
            if len > HELLO_BYTES_MAX {
                return Err(Fault::Handshake);
            }
            self.body_bytes_left = len as u16;
        }
        let left = usize::from(self.body_bytes_left);
        if body.len() < left {
            // It fits: it is less than what is left.
            self.body_bytes_left -= body.len() as u16;
            return Ok(None);
        }
        // A second one at once is asking again.
        if let Some(&next) = body.get(left) {
            let again = next == CLIENT_HELLO;
            return Err(if again {
                Fault::Renegotiation
            } else {
                Fault::Handshake
            });
        }
        *self = Messages::default();
        Ok(Some(Message::ClientHello))
    }

    /// The head of a message of type `wanted`; returns what of `fragment` is its body, `None`
    /// while the head is not whole.
    fn read_head<'a>(&mut self, fragment: &'a [u8], wanted: u8) -> Result<Option<&'a [u8]>, Fault> {
        let have = usize::from(self.head_bytes).min(HEAD_BYTES);
        let (more, body) = fragment.split_at(fragment.len().min(HEAD_BYTES - have));
        self.head[have..have + more.len()].copy_from_slice(more);
        self.head_bytes = (have + more.len()) as u8;
        if self.head[0] != wanted {
            return Err(Fault::Handshake);
        }
        let is_whole = usize::from(self.head_bytes) == HEAD_BYTES;
        Ok(is_whole.then_some(body))
    }
}
