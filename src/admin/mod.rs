//! The listeners beside the public ones: health, figures, topics, publishing and
//! upgrades over plain HTTP, each address for the roles that it has. Who asks the server API on
//! a public listener is served here too.
//!
//! It runs on a thread of its own and knows the cores through the
//! [`Hub`](crate::hub::Hub) alone, so nothing that its clients do holds up a core.

mod api;
mod apps;
mod batch;
mod body;
mod connections;
mod cork;
mod cors;
mod credentials;
mod dashboard;
mod guard;
mod health;
mod mercure;
mod metrics;
mod once;
mod overview;
mod patience;
mod posted;
mod publish;
mod reply;
mod routes;
mod sealed;
mod server;
mod serving;
mod token;
mod topics;
mod upgrade;
mod who;
mod wish;

pub use api::answer_node;
pub use server::Listeners;
pub use serving::Server;
