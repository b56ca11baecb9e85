//! HTTP/1.1 as far as a WebSocket server needs it (RFC 9112): request heads in,
//! short answers out, and the opening handshake between (RFC 6455 section 4). Streams of events
//! are asked for in `event_stream`.
//!
//! No I/O, no clock: the acceptor in `core` reads and writes. The admin listener
//! has an HTTP of its own (hyper).

pub mod bearer;
mod begins;
mod clients;
pub mod head;
pub mod hosts;
pub mod origin;
pub(in crate::protocol) mod query;
pub mod reject;
pub mod response;
pub mod upgrade;
mod url;

pub use begins::{Begins, Resume, answer};
pub use head::{HeadLimits, HeadReader, Method, Request, parse, wants_head_only};
pub use hosts::Hosts;
pub use origin::Origins;
pub use reject::Reject;
pub use response::{
    Document, Terms, demand_tls, is_known, options_response, response, stream_head,
    strict_transport,
};
pub use upgrade::{
    APP_PATH, CENTRIFUGO_PATH, Subprotocol, Upgrade, is_upgrade, negotiate, negotiate_app,
    negotiate_centrifugo,
};
pub use url::{ServerUrl, UrlFault};
