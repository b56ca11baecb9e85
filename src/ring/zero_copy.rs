//! What zero-copy sends keep: the bytes under way, and the regions that the
//! kernel knows already, so that a send need not pin its pages again.

use std::rc::Rc;

use bytes::Bytes;
use io_uring::Submitter;
use slab::Slab;

/// Regions registered at a time. Each keeps up to a segment in memory.
pub(super) const REGIONS: u32 = 16;

/// The bytes of sends whose release has not come yet, by the number that
/// their token carries.
#[derive(Default)]
pub(super) struct Held(Slab<Rc<Bytes>>);

impl Held {
    pub(super) fn hold(&mut self, bytes: Rc<Bytes>) -> usize {
        self.0.insert(bytes)
    }

    pub(super) fn release(&mut self, held: usize) {
        self.0.remove(held);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The regions the kernel knows. A full table, or a memory limit, only means
/// that a send pins its own pages.
pub(super) struct Regions {
    table: Vec<Option<Rc<Bytes>>>,
    usable: bool,
}

impl Regions {
    pub(super) fn register(submitter: &Submitter<'_>) -> Self {
        Regions {
            table: vec![None; REGIONS as usize],
            usable: submitter.register_buffers_sparse(REGIONS).is_ok(),
        }
    }

    /// The number of the region that is `bytes`, registered now if need be.
    pub(super) fn find(&mut self, submitter: &Submitter<'_>, bytes: &Rc<Bytes>) -> Option<u16> {
        if !self.usable {
            return None;
        }
        let mut free = None;
        for (index, entry) in self.table.iter().enumerate() {
            match entry {
                Some(known) if Rc::ptr_eq(known, bytes) => return Some(index as u16),
                Some(known) if Rc::strong_count(known) > 1 => {}
                _ => free = Some(index),
            }
        }
        let index = free?;
        self.set(submitter, index, Some(bytes))
            .then_some(index as u16)
    }

    /// Forgets the regions that nobody else uses any more.
    pub(super) fn tidy(&mut self, submitter: &Submitter<'_>) {
        for index in 0..self.table.len() {
            if self.table[index]
                .as_ref()
                .is_some_and(|known| Rc::strong_count(known) == 1)
            {
                self.set(submitter, index, None);
            }
        }
    }

    fn set(&mut self, submitter: &Submitter<'_>, index: usize, bytes: Option<&Rc<Bytes>>) -> bool {
        let region = libc::iovec {
            iov_base: bytes.map_or(std::ptr::null_mut(), |b| b.as_ptr() as *mut _),
            iov_len: bytes.map_or(0, |b| b.len()),
        };
        // SAFETY: the table keeps the handle, and so the bytes, for as long as
        // the kernel knows the region; the kernel only reads them.
        let done =
            unsafe { submitter.register_buffers_update(index as u32, &[region], None) }.is_ok();
        if done {
            self.table[index] = bytes.cloned();
        }
        done
    }
}
