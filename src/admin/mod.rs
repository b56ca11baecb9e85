//! The admin listener: health, figures, topics and publishing over plain HTTP,
//! on an address or a Unix socket of its own.
//!
//! It runs on a thread of its own and knows the cores through the
//! [`Hub`](crate::hub::Hub) alone, so nothing that its clients do holds up a core.

mod bind;
mod connections;
mod guard;
mod health;
mod metrics;
mod publish;
mod reply;
mod routes;
mod server;
mod topics;
mod upgrade;

pub use bind::BindError;
pub use server::{Listener, Server};
