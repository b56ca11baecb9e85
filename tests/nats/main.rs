//! The link to NATS against real servers: `nats-server` from PATH, or from PyPI.
//!
//! Each test has servers and streams of its own. Nothing here is skipped: without a server
//! the tests fail.

mod chaos;
mod cluster;
mod faults;
mod history;
mod loss;
mod node;
mod nodes;
mod order;
mod security;
mod server;
