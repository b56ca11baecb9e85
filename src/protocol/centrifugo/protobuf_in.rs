//! Commands written in Protobuf, each behind its length.
//!
//! The messages are the part of Centrifugo's `client.proto` that is read here;
//! other fields are skipped.

use std::collections::BTreeMap;

use prost::Message;
use prost::encoding::{DecodeContext, decode_key, decode_varint, skip_field};

use super::request::{self, Data, Request};
use crate::protocol::json::{BadRequest, is_json};

/// Reads the next command, and leaves what stands behind it; `None` if there is none.
pub(super) fn next(rest: &mut &[u8]) -> Option<Result<Request, BadRequest>> {
    (!rest.is_empty()).then(|| delimited(rest).and_then(request))
}

fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BadRequest> {
    let len = decode_varint(rest).map_err(|_| BadRequest)?;
    let len = usize::try_from(len).map_err(|_| BadRequest)?;
    let (bytes, after) = rest.split_at_checked(len).ok_or(BadRequest)?;
    *rest = after;
    Ok(bytes)
}

fn request(bytes: &[u8]) -> Result<Request, BadRequest> {
    let command = Command::decode(bytes).map_err(|_| BadRequest)?;
    let (id, known) = (command.id, command.known());
    let unknown = known.is_none() && says_more_than_an_id(bytes)?;
    Request::new(id, known, unknown)
}

fn says_more_than_an_id(mut bytes: &[u8]) -> Result<bool, BadRequest> {
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes).map_err(|_| BadRequest)?;
        if tag != 1 {
            return Ok(true);
        }
        let context = DecodeContext::default();
        skip_field(wire_type, tag, &mut bytes, context).map_err(|_| BadRequest)?;
    }
    Ok(false)
}

#[derive(Clone, PartialEq, Message)]
struct Command {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, optional, tag = "4")]
    connect: Option<Connect>,
    #[prost(message, optional, tag = "5")]
    subscribe: Option<Subscribe>,
    #[prost(message, optional, tag = "6")]
    unsubscribe: Option<Channel>,
    #[prost(message, optional, tag = "7")]
    publish: Option<Publish>,
    #[prost(message, optional, tag = "8")]
    presence: Option<Channel>,
    #[prost(message, optional, tag = "9")]
    presence_stats: Option<Channel>,
    #[prost(message, optional, tag = "10")]
    history: Option<History>,
    #[prost(message, optional, tag = "12")]
    send: Option<Send>,
    #[prost(message, optional, tag = "13")]
    rpc: Option<Rpc>,
    #[prost(message, optional, tag = "14")]
    refresh: Option<Refresh>,
    #[prost(message, optional, tag = "15")]
    sub_refresh: Option<SubRefresh>,
}

impl Command {
    /// The first of those that are there, in the protocol's order.
    fn known(self) -> Option<request::Command> {
        use request::Command as Known;
        Some(if let Some(connect) = self.connect {
            Known::Connect(connect.into())
        } else if let Some(subscribe) = self.subscribe {
            Known::Subscribe(subscribe.into())
        } else if let Some(Channel { channel }) = self.unsubscribe {
            Known::Unsubscribe { channel }
        } else if let Some(publish) = self.publish {
            match publish.kind {
                0 => Known::Publish {
                    channel: publish.channel,
                    data: data(publish.data),
                },
                _ => Known::Unknown,
            }
        } else if let Some(Channel { channel }) = self.presence {
            Known::Presence { channel }
        } else if let Some(Channel { channel }) = self.presence_stats {
            Known::PresenceStats { channel }
        } else if let Some(history) = self.history {
            Known::History {
                channel: history.channel,
                limit: history.limit,
                since: history.since.map(|since| (since.offset, since.epoch)),
                reverse: history.reverse,
            }
        } else if self.rpc.is_some() {
            Known::Rpc
        } else if let Some(send) = self.send {
            Known::Send {
                data: data(send.data),
            }
        } else if let Some(Refresh { token }) = self.refresh {
            Known::Refresh { token }
        } else if let Some(refresh) = self.sub_refresh {
            match refresh.kind {
                0 => Known::SubRefresh {
                    channel: refresh.channel,
                    token: refresh.token,
                },
                _ => Known::Unknown,
            }
        } else {
            return None;
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct Connect {
    #[prost(string, tag = "1")]
    token: String,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
    #[prost(btree_map = "string, message", tag = "3")]
    subs: BTreeMap<String, Subscribe>,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "5")]
    version: String,
}

impl From<Connect> for request::Connect {
    fn from(connect: Connect) -> request::Connect {
        let subs = connect.subs.into_iter();
        request::Connect {
            token: connect.token,
            data: data(connect.data),
            name: connect.name,
            version: connect.version,
            subs: subs.map(|(name, sub)| (name, sub.into())).collect(),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Subscribe {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(string, tag = "2")]
    token: String,
    #[prost(bool, tag = "3")]
    recover: bool,
    #[prost(string, tag = "6")]
    epoch: String,
    #[prost(uint64, tag = "7")]
    offset: u64,
    #[prost(bool, tag = "9")]
    positioned: bool,
    #[prost(bool, tag = "10")]
    recoverable: bool,
    #[prost(bool, tag = "11")]
    join_leave: bool,
    #[prost(string, tag = "12")]
    delta: String,
    /// A tree of conditions, of which only the presence is looked at.
    #[prost(bytes = "vec", optional, tag = "13")]
    tf: Option<Vec<u8>>,
    #[prost(int64, tag = "14")]
    flag: i64,
    #[prost(int32, tag = "15")]
    kind: i32,
}

impl From<Subscribe> for request::Subscribe {
    fn from(subscribe: Subscribe) -> request::Subscribe {
        request::Subscribe {
            channel: subscribe.channel,
            token: subscribe.token,
            recover: subscribe.recover,
            epoch: subscribe.epoch,
            offset: subscribe.offset,
            positioned: subscribe.positioned,
            recoverable: subscribe.recoverable,
            join_leave: subscribe.join_leave,
            flag: subscribe.flag,
            delta: subscribe.delta,
            tf: subscribe.tf.is_some(),
            kind: subscribe.kind,
        }
    }
}

/// What names a channel and says nothing else.
#[derive(Clone, PartialEq, Message)]
struct Channel {
    #[prost(string, tag = "1")]
    channel: String,
}

#[derive(Clone, PartialEq, Message)]
struct Publish {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
    #[prost(int32, tag = "3")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct History {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(int32, tag = "7")]
    limit: i32,
    #[prost(message, optional, tag = "8")]
    since: Option<Position>,
    #[prost(bool, tag = "9")]
    reverse: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Position {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(string, tag = "2")]
    epoch: String,
}

#[derive(Clone, PartialEq, Message)]
struct Send {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Rpc {}

#[derive(Clone, PartialEq, Message)]
struct Refresh {
    #[prost(string, tag = "1")]
    token: String,
}

#[derive(Clone, PartialEq, Message)]
struct SubRefresh {
    #[prost(string, tag = "1")]
    channel: String,
    #[prost(string, tag = "2")]
    token: String,
    #[prost(int32, tag = "3")]
    kind: i32,
}

fn data(bytes: Vec<u8>) -> Data {
    Data {
        text: is_json(&bytes),
        bytes,
    }
}
