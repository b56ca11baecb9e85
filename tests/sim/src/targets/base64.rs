//! Base64 (RFC 4648) sign by sign.

const STANDARD: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Section 4, filled up with `=` to a multiple of four signs.
pub(super) fn standard(text: &[u8]) -> Option<Vec<u8>> {
    let plain = text.strip_suffix(b"=").unwrap_or(text);
    let plain = plain.strip_suffix(b"=").unwrap_or(plain);
    let whole = text.len().is_multiple_of(4);
    whole.then(|| bytes(STANDARD, plain)).flatten()
}

/// Section 5, not filled up.
pub(super) fn url_safe(text: &[u8]) -> Option<Vec<u8>> {
    bytes(URL_SAFE, text)
}

/// Writes it as section 4 says.
pub(crate) fn as_standard(bytes: &[u8]) -> String {
    let mut text = signs(STANDARD, bytes);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// Writes it as section 5 says.
pub(super) fn as_url_safe(bytes: &[u8]) -> String {
    signs(URL_SAFE, bytes)
}

fn signs(alphabet: &[u8], bytes: &[u8]) -> String {
    let bit = |at: usize| {
        let byte = bytes.get(at / 8).copied().unwrap_or(0);
        usize::from(byte >> (7 - at % 8) & 1)
    };
    let sign = |at: usize| (0..6).fold(0, |value, n| value << 1 | bit(6 * at + n));
    let signs = 0..(8 * bytes.len()).div_ceil(6);
    signs.map(|at| char::from(alphabet[sign(at)])).collect()
}

fn bytes(alphabet: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for sign in text {
        let value = alphabet.iter().position(|known| known == sign)?;
        bits.extend((0..6).rev().map(|n| value >> n & 1));
    }
    let (whole, rest) = bits.split_at(bits.len() / 8 * 8);
    // What is left of the last sign says nothing, and no sign is there for nothing.
    let sound = rest.len() < 6 && rest.iter().all(|bit| *bit == 0);
    let byte = |bits: &[usize]| bits.iter().fold(0, |value, bit| value << 1 | bit) as u8;
    sound.then(|| whole.chunks(8).map(byte).collect())
}
