//! A view: the log of a topic's messages, encoded for one kind of subscriber.
//! This is its writing side, kept under the topic's lock.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use crate::protocol::ws::frame;

use super::segment::{Budget, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Segment};

/// A log that is full has at least so many segments, but for long messages.
const SEGMENTS_MIN: u64 = 8;
/// Segments that what is left for all logs is good for.
const STEPS_MIN: u64 = 64;

/// Held by the one writer of a log: the view inside the topic's lock.
#[derive(Debug)]
pub(super) struct WriterLock(());

/// How much memory logs may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of one log, its readers' segments included.
    pub log_bytes_max: u64,
    /// Of all logs together.
    pub log_bytes_total_max: u64,
}

impl Bounds {
    const NONE: Bounds = Bounds {
        log_bytes_max: u64::MAX,
        log_bytes_total_max: u64::MAX,
    };
}

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
}

/// The writing side of one log.
#[derive(Debug)]
pub struct View {
    /// The history, oldest first. The last one is written to.
    segments: VecDeque<Arc<Segment>>,
    /// Messages in the last segment.
    tail_messages: u32,
    budget: Arc<Budget>,
    lock: WriterLock,
}

impl View {
    /// An empty view whose next message has `offset`.
    pub fn new(offset: u64, budget: Arc<Budget>) -> Self {
        let first = Segment::new(0, offset, SEGMENT_BYTES_MIN, budget.clone());
        View {
            segments: VecDeque::from([first]),
            tail_messages: 0,
            budget,
            lock: WriterLock(()),
        }
    }

    /// A view whose first frame has `offset` and lies at `start`, with the
    /// frames in `bytes`. `None` if they are not whole frames.
    pub fn restore(start: u64, offset: u64, bytes: &[u8], budget: Arc<Budget>) -> Option<Self> {
        let first = Segment::new(start, offset, SEGMENT_BYTES_MIN, budget.clone());
        let mut view = View {
            segments: VecDeque::from([first]),
            tail_messages: 0,
            budget,
            lock: WriterLock(()),
        };
        let (mut rest, mut offset) = (bytes, offset);
        while !rest.is_empty() {
            let (frame, after) = rest.split_at_checked(frame::server_frame_len(rest)?)?;
            view.reserve::<Infallible>(offset, frame.len(), Bounds::NONE)
                .ok()?;
            view.append_frame(frame, &[]);
            (rest, offset) = (after, offset + 1);
        }
        Some(view)
    }

