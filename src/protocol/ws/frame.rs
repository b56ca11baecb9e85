//! Frame headers (RFC 6455 section 5.2): clients' are decoded, the server's
//! encoded.
//!
//! The rules that span frames are in `reader`. Called by the reader for what comes
//! in, and by the log and the lanes for what goes out.

use super::fault::Fault;

/// The longest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// The longest header that a client sends, in bytes: two, a 64-bit length and the key.
pub const CLIENT_HEADER_BYTES_MAX: usize = 14;

/// The longest header that the server sends, in bytes: as a client's, without key.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
const MASKED: u8 = 0x80;
/// Lengths up to this one stand in the second byte itself.
const LEN_7_BIT_MAX: usize = 125;
const LEN_IS_16_BIT: u8 = 126;
const LEN_IS_64_BIT: u8 = 127;

/// What a frame is; the numbers are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of a fragmented message.
    Continuation = 0,
    /// A text message, or its first fragment.
    Text = 1,
    /// A binary message, or its first fragment.
    Binary = 2,
    /// The closing handshake.
    Close = 8,
    /// Wants a pong with the same payload.
    Ping = 9,
    /// Answers a ping, or shows life unasked.
    Pong = 10,
}

impl Opcode {
    #[inline]
    pub(super) fn from_bits(bits: u8) -> Result<Self, Fault> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(Fault::ReservedOpcode),
        })
    }

    /// Close, ping or pong.
    #[inline]
    pub fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// The header of a client's frame, its rules checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// The message is compressed (RFC 7692 section 6).
    pub rsv1: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key; a client's frame always has one.
    pub key: [u8; 4],
    /// Bytes of payload that follow the header, below 2^63.
    pub payload_len: u64,
}

/// Decodes the header at the start of `bytes` and returns it with its length in bytes, or
/// `None` if more bytes are needed. A fault is reported by the first byte that proves it.
///
/// `deflate` tells that permessage-deflate was negotiated, which allows RSV1 on the first
/// frame of a message.
#[inline]
pub fn decode(bytes: &[u8], deflate: bool) -> Result<Option<(Header, usize)>, Fault> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let opcode = Opcode::from_bits(first & 0x0F)?;
    let fin = first & FIN != 0;
    let rsv1 = first & RSV1 != 0;
    let rsv1_allowed = deflate && matches!(opcode, Opcode::Text | Opcode::Binary);
    if first & RSV2_RSV3 != 0 || (rsv1 && !rsv1_allowed) {
        return Err(Fault::ReservedBits);
    }
    if opcode.is_control() && !fin {
        return Err(Fault::FragmentedControl);
    }

    let Some(&second) = bytes.get(1) else {
        return Ok(None);
    };
    if second & MASKED == 0 {
        return Err(Fault::Unmasked);
    }
    let len_7_bit = second & !MASKED;
    if opcode.is_control() && usize::from(len_7_bit) > CONTROL_BYTES_MAX {
        return Err(Fault::OversizedControl);
    }

    let rest = &bytes[2..];
    let (payload_len, len_bytes) = match len_7_bit {
        LEN_IS_16_BIT => match decode_16_bit(rest)? {
            Some(len) => (len, 2),
            None => return Ok(None),
        },
        LEN_IS_64_BIT => match decode_64_bit(rest)? {
            Some(len) => (len, 8),
            None => return Ok(None),
        },
        len => (u64::from(len), 0),
    };
    let Some(&key) = rest[len_bytes..].first_chunk::<4>() else {
        return Ok(None);
    };
    let header = Header {
        fin,
        rsv1,
        opcode,
        key,
        payload_len,
    };
    Ok(Some((header, 2 + len_bytes + 4)))
}

#[inline]
fn decode_16_bit(bytes: &[u8]) -> Result<Option<u64>, Fault> {
    let Some(len) = bytes.first_chunk::<2>() else {
        return Ok(None);
    };
    let len = u16::from_be_bytes(*len);
    if usize::from(len) <= LEN_7_BIT_MAX {
        return Err(Fault::NonMinimalLength);
    }
    Ok(Some(u64::from(len)))
}

