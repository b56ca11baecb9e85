//! The payload of a close frame: the code and the words (RFC 6455 sections 5.5.1
//! and 7.4), read and written.
//!
//! When to close is decided in `core`. Called by the reader and when a connection
//! ends.

use super::fault::Fault;
use super::frame::{self, CONTROL_BYTES_MAX, Opcode};

/// The longest reason, in bytes: a control payload less its code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// The longest close frame that this server sends, in bytes.
pub const FRAME_BYTES_MAX: usize = 2 + CONTROL_BYTES_MAX;

/// Code and reason that a client gave for closing, both valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// One of the codes that may be on the wire.
    pub code: u16,
    /// Up to [`REASON_BYTES_MAX`] bytes, for a human.
    pub reason: Box<str>,
}

/// Reads the unmasked payload of a close frame; `None` if it was empty.
pub fn parse(payload: &[u8]) -> Result<Option<Close>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(None),
            _ => Err(Fault::ClosePayload),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(Fault::CloseCode);
    }
    let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Fault::Utf8)?;
    Ok(Some(Close {
        code,
        reason: reason.into(),
    }))
}

/// Whether an endpoint may send `code`: the registered ones without 1004 to 1006 and 1015,
/// which only stand for what was not sent, and the ranges for libraries and applications.
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Writes a whole close frame and returns its length in bytes. A reason that is too long
/// is cut between characters.
///
/// # Panics
/// If `code` must not be sent.
pub fn encode(out: &mut [u8; FRAME_BYTES_MAX], code: u16, reason: &str) -> usize {
    assert!(may_be_sent(code), "close code {code} must not be sent");
    let mut reason_len = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(reason_len) {
        reason_len -= 1;
    }
    let reason = &reason.as_bytes()[..reason_len];
    let mut payload = [0; CONTROL_BYTES_MAX];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason);
    frame::encode_control(out, Opcode::Close, &payload[..2 + reason.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_on_the_wire_are_told_from_those_that_may_not() {
        let good = [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999,
            4000, 4999,
        ];
        for code in good {
            let payload = u16::to_be_bytes(code);
            assert_eq!(parse(&payload).unwrap().unwrap().code, code);
        }
        let bad = [
            0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
        ];
        for code in bad {
            assert_eq!(parse(&u16::to_be_bytes(code)), Err(Fault::CloseCode));
        }
    }

    #[test]
    fn a_payload_is_empty_or_has_a_whole_code_and_a_utf8_reason() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(&[3]), Err(Fault::ClosePayload));
        assert_eq!(
            parse(b"\x03\xe8bye").unwrap().unwrap(),
            Close {
                code: 1000,
                reason: "bye".into()
            }
        );
        assert_eq!(parse(b"\x03\xe8\xff"), Err(Fault::Utf8));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = [0; FRAME_BYTES_MAX];
        let len = encode(&mut out, super::super::code::POLICY, &"ü".repeat(100));
        assert_eq!(&out[..2], [0x88, 124]);
        assert_eq!(len, 2 + 124);
        let close = parse(&out[2..len]).unwrap().unwrap();
        assert_eq!(close.code, 1008);
        assert_eq!(&*close.reason, "ü".repeat(61));
    }

    #[test]
    fn a_short_reason_is_kept() {
        let mut out = [0; FRAME_BYTES_MAX];
        let len = encode(&mut out, super::super::code::GOING_AWAY, "");
        assert_eq!(out[..len], [0x88, 2, 3, 0xe9]);
    }
}
