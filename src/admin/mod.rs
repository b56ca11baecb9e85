//! The listeners beside the public ones: health, figures, topics, publishing and
//! upgrades over plain HTTP, each address for the roles that it has.
//!
//! It runs on a thread of its own and knows the cores through the
//! [`Hub`](crate::hub::Hub) alone, so nothing that its clients do holds up a core.

mod api;
mod connections;
mod guard;
mod health;
mod metrics;
mod publish;
mod reply;
mod routes;
mod server;
mod token;
mod topics;
mod upgrade;

pub use server::{Listeners, Server};
