//! Memory that is sealed into: taken for a send, and given back once the kernel has taken the bytes. Fresh memory
//! would have to be mapped page by page each time, which costs more than the cipher.

use std::rc::Rc;

use bytes::Bytes;

/// Less is had from the allocator as fast.
const BYTES_MIN: usize = 4 << 10;
/// What is kept for the next sends of a core.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Buffers that wait to be used again.
#[derive(Default)]
pub(super) struct Scratch {
    all: Vec<Vec<u8>>,
    bytes: usize,
}

impl Scratch {
    /// An empty buffer with room for `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        if len < BYTES_MIN {
            return Vec::with_capacity(len);
        }
        // The last one has just been used: it is in the processor's cache.
        let fits = self.all.iter().rposition(|buffer| buffer.capacity() >= len);
        let Some(at) = fits else {
            return Vec::with_capacity(len.next_multiple_of(BYTES_MIN));
        };
        let mut buffer = self.all.remove(at);
        self.bytes -= buffer.capacity();
        buffer.clear();
        buffer
    }

    /// Takes back what a send was made of, if nobody else has it and it is worth keeping.
    pub(super) fn give_back(&mut self, bytes: Rc<Bytes>) {
        let Some(bytes) = Rc::into_inner(bytes).filter(Bytes::is_unique) else {
            return;
        };
        if bytes.len() < BYTES_MIN {
            return;
        }
        let buffer = Vec::from(bytes);
        if self.bytes + buffer.capacity() <= KEPT_BYTES_MAX {
            self.bytes += buffer.capacity();
            self.all.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(mut buffer: Vec<u8>, len: usize) -> Rc<Bytes> {
        buffer.resize(len, 7);
        Rc::new(Bytes::from(buffer))
    }

    #[test]
    fn a_buffer_is_used_again_for_what_it_has_room_for() {
        let mut scratch = Scratch::default();
        let buffer = scratch.take(20_000);
        let place = buffer.as_ptr();
        scratch.give_back(sent(buffer, 20_000));
        assert!(scratch.take(30_000).capacity() >= 30_000);
        let again = scratch.take(10_000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert_eq!((scratch.bytes, scratch.all.len()), (0, 0));
    }

    #[test]
    fn what_somebody_else_has_is_not_taken_back() {
        let mut scratch = Scratch::default();
        let bytes = sent(scratch.take(20_000), 20_000);
        let other = Bytes::clone(&bytes);
        scratch.give_back(bytes);
        assert!(scratch.all.is_empty());
        assert_eq!(other.len(), 20_000);
    }

    #[test]
    fn no_more_is_kept_than_is_worth_it() {
        let mut scratch = Scratch::default();
        let buffers: Vec<_> = (0..100).map(|_| scratch.take(100_000)).collect();
        for buffer in buffers {
            scratch.give_back(sent(buffer, 100_000));
        }
        assert!(scratch.bytes <= KEPT_BYTES_MAX && scratch.all.len() >= 9);
        scratch.give_back(sent(Vec::new(), 10));
        assert!(
            scratch
                .all
                .iter()
                .all(|buffer| buffer.capacity() >= BYTES_MIN)
        );
    }
}
