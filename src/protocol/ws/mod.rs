//! WebSocket frames and messages (RFC 6455 sections 5 to 8), the server's side.
//!
//! No I/O, no clock: the reactor in `core` brings bytes and takes events away.

pub mod close;
pub mod code;
pub mod deflate;
pub mod event;
pub mod fault;
pub mod frame;
pub mod reader;
#[cfg(test)]
pub(crate) mod testing;

pub use close::Close;
pub use event::{Control, Event, Message, Payload};
pub use fault::Fault;
pub use frame::{Header, Opcode};
pub use reader::SavedReader;
pub use reader::{Limits, Reader};
