//! What backends are told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::json_out::{Object, client_info, object};
use super::super::reply::{Error, Publication};
use super::call::Method;
use crate::protocol::json::Sink;
use crate::protocol::member::ClientInfo;

/// What became of a call.
pub type Outcome = Result<Answer, Error>;

#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    Published(Receipt),
    /// One for each channel, in their order.
    Broadcast(Vec<Result<Receipt, Error>>),
    History {
        publications: Vec<Publication>,
        epoch: String,
        /// Of the newest publication.
        offset: u64,
    },
    HistoryRemoved,
    /// All servers, this one first.
    Info(Vec<Node>),
    /// Those that somebody follows, and how many do.
    Channels(Vec<(Arc<str>, u64)>),
    Subscribed,
    Unsubscribed,
    Disconnected,
    Refreshed,
    /// Those who are there.
    Presence(Arc<[ClientInfo]>),
    PresenceStats {
        num_clients: u64,
        num_users: u64,
    },
}

/// The place of a message in its channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    pub offset: u64,
    pub epoch: String,
}

/// One server.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    pub uid: String,
    pub name: String,
    pub version: String,
    pub num_clients: u64,
    pub num_users: u64,
    pub num_channels: u64,
    pub num_subs: u64,
    pub uptime_s: u64,
}

impl Answer {
    fn write(&self, result: &mut Object<'_>) {
        match self {
            Answer::Published(receipt) => receipt.write(result),
            Answer::Broadcast(responses) => {
                result.objects(
                    "responses",
                    responses.iter(),
                    |object, response| match response {
                        Ok(receipt) => object.object("result", |result| receipt.write(result)),
                        Err(error) => object.object("error", |object| error_in(object, error)),
                    },
                );
            }
            Answer::History {
                publications,
                epoch,
                offset,
            } => {
                result.publications("publications", publications);
                result.text_or_empty("epoch", epoch);
                result.number_or_0("offset", *offset);
            }
            Answer::HistoryRemoved
            | Answer::Subscribed
            | Answer::Unsubscribed
            | Answer::Disconnected
            | Answer::Refreshed => {}
            Answer::Presence(infos) => result.object("presence", |object| {
                for info in &**infos {
                    object.object(&info.client, |object| client_info(object, info));
                }
            }),
            Answer::PresenceStats {
                num_clients,
                num_users,
            } => {
                result.number_or_0("num_clients", *num_clients);
                result.number_or_0("num_users", *num_users);
            }
            Answer::Info(nodes) => result.objects("nodes", nodes.iter(), |object, node| {
                object.text_or_empty("uid", &node.uid);
                object.text_or_empty("name", &node.name);
                object.text_or_empty("version", &node.version);
                object.number_or_0("num_clients", node.num_clients);
                object.number_or_0("num_users", node.num_users);
                object.number_or_0("num_channels", node.num_channels);
                object.number_or_0("uptime", node.uptime_s);
                object.number_or_0("num_subs", node.num_subs);
            }),
            Answer::Channels(channels) => result.object("channels", |object| {
                for (name, num_clients) in channels {
                    object.object(name, |object| {
                        object.number_or_0("num_clients", *num_clients);
                    });
                }
            }),
        }
    }
}

impl Receipt {
    fn write(&self, object: &mut Object<'_>) {
        object.number_or_0("offset", self.offset);
        object.text_or_empty("epoch", &self.epoch);
    }
}

/// Appends the answer to one call.
pub fn write_outcome(outcome: &Outcome, out: &mut Vec<u8>) {
    object(out, |whole| match outcome {
        Ok(answer) => whole.object("result", |result| answer.write(result)),
        Err(error) => whole.object("error", |object| error_in(object, error)),
    });
}

/// Appends an error that stands alone, where HTTP's status tells that it is one.
pub fn write_error(error: &Error, out: &mut Vec<u8>) {
    object(out, |object| error_in(object, error));
}

/// Whether the client may try again is not told here.
fn error_in(object: &mut Object<'_>, error: &Error) {
    object.number("code", error.code);
    object.text("message", error.message);
}

/// The answer to a batch, while it is written.
pub struct Replies {
    out: Vec<u8>,
    empty: bool,
}

impl Default for Replies {
    fn default() -> Replies {
        Replies {
            out: b"{\"replies\":[".to_vec(),
            empty: true,
        }
    }
}

impl Replies {
    /// Bytes written so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// Adds what became of the next call, which was one of that method.
    ///
    /// An error stands under its own name, where the official server puts it, and under the
    /// method's as well: some libraries look there, whatever has become of the call.
    pub fn push(&mut self, method: Option<Method>, outcome: &Outcome) {
        if !self.empty {
            self.out.put(b",");
        }
        self.empty = false;
        object(&mut self.out, |reply| match outcome {
            Ok(answer) => {
                let name = method.map_or("", Method::name);
                reply.object(name, |result| answer.write(result));
            }
            Err(error) => {
                reply.object("error", |object| error_in(object, error));
                if let Some(method) = method {
                    reply.object(method.name(), |result| {
                        result.object("error", |object| error_in(object, error));
                    });
                }
            }
        });
    }

    /// The whole answer.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.put(b"]}");
        self.out
    }
}
