//! Keepers: where a topic's messages are kept beyond the memory of the process. They talk to
//! cores and publishers through the hub.

pub mod disk;
mod reading;
mod scribe;

pub use scribe::Scribe;
