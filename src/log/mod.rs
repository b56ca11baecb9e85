//! The broadcast log: one copy of every message, read by all cores at once.
//!
//! A [`Topic`] gives each message its offset and appends its frame to a
//! [`view::View`], a chain of [`segment::Segment`]s. Each core reads through a
//! [`Window`]; a subscriber is no more than a position in it.

pub mod head;
mod saved;
pub mod segment;
mod sync;
pub mod topic;
pub mod view;
pub mod window;

pub use saved::SavedTopic;
pub use segment::Segment;
pub use topic::{Compressed, Published, Retention, Start, Summary, Topic, ViewKind};
pub use view::{AppendError, Bounds};
pub use window::{Slice, Window};

#[cfg(test)]
mod tests;
