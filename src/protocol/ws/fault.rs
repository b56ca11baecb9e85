//! What a peer can do wrong on an open WebSocket, each with its close code and its
//! label.
//!
//! Returned by the reader and its parts; `reason` makes a close reason of it.

use super::code;

/// A violation by the client; it ends the connection with [`Fault::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// RFC 6455 section 5.2: RSV1 to RSV3 without an extension that gives them a meaning.
    #[error("a reserved bit is set that no negotiated extension defines")]
    ReservedBits,
    /// RFC 6455 section 5.2: opcodes 3 to 7 and 11 to 15.
    #[error("the opcode is reserved")]
    ReservedOpcode,
    /// RFC 6455 section 5.1: a client masks every frame.
    #[error("a client's frame must be masked")]
    Unmasked,
    /// RFC 6455 section 5.5.
    #[error("a control frame must not be fragmented")]
    FragmentedControl,
    /// RFC 6455 section 5.5.
    #[error("a control frame carries at most 125 bytes")]
    OversizedControl,
    /// RFC 6455 section 5.4: a continuation without a message to continue.
    #[error("a continuation frame came without a message to continue")]
    UnexpectedContinuation,
    /// RFC 6455 section 5.4: a new message inside a fragmented one.
    #[error("a new message began before the fragmented one had ended")]
    ExpectedContinuation,
    /// RFC 6455 section 5.2: the shortest encoding of the length must be used.
    #[error("the payload length is not in its shortest form")]
    NonMinimalLength,
    /// RFC 6455 section 5.2: the most significant bit of a 64-bit length must be 0.
    #[error("the top bit of the payload length is set")]
    LengthTopBit,
    /// The message is longer than the configured limit.
    #[error("the message is larger than this server accepts")]
    TooBig,
    /// RFC 6455 section 8.1: text, or the reason of a close, is not UTF-8.
    #[error("text is not valid UTF-8")]
    Utf8,
    /// RFC 6455 section 7.4: a code that must not be on the wire.
    #[error("the close code must not be sent over the wire")]
    CloseCode,
    /// RFC 6455 section 5.5.1: a close payload is empty or starts with a two-byte code.
    #[error("a close frame carries no payload or at least a two-byte code")]
    ClosePayload,
    /// RFC 7692 section 7.2.2: the payload does not inflate.
    #[error("the compressed message is not valid deflate data")]
    Deflate,
}

impl Fault {
    /// Every fault once, for the registration of metrics.
    pub const ALL: [Self; 14] = [
        Self::ReservedBits,
        Self::ReservedOpcode,
        Self::Unmasked,
        Self::FragmentedControl,
        Self::OversizedControl,
        Self::UnexpectedContinuation,
        Self::ExpectedContinuation,
        Self::NonMinimalLength,
        Self::LengthTopBit,
        Self::TooBig,
        Self::Utf8,
        Self::CloseCode,
        Self::ClosePayload,
        Self::Deflate,
    ];

    /// The close code that tells the client (RFC 6455 section 7.4.1).
    pub fn code(&self) -> u16 {
        match self {
            Self::TooBig => code::TOO_BIG,
            Self::Utf8 | Self::Deflate => code::INVALID_PAYLOAD,
            _ => code::PROTOCOL_ERROR,
        }
    }

    /// The fault as the label of a metric.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved_bits",
            Self::ReservedOpcode => "reserved_opcode",
            Self::Unmasked => "unmasked",
            Self::FragmentedControl => "fragmented_control",
            Self::OversizedControl => "oversized_control",
            Self::UnexpectedContinuation => "unexpected_continuation",
            Self::ExpectedContinuation => "expected_continuation",
            Self::NonMinimalLength => "non_minimal_length",
            Self::LengthTopBit => "length_top_bit",
            Self::TooBig => "too_big",
            Self::Utf8 => "bad_utf8",
            Self::CloseCode => "bad_close_code",
            Self::ClosePayload => "bad_close_payload",
            Self::Deflate => "bad_deflate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_fault_has_its_own_name_and_a_sentence_that_fits_a_close_frame() {
        let names: HashSet<_> = Fault::ALL.iter().map(Fault::name).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        for fault in Fault::ALL {
            assert!(fault.to_string().len() <= 123, "{fault}");
            assert!([1002, 1007, 1009].contains(&fault.code()));
        }
    }
}
