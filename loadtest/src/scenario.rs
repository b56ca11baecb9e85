//! What each scenario does, from the first connection to its figures.

mod common;
mod fanout;
mod idle;
mod ramp;
mod slow;
mod soak;
mod storm;

pub use common::Run;
pub use fanout::fanout;
pub use idle::idle;
pub use ramp::ramp;
pub use slow::slow;
pub use soak::soak;
pub use storm::storm;
