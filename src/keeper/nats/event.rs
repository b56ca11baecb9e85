//! What a link is asked and what it tells, in the words that its caller uses.

use std::sync::Arc;

use bytes::Bytes;

use super::headers::Message;
use super::nodes::{Answer, Call, News};
use super::settings::SettingsError;
use super::stream::StreamFault;
use super::wish::Wish;

/// A topic's name.
pub type Topic = Arc<str>;
/// The caller's number for what it asked, given back with the answer.
pub type Ticket = u64;

/// A message that is to be stored.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub ticket: Ticket,
    pub topic: Topic,
    pub message: Message,
    /// Proposals with the same number to the same topic keep their order: a connection's.
    pub publisher: u64,
    /// The publisher's name and its own key for this message: proposed again with both,
    /// through any node, the message is stored once.
    pub idempotency: Option<(String, String)>,
    /// Identifies the message where there is no such key: proposed again with the same id,
    /// by this process or its successor, it is stored once. `None` for a random one.
    pub id: Option<u128>,
}

/// What a link tells.
#[derive(Clone, Debug)]
pub enum Event {
    /// Messages can be neither stored nor heard. Proposals wait.
    Away {
        why: Fault,
    },
    /// They can. What was missed follows.
    Back,
    /// The history of this stream has this epoch from now on. Each of its topics that is
    /// followed begins anew, with an [`Event::Following`].
    Epoch {
        stream: u16,
        epoch: u64,
    },
    /// A topic is followed: what was stored behind `last` follows, in order. `newest` is
    /// the topic's newest message, 0 if it has none.
    Following {
        topic: Topic,
        last: u64,
        newest: u64,
        epoch: u64,
    },
    Committed(Box<Committed>),
    /// Messages of the topic with these offsets may have been there, and are gone.
    Gap {
        topic: Topic,
        from: u64,
        to: u64,
    },
    /// A proposal is stored, in the history with this epoch. Where it is a `duplicate` of an
    /// earlier one, `offset` is that one's.
    Stored {
        ticket: Ticket,
        offset: u64,
        epoch: u64,
        duplicate: bool,
    },
    Failed {
        ticket: Ticket,
        why: Failure,
    },
    History {
        ticket: Ticket,
        page: Page,
    },
    /// The offset of the oldest of so many newest messages; 0 if there are none, `None` if no
    /// answer came.
    Oldest {
        ticket: Ticket,
        offset: Option<u64>,
    },
    Warned(Warning),
    /// Of the other nodes.
    News(News),
    /// Another node asks. To be answered with [`Link::reply`].
    Called(Call),
    /// What the nodes answered to a call.
    Answered {
        ticket: Ticket,
        answers: Vec<Answer>,
        /// Nodes that did not answer in time.
        missing: Vec<String>,
    },
}

/// A stored message, in its topic's order.
#[derive(Clone, Debug)]
pub struct Committed {
    pub topic: Topic,
    pub offset: u64,
    /// The offset of the message given on before it.
    pub previous: u64,
    /// When it was stored, in Unix milliseconds.
    pub time_ms: u64,
    pub message: Message,
    /// Of the proposal that this is, if it was made here.
    pub ticket: Option<Ticket>,
}

/// A part of a topic's history.
#[derive(Clone, Debug)]
pub enum Page {
    Found {
        /// Of the history that it is a part of.
        epoch: u64,
        /// In their order. What was before the first one of a page backward is not known: its
        /// `previous` is 0.
        messages: Vec<Committed>,
        /// There are further ones, behind the last of these or before the first one, as was asked.
        more: bool,
        /// How many messages of the topic were stored behind the last of these.
        pending: u64,
    },
    /// No answer came.
    Failed,
}

/// Why NATS is away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("there is no connection to a NATS server")]
    Disconnected,
    #[error("the NATS server refuses the credentials")]
    Credentials,
    #[error("the NATS server has version {0}, and 2.11 or later is needed")]
    Version(String),
    #[error("JetStream does not answer: {0}")]
    JetStream(String),
    #[error(transparent)]
    Stream(#[from] StreamFault),
}

/// Why a proposal was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("NATS was away until the time limit; the message is not stored")]
    Away,
    #[error("NATS did not answer until the time limit; the message may have been stored")]
    Unknown,
    #[error(
        "a later message of the same publisher was stored before; to store this one now would break the order"
    )]
    Overtaken,
    #[error("the stream is full")]
    Full,
    #[error("the message is larger than the NATS server or the stream takes")]
    TooLarge,
    #[error("more proposals wait than are allowed")]
    NoRoom,
    #[error("the NATS server refuses the message: {0}")]
    Refused(String),
}

/// What an operator should know of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error(
        "anybody with these credentials may publish on {0}, where the server alone should: deny it"
    )]
    OutIsOpen(String),
    #[error("the NATS server says: {0}")]
    Permissions(String),
    #[error("messages came faster than they were read, and some were dropped; they are fetched")]
    SlowConsumer,
    #[error("stream {stream} has another leader: {leader}")]
    LeaderChanged { stream: String, leader: String },
    #[error("the NATS server is about to stop")]
    LameDuck,
    #[error("stream {0} was made anew: its history is gone")]
    StreamMade(String),
    #[error("stream {0} has lost its newest messages: its history is another one from now on")]
    Rewound(String),
}

/// Why a link cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("cannot read {file}: {error}")]
    File { file: String, error: std::io::Error },
    #[error("{file} holds no NATS credentials: {words}")]
    Credentials { file: String, words: String },
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// What the link's thread is asked.
#[derive(Debug)]
pub(super) enum Command {
    Propose(Box<Proposal>),
    Follow {
        topic: Topic,
        since: Option<u64>,
    },
    Unfollow {
        topic: Topic,
    },
    History {
        topic: Topic,
        ticket: Ticket,
        wish: Wish,
    },
    Present {
        topic: Topic,
        key: String,
        value: Option<Bytes>,
    },
    Call {
        kind: u16,
        bytes: Bytes,
        ticket: Ticket,
    },
    Reply {
        call: Call,
        bytes: Bytes,
    },
    Reconnect,
    Stop,
}

/// What a proposal counts while it waits: its bytes, and about what keeping it takes.
pub(super) fn cost(message: &Message) -> usize {
    let tags = message
        .tags
        .iter()
        .map(|(name, value)| name.len() + value.len());
    let rare = message.event.as_ref().map_or(0, String::len)
        + message.info.as_ref().map_or(0, Bytes::len)
        + tags.sum::<usize>();
    message.payload.len() + rare + 512
}
