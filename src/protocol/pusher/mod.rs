//! The Pusher Channels protocol (version 7), as far as it needs neither a connection nor a
//! topic: names of channels ([`ChannelKind`]), ids of connections ([`SocketId`]), apps with
//! their limits ([`App`]) and what their servers are told of ([`Webhook`]), and signatures by their secrets ([`Secrets`], [`SignedQuery`]); what
//! servers post ([`decode_event`], [`decode_batch`]), what
//! clients send ([`read`]), what the server says to one of them ([`words`]), and the events
//! that all in a channel share ([`write_event`], [`write_member`]).
//!
//! Pure: the time is an argument, files of secrets are read by `config`.

mod app;
mod channel;
mod event;
mod http;
mod incoming;
mod secrets;
mod signed_query;
mod socket_id;
mod webhook;
pub mod words;

#[cfg(test)]
pub(crate) use app::testing::app as sample_app;
pub use app::{App, AuthFault};
pub use channel::{
    APP_PREFIX_BYTES_MAX, Access, CHANNEL_BYTES_MAX, ChannelFault, ChannelKind, USER_BYTES_MAX,
    USER_CHANNEL, channel_of, check_channel, check_target, may_end_a_prefix,
};
pub use event::{
    CLIENT_EVENT, UNNAMED, data, event_bound, member_bound, write_event, write_member,
};
pub use http::{Attributes, BodyFault, Event, decode_batch, decode_event};
pub use incoming::{Incoming, Member, Subscribe, read};
pub use secrets::Secrets;
pub use signed_query::{QUERY_AGE_S_MAX, QueryFault, SignedQuery};
pub use socket_id::SocketId;
pub use webhook::{HookEvent, Webhook};

/// The events of the protocol and of this server are called so, and no others.
pub fn is_own_event(name: &str) -> bool {
    let own = ["pusher:", "pusher_internal:", "fanfare:"];
    own.iter().any(|prefix| name.starts_with(prefix))
}
