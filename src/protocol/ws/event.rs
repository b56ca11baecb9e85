//! What the reader hands out: messages, pings, pongs and closes, each with its
//! payload still masked or already whole.
//!
//! Called by nobody: these are the types between `reader` and `core`.

use super::close::Close;
use super::frame::CONTROL_BYTES_MAX;
use crate::mask;

/// Something whole that the client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text or binary message.
    Message(Message<'a>),
    /// To be answered by a pong with the same payload.
    Ping(Control),
    /// Shows that the peer lives.
    Pong(Control),
    /// The client closes; nothing after it is read. `None`: it gave no code.
    Close(Option<Close>),
}

/// A whole message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Text, else binary.
    pub text: bool,
    /// The payload is still compressed (RFC 7692): text is not checked before it is inflated.
    pub deflated: bool,
    /// Its bytes.
    pub payload: Payload<'a>,
}

/// The bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// One frame that lies wholly in the input, as it came: masked, and text NOT YET checked
    /// for UTF-8. Whoever unmasks it checks it.
    Masked {
        /// The masked bytes.
        bytes: &'a [u8],
        /// The key that belongs to the first of them.
        key: [u8; 4],
    },
    /// Put together from pieces and unmasked; valid UTF-8 if it is text and not deflated.
    Whole(&'a [u8]),
}

impl Payload<'_> {
    /// Its length in bytes, as they came.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            Self::Masked { bytes, .. } | Self::Whole(bytes) => bytes.len(),
        }
    }
}

/// The unmasked payload of a ping or pong.
#[derive(Clone, Copy)]
pub struct Control {
    bytes: [u8; CONTROL_BYTES_MAX],
    len: u8,
}

impl Control {
    /// The payload, 125 bytes at most.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The caller has checked that the whole payload fits.
    pub(super) fn append(&mut self, masked: &[u8], key: [u8; 4]) {
        let at = usize::from(self.len);
        mask::copy_unmasked(&mut self.bytes[at..at + masked.len()], masked, key);
        self.len += masked.len() as u8;
    }
}

impl Default for Control {
    fn default() -> Self {
        Self {
            bytes: [0; CONTROL_BYTES_MAX],
            len: 0,
        }
    }
}

impl PartialEq for Control {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Control {}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Control").field(&self.bytes()).finish()
    }
}
