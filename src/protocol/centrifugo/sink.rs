//! Where bytes are written to.

pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    /// Takes `len` bytes as written, if bytes are only counted.
    fn count(&mut self, len: usize) -> bool {
        let _ = len;
        false
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// The start of a slice that is long enough.
pub(super) struct Slice<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Slice<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Slice<'a> {
        Slice { out, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Sink for Slice<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

/// How long it would be.
#[derive(Default)]
pub(super) struct Count(pub(super) usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn count(&mut self, len: usize) -> bool {
        self.0 += len;
        true
    }
}
