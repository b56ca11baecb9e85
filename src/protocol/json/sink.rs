//! Where bytes are written to.

use std::ops::Range;

pub(in crate::protocol) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    /// Takes `len` bytes as written, if bytes are only counted.
    fn count(&mut self, len: usize) -> bool {
        let _ = len;
        false
    }

    /// The payload of a publication begins or ends here.
    fn mark(&mut self) {}
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// The start of a slice that is long enough.
pub(in crate::protocol) struct Slice<'a> {
    out: &'a mut [u8],
    len: usize,
    /// Where the payload of the publication in it begins and ends.
    marks: [Option<usize>; 2],
}

/// What a publication has been written with.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// So many bytes in all.
    pub len: usize,
    /// Its payload lies there.
    pub data: Range<usize>,
}

impl<'a> Slice<'a> {
    pub(in crate::protocol) fn new(out: &'a mut [u8]) -> Slice<'a> {
        Slice {
            out,
            len: 0,
            marks: [None; 2],
        }
    }

    pub(in crate::protocol) fn written(&self) -> Written {
        // An empty payload may not be told at all.
        let [begin, end] = self.marks.map(|mark| mark.unwrap_or(0));
        Written {
            len: self.len,
            data: begin..end,
        }
    }
}

impl Sink for Slice<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn mark(&mut self) {
        // A publication's payload comes before all else that is marked.
        if let Some(mark) = self.marks.iter_mut().find(|mark| mark.is_none()) {
            *mark = Some(self.len);
        }
    }
}

/// How long it would be.
#[derive(Default)]
pub(in crate::protocol) struct Count(pub(in crate::protocol) usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn count(&mut self, len: usize) -> bool {
        self.0 += len;
        true
    }
}
