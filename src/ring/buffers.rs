//! The receive buffers that all connections of a ring share: the kernel takes
//! one when bytes arrive, and gets it back when they have been read.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The size of one receive buffer.
pub const BUFFER_BYTES: usize = 16 << 10;
/// The kernel wants the ring of entries on a page boundary.
const PAGE_BYTES: usize = 4 << 10;
/// The one group of buffers there is.
pub(super) const GROUP: u16 = 0;

/// A ring of provided buffers (Linux 5.19), and the memory behind them.
pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    tail: u16,
    /// The kernel may use the memory for ever.
    abandoned: bool,
}

impl Buffers {
    /// Registers `count` buffers, a power of two, with the ring.
    pub(super) fn register(submitter: &Submitter<'_>, count: u16) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15);
        let mut buffers = Buffers {
            entries: allocate(Self::entries_layout(count)).cast(),
            memory: allocate(Self::memory_layout(count)),
            count,
            tail: 0,
            abandoned: false,
        };
        let address = buffers.entries.as_ptr() as u64;
        // SAFETY: the entries are `count` long and page aligned. `self` owns
        // them and the buffers until no request can use them any more: the ring
        // ends all requests before it drops this, or has it abandoned.
        unsafe { submitter.register_buf_ring_with_flags(address, count, GROUP, 0)? };
        for buffer in 0..count {
            buffers.give_back(buffer);
        }
        Ok(buffers)
    }

    /// Leaves the memory to the kernel for good.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }

    fn entries_layout(count: u16) -> Layout {
        Layout::from_size_align(count as usize * size_of::<BufRingEntry>(), PAGE_BYTES)
            .expect("at most 512 KiB")
    }

    fn memory_layout(count: u16) -> Layout {
        // No more than malloc's own alignment: beyond it zeroed memory would be
        // written once, here it comes fresh from the kernel and untouched.
        Layout::from_size_align(count as usize * BUFFER_BYTES, 16).expect("at most 512 MiB")
    }

    /// The first `len` bytes of a buffer that the kernel has handed out.
    #[inline]
    pub(super) fn bytes(&mut self, buffer: u16, len: u32) -> &mut [u8] {
        assert!(buffer < self.count && len as usize <= BUFFER_BYTES);
        // SAFETY: inside the allocation and initialised. The kernel uses a
        // buffer only between `give_back` and its completion, and `give_back`
        // takes `&mut self`, so not while this slice lives; no other slice of
        // the memory lives then either.
        unsafe {
            let start = self.memory.as_ptr().add(buffer as usize * BUFFER_BYTES);
            std::slice::from_raw_parts_mut(start, len as usize)
        }
    }

    /// Lets the kernel use a buffer (again).
    #[inline]
    pub(super) fn give_back(&mut self, buffer: u16) {
        assert!(buffer < self.count);
        let place = (self.tail & (self.count - 1)) as usize;
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the entry and the buffer are inside their allocations. The
        // kernel reads an entry only below the tail, which the release store
        // moves after the entry is written.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(place);
            let start = self.memory.as_ptr().add(buffer as usize * BUFFER_BYTES);
            entry.set_addr(start as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(self.entries.as_ptr()) as *const AtomicU16;
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.abandoned {
            return;
        }
        // SAFETY: allocated in `register` with these layouts; the ring that
        // used them is gone, and had no request under way when it went.
        unsafe {
            dealloc(
                self.entries.as_ptr().cast(),
                Self::entries_layout(self.count),
            );
            dealloc(self.memory.as_ptr(), Self::memory_layout(self.count));
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here is empty.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
