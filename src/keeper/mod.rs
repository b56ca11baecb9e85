//! Keepers: where a topic's messages are kept beyond the memory of the process. They talk to
//! cores and publishers through the hub.
//!
//! [`disk`] is a store, which the [`Scribe`] writes. [`nats`] is the link to the NATS servers of
//! a cluster, which knows neither topics nor logs: the [`Cluster`] joins it with the hub.
//! [`webhooks`] and [`Traces`] keep nothing: they tell the servers of apps what happens, and a
//! collector what is traced.

mod client;
mod cluster;
pub mod disk;
mod linked;
pub mod nats;
mod reading;
mod said;
mod scribe;
#[cfg(test)]
mod tests;
mod traces;
pub mod webhooks;

pub use cluster::Cluster;
pub use linked::link_settings;
pub use scribe::Scribe;
pub use traces::Traces;
