//! The Pusher Channels protocol (version 7), as far as it needs neither a connection nor a
//! topic: names of channels ([`ChannelKind`]), ids of connections ([`SocketId`]), apps with
//! their limits ([`App`]), and signatures by their secrets ([`Secrets`], [`SignedQuery`]).
//!
//! Pure: the time is an argument, files of secrets are read by `config`.

mod app;
mod channel;
mod secrets;
mod signed_query;
mod socket_id;

pub use app::{App, AuthFault};
pub use channel::{
    APP_PREFIX_BYTES_MAX, Access, CHANNEL_BYTES_MAX, ChannelFault, ChannelKind, USER_BYTES_MAX,
    USER_CHANNEL, channel_of, check_channel, check_target, may_end_a_prefix,
};
pub use secrets::Secrets;
pub use signed_query::{QUERY_AGE_S_MAX, QueryFault, SignedQuery};
pub use socket_id::SocketId;
