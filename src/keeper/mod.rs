//! Keepers: where a topic's messages are kept beyond the memory of the process. They talk to
//! cores and publishers through the hub.
//!
//! [`disk`] is a store, which the [`Scribe`] writes. [`nats`] is the link to the NATS servers of
//! a cluster: it knows neither topics nor logs, and the daemon does not start it yet.

pub mod disk;
mod linked;
pub mod nats;
mod reading;
mod scribe;

pub use linked::{copy_counts, link_settings};
pub use scribe::Scribe;
