//! A simulated world for Fanfare's reactors: a kernel, clients and a clock, all
//! in memory on one thread and driven by one seed, so that what goes wrong once
//! goes wrong again.
//!
//! The reactors are the real ones, on a [`ring::FakeRing`] in place of io_uring.
//! [`world::run`] plays one seed and panics as soon as a promise is broken.

pub mod arrivals;
mod client;
mod cluster;
mod codec;
mod deeds;
mod doors;
mod end;
mod inflate;
mod joining;
mod judging;
pub mod kernel;
mod lonely;
mod moving;
pub mod outcome;
pub mod pacing;
pub mod plan;
mod posting;
mod reader;
pub mod ring;
mod secure;
mod session;
mod side;
pub mod socket;
mod store;
mod subscriber;
pub mod targets;
pub mod tls;
mod truth;
pub mod waiting;
pub mod world;

pub use codec::{ServerFrame, client_frame, server_frame};