#[inline]
fn decode_64_bit(bytes: &[u8]) -> Result<Option<u64>, Fault> {
    if bytes.first().is_some_and(|top| top & 0x80 != 0) {
        return Err(Fault::LengthTopBit);
    }
    // Six zero bytes already tell that sixteen bits would have done.
    if bytes.first_chunk::<6>().is_some_and(|high| *high == [0; 6]) {
        return Err(Fault::NonMinimalLength);
    }
    Ok(bytes.first_chunk::<8>().map(|len| u64::from_be_bytes(*len)))
}

/// Writes the header of an unfragmented, unmasked frame and returns its length in bytes.
#[inline]
pub fn encode(
    out: &mut [u8; SERVER_HEADER_BYTES_MAX],
    opcode: Opcode,
    rsv1: bool,
    payload_len: usize,
) -> usize {
    debug_assert!(!opcode.is_control() || payload_len <= CONTROL_BYTES_MAX);
    out[0] = FIN | if rsv1 { RSV1 } else { 0 } | opcode as u8;
    if payload_len <= LEN_7_BIT_MAX {
        out[1] = payload_len as u8;
        2
    } else if let Ok(len) = u16::try_from(payload_len) {
        out[1] = LEN_IS_16_BIT;
        out[2..4].copy_from_slice(&len.to_be_bytes());
        4
    } else {
        out[1] = LEN_IS_64_BIT;
        out[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
        SERVER_HEADER_BYTES_MAX
    }
}

/// Length in bytes of a whole server frame, header and payload.
#[inline]
pub fn encoded_len(payload_len: usize) -> usize {
    header_len(payload_len) + payload_len
}

/// Length in bytes of the header of a server frame.
#[inline]
pub fn header_len(payload_len: usize) -> usize {
    if payload_len <= LEN_7_BIT_MAX {
        2
    } else if payload_len <= usize::from(u16::MAX) {
        4
    } else {
        SERVER_HEADER_BYTES_MAX
    }
}

/// Length in bytes of the whole server frame that begins at the start of `bytes`; `None`
/// if not all of its header is there. The payload need not be.
#[inline]
pub fn server_frame_len(bytes: &[u8]) -> Option<usize> {
    let second = *bytes.get(1)?;
    debug_assert!(second & MASKED == 0, "a server's frame is not masked");
    match second {
        LEN_IS_16_BIT => {
            let len = bytes[2..].first_chunk::<2>()?;
            Some(4 + usize::from(u16::from_be_bytes(*len)))
        }
        LEN_IS_64_BIT => {
            let len = bytes[2..].first_chunk::<8>()?;
            usize::try_from(u64::from_be_bytes(*len))
                .ok()?
                .checked_add(SERVER_HEADER_BYTES_MAX)
        }
        len => Some(2 + usize::from(len)),
    }
}

/// Writes a whole control frame and returns its length in bytes.
///
/// # Panics
/// If the payload is longer than [`CONTROL_BYTES_MAX`].
pub fn encode_control(
    out: &mut [u8; 2 + CONTROL_BYTES_MAX],
    opcode: Opcode,
    payload: &[u8],
) -> usize {
    assert!(opcode.is_control() && payload.len() <= CONTROL_BYTES_MAX);
    out[0] = FIN | opcode as u8;
    out[1] = payload.len() as u8;
    out[2..2 + payload.len()].copy_from_slice(payload);
    2 + payload.len()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{KEY, client_frame, whole};
    use super::*;

    fn fault(bytes: &[u8]) -> Option<Fault> {
        decode(bytes, false).err()
    }

    #[test]
    fn each_form_of_the_length_is_decoded_once_the_header_is_whole() {
        for len in [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 70_000] {
            let bytes = whole(Opcode::Binary, &vec![7; len]);
            let header_len = bytes.len() - len;
            for cut in 0..header_len {
                assert_eq!(decode(&bytes[..cut], false), Ok(None), "{len} cut at {cut}");
            }
            let header = Header {
                fin: true,
                rsv1: false,
                opcode: Opcode::Binary,
                key: KEY,
                payload_len: len as u64,
            };
            for end in [header_len, bytes.len()] {
                let decoded = decode(&bytes[..end], false);
                assert_eq!(decoded, Ok(Some((header, header_len))));
            }
        }
    }

    #[test]
    fn the_first_byte_alone_proves_its_faults() {
        for first in 0..=255_u8 {
            let opcode = first & 15;
            let want = if !matches!(opcode, 0..=2 | 8..=10) {
                Some(Fault::ReservedOpcode)
            } else if first & 0x70 != 0 {
                Some(Fault::ReservedBits)
            } else if opcode >= 8 && first & 0x80 == 0 {
                Some(Fault::FragmentedControl)
            } else {
                None
            };
            assert_eq!(fault(&[first]), want, "{first:#x}");
        }
    }

    #[test]
    fn compression_allows_rsv1_on_the_first_frame_of_a_message_only() {
        for opcode in [Opcode::Text, Opcode::Binary] {
            let bytes = client_frame(false, true, opcode, b"x");
            assert!(decode(&bytes, true).unwrap().unwrap().0.rsv1);
            assert_eq!(decode(&bytes, false), Err(Fault::ReservedBits));
        }
        for opcode in [Opcode::Continuation, Opcode::Ping, Opcode::Close] {
            let bytes = client_frame(true, true, opcode, b"");
            assert_eq!(decode(&bytes, true), Err(Fault::ReservedBits));
        }
        assert_eq!(decode(&[0xA1], true), Err(Fault::ReservedBits));
    }

    #[test]
    fn the_second_byte_tells_unmasked_and_oversized_control() {
        assert_eq!(fault(&[0x81, 0x05]), Some(Fault::Unmasked));
        for first in [0x88, 0x89, 0x8A] {
            assert_eq!(fault(&[first, 0xFD]), None);
            assert_eq!(fault(&[first, 0xFE]), Some(Fault::OversizedControl));
            assert_eq!(fault(&[first, 0xFF]), Some(Fault::OversizedControl));
        }
    }

    #[test]
    fn lengths_that_are_not_minimal_or_have_the_top_bit_are_faults() {
        assert_eq!(fault(&[0x82, 0xFE, 0, 125]), Some(Fault::NonMinimalLength));
        assert_eq!(fault(&[0x82, 0xFE, 0, 126]), None);
        assert_eq!(fault(&[0x82, 0xFF, 0x80]), Some(Fault::LengthTopBit));
        let short = [0x82, 0xFF, 0, 0, 0, 0, 0, 0];
        assert_eq!(fault(&short[..7]), None);
        assert_eq!(fault(&short), Some(Fault::NonMinimalLength));
        assert_eq!(fault(&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]), None);
    }

    #[test]
    fn what_is_encoded_has_the_length_that_was_told() {
        for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let mut out = [0; SERVER_HEADER_BYTES_MAX];
            let used = encode(&mut out, Opcode::Text, false, len);
            assert_eq!(used, header_len(len));
            assert_eq!(encoded_len(len), used + len);
            assert_eq!(server_frame_len(&out[..used]), Some(used + len));
            for cut in 0..used {
                assert_eq!(server_frame_len(&out[..cut]), None);
            }
            // With the mask bit set and a key behind it, it is a client's frame.
            let mut client = out[..used].to_vec();
            client[1] |= 0x80;
            client.extend_from_slice(&KEY);
            let (header, _) = decode(&client, false).unwrap().unwrap();
            assert_eq!(header.payload_len, len as u64);
            assert_eq!((header.fin, header.opcode), (true, Opcode::Text));
        }
    }

    #[test]
    fn a_log_of_frames_can_be_walked() {
        let mut log = Vec::new();
        let lens = [0, 5, 125, 126, 70_000, 3];
        for len in lens {
            let mut out = [0; SERVER_HEADER_BYTES_MAX];
            let used = encode(&mut out, Opcode::Binary, true, len);
            assert_eq!(out[0], 0xC2);
            log.extend_from_slice(&out[..used]);
            log.resize(log.len() + len, 0xFF);
        }
        let (mut at, mut seen) = (0, 0);
        while let Some(len) = server_frame_len(&log[at..]) {
            assert_eq!(len, encoded_len(lens[seen]));
            (at, seen) = (at + len, seen + 1);
        }
        assert_eq!((at, seen), (log.len(), lens.len()));
    }

    #[test]
    fn a_control_frame_is_written_whole() {
        let mut out = [0; 2 + CONTROL_BYTES_MAX];
        assert_eq!(encode_control(&mut out, Opcode::Pong, b"hi"), 4);
        assert_eq!(out[..4], [0x8A, 2, b'h', b'i']);
    }
}
