//! What the commands for the shell need to talk to a daemon, on this machine or elsewhere: its
//! address, a way there in the clear, over TLS or a Unix socket, HTTP over it, secrets from
//! files, and patience between attempts.
//!
//! Nothing of the daemon's own protocol code is used here, so that one witnesses for the other.

mod http;
mod place;
mod reach;
mod retry;
mod secret;

pub use http::{Answer, AskError, Http};
pub use place::{PlaceError, Server};
pub use reach::{Reach, ReachError, Stream, Tls, TlsError};
pub use retry::{Patience, Retry};
pub use secret::Secret;
