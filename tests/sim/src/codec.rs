//! WebSocket frames as a client sees them, written from RFC 6455 section 5.2
//! alone, so that it does not share the daemon's mistakes.

use flate2::{Compress, Compression, FlushCompress};

/// A frame that a client sends. `first` is its whole first byte: FIN, the
/// reserved bits and the opcode.
pub fn client_frame(first: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let len = payload.len();
    if len < 126 {
        bytes.push(0x80 + len as u8);
    } else if len < 65536 {
        bytes.extend([0x80 + 126, (len >> 8) as u8, len as u8]);
    } else {
        bytes.push(0x80 + 127);
        bytes.extend((len as u64).to_be_bytes());
    }
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    bytes
}

/// A frame that the server has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerFrame<'a> {
    pub opcode: u8,
    /// RSV1: the payload is compressed.
    pub deflated: bool,
    pub payload: &'a [u8],
    /// Length of the whole frame in bytes.
    pub len: usize,
}

/// The frame at the start of `bytes`, or `None` while it is not whole.
///
/// # Panics
/// If no server may send that.
pub fn server_frame(bytes: &[u8]) -> Option<ServerFrame<'_>> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(
        first & 0xB0,
        0x80,
        "the server sends whole, plain frames, but here is {first:#04x}"
    );
    assert!(second < 128, "the server masks nothing");
    let (header, len) = match second {
        126 => {
            let len = u16::from_be_bytes(*bytes[2..].first_chunk()?);
            assert!(len > 125, "the length is in its shortest form");
            (4, usize::from(len))
        }
        127 => {
            let len = u64::from_be_bytes(*bytes[2..].first_chunk()?);
            assert!(len > 65535, "the length is in its shortest form");
            assert!(len < 1 << 32, "a length of {len} is out of this world");
            (10, len as usize)
        }
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(header..header + len)?;
    Some(ServerFrame {
        opcode: first & 0x0F,
        deflated: first & 0x40 != 0,
        payload,
        len: header + len,
    })
}

/// A compressor for messages that a client sends.
pub(crate) fn compressor() -> Compress {
    Compress::new_with_window_bits(Compression::fast(), false, 15)
}

/// A compressed payload that says `message`.
pub(crate) fn deflate(compressor: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 8 + 64);
    let done = compressor.compress_vec(message, &mut out, FlushCompress::Sync);
    done.expect("a compressor takes anything");
    assert!(out.ends_with(&TAIL), "there was room enough");
    out.truncate(out.len() - TAIL.len());
    out
}

/// What RFC 7692 section 7.2.1 leaves out.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
