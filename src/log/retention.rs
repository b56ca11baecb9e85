//! How much history a topic keeps, how much memory it may hold, and what these
//! limits promise together.

use super::segment::SEGMENT_BYTES_MAX;
use crate::protocol::encoding::Format;

/// What a topic keeps for subscribers that return, and how much it may hold.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub messages_max: u64,
    pub bytes_max: u64,
    pub age_ms_max: u64,
    pub bounds: Bounds,
}

/// How much memory logs may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of one topic, all views and its readers' segments included.
    pub log_bytes_max: u64,
    /// Of all topics together.
    pub log_bytes_total_max: u64,
}

/// A log that is full has at least so many segments, but for long messages.
const SEGMENTS_MIN: u64 = 8;
/// Near the limit of all logs together a segment takes at most one part in so
/// many of what is left.
const STEPS_MIN: u64 = 64;

/// Why a message was not appended. Nothing of it is left behind.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError<E> {
    /// What the writer of the payload said.
    #[error("{0}")]
    Payload(E),
    /// The topic holds as much as it may, because cores still read from it.
    #[error("the topic's log is full")]
    LogFull(Lack),
    /// All topics together hold as much as they may.
    #[error("the memory for logs is used up")]
    TotalFull(Lack),
    /// The limits allow it, the system does not.
    #[error("the system gives no memory for logs")]
    NoMemory(Lack),
    /// The rare parts together are longer than `EXTRAS_BYTES_MAX`, so that there
    /// will never be room for them.
    #[error("the message's event, info and tags are too long")]
    ExtrasTooBig,
}

/// What there was no room for: a message in one of its topic's views. See
/// [`super::Topic::reserve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    pub(super) format: Format,
    /// Bytes of the message in that view, at most.
    pub(super) len: usize,
    /// Bytes of its rare parts there.
    pub(super) rare_len: usize,
}

impl Bounds {
    /// The size of the segment behind one of `capacity` bytes, if it need not
    /// be larger for its first message.
    pub(super) fn grown(&self, capacity: usize, total_bytes: u64) -> usize {
        let largest = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        // A small log has small segments: with two of the largest it would be
        // full before it held what it may.
        let share = largest(self.log_bytes_max / SEGMENTS_MIN);
        let free = self.log_bytes_total_max.saturating_sub(total_bytes);
        let step = largest(free / STEPS_MIN);
        (capacity * 4).min(SEGMENT_BYTES_MAX).min(share).min(step)
    }
}
