//! What the server says of the end of a connection, or of what it refuses.

/// An alert that the server sends, by its number on the wire (RFC 8446 section 6, RFC 5246
/// section 7.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Alert {
    /// Nothing more will come; not an error.
    CloseNotify = 0,
    /// A message came at a time or in a place where it may not.
    UnexpectedMessage = 10,
    /// A record could not be opened.
    BadRecordMac = 20,
    /// A record is longer than it may be.
    RecordOverflow = 22,
    /// A field has a value that it must not have.
    IllegalParameter = 47,
    /// A message does not have the length or form of its kind.
    DecodeError = 50,
    /// A record is not of the version that was agreed on.
    ProtocolVersion = 70,
    /// The server itself cannot go on.
    InternalError = 80,
    /// The client has asked for another handshake, which TLS 1.2 allows to refuse.
    NoRenegotiation = 100,
}

impl Alert {
    /// The message: its level and its number.
    pub(super) fn message(self) -> [u8; 2] {
        let level = if self.is_warning() { WARNING } else { FATAL };
        [level, self as u8]
    }

    /// Whether the connection may go on, or has ended without an error.
    pub fn is_warning(self) -> bool {
        matches!(self, Alert::CloseNotify | Alert::NoRenegotiation)
    }
}

pub(super) const WARNING: u8 = 1;
pub(super) const FATAL: u8 = 2;
/// The peer's user has ended something; a close_notify follows.
pub(super) const USER_CANCELED: u8 = 90;
