//! How much history a topic keeps, how much memory it may hold, and what these
//! limits promise together.

use super::arena;
use super::segment::{SEGMENT_BYTES_MAX, SLOT_BYTES};

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
    LogFull,
    /// All topics together hold as much as they may.
    #[error("the memory for logs is used up")]
    TotalFull,
    /// The limits allow it, the system does not.
    #[error("the system gives no memory for logs")]
    NoMemory,
    /// The rare parts together are longer than `EXTRAS_BYTES_MAX`.
    #[error("the message's event, info and tags are too long")]
    ExtrasTooBig,
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

    /// The longest segment of a log with messages of `frame_bytes_max` bytes.
    fn segment_bytes_max(&self, frame_bytes_max: u64) -> u64 {
        let ordinary = (SEGMENT_BYTES_MAX as u64).min(self.log_bytes_max / SEGMENTS_MIN);
        let longest = arena::round(frame_bytes_max as usize + SLOT_BYTES) as u64;
        ordinary.max(longest)
    }
}

/// The least that a log must be allowed to hold so that a message is never
/// refused while no reader is further behind than `lag_bytes_max`: in each of
/// `views` views what such a reader is yet to be sent, of whose first segment a
/// part is behind the reader already, the segment that is being written, and
/// the one that the next message needs. Payloads of a few bytes need more, as
/// each message has a slot beside it.
pub fn log_bytes_min(
    bounds: &Bounds,
    views: u64,
    lag_bytes_max: u64,
    message_bytes_max: u64,
    header_bytes_max: u64,
) -> u64 {
    let segment = bounds.segment_bytes_max(message_bytes_max.saturating_add(header_bytes_max));
    let view = lag_bytes_max.saturating_add(segment.saturating_mul(2));
    view.saturating_mul(views).saturating_add(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_size_counts_whole_segments_of_each_view() {
        let bounds = Bounds {
            log_bytes_max: 32 << 20,
            log_bytes_total_max: 1 << 30,
        };
        // Segments of a megabyte: messages are smaller.
        let one = log_bytes_min(&bounds, 1, 8 << 20, 1000, 10);
        assert_eq!(one, 11 << 20);
        assert_eq!(log_bytes_min(&bounds, 2, 8 << 20, 1000, 10), 21 << 20);
        // A message that is longer needs a page more.
        let long = log_bytes_min(&bounds, 1, 8 << 20, 1 << 20, 10);
        assert_eq!(long, (11 << 20) + 3 * 4096);
        assert_eq!(log_bytes_min(&bounds, 9, u64::MAX, 1, 1), u64::MAX);
    }
}
