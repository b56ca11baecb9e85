//! A compressed payload inside of what is not compressed: the bytes around it stand in
//! stored blocks (RFC 1951 section 3.2.4), so that what has been compressed once serves
//! all envelopes, even those that are known only later.

/// The most bytes that [`wrap`] adds to its parts.
pub const WRAP_BYTES: usize = HEAD_BYTES + LENGTH_BYTES + LAST.len();

/// The header of a block, which fills a byte, and the length.
const HEAD_BYTES: usize = 1 + LENGTH_BYTES;
/// A stored block's length, and the same inverted.
const LENGTH_BYTES: usize = 4;
/// A stored block that is not the last one.
const STORED: u8 = 0;
/// The empty block at the end, without the length that a message leaves out (RFC 7692
/// section 7.2.1).
const LAST: [u8; 1] = [STORED];

/// Writes the payload of a frame with RSV1 that stands for `head`, what `compressed` stands
/// for, and `tail`, to the start of `out`, and returns how long it is. `compressed` is what
/// [`super::Deflater`] makes. `None`, and nothing is written, where the head or the tail is
/// too long for one block, or `out` too short.
pub fn wrap(head: &[u8], compressed: &[u8], tail: &[u8], out: &mut [u8]) -> Option<usize> {
    let head_length = length(head)?;
    // What was compressed ends with the header of an empty block whose length was taken
    // away. Now that block gets the tail's.
    let tail_length = length(tail)?;
    let parts = [
        &[STORED][..],
        &head_length,
        head,
        compressed,
        &tail_length,
        tail,
        &LAST,
    ];
    let len = parts.iter().map(|part| part.len()).sum();
    let mut rest = out.get_mut(..len)?;
    for part in parts {
        let (room, after) = rest.split_at_mut(part.len());
        room.copy_from_slice(part);
        rest = after;
    }
    Some(len)
}

fn length(stored: &[u8]) -> Option<[u8; LENGTH_BYTES]> {
    let len = u16::try_from(stored.len()).ok()?;
    let ([a, b], [c, d]) = (len.to_le_bytes(), (!len).to_le_bytes());
    Some([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ws::deflate::{Deflater, Inflater};

    fn inflated(wrapped: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        Inflater::default()
            .inflate(wrapped, 1 << 20, &mut plain)
            .unwrap();
        plain
    }

    #[test]
    fn what_comes_out_is_head_payload_and_tail() {
        let payload = b"{\"score\":\"2:1\",\"minute\":61} ".repeat(40);
        let mut deflater = Deflater::new(4);
        for window_bits in [9, 15] {
            let compressed = deflater.deflate(&payload, window_bits).unwrap().to_vec();
            for (head, tail) in [
                (&b"{\"data\":"[..], &b",\"offset\":7}"[..]),
                (b"", b""),
                (&[0; 65535], &[0xff; 65535]),
            ] {
                let mut out = vec![0; head.len() + compressed.len() + tail.len() + WRAP_BYTES];
                let len = wrap(head, &compressed, tail, &mut out).unwrap();
                assert_eq!(len, out.len());
                assert_eq!(inflated(&out), [head, &payload, tail].concat());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_not_begun() {
        let long = [0; 65536];
        let mut out = [7; 140_000];
        assert_eq!(wrap(&long, b"", b"", &mut out), None);
        assert_eq!(wrap(b"", b"", &long, &mut out), None);
        assert_eq!(wrap(b"12345", b"", b"", &mut out[..14]), None);
        assert_eq!(wrap(b"12345", b"", b"", &mut out[..15]), Some(15));
        assert!(out[15..].iter().all(|byte| *byte == 7));
    }
}
