//! A core: one pinned thread with an acceptor and a reactor.

mod acceptor;
mod allowing;
mod arriving;
mod asking;
mod closing;
mod complaints;
mod conn;
mod conversing;
mod feeds;
mod following;
mod handover;
mod inbound;
mod lagging;
mod lane;
mod outbound;
mod pausing;
mod pinning;
mod publishing;
mod reaching;
mod reactor;
mod refusing;
mod remote;
mod rings;
mod slots;
mod subs;
mod talk;
mod thread;
mod time;
mod timers;
mod transmit;

pub use handover::{SavedConn, SavedCore};
pub use reactor::{Arrival, Reactor};
pub use remote::{Command, Installed, Remote};
pub use rings::Rings;
pub use rings::slots;
pub use thread::{Arrived, Core, Go, Inheritance, Listeners, Plan};
