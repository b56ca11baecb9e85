//! Inflating (RFC 1951) the slow and plain way, with an eye on how far back a
//! payload refers: libraries let distances pass that a small window forbids.

/// What a message's compressed payload says to a client that keeps a window of
/// 2 to the power of `bits` bytes, and nothing between messages.
///
/// # Panics
/// If it is no deflate data, or refers back further.
pub(crate) fn inflate(payload: &[u8], bits: u8) -> Vec<u8> {
    // RFC 7692 section 7.2.2: these were left out.
    let bytes = [payload, &[0, 0, 0xFF, 0xFF]].concat();
    let mut input = Bits { bytes, at: 0 };
    let mut out = Vec::new();
    let window_bytes = 1 << bits;
    while input.at + 8 <= input.bytes.len() * 8 {
        let last = input.take(1) == 1;
        match input.take(2) {
            0 => stored(&mut input, &mut out),
            1 => {
                let lens: Vec<u8> = (0..288).map(fixed_len).collect();
                let tables = (Huffman::new(&lens), Huffman::new(&[5; 30]));
                block(&mut input, &mut out, &tables, window_bytes);
            }
            2 => {
                let tables = dynamic(&mut input);
                block(&mut input, &mut out, &tables, window_bytes);
            }
            _ => panic!("a block of no type"),
        }
        assert!(!last, "the server ends no stream");
    }
    out
}

struct Bits {
    bytes: Vec<u8>,
    /// In bits.
    at: usize,
}

impl Bits {
    fn take(&mut self, count: usize) -> usize {
        (0..count).fold(0, |value, bit| value | self.one() << bit)
    }

    fn one(&mut self) -> usize {
        let byte = self.bytes[self.at / 8];
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        usize::from(bit)
    }
}

/// A code by the number of symbols of each length, and the symbols in order.
struct Huffman {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Huffman {
    fn new(lens: &[u8]) -> Self {
        let mut counts = [0; 16];
        let mut symbols = Vec::new();
        for len in 1..16 {
            let of_len = (0..lens.len()).filter(|symbol| lens[*symbol] == len);
            let before = symbols.len();
            symbols.extend(of_len);
            counts[usize::from(len)] = symbols.len() - before;
        }
        Huffman { counts, symbols }
    }

    fn symbol(&self, input: &mut Bits) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= input.one();
            if code < first + count {
                return self.symbols[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("a code that stands for nothing");
    }
}

fn fixed_len(symbol: u16) -> u8 {
    match symbol {
        0..=143 => 8,
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    }
}

fn stored(input: &mut Bits, out: &mut Vec<u8>) {
    input.at = input.at.next_multiple_of(8);
    let len = input.take(16);
    assert_eq!(input.take(16), !len & 0xFFFF, "a stored block's length");
    let from = input.at / 8;
    out.extend(&input.bytes[from..from + len]);
    input.at += 8 * len;
}

fn dynamic(input: &mut Bits) -> (Huffman, Huffman) {
    const ORDER: [usize; 19] = [
        16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
    ];
    let (literals, distances) = (input.take(5) + 257, input.take(5) + 1);
    let mut code_lens = [0; 19];
    let codes = input.take(4) + 4;
    for place in &ORDER[..codes] {
        code_lens[*place] = input.take(3) as u8;
    }
    let code = Huffman::new(&code_lens);
    let mut lens: Vec<u8> = Vec::new();
    while lens.len() < literals + distances {
        let (len, times) = match code.symbol(input) {
            16 => (*lens.last().expect("one before"), 3 + input.take(2)),
            17 => (0, 3 + input.take(3)),
            18 => (0, 11 + input.take(7)),
            len => (len as u8, 1),
        };
        lens.extend(std::iter::repeat_n(len, times));
    }
    assert_eq!(lens.len(), literals + distances);
    let (literals, distances) = lens.split_at(literals);
    (Huffman::new(literals), Huffman::new(distances))
}

fn block(input: &mut Bits, out: &mut Vec<u8>, tables: &(Huffman, Huffman), window_bytes: usize) {
    loop {
        match tables.0.symbol(input) {
            literal @ 0..=255 => out.push(literal as u8),
            256 => return,
            symbol => {
                // RFC 1951 section 3.2.5.
                let len = match symbol - 257 {
                    short @ 0..=7 => short + 3,
                    28 => 258,
                    long => {
                        let extra = long / 4 - 1;
                        ((4 + long % 4) << extra) + 3 + input.take(extra)
                    }
                };
                let distance = match tables.1.symbol(input) {
                    short @ 0..=3 => short + 1,
                    long => {
                        let extra = long / 2 - 1;
                        ((2 + long % 2) << extra) + 1 + input.take(extra)
                    }
                };
                assert!(distance <= window_bytes, "it refers back {distance} bytes");
                assert!(distance <= out.len(), "it refers to what never was");
                for _ in 0..len {
                    out.push(out[out.len() - distance]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{compressor, deflate};

    fn message(len: usize) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(len as u64);
        let mut message: Vec<u8> = (0..len).map(|_| rng.u8(..) & 0x3F).collect();
        message.extend_from_within(..len.min(300));
        message
    }

    #[test]
    fn what_a_library_compresses_comes_back() {
        for len in [0, 1, 10, 300, 2000, 40_000] {
            let message = message(len);
            let wire = deflate(&mut compressor(), &message);
            assert_eq!(inflate(&wire, 15), message);
        }
    }

    #[test]
    #[should_panic(expected = "it refers back 2000 bytes")]
    fn a_small_window_is_small() {
        inflate(&deflate(&mut compressor(), &message(2000)), 9);
    }
}
