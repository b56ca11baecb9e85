//! Keepers: where a topic's messages are kept beyond the memory of the process. They talk to
//! cores and publishers through the hub.
//!
//! [`disk`] is a store, which the [`Scribe`] writes. [`nats`] is the link to the NATS servers of
//! a cluster, which knows neither topics nor logs: the [`Cluster`] joins it with the hub.
//! [`webhooks`] keep nothing: they tell the servers of apps what happens.

mod cluster;
pub mod disk;
mod linked;
pub mod nats;
mod reading;
mod said;
mod scribe;
#[cfg(test)]
mod tests;
pub mod webhooks;

pub use cluster::Cluster;
pub use linked::link_settings;
pub use scribe::Scribe;
