//! Messages as they are. What the server says of its own accord stands in text
//! frames of JSON.

use super::Gap;
use crate::protocol::reason::CloseReason;
use crate::protocol::ws::frame::{self, Opcode, SERVER_HEADER_BYTES_MAX};

/// A text frame that tells of a gap.
pub(super) fn gap(gap: &Gap) -> Vec<u8> {
    let Gap {
        epoch,
        from,
        to,
        missed,
    } = gap;
    let notice = format!(
        "{{\"gap\":{{\"epoch\":\"{epoch:016x}\",\"from\":{from},\"to\":{to},\"missed\":{missed}}}}}"
    );
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let len = frame::encode(&mut header, Opcode::Text, false, notice.len());
    let mut bytes = header[..len].to_vec();
    bytes.extend_from_slice(notice.as_bytes());
    bytes
}

pub(super) fn farewell(reason: CloseReason, retry_ms: u64) -> String {
    let phrase = reason.phrase();
    match reason {
        // The peer has said why.
        CloseReason::Peer => String::new(),
        CloseReason::Drain => format!("{phrase}, retry in {retry_ms} ms"),
        _ => phrase,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_told_in_one_text_frame() {
        let frame = gap(&Gap {
            epoch: 0xab,
            from: 3,
            to: 9,
            missed: 7,
        });
        let text = br#"{"gap":{"epoch":"00000000000000ab","from":3,"to":9,"missed":7}}"#;
        assert_eq!(frame[..2], [0x81, text.len() as u8]);
        assert_eq!(&frame[2..], text);
    }
}
