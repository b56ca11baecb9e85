//! The record layer of TLS 1.3 (RFC 8446) and of the AEAD suites of TLS 1.2 (RFC 5288, RFC
//! 7905), the server's side, from the end of a handshake on.
//!
//! The handshake is rustls', in the acceptor. [`Session::extract`] takes from it the keys and the
//! numbers of the next records: [`Traffic`] for what goes out, [`Incoming`] for what comes in.
//! No I/O, no clock, no buffers but the record that has come in part.
//!
//! What is not here: handshakes, certificates, tickets, early data, suites in CBC mode,
//! compression, renegotiation, and the client's side.

mod alert;
mod content;
mod fault;
mod incoming;
mod keys;
mod logged;
mod messages;
mod record;
mod sealer;
mod session;
mod suite;
mod traffic;

pub use alert::Alert;
pub use content::ContentType;
pub use fault::Fault;
pub use incoming::{Event, Incoming};
pub use logged::Logged;
pub use sealer::Sealer;
pub use session::{ExtractError, Session};
pub use suite::Suite;
pub use traffic::Traffic;

/// The most content of one record (RFC 8446 section 5.1, RFC 5246 section 6.2.1).
pub const PLAIN_BYTES_MAX: usize = content::PLAIN_BYTES_MAX;
/// Content type, version and length of a record.
pub const HEADER_BYTES: usize = record::HEADER_BYTES;
