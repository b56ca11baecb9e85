//! Looking at a topic's history, message by message: for pages of it, and for what is
//! told of a single message. Reads the raw view, and holds the topic's lock only to
//! find where to begin.

use std::ops::ControlFlow;

use super::retention::Retention;
use super::slots::{Slot, Slots};
use super::topic::{OutOfReach, Topic};
use crate::protocol::encoding::{Format, Message};

/// Which messages of a topic are wanted, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// From this offset on, or from the oldest one that is retained.
    pub from: u64,
    /// Up to this one and without it.
    pub until: u64,
    /// The newest first.
    pub reverse: bool,
}

impl Topic {
    /// Shows the messages of `range` that are retained, and that memory holds, to `visit`,
    /// until it says that it has seen enough.
    pub fn visit(
        &self,
        range: Range,
        retention: &Retention,
        mut visit: impl FnMut(&Message<'_>) -> ControlFlow<()>,
    ) {
        let start = match self.start(Format::Raw, Some(range.from), retention) {
            Ok(start) | Err(OutOfReach::Raw(start)) => start,
            Err(OutOfReach::Stored(_)) => self.start_held(Format::Raw, range.from),
        };
        let from = start.offset.max(range.from);
        let mut segments: Vec<_> = start.segments.iter().collect();
        if range.reverse {
            segments.reverse();
        }
        for segment in segments {
            let slots = segment.slots();
            let wanted = slots.before_offset(from)..slots.before_offset(range.until);
            let count = wanted.len() as u32;
            for step in 0..count {
                let number = match range.reverse {
                    true => wanted.end - 1 - step,
                    false => wanted.start + step,
                };
                if visit(&self.message(&slots, number)).is_break() {
                    return;
                }
            }
        }
    }

    /// A message of the raw view.
    pub(super) fn message<'a>(&'a self, slots: &Slots<'a>, number: u32) -> Message<'a> {
        Message {
            topic: self.name(),
            epoch: self.epoch(),
            offset: slots.offset_of(number),
            time_ms: slots.time_of(number),
            text: slots.get(number).flags & Slot::TEXT != 0,
            payload: slots.payload(number),
            extras: slots.extras(number),
        }
    }
}
