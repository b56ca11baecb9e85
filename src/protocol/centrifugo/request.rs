//! What clients send.
use crate::protocol::json::BadRequest;
use serde::{Deserialize, Serialize};

/// How a connection's messages are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    Json,
    Protobuf,
}

/// One command of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Goes back with the reply; 0 for [`Command::Pong`] and where a
    /// [`Command::Send`] has none.
    pub id: u32,
    pub command: Command,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// `{}`, or an empty Protobuf message.
    Pong,
    Connect(Connect),
    Subscribe(Subscribe),
    Unsubscribe {
        channel: String,
    },
    Publish {
        channel: String,
        data: Data,
    },
    Presence {
        channel: String,
    },
    PresenceStats {
        channel: String,
    },
    History {
        channel: String,
        limit: i32,
        /// Offset and epoch.
        since: Option<(u64, String)>,
        reverse: bool,
    },
    Rpc,
    Send {
        data: Data,
    },
    Refresh {
        token: String,
    },
    SubRefresh {
        channel: String,
        token: String,
    },
    /// A command that is not known here, or a kind of one (map publications,
    /// tracked keys).
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Connect {
    pub token: String,
    pub data: Data,
    /// The client library.
    pub name: String,
    pub version: String,
    /// Subscriptions that the server may resume, by channel.
    pub subs: Vec<(String, Subscribe)>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subscribe {
    /// Within [`Connect::subs`] the name stands beside it instead.
    pub channel: String,
    pub token: String,
    pub recover: bool,
    pub epoch: String,
    pub offset: u64,
    pub positioned: bool,
    pub recoverable: bool,
    pub join_leave: bool,
    /// Bits; 2 asks for error 112 where the subscription cannot be recovered.
    pub flag: i64,
    /// The kind of deltas that the client could read.
    pub delta: String,
    /// The client asks for a filter by tags.
    pub tf: bool,
    /// Other than 0: not a stream of publications, but a map or a shared poll.
    pub kind: i32,
}

/// A payload as the client wrote it: JSON text (newlines outside strings taken
/// out), or bytes. Without bytes there is none.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Data {
    pub text: bool,
    pub bytes: Vec<u8>,
}

impl Data {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Request {
    /// What a message becomes that has these parts; `unknown` if it has others,
    /// which may be a newer client's command.
    ///
    /// Only a pong has neither id nor command, and only `send` may be a command
    /// without an id.
    pub(super) fn new(
        id: u32,
        command: Option<Command>,
        unknown: bool,
    ) -> Result<Request, BadRequest> {
        let command = match (id, command) {
            (0, None) => Command::Pong,
            (0, Some(command @ Command::Send { .. })) => command,
            (0, Some(_)) => return Err(BadRequest),
            (_, None) if unknown => Command::Unknown,
            (_, None) => return Err(BadRequest),
            (_, Some(command)) => command,
        };
        Ok(Request { id, command })
    }
}
