//! A core: one pinned thread with an acceptor and a reactor.

mod acceptor;
mod arriving;
mod conn;
mod handover;
mod inbound;
mod local;
mod outbound;
mod parting;
mod pausing;
mod reactor;
mod remote;
mod slots;
mod thread;

pub use handover::{SavedConn, SavedCore};
pub use reactor::{Arrival, Reactor};
pub use remote::{Command, Installed, Remote};
pub use thread::{Arrived, Core, Inheritance, Listeners, Plan, slots};
