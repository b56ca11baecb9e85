//! Receive buffers, and the ring of entries by which they are offered to the kernel.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

const PAGE_BYTES: usize = 4096;

/// A filled buffer, out of the kernel's hands until it is recycled.
#[derive(Debug)]
pub struct Lease {
    pub(super) buffer: u16,
    pub(super) bytes: u32,
    pub(super) pool: usize,
}

/// The receive buffers of one ring.
pub struct Pool {
    memory: Rc<Memory>,
    tail: u16,
}

impl Pool {
    /// All of `memory`, offered to the kernel.
    pub(super) fn new(memory: Rc<Memory>) -> Pool {
        let buffers = memory.buffers;
        let mut pool = Pool { memory, tail: 0 };
        for buffer in 0..buffers {
            pool.give(buffer);
        }
        pool
    }

    /// The bytes that arrived.
    pub fn bytes<'a>(&'a self, lease: &'a Lease) -> &'a [u8] {
        assert_eq!(
            lease.pool, self.memory.entries as usize,
            "a lease belongs to its pool"
        );
        assert!(lease.bytes <= self.memory.buffer_bytes);
        // SAFETY: the kernel handed this buffer out and does not touch it until it
        // is recycled, which takes the lease; the bounds were checked above, and
        // `give` only ever offers buffers within the memory.
        unsafe {
            std::slice::from_raw_parts(self.memory.buffer(lease.buffer), lease.bytes as usize)
        }
    }

    /// Gives the buffer back to the kernel.
    pub fn recycle(&mut self, lease: Lease) {
        assert_eq!(lease.pool, self.memory.entries as usize);
        self.give(lease.buffer);
    }

    fn give(&mut self, buffer: u16) {
        let memory = &self.memory;
        let at = usize::from(self.tail & (memory.buffers - 1));
        // SAFETY: `at` is within the ring of entries; this thread is the only
        // writer, and the kernel reads an entry only once the tail has passed it.
        unsafe {
            let entry = &mut *memory.entries.add(at);
            entry.set_addr(memory.buffer(buffer) as u64);
            entry.set_len(memory.buffer_bytes);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(memory.entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

/// Buffers and the ring of entries that offers them, shared by pool and ring so
/// that neither can free what the other still uses.
pub(super) struct Memory {
    pub(super) entries: *mut BufRingEntry,
    data: *mut u8,
    buffers: u16,
    buffer_bytes: u32,
}

impl Memory {
    pub(super) fn new(buffers: u16, buffer_bytes: u32) -> Memory {
        assert!(buffers.is_power_of_two() && buffer_bytes > 0);
        let (entries, data) = Memory::layouts(buffers, buffer_bytes);
        // SAFETY: both layouts have a size above zero, as asserted; zeroed bytes
        // are valid entries and valid data.
        let (entries_at, data_at) = unsafe { (alloc_zeroed(entries), alloc_zeroed(data)) };
        if entries_at.is_null() || data_at.is_null() {
            handle_alloc_error(data);
        }
        Memory {
            entries: entries_at.cast(),
            data: data_at,
            buffers,
            buffer_bytes,
        }
    }

    fn buffer(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.buffers);
        // SAFETY: the buffer's start lies within the allocation, as asserted.
        unsafe {
            self.data
                .add(usize::from(buffer) * self.buffer_bytes as usize)
        }
    }

    fn layouts(buffers: u16, buffer_bytes: u32) -> (Layout, Layout) {
        let of = |bytes| Layout::from_size_align(bytes, PAGE_BYTES).expect("a sane buffer size");
        let buffers = usize::from(buffers);
        (
            of(buffers * size_of::<BufRingEntry>()),
            of(buffers * buffer_bytes as usize),
        )
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let (entries, data) = Memory::layouts(self.buffers, self.buffer_bytes);
        // SAFETY: allocated in `new` with these layouts; the last share is gone.
        unsafe {
            dealloc(self.entries.cast(), entries);
            dealloc(self.data, data);
        }
    }
}
