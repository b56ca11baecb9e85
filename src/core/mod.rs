//! A core: one pinned thread with an acceptor and a reactor.

mod acceptor;
mod compress;
mod conn;
mod handover;
mod inbound;
mod local;
pub mod metrics;
mod outbound;
mod parting;
mod pausing;
mod reactor;
pub mod reason;
mod slots;
mod thread;

pub use compress::Codec;
pub use handover::{SavedConn, SavedCore};
pub use reactor::{Arrival, Reactor};
pub use thread::{Arrived, Command, Core, Inheritance, Listeners, Plan, slots};
