//! The WebSocket mask (RFC 6455 section 5.3): byte `i` of a payload is XORed with
//! byte `i % 4` of its key, here with the widest registers that the CPU has.
//!
//! Every width is one kernel that reads `src` and writes `dst`; in-place and
//! copying calls share it. The width is detected once per process. Called by
//! `protocol::ws` for what it reads, by `core` for what is copied into the log, and
//! by `hub::codec`.

use std::sync::OnceLock;

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// One way to XOR `len` bytes of `src` with the repeated key into `dst`.
///
/// The key is the native-endian `u32` of its four bytes.
///
/// # Safety
/// `src` is readable and `dst` writable for `len` bytes; the two are the same
/// range or do not overlap; the CPU has the features that the kernel was built for.
type Kernel = unsafe fn(dst: *mut u8, src: *const u8, len: usize, key: u32);

/// One implementation of the mask that this CPU can run.
///
/// Values come from [`available`] only, which is what makes calling them safe.
pub struct Width {
    name: &'static str,
    kernel: Kernel,
}

impl Width {
    /// `naive`, `portable`, `sse2`, `avx2` or `avx512`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// XORs `bytes` in place with `key`, whose first byte belongs to `bytes[0]`.
    #[inline]
    pub fn unmask(&self, bytes: &mut [u8], key: [u8; 4]) {
        let ptr = bytes.as_mut_ptr();
        // SAFETY: the exclusive borrow owns `ptr..ptr+len` for the whole call, source and
        // destination are the same range, and `available` has checked the CPU.
        unsafe { (self.kernel)(ptr, ptr, bytes.len(), u32::from_ne_bytes(key)) }
    }

    /// Copies `src` to `dst` and XORs it on the way, in one pass.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    pub fn copy_unmasked(&self, dst: &mut [u8], src: &[u8], key: [u8; 4]) {
        assert_eq!(dst.len(), src.len(), "a copy needs equal lengths");
        // SAFETY: both borrows hold their ranges for the whole call, an exclusive one cannot
        // overlap a shared one, and `available` has checked the CPU.
        unsafe {
            (self.kernel)(
                dst.as_mut_ptr(),
                src.as_ptr(),
                src.len(),
                u32::from_ne_bytes(key),
            );
        }
    }
}

static NAIVE: Width = Width {
    name: "naive",
    kernel: portable::naive,
};
static PORTABLE: Width = Width {
    name: "portable",
    kernel: portable::words,
};
#[cfg(target_arch = "x86_64")]
static SSE2: Width = Width {
    name: "sse2",
    kernel: x86::sse2,
};
#[cfg(target_arch = "x86_64")]
static AVX2: Width = Width {
    name: "avx2",
    kernel: x86::avx2,
};
#[cfg(target_arch = "x86_64")]
static AVX512: Width = Width {
    name: "avx512",
    kernel: x86::avx512,
};

/// Every width that this CPU has, from the slowest to the one that is used.
pub fn available() -> &'static [&'static Width] {
    static AVAILABLE: OnceLock<Vec<&'static Width>> = OnceLock::new();
    AVAILABLE.get_or_init(detect)
}

fn detect() -> Vec<&'static Width> {
    #[allow(
        unused_mut,
        reason = "only the x86-64 widths below are added at run time"
    )]
    let mut widths = vec![&NAIVE, &PORTABLE];
    #[cfg(target_arch = "x86_64")]
    {
        // SSE2 is part of x86-64.
        widths.push(&SSE2);
        if is_x86_feature_detected!("avx2") {
            widths.push(&AVX2);
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            widths.push(&AVX512);
        }
    }
    widths
}

/// The width that [`unmask`] and [`copy_unmasked`] use.
#[inline]
pub fn chosen() -> &'static Width {
    static CHOSEN: OnceLock<&'static Width> = OnceLock::new();
    CHOSEN.get_or_init(|| available().last().expect("the naive width always exists"))
}

/// XORs `bytes` in place with `key`, whose first byte belongs to `bytes[0]`.
#[inline]
pub fn unmask(bytes: &mut [u8], key: [u8; 4]) {
    chosen().unmask(bytes, key);
}

