//! A file that lives in memory alone, mapped. Under Miri, which has no such
//! files, plain memory.

use std::os::fd::OwnedFd;
use std::ptr::NonNull;

#[cfg(not(miri))]
use nix::{
    fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
    sys::mman::{MapFlags, ProtFlags, mmap, munmap},
    sys::stat::fstat,
    unistd::ftruncate,
};

/// The longest file: places in it are 32-bit numbers.
#[cfg(not(miri))]
const FILE_BYTES_MAX: usize = 1 << 31;

/// The mapping, and the file behind it.
#[derive(Debug)]
pub(super) struct Memory {
    base: NonNull<u8>,
    len: usize,
    #[cfg(not(miri))]
    file: OwnedFd,
}

// SAFETY: the mapping is plain memory, owned until the last handle is dropped.
// Who may touch which part of it is the matter of `Segment`.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The byte at `at`, which lies inside.
    #[inline]
    pub(super) fn at(&self, at: usize) -> *mut u8 {
        debug_assert!(at < self.len);
        self.base.as_ptr().wrapping_add(at)
    }
}

#[cfg(not(miri))]
impl Memory {
    /// A file of `len` bytes without memory behind it yet; `None` if the system
    /// gives none.
    pub(super) fn new(len: usize) -> Option<Memory> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let made = memfd_create(c"fanfare-log", flags).and_then(|file| {
            ftruncate(&file, len as i64)?;
            // Who had the file shorter would end whoever reads behind its end.
            let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
            fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
            Memory::map(file, len)
        });
        made.inspect_err(|error| tracing::error!(%error, "the system gives no memory for logs"))
            .ok()
    }

    /// The file that [`Memory::file`] gave out in another process.
    ///
    /// # Errors
    /// A sentence, when it can be no such file.
    pub(super) fn open(file: OwnedFd) -> Result<Memory, String> {
        let wrong = |what: &str| format!("a file of the log's memory {what}");
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap_or(0);
        if !SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK) {
            return Err(wrong("can be cut short"));
        }
        let stat = fstat(&file).map_err(|error| wrong(&format!("tells no size: {error}")))?;
        let len = usize::try_from(stat.st_size).unwrap_or(0);
        if len == 0 || len > FILE_BYTES_MAX || !len.is_multiple_of(4096) {
            return Err(wrong("has a size that is none of ours"));
        }
        Memory::map(file, len).map_err(|error| wrong(&format!("cannot be mapped: {error}")))
    }

    fn map(file: OwnedFd, len: usize) -> nix::Result<Memory> {
        let size = len.try_into().map_err(|_| nix::Error::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice; its owner is
        // the `Memory`, which unmaps it.
        let base = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, &file, 0)? };
        Ok(Memory {
            base: base.cast(),
            len,
            file,
        })
    }

    /// Another descriptor of the file.
    ///
    /// # Errors
    /// A sentence, when there are no more descriptors.
    pub(super) fn file(&self) -> Result<OwnedFd, String> {
        let cloned = self.file.try_clone();
        cloned.map_err(|error| format!("cannot pass on the log's memory: {error}"))
    }

    /// Returns a range of whole pages to the system: it then reads as zeros.
    pub(super) fn punch(&self, at: usize, len: usize) -> bool {
        let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&self.file, how, at as i64, len as i64).is_ok()
    }
}

#[cfg(not(miri))]
impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped in `Memory::map` with this length; all pieces, which
        // hold the memory, are gone.
        let unmapped = unsafe { munmap(self.base.cast(), self.len) };
        unmapped.expect("the mapping is there");
    }
}

#[cfg(miri)]
impl Memory {
    fn layout(len: usize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(len, 4096).expect("a size")
    }

    pub(super) fn new(len: usize) -> Option<Memory> {
        // SAFETY: the layout has a size above zero.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(Memory::layout(len)) })?;
        Some(Memory { base, len })
    }

    pub(super) fn open(_: OwnedFd) -> Result<Memory, String> {
        Err("there are no memory files here".into())
    }

    pub(super) fn file(&self) -> Result<OwnedFd, String> {
        Err("there are no memory files here".into())
    }

    pub(super) fn punch(&self, _: usize, _: usize) -> bool {
        true
    }
}

#[cfg(miri)]
impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `Memory::new` with this layout; all pieces, which
        // hold the memory, are gone.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), Memory::layout(self.len)) };
    }
}

/// Fills a piece that the caller owns.
#[cfg(test)]
pub(super) fn fill(bytes: *mut u8, len: usize, byte: u8) {
    // SAFETY: in tests of the arenas nobody but the owner of the piece is there.
    unsafe { bytes.write_bytes(byte, len) };
}

#[cfg(test)]
pub(super) fn is_filled(bytes: *mut u8, len: usize, byte: u8) -> bool {
    // SAFETY: as above; the memory is initialised.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, len) };
    bytes.iter().all(|b| *b == byte)
}
