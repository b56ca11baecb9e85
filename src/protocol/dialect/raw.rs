//! Messages as they are. What the server says of its own accord stands in text
//! frames of JSON.

use super::Gap;
use crate::protocol::reason::CloseReason;

/// A text that tells of a gap.
pub(super) fn gap(gap: &Gap) -> String {
    let Gap {
        epoch,
        from,
        to,
        missed,
    } = gap;
    let missed = missed.map_or(String::new(), |missed| format!(",\"missed\":{missed}"));
    format!("{{\"gap\":{{\"epoch\":\"{epoch:016x}\",\"from\":{from},\"to\":{to}{missed}}}}}")
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
    use crate::protocol::dialect::Dialect;

    #[test]
    fn a_gap_is_told_in_one_text_frame() {
        let told = |missed| {
            let gap = Gap {
                epoch: 0xab,
                from: 3,
                to: 9,
                missed,
            };
            let frame = Dialect::Raw.gap("t", &gap);
            assert_eq!(frame[..2], [0x81, frame.len() as u8 - 2]);
            String::from_utf8(frame[2..].to_vec()).unwrap()
        };
        let counted = r#"{"gap":{"epoch":"00000000000000ab","from":3,"to":9,"missed":7}}"#;
        assert_eq!(told(Some(7)), counted);
        // Nobody knows how many there were.
        let uncounted = r#"{"gap":{"epoch":"00000000000000ab","from":3,"to":9}}"#;
        assert_eq!(told(None), uncounted);
    }
}
