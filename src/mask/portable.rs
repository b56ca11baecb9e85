//! The mask without any special instruction: the plain twin, which the tests hold
//! all others against, and the one that takes eight bytes at a time, for processors
//! without known vector registers.
//!
//! Called through `mask` alone.

/// The definition of RFC 6455 section 5.3, byte for byte: what the others are measured against.
///
/// # Safety
/// As for [`Kernel`](super::Kernel); needs no CPU feature.
pub(super) unsafe fn naive(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    let key = key.to_ne_bytes();
    for i in 0..len {
        // SAFETY: `i < len`, and the caller owns both ranges for `len` bytes.
        unsafe { dst.add(i).write(src.add(i).read() ^ key[i % 4]) };
    }
}

/// Eight bytes at a time.
///
/// # Safety
/// As for [`Kernel`](super::Kernel); needs no CPU feature.
#[inline]
pub(super) unsafe fn words(dst: *mut u8, src: *const u8, len: usize, key: u32) {
    let wide = u64::from(key) << 32 | u64::from(key);
    let mut i = 0;
    while i + 8 <= len {
        // SAFETY: `i + 8 <= len`, and the caller owns both ranges for `len` bytes.
        unsafe {
            let word = src.add(i).cast::<u64>().read_unaligned();
            dst.add(i).cast::<u64>().write_unaligned(word ^ wide);
        }
        i += 8;
    }
    // Seven bytes at most are left, and `i` is a multiple of four: the key is in phase.
    if i + 4 <= len {
        // SAFETY: `i + 4 <= len`, as above.
        unsafe {
            let word = src.add(i).cast::<u32>().read_unaligned();
            dst.add(i).cast::<u32>().write_unaligned(word ^ key);
        }
        i += 4;
    }
    // SAFETY: the rest, `len - i` bytes, lies in both ranges.
    unsafe { naive(dst.add(i), src.add(i), len - i, key) };
}