    /// All segments, oldest first.
    pub fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.iter()
    }

    /// The segments from the one that holds `position` on, if it is held.
    pub fn segments_from(&self, position: u64) -> Option<Vec<Arc<Segment>>> {
        let after = self.segments.partition_point(|s| s.start() <= position);
        let first = after.checked_sub(1)?;
        (position <= self.head()).then(|| self.segments.range(first..).cloned().collect())
    }

    /// Makes room for `len` bytes, so that the [`View::append`] of the message
    /// `offset` can fail no more but by its payload.
    ///
    /// # Errors
    /// That the log, or all logs, are full.
    pub fn reserve<E>(
        &mut self,
        offset: u64,
        len: usize,
        bounds: Bounds,
    ) -> Result<(), AppendError<E>> {
        if self.tail().room() < len {
            self.roll(offset, len, bounds)?;
        }
        Ok(())
    }

    /// Appends one message of `len` bytes, for which room has been reserved
    /// and which `write` fills in. Returns the positions they lie at.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn append<E>(
        &mut self,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Range<u64>, E> {
        let tail = self.segments.back().expect("a view has a segment");
        let (at, _) = tail.end();
        tail.append(&mut self.lock, len, self.tail_messages, write)?;
        self.tail_messages += 1;
        Ok(at..at + len as u64)
    }

    /// Appends one message whose bytes are at hand, for which room has been
    /// reserved.
    pub fn append_frame(&mut self, header: &[u8], payload: &[u8]) -> Range<u64> {
        let appended = self.append(header.len() + payload.len(), |room| {
            let (head, rest) = room.split_at_mut(header.len());
            head.copy_from_slice(header);
            rest.copy_from_slice(payload);
            Ok::<_, Infallible>(())
        });
        appended.unwrap_or_else(|never| match never {})
    }

    /// The bytes of the newest message, which is `len` bytes long.
    pub fn newest(&self, len: usize) -> &[u8] {
        let bytes = self.tail().published();
        &bytes[bytes.len() - len..]
    }

    fn roll<E>(&mut self, offset: u64, len: usize, bounds: Bounds) -> Result<(), AppendError<E>> {
        // A small log has small segments: with two of the largest it would be
        // full before it held what it may.
        let share = usize::try_from(bounds.log_bytes_max / SEGMENTS_MIN).unwrap_or(usize::MAX);
        let grown = (self.tail().capacity() * 4).min(SEGMENT_BYTES_MAX);
        // Where all logs together near their limit, each takes small steps.
        let free = bounds
            .log_bytes_total_max
            .saturating_sub(self.budget.total_bytes());
        let step = usize::try_from(free / STEPS_MIN).unwrap_or(usize::MAX);
        let grown = grown.min(share.min(step).max(SEGMENT_BYTES_MIN));
        let capacity = grown.max(len);
        if self.budget.log_bytes() + capacity as u64 > bounds.log_bytes_max {
            self.trim_to_tail();
            if self.budget.log_bytes() + capacity as u64 > bounds.log_bytes_max {
                return Err(AppendError::LogFull);
            }
        }
        if self.budget.total_bytes() + capacity as u64 > bounds.log_bytes_total_max {
            self.trim_to_tail();
            if self.budget.total_bytes() + capacity as u64 > bounds.log_bytes_total_max {
                return Err(AppendError::TotalFull);
            }
        }
        let (end, _) = self.tail().end();
        let next = Segment::new(end, offset, capacity, self.budget.clone());
        self.tail().link(next.clone());
        self.segments.push_back(next);
        self.tail_messages = 0;
        Ok(())
    }

    fn tail(&self) -> &Arc<Segment> {
        self.segments.back().expect("a view has a segment")
    }

    fn trim_to_tail(&mut self) {
        self.segments.drain(..self.segments.len() - 1);
    }

    /// Position behind the last message.
    pub fn head(&self) -> u64 {
        self.tail().end().0
    }

    /// Offset of the oldest message whose bytes are still held.
    pub fn first_offset(&self) -> u64 {
        self.segments[0].first_offset()
    }

    /// Gives up the segments that hold only messages before `offset`, and
    /// those that end before `position`.
    pub fn trim(&mut self, offset: u64, position: u64) {
        while let Some(second) = self.segments.get(1) {
            if second.first_offset() > offset && second.start() > position {
                break;
            }
            self.segments.pop_front();
        }
    }

    /// Replaces the tail by a small, empty one where the history is empty, so
    /// that a topic that has gone quiet holds next to nothing.
    pub fn shrink(&mut self, next_offset: u64) {
        if self.tail().capacity() > SEGMENT_BYTES_MIN && self.tail_messages > 0 {
            let (end, _) = self.tail().end();
            let next = Segment::new(end, next_offset, SEGMENT_BYTES_MIN, self.budget.clone());
            self.tail().link(next.clone());
            self.segments = VecDeque::from([next]);
            self.tail_messages = 0;
        }
    }

    /// The offset of the first message at or after `position`; the next
    /// message's at the head.
    pub fn offset_at(&self, position: u64) -> u64 {
        let after = self.segments.partition_point(|s| s.start() <= position);
        let segment = &self.segments[after.saturating_sub(1)];
        super::window::walk_to_position(segment, position.max(segment.start())).1
    }

    /// The position of message `offset`, and the segments from there on.
    /// The offset must be held, or be the next one.
    pub fn locate(&self, offset: u64) -> (u64, Vec<Arc<Segment>>) {
        let after = self
            .segments
            .partition_point(|s| s.first_offset() <= offset)
            .max(1);
        let segment = &self.segments[after - 1];
        let position = super::window::walk_to_offset(segment, offset);
        (
            position,
            self.segments.range(after - 1..).cloned().collect(),
        )
    }

    /// What this view and the others of its topic hold together.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}
