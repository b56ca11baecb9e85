//! The link to NATS JetStream, for topics that a cluster keeps.
//!
//! A message is published on the *in* prefix, a stream keeps it, and the server hands each
//! stored message to plain subscribers on the *out* prefix, with its offset and the one
//! before it on the same topic. [`Link`] publishes, follows topics in their order without
//! silent holes, reads history, and connects the nodes with each other.
//!
//! What decides is pure: `chain` (what may be given on), `proposing` (what is sent and sent
//! again), `tail` (when a topic's end is proven), `stream` (whether a stream will do),
//! `nodes` (who is there). `session` and `engine` join them on one thread with the client
//! library.
//! It leaves to its caller what a message means and who may read it.

mod calls;
mod chain;
mod counts;
mod engine;
mod event;
mod fetching;
mod following;
mod headers;
mod history;
mod link;
mod narrowing;
mod nodes;
mod proposing;
mod publishing;
mod requests;
mod searching;
mod session;
mod settings;
mod state;
mod stream;
mod streams;
mod subject;
mod tail;
mod wire;
mod wish;

pub use counts::Counts;
pub use event::{
    Committed, Event, Failure, Fault, Page, Proposal, StartError, Ticket, Topic, Warning,
};
pub use headers::{Kind, Message, Origin};
pub use link::Link;
pub use nodes::{Answer, Call, News};
pub use settings::{Credentials, Limits, Secret, Settings, SettingsError, Storage, Tls};
pub use stream::StreamFault;
pub use subject::{BUCKETS, Subjects};
