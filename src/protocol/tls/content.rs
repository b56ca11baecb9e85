//! What records carry.

/// The most content of one record (RFC 8446 section 5.1, RFC 5246 section 6.2.1).
pub(super) const PLAIN_BYTES_MAX: usize = 1 << 14;

/// The kind of a record's content, by its number on the wire (RFC 8446 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ContentType {
    ChangeCipherSpec = 20,
    Alert = 21,
    Handshake = 22,
    ApplicationData = 23,
}

impl ContentType {
    /// `None` for all others: heartbeats (24) too, which nobody has negotiated.
    pub(super) fn from_wire(byte: u8) -> Option<ContentType> {
        Some(match byte {
            20 => ContentType::ChangeCipherSpec,
            21 => ContentType::Alert,
            22 => ContentType::Handshake,
            23 => ContentType::ApplicationData,
            _ => return None,
        })
    }
}
