//! The mask with the vector registers of x86-64.
//!
//! The three kernels have one shape: four registers a round, then one register a round,
//! then the rest. Each step is a multiple of four bytes, so the key stays in phase. Loads
//! are unaligned; longer inputs first bring the stores into line, because a store across
//! two cache lines costs twice.

use super::portable::words;
use std::arch::x86_64::*;

/// From this many bytes on the stores are brought into line.
const ALIGN_BYTES_MIN: usize = 512;

/// Bytes up to the next multiple of `width` in `dst`; none if the input is short.
#[inline]
fn bytes_to_alignment(dst: *const u8, len: usize, width: usize) -> usize {
    if len < ALIGN_BYTES_MIN {
        return 0;
    }
    dst.addr().wrapping_neg() % width
}

/// The key after `len` bytes, in the order of bytes in memory.
#[inline]
fn rotate(key: u32, len: usize) -> u32 {
    // x86 is little-endian: the key's first byte is the lowest one.
    key.rotate_right(8 * (len % 4) as u32)
}

/// A register of one width.
///
/// # Safety
/// Whoever calls one of its functions has the CPU feature that the width needs, and owns
/// [`Vector::BYTES`] bytes behind each pointer.
trait Vector: Copy {
    const BYTES: usize;
    unsafe fn load(from: *const u8) -> Self;
    unsafe fn store(self, to: *mut u8);
    unsafe fn xor(self, other: Self) -> Self;
}

macro_rules! vector {
    ($register:ty, $bytes:literal, $load:ident, $store:ident, $xor:ident) => {
        impl Vector for $register {
            const BYTES: usize = $bytes;

            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: the caller's, see the trait.
                unsafe { $load(from.cast()) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut u8) {
                // SAFETY: the caller's, see the trait.
                unsafe { $store(to.cast(), self) }
            }

            #[inline(always)]
            unsafe fn xor(self, other: Self) -> Self {
                // SAFETY: the caller's, see the trait.
                unsafe { $xor(self, other) }
            }
        }
    };
}

vector!(
    __m128i,
    16,
    _mm_loadu_si128,
    _mm_storeu_si128,
    _mm_xor_si128
);
vector!(
    __m256i,
    32,
    _mm256_loadu_si256,
    _mm256_storeu_si256,
    _mm256_xor_si256
);

/// Rounds of four registers from byte `i` on, as many as there are whole ones. Returns
/// where they end.
///
/// # Safety
/// As for [`Kernel`](super::Kernel), and the CPU has what `V` needs.
#[inline(always)]
unsafe fn rounds<V: Vector>(
    dst: *mut u8,
    src: *const u8,
    mut i: usize,
    len: usize,
    mask: V,
) -> usize {
    while i + 4 * V::BYTES <= len {
        // SAFETY: the accesses touch bytes below `len` only, the caller owns both ranges, and
        // all loads of a round come before its stores, so that a destination equal to the
        // source is fine.
        unsafe {
            let (from, to) = (src.add(i), dst.add(i));
            let a = V::load(from);
            let b = V::load(from.add(V::BYTES));
            let c = V::load(from.add(2 * V::BYTES));
            let d = V::load(from.add(3 * V::BYTES));
            a.xor(mask).store(to);
            b.xor(mask).store(to.add(V::BYTES));
            c.xor(mask).store(to.add(2 * V::BYTES));
            d.xor(mask).store(to.add(3 * V::BYTES));
        }
        i += 4 * V::BYTES;
    }
    i
}

/// All `len` bytes with registers of one width: up to the alignment by words, then rounds,
/// then single registers, then the rest by words. `splat` makes a register of a key.
///
/// # Safety
/// As for [`Kernel`](super::Kernel), and the CPU has what `V` needs.
#[inline(always)]
unsafe fn whole<V: Vector>(
    dst: *mut u8,
    src: *const u8,
    len: usize,
    key: u32,
    splat: impl FnOnce(i32) -> V,
) {
    let mut i = bytes_to_alignment(dst, len, V::BYTES);
    // SAFETY: each access touches bytes below `len` only (the loop conditions), and the
    // caller owns both ranges.
    unsafe {
        words(dst, src, i, key);
        let key = rotate(key, i);
        let mask = splat(key as i32);
        i = rounds(dst, src, i, len, mask);
        while i + V::BYTES <= len {
            V::load(src.add(i)).xor(mask).store(dst.add(i));
            i += V::BYTES;
        }
        words(dst.add(i), src.add(i), len - i, key);
    }
}

/// Sixteen bytes a register.
///
/// # Safety
/// As for [`Kernel`](super::Kernel); SSE2 is part of x86-64.
pub(super) unsafe fn sse2(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    // SAFETY: the caller's; SSE2 is part of x86-64.
    unsafe { whole(dst, src, len, key, |key| _mm_set1_epi32(key)) }
}

/// Thirty-two bytes a register.
///
/// # Safety
/// As for [`Kernel`](super::Kernel); the CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    // SAFETY: the caller's, the CPU's features included.
    unsafe { whole(dst, src, len, key, |key| _mm256_set1_epi32(key)) }
}

/// The ends in one masked access of sixty-four bytes each, and thirty-two bytes a register
/// between them: there half the width is as fast or faster (Zen 4, in its first cache, by a
/// tenth), because each wide load from an unaligned source touches two cache lines.
///
/// # Safety
/// As for [`Kernel`](super::Kernel); the CPU has AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn avx512(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    const W: usize = 64;
    let mut i = bytes_to_alignment(dst, len, W);
    // SAFETY: as in `whole`; the first access is masked to the `i` bytes before the alignment, the
    // last one to the `len - i` bytes that are left, and bytes that a mask leaves out are neither read nor written.
    unsafe {
        if i > 0 {
            let first: __mmask64 = (1 << i) - 1;
            let a = _mm512_maskz_loadu_epi8(first, src.cast());
            let mask = _mm512_set1_epi32(key as i32);
            _mm512_mask_storeu_epi8(dst.cast(), first, _mm512_xor_si512(a, mask));
        }
        let mask = _mm512_set1_epi32(rotate(key, i) as i32);
        let half = _mm512_castsi512_si256(mask);
        i = rounds(dst, src, i, len, half);
        while i + W <= len {
            let a = _mm512_loadu_si512(src.add(i).cast());
            _mm512_storeu_si512(dst.add(i).cast(), _mm512_xor_si512(a, mask));
            i += W;
        }
        if i < len {
            let left: __mmask64 = (1 << (len - i)) - 1;
            let a = _mm512_maskz_loadu_epi8(left, src.add(i).cast());
            _mm512_mask_storeu_epi8(dst.add(i).cast(), left, _mm512_xor_si512(a, mask));
        }
    }
}
