//! `fanfare subscribe` and `fanfare publish`: topics for the shell, a line for each message.
//!
//! Who is subscribed comes back by itself and goes on where it was; who publishes knows that all
//! was taken. Called by `cli`, which reads the command line.

mod batch;
mod end;
mod follow;
mod frames;
mod heard;
mod line;
mod output;
mod post;
mod publish;
mod since;
mod subscribe;

pub use end::End;
pub use publish::{Publish, publish};
pub use since::Since;
pub use subscribe::{Subscribe, Wanted, subscribe};
