//! WebSocket frames and messages (RFC 6455 sections 5 to 8), the server's side.

pub mod close;
pub mod fault;
pub mod frame;
pub mod reader;

pub use close::Close;
pub use fault::Fault;
pub use frame::{Header, Opcode};
pub use reader::{Control, Event, Limits, Message, Payload, Reader};
