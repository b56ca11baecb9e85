//! Restart without a disconnect: a running daemon hands its listening sockets,
//! its topics and every established connection to a successor.
//!
//! ```text
//! predecessor                          successor
//!   starts it, with one socket   --->   becomes a child of the service manager,
//!                                       reads its settings, makes its rings
//!                                <---   here (its process id)
//!   hello, listening sockets     --->
//!   those of TLS                 --->
//!                                <---   ready
//!   stops accepting, freezes
//!   the logs' memory files       --->
//!   state (one memory file)      --->   builds topics on them
//!   sockets, 200 at a time       --->   seats connections, frozen
//!   keys (another memory file)   --->   the same of those over TLS
//!                                <---   done
//!   go, and ends                 --->   thaws, serves
//! ```
//!
//! Until `go` the predecessor can take everything up again, and does so if the
//! successor fails, dies or takes too long, or if it is told to stop meanwhile. It
//! kills the successor first and waits for its end: nobody reads from a socket that
//! another one goes on with. See `docs/handover.md`.

mod channel;
mod predecessor;
mod rest;
mod seats;
mod secrets;
mod sockets;
mod state;
pub mod store;
mod successor;

pub use predecessor::{Consent, Predecessor, hand_over};
pub use rest::write_down;
pub use seats::Seats;
pub use secrets::Secrets;
pub use sockets::{Public, Sockets};
pub use state::{State, StateError, Topics, VERSION};
pub use successor::{Successor, inherit};
