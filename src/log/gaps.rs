//! What is free of a file, and which of its pages have memory behind them.

use std::collections::{BTreeMap, BTreeSet};

pub(super) const PAGE_BYTES: usize = 4096;
/// Pieces from here on are taken from the end of a gap, smaller ones from its
/// start, so that small ones stay together.
const LARGE_BYTES: usize = 64 << 10;
/// Gaps that are tried for one whose start suits, before only gaps are tried in
/// which any start does.
const TRIES: usize = 16;

/// The free ranges of a file, by place and by length. None touches another.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    by_start: BTreeMap<usize, usize>,
    by_len: BTreeSet<(usize, usize)>,
}

impl Gaps {
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        self.by_start.iter().map(|(at, len)| (*at, *len))
    }

    /// Takes `len` bytes out of the smallest gap that has them.
    pub(super) fn take(&mut self, len: usize) -> Option<usize> {
        let suits = |&(gap_len, gap_at): &(usize, usize)| {
            let end = gap_at + gap_len;
            let at = if len < PAGE_BYTES {
                gap_at
            } else if len < LARGE_BYTES {
                gap_at.next_multiple_of(PAGE_BYTES)
            } else {
                // Not below zero: the gap is at least that long.
                (end - len) / PAGE_BYTES * PAGE_BYTES
            };
            (gap_at <= at && at + len <= end).then_some(at)
        };
        let mut close = self.by_len.range((len, 0)..).take(TRIES);
        let mut ample = self.by_len.range((len + PAGE_BYTES, 0)..);
        let at = close.find_map(suits).or_else(|| ample.find_map(suits))?;
        assert!(self.remove(at, len), "it lies in a gap");
        Some(at)
    }

    /// Takes a range out; false if it does not lie in one gap.
    pub(super) fn remove(&mut self, at: usize, len: usize) -> bool {
        let Some((&gap_at, &gap_len)) = self.by_start.range(..=at).next_back() else {
            return false;
        };
        let (end, gap_end) = (at + len, gap_at + gap_len);
        if end > gap_end {
            return false;
        }
        self.by_start.remove(&gap_at);
        self.by_len.remove(&(gap_len, gap_at));
        self.insert(gap_at, at - gap_at);
        self.insert(end, gap_end - end);
        true
    }

    /// Adds a range, joined with the gaps beside it.
    pub(super) fn add(&mut self, mut at: usize, mut len: usize) {
        if let Some((&before, &before_len)) = self.by_start.range(..at).next_back()
            && before + before_len == at
        {
            self.by_start.remove(&before);
            self.by_len.remove(&(before_len, before));
            (at, len) = (before, before_len + len);
        }
        if let Some(after_len) = self.by_start.remove(&(at + len)) {
            self.by_len.remove(&(after_len, at + len));
            len += after_len;
        }
        self.insert(at, len);
    }

    pub(super) fn insert(&mut self, at: usize, len: usize) {
        if len > 0 {
            self.by_start.insert(at, len);
            self.by_len.insert((len, at));
        }
    }
}

/// One bit for each page of a file.
#[derive(Debug)]
pub(super) struct Pages(Box<[u64]>);

impl Pages {
    pub(super) fn new(len: usize) -> Self {
        let pages = len.div_ceil(PAGE_BYTES);
        Pages(vec![0; pages.div_ceil(64)].into())
    }

    pub(super) fn get(&self, page: usize) -> bool {
        self.0[page / 64] & 1 << (page % 64) != 0
    }

    /// Marks all pages that a range touches.
    pub(super) fn set(&mut self, at: usize, len: usize) {
        for page in at / PAGE_BYTES..(at + len).div_ceil(PAGE_BYTES) {
            self.0[page / 64] |= 1 << (page % 64);
        }
    }

    pub(super) fn clear(&mut self, at: usize, len: usize) {
        for page in whole_pages(at, len) {
            self.0[page / 64] &= !(1 << (page % 64));
        }
    }

    pub(super) fn clear_all(&mut self) {
        self.0.fill(0);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// The pages that lie in a range as a whole.
pub(super) fn whole_pages(at: usize, len: usize) -> std::ops::Range<usize> {
    let first = at.div_ceil(PAGE_BYTES);
    first..((at + len) / PAGE_BYTES).max(first)
}
