//! What the server sends to one client.

use super::request::Data;
use crate::protocol::member::ClientInfo;

/// Why a command was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    pub code: u32,
    pub message: &'static str,
    /// The client may try again.
    pub temporary: bool,
}

impl Error {
    pub const INTERNAL: Error = Error::temporary(100, "internal server error");
    pub const UNAUTHORIZED: Error = Error::lasting(101, "unauthorized");
    pub const UNKNOWN_CHANNEL: Error = Error::lasting(102, "unknown channel");
    pub const PERMISSION_DENIED: Error = Error::lasting(103, "permission denied");
    pub const METHOD_NOT_FOUND: Error = Error::lasting(104, "method not found");
    pub const ALREADY_SUBSCRIBED: Error = Error::lasting(105, "already subscribed");
    pub const LIMIT_EXCEEDED: Error = Error::lasting(106, "limit exceeded");
    pub const BAD_REQUEST: Error = Error::lasting(107, "bad request");
    pub const NOT_AVAILABLE: Error = Error::lasting(108, "not available");
    /// The client fetches another token.
    pub const TOKEN_EXPIRED: Error = Error::lasting(109, "token expired");
    pub const EXPIRED: Error = Error::lasting(110, "expired");
    pub const TOO_MANY_REQUESTS: Error = Error::temporary(111, "too many requests");
    pub const UNRECOVERABLE_POSITION: Error = Error::lasting(112, "unrecoverable position");
    pub const CONCURRENT_PAGINATION: Error = Error::temporary(113, "concurrent pagination");

    pub(super) const fn lasting(code: u32, message: &'static str) -> Error {
        Error {
            code,
            message,
            temporary: false,
        }
    }

    const fn temporary(code: u32, message: &'static str) -> Error {
        Error {
            code,
            message,
            temporary: true,
        }
    }
}

/// The answer to a command.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Reply<'a> {
    Connect(&'a ConnectResult<'a>),
    Subscribe(&'a SubscribeResult),
    Unsubscribe,
    Publish,
    /// Those who are there, each under the id of its connection.
    Presence(&'a [ClientInfo]),
    PresenceStats {
        num_clients: u32,
        num_users: u32,
    },
    History {
        publications: &'a [Publication],
        epoch: &'a str,
        /// Of the newest publication.
        offset: u64,
    },
    Refresh {
        client: &'a str,
        version: &'a str,
        expires: bool,
        /// Seconds.
        ttl: u32,
    },
    SubRefresh {
        expires: bool,
        /// Seconds.
        ttl: u32,
    },
    Error(Error),
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct ConnectResult<'a> {
    /// The id of the connection.
    pub client: &'a str,
    /// Of the server.
    pub version: &'a str,
    /// The server pings so often; 0: never.
    pub ping_s: u32,
    /// The client is to answer pings.
    pub pong: bool,
    pub expires: bool,
    /// Seconds.
    pub ttl: u32,
    pub data: Option<&'a Data>,
    /// The server's own subscriptions, by channel.
    pub subs: &'a [(String, SubscribeResult)],
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct SubscribeResult {
    pub recoverable: bool,
    pub positioned: bool,
    pub epoch: String,
    /// Of the newest publication the client has or is about to have.
    pub offset: u64,
    /// The client asked for what it missed.
    pub was_recovering: bool,
    pub recovered: bool,
    pub expires: bool,
    /// Seconds.
    pub ttl: u32,
    pub publications: Vec<Publication>,
    pub data: Option<Data>,
}

/// A publication inside a reply.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Publication {
    pub data: Data,
    pub offset: u64,
    pub info: Option<ClientInfo>,
    pub tags: Vec<(String, String)>,
    /// Unix time in milliseconds; 0: not told.
    pub time_ms: u64,
    /// Where it is not clear from what is around it.
    pub channel: String,
}

/// What a client is told without having asked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Push<'a> {
    Join {
        channel: &'a str,
        info: &'a ClientInfo,
    },
    Leave {
        channel: &'a str,
        info: &'a ClientInfo,
    },
    /// From 2500 on the client subscribes again by itself.
    Unsubscribe {
        channel: &'a str,
        code: u32,
        reason: &'a str,
    },
    /// The server has subscribed the client.
    Subscribe {
        channel: &'a str,
        recoverable: bool,
        positioned: bool,
        epoch: &'a str,
        offset: u64,
        data: Option<&'a Data>,
    },
    Message {
        data: &'a Data,
    },
    Refresh {
        expires: bool,
        /// Seconds.
        ttl: u32,
    },
    Disconnect {
        code: u32,
        reason: &'a str,
        reconnect: bool,
    },
}