/// Copies `src` to `dst` and XORs it on the way, in one pass.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn copy_unmasked(dst: &mut [u8], src: &[u8], key: [u8; 4]) {
    chosen().copy_unmasked(dst, src, key);
}

/// Appends `src`, unmasked, to `dst` in one pass; grows `dst` as `Vec` does.
pub fn append_unmasked(dst: &mut Vec<u8>, src: &[u8], key: [u8; 4]) {
    dst.reserve(src.len());
    let len = dst.len();
    // SAFETY: `reserve` made room for `src.len()` bytes past `len`, which nobody else can
    // reach; the kernel writes every one of them before `set_len` makes them visible; the
    // CPU was checked by `available`.
    unsafe {
        (chosen().kernel)(
            dst.as_mut_ptr().add(len),
            src.as_ptr(),
            src.len(),
            u32::from_ne_bytes(key),
        );
        dst.set_len(len + src.len());
    }
}

/// The key as it stands after `len` payload bytes: its first byte belongs to the next one.
#[inline]
pub fn rotate(key: [u8; 4], len: usize) -> [u8; 4] {
    let mut rotated = key;
    rotated.rotate_left(len % 4);
    rotated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(src: &[u8], key: [u8; 4]) -> Vec<u8> {
        let byte = |(i, b): (usize, &u8)| b ^ key[i % 4];
        src.iter().enumerate().map(byte).collect()
    }

    fn check(width: &Width, rng: &mut fastrand::Rng, len: usize) {
        let offset = rng.usize(..64);
        let key: [u8; 4] = rng.u32(..).to_ne_bytes();
        let mut src = vec![0; offset + len + 64];
        rng.fill(&mut src);
        let want = expected(&src[offset..offset + len], key);

        // Guard bytes on both sides must stay as they were.
        let mut copy = vec![0xA5; len + 128];
        let at = rng.usize(..64);
        width.copy_unmasked(&mut copy[at..at + len], &src[offset..offset + len], key);
        assert_eq!(&copy[at..at + len], want, "{} copy {len}", width.name());
        assert!(copy[..at].iter().all(|b| *b == 0xA5), "{}", width.name());
        assert!(copy[at + len..].iter().all(|b| *b == 0xA5));

        let before = src.clone();
        width.unmask(&mut src[offset..offset + len], key);
        assert_eq!(
            &src[offset..offset + len],
            want,
            "{} in place {len}",
            width.name()
        );
        assert_eq!(src[..offset], before[..offset]);
        assert_eq!(src[offset + len..], before[offset + len..]);
    }

    #[test]
    fn every_width_equals_the_plain_definition() {
        let mut rng = fastrand::Rng::with_seed(1);
        for width in available() {
            for len in 0..300 {
                check(width, &mut rng, len);
            }
            let rounds = if cfg!(miri) { 5 } else { 500 };
            for _ in 0..rounds {
                let len = rng.usize(..10_000);
                check(width, &mut rng, len);
            }
        }
    }

    #[test]
    fn appending_keeps_what_was_there() {
        let mut rng = fastrand::Rng::with_seed(2);
        for len in 0..200 {
            let mut src = vec![0; len];
            rng.fill(&mut src);
            let mut dst = b"before".to_vec();
            append_unmasked(&mut dst, &src, [1, 2, 3, 4]);
            assert_eq!(&dst[..6], b"before");
            assert_eq!(dst[6..], expected(&src, [1, 2, 3, 4]));
        }
    }

    #[test]
    fn a_payload_in_pieces_needs_the_rotated_key() {
        let key = [9, 8, 7, 6];
        let src: Vec<u8> = (0..100).collect();
        for split in 0..src.len() {
            let mut bytes = src.clone();
            let (head, tail) = bytes.split_at_mut(split);
            unmask(head, key);
            unmask(tail, rotate(key, split));
            assert_eq!(bytes, expected(&src, key));
        }
    }

    #[test]
    #[should_panic(expected = "equal lengths")]
    fn a_copy_into_another_length_is_our_bug() {
        copy_unmasked(&mut [0; 3], &[0; 4], [0; 4]);
    }

    #[test]
    fn the_widest_one_is_chosen() {
        assert_eq!(chosen().name(), available().last().unwrap().name());
    }
}
