//! What the tests of compression share: payloads as permessage-deflate has them.

use crate::common::Raw;

/// The request header that asks for compression, with its line end.
pub(crate) const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
/// First byte of a whole text message that is compressed.
pub(crate) const TEXT: u8 = 0xC1;
/// What RFC 7692 section 7.2.1 leaves out.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// A payload that says `plain`, and refers to nothing before it.
pub(crate) fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut compressor = flate2::Compress::new(flate2::Compression::default(), false);
    let mut bytes = Vec::with_capacity(plain.len() + 256);
    let flush = flate2::FlushCompress::Sync;
    compressor.compress_vec(plain, &mut bytes, flush).unwrap();
    assert!(bytes.ends_with(&TAIL));
    bytes.truncate(bytes.len() - TAIL.len());
    bytes
}

/// What a payload says that refers to nothing before it.
pub(crate) fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut inflater = flate2::Decompress::new(false);
    let mut plain = Vec::with_capacity(2 << 20);
    let bytes = [payload, &TAIL].concat();
    let flush = flate2::FlushDecompress::Sync;
    inflater.decompress_vec(&bytes, &mut plain, flush).unwrap();
    plain
}

/// The next message, plain, and whether it came compressed. Pings are passed over.
pub(crate) fn hear_either(raw: &mut Raw) -> (String, bool) {
    loop {
        let (first, payload) = raw.read_frame().expect("a message comes");
        let (plain, deflated) = match first {
            0x81 => (payload, false),
            TEXT => (inflate(&payload), true),
            0x89 => continue,
            other => panic!("{other:#04x} instead of text: {payload:?}"),
        };
        return (String::from_utf8(plain).unwrap(), deflated);
    }
}
