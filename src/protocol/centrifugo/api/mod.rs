//! The codec of Centrifugo's server API: the body of an HTTP request becomes calls
//! ([`decode`]), their outcomes become the body of the answer.
//!
//! As the codec of the client protocol around it, it says what is written and never
//! whether it may be. Members and messages are those of `internal/apiproto/api.proto`
//! of centrifugal/centrifugo. JSON only; nothing recurses.

mod answer;
mod call;
mod fields;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Node, Outcome, Receipt, Replies, write_error, write_outcome};
pub use call::{Call, Method, Post, Revoke, Sessions, Terms};
pub(in crate::protocol) use fields::tags;
pub use request::{Item, Request, Unreadable, decode};

use super::reply::Error;

impl Error {
    /// A call of a batch that no method here has the name of.
    pub const NOT_FOUND: Error = Error::lasting(104, "not found");
}
