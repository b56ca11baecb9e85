//! Looks for single bytes, eight at a time.

/// How many bytes at the start need no thought inside a string: no quote, no
/// backslash, no control character.
pub(in crate::protocol) fn plain_len(bytes: &[u8]) -> usize {
    let special = |word| {
        let controls = below_space(word);
        equal(word, b'"') | equal(word, b'\\') | controls
    };
    let is_special = |byte| matches!(byte, 0..0x20 | b'"' | b'\\');
    len_before(bytes, special, is_special)
}

/// How many bytes at the start end no line.
pub(in crate::protocol) fn line_len(bytes: &[u8]) -> usize {
    let special = |word| equal(word, b'\n') | equal(word, b'\r');
    len_before(bytes, special, |byte| matches!(byte, b'\n' | b'\r'))
}

/// `special` sets the high bit of the first byte that `is_special`, and of none
/// before it.
#[inline]
fn len_before(
    bytes: &[u8],
    special: impl Fn(u64) -> u64,
    is_special: impl Fn(u8) -> bool,
) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let plain = tail.iter().take_while(|byte| !is_special(**byte));
    words.len() * 8 + plain.count()
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// The high bit of each byte that is below 0x20. As one byte borrows of the next, one
/// above a true one may be false; so it is with [`equal`].
#[inline]
fn below_space(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word & HIGHS
}

#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    let zero = word ^ (ONES * u64::from(byte));
    zero.wrapping_sub(ONES) & !zero & HIGHS
}
