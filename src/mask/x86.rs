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

/// Sixteen bytes a register.
///
/// # Safety
/// As for [`Kernel`](super::Kernel); SSE2 is part of x86-64.
pub(super) unsafe fn sse2(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    const W: usize = 16;
    let mut i = bytes_to_alignment(dst, len, W);
    // SAFETY: each access touches bytes below `len` only (the loop conditions), the caller
    // owns both ranges, and all loads of a round come before its stores, so that a
    // destination equal to the source is fine.
    unsafe {
        words(dst, src, i, key);
        let key = rotate(key, i);
        let mask = _mm_set1_epi32(key as i32);
        while i + 4 * W <= len {
            let from = src.add(i).cast::<__m128i>();
            let to = dst.add(i).cast::<__m128i>();
            let a = _mm_loadu_si128(from);
            let b = _mm_loadu_si128(from.add(1));
            let c = _mm_loadu_si128(from.add(2));
            let d = _mm_loadu_si128(from.add(3));
            _mm_storeu_si128(to, _mm_xor_si128(a, mask));
            _mm_storeu_si128(to.add(1), _mm_xor_si128(b, mask));
            _mm_storeu_si128(to.add(2), _mm_xor_si128(c, mask));
            _mm_storeu_si128(to.add(3), _mm_xor_si128(d, mask));
            i += 4 * W;
        }
        while i + W <= len {
            let a = _mm_loadu_si128(src.add(i).cast());
            _mm_storeu_si128(dst.add(i).cast(), _mm_xor_si128(a, mask));
            i += W;
        }
        words(dst.add(i), src.add(i), len - i, key);
    }
}

/// Thirty-two bytes a register.
///
/// # Safety
/// As for [`Kernel`](super::Kernel); the CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    const W: usize = 32;
    let mut i = bytes_to_alignment(dst, len, W);
    // SAFETY: as in `sse2`.
    unsafe {
        words(dst, src, i, key);
        let key = rotate(key, i);
        let mask = _mm256_set1_epi32(key as i32);
        while i + 4 * W <= len {
            let from = src.add(i).cast::<__m256i>();
            let to = dst.add(i).cast::<__m256i>();
            let a = _mm256_loadu_si256(from);
            let b = _mm256_loadu_si256(from.add(1));
            let c = _mm256_loadu_si256(from.add(2));
            let d = _mm256_loadu_si256(from.add(3));
            _mm256_storeu_si256(to, _mm256_xor_si256(a, mask));
            _mm256_storeu_si256(to.add(1), _mm256_xor_si256(b, mask));
            _mm256_storeu_si256(to.add(2), _mm256_xor_si256(c, mask));
            _mm256_storeu_si256(to.add(3), _mm256_xor_si256(d, mask));
            i += 4 * W;
        }
        while i + W <= len {
            let a = _mm256_loadu_si256(src.add(i).cast());
            _mm256_storeu_si256(dst.add(i).cast(), _mm256_xor_si256(a, mask));
            i += W;
        }
        words(dst.add(i), src.add(i), len - i, key);
    }
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
    const H: usize = W / 2;
    let mut i = bytes_to_alignment(dst, len, W);
    // SAFETY: as in `sse2`; the first access is masked to the `i` bytes before the alignment, the
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
        while i + 4 * H <= len {
            let from = src.add(i).cast::<__m256i>();
            let to = dst.add(i).cast::<__m256i>();
            let a = _mm256_loadu_si256(from);
            let b = _mm256_loadu_si256(from.add(1));
            let c = _mm256_loadu_si256(from.add(2));
            let d = _mm256_loadu_si256(from.add(3));
            _mm256_storeu_si256(to, _mm256_xor_si256(a, half));
            _mm256_storeu_si256(to.add(1), _mm256_xor_si256(b, half));
            _mm256_storeu_si256(to.add(2), _mm256_xor_si256(c, half));
            _mm256_storeu_si256(to.add(3), _mm256_xor_si256(d, half));
            i += 4 * H;
        }
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
