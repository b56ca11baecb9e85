//! The records of the index: numbers of fixed lengths, little-endian, one after the other.

/// Where a page lies and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRecord {
    pub(super) shelf: u32,
    pub(super) at: u32,
    /// Bytes on the shelf.
    pub(super) len: u32,
    /// Messages.
    pub(super) count: u32,
    /// Bytes of their frames.
    pub(super) bytes: u32,
    /// The last offset.
    pub(super) last: u64,
    pub(super) oldest_ms: u64,
    pub(super) newest_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TopicRecord {
    pub(super) id: u64,
    pub(super) epoch: u64,
    pub(super) next_offset: u64,
    /// How many unclean ends there were when it was written: `next_offset` counts those only.
    pub(super) leaps: u64,
    pub(super) time_ms: u64,
    pub(super) floor: u64,
}

/// What is known of the whole store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    /// How many times the index was synced.
    pub(super) syncs: u64,
    /// Sum of the checksums of all other records.
    pub(super) digest: u64,
    /// How many unclean ends there were.
    pub(super) leaps: u64,
    /// The store was closed after this.
    pub(super) clean: bool,
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }
}

impl PageRecord {
    const BYTES: usize = 5 * 4 + 3 * 8;

    pub(super) fn write(&self) -> [u8; Self::BYTES] {
        let small = [self.shelf, self.at, self.len, self.count, self.bytes];
        let large = [self.last, self.oldest_ms, self.newest_ms];
        let mut out = [0; Self::BYTES];
        for (bytes, number) in out.chunks_exact_mut(4).zip(small) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        for (bytes, number) in out[20..].chunks_exact_mut(8).zip(large) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        out
    }

    pub(super) fn read(value: &[u8]) -> Option<PageRecord> {
        let mut fields = Fields(value);
        (value.len() == Self::BYTES).then_some(())?;
        Some(PageRecord {
            shelf: fields.u32()?,
            at: fields.u32()?,
            len: fields.u32()?,
            count: fields.u32()?,
            bytes: fields.u32()?,
            last: fields.u64()?,
            oldest_ms: fields.u64()?,
            newest_ms: fields.u64()?,
        })
    }
}

impl TopicRecord {
    const BYTES: usize = 6 * 8;

    pub(super) fn write(&self) -> [u8; Self::BYTES] {
        let numbers = [
            self.id,
            self.epoch,
            self.next_offset,
            self.leaps,
            self.time_ms,
            self.floor,
        ];
        let mut out = [0; Self::BYTES];
        for (bytes, number) in out.chunks_exact_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        out
    }

    pub(super) fn read(value: &[u8]) -> Option<TopicRecord> {
        let mut fields = Fields(value);
        (value.len() == Self::BYTES).then_some(())?;
        Some(TopicRecord {
            id: fields.u64()?,
            epoch: fields.u64()?,
            next_offset: fields.u64()?,
            leaps: fields.u64()?,
            time_ms: fields.u64()?,
            floor: fields.u64()?,
        })
    }
}

impl State {
    const BYTES: usize = 4 * 8;

    pub(super) fn write(&self) -> [u8; Self::BYTES] {
        let numbers = [self.syncs, self.digest, self.leaps, self.clean.into()];
        let mut out = [0; Self::BYTES];
        for (bytes, number) in out.chunks_exact_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        out
    }

    pub(super) fn read(value: &[u8]) -> Option<State> {
        let mut fields = Fields(value);
        (value.len() == Self::BYTES).then_some(())?;
        Some(State {
            syncs: fields.u64()?,
            digest: fields.u64()?,
            leaps: fields.u64()?,
            clean: fields.u64()? != 0,
        })
    }
}
