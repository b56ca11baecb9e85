//! The broadcast log: one copy of every message for each format in use, read by
//! all cores at once.
//!
//! A [`Topic`] gives each message its offset and appends it to its views, each
//! a chain of segments in the memory of the [`Arenas`]. Each core reads a view
//! through a [`Window`]; a subscriber is no more than a position in it.
//!
//! The log knows no protocol: how a message is written is the matter of an
//! [`crate::protocol::encoding::Encoding`]. It wakes nobody: whom to tell stands
//! in the [`Interest`] of each view. The hub and the cores call it.

mod arena;
mod budget;
mod gaps;
pub mod head;
mod history;
pub mod interest;
mod keeping;
mod kept;
mod memory;
mod reach;
mod retention;
mod saved;
mod segment;
mod sequencer;
mod shared;
mod side;
mod slots;
mod sync;
mod topic;
mod view;
mod window;

pub use arena::Arenas;
pub use history::Range;
pub use kept::{Backlog, Kept, Run, RunSlot, Standing};
pub use reach::{Reach, Reached};
pub use retention::{AppendError, Bounds, Lack, Retention};
pub use saved::SavedTopic;
pub use segment::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Segment};
pub use sequencer::{Committed, Draft};
pub use slots::SLOT_BYTES;
pub use topic::{OutOfReach, Start, Summary, Topic};
pub use view::Interest;
pub use window::{Slice, Window};

#[cfg(test)]
mod tests;
