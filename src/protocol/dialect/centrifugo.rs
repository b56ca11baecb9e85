//! Centrifugo's client protocol: what a session asks for, command by command, and how
//! it is answered.
//!
//! A [`Session`] knows who its client is and what it may ask; topics, logs and sockets
//! are the core's. Each [`Request`] becomes a [`Deed`] for the core, whose outcome is
//! written here again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::centrifugo::{
    ClientInfo, Coding, Command, Connect, ConnectResult, Data, Error, Publication, Push, Reply,
    Request, Subscribe, SubscribeResult, write_push, write_reply,
};
use crate::protocol::reason::CloseReason;
use crate::protocol::topic::TopicName;

/// A subscription that is to begin with what was missed has been told of an end so,
/// and comes back by itself.
const INSUFFICIENT_STATE: u32 = 2500;

/// In [`Subscribe::flag`]: error 112 is wanted where nothing can be recovered.
const FLAG_FAIL_UNRECOVERED: i64 = 2;

/// What a session is told that it cannot know.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The longest silence before a ping.
    pub ping: Duration,
    /// Topics that one connection may follow.
    pub topics_max: usize,
    /// Topics that it follows.
    pub topics: usize,
}

/// One client's side of the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Names the connection among all.
    client: u128,
    connected: bool,
    /// It has been sent a ping and not answered it.
    pinged: bool,
}

/// What a core is to do for a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Deed {
    Nothing,
    /// Say this, whole messages of the protocol.
    Say(Vec<u8>),
    Subscribe(Wish),
    Unsubscribe {
        id: u32,
        topic: TopicName,
    },
    Publish {
        id: u32,
        topic: TopicName,
        data: Data,
    },
    History {
        id: u32,
        topic: TopicName,
        page: Page,
    },
    Presence {
        id: u32,
        topic: TopicName,
    },
    PresenceStats {
        id: u32,
        topic: TopicName,
    },
}

/// A subscription that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    pub id: u32,
    pub topic: TopicName,
    /// It has seen all up to this offset of the history with that epoch.
    pub recover: Option<Place>,
    /// It is to fail rather than to begin with a hole.
    pub whole_or_not: bool,
    /// It wants to hear who comes and goes.
    pub joins: bool,
}

/// A place in a history, as clients name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    pub epoch: String,
}

impl Place {
    /// It is in the history with this epoch. Who knows none has seen none.
    pub fn is_in(&self, epoch: u64) -> bool {
        self.epoch.is_empty() || self.epoch == epoch_text(epoch)
    }
}

/// A part of a history that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Behind this place, or before it where `reverse`.
    pub since: Option<Place>,
    /// At most so many publications; `None` asks for as many as may be.
    pub limit: Option<usize>,
    pub reverse: bool,
}

/// What became of a [`Wish`].
#[derive(Debug)]
pub enum Outcome {
    /// It is subscribed.
    Begun {
        epoch: u64,
        /// Of the newest message when it began, or the one that it named where all
        /// that followed comes.
        offset: u64,
        recovered: bool,
        /// The first one that it has missed; the others follow as pushes.
        first: Option<Box<Publication>>,
    },
    Failed(Failure),
}

/// Why something asked for is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    AlreadySubscribed,
    /// The server has no room for another topic, or for the message.
    Full,
    /// What is wanted is not kept any more.
    Unrecoverable,
    TooBig,
    /// Neither a rule nor its token allows it.
    Denied,
    /// It is not known who follows the topic.
    NotKnown,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::AlreadySubscribed => Error::ALREADY_SUBSCRIBED,
            Failure::Full => Error::INTERNAL,
            Failure::Unrecoverable => Error::UNRECOVERABLE_POSITION,
            Failure::TooBig => Error::BAD_REQUEST,
            Failure::Denied => Error::PERMISSION_DENIED,
            Failure::NotKnown => Error::NOT_AVAILABLE,
        }
    }
}

/// How the number of a connection is written: as a UUID.
fn client_text(client: u128) -> String {
    let hex = format!("{client:032x}");
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// How an epoch is written.
pub fn epoch_text(epoch: u64) -> String {
    format!("{epoch:016x}")
}

impl Session {
    /// A session of a client that has said nothing yet. `client` is random.
    pub fn new(client: u128) -> Session {
        Session {
            client,
            connected: false,
            pinged: false,
        }
    }

    /// The number of the connection among all.
    pub fn client(&self) -> u128 {
        self.client
    }

    /// Who it is, for others.
    pub fn info(&self) -> ClientInfo {
        ClientInfo {
            client: client_text(self.client),
            ..ClientInfo::default()
        }
    }

    /// The client has said who it is.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// A ping goes out.
    pub fn ping(&mut self) {
        self.pinged = true;
    }

    /// What a command asks for.
    ///
    /// # Errors
    /// Why the connection is to be closed instead.
    pub fn handle(
        &mut self,
        coding: Coding,
        request: Request,
        terms: &Terms,
    ) -> Result<Deed, CloseReason> {
        let id = request.id;
        if !self.connected {
            let Command::Connect(connect) = request.command else {
                return Err(CloseReason::BadRequest);
            };
            return Ok(Deed::Say(self.connect(coding, id, &connect, terms)));
        }
        let deed = match request.command {
            Command::Pong if self.pinged => {
                self.pinged = false;
                Ok(Deed::Nothing)
            }
            Command::Pong | Command::Connect(_) => return Err(CloseReason::BadRequest),
            Command::Subscribe(subscribe) => wish(id, subscribe, terms).map(Deed::Subscribe),
            Command::Unsubscribe { channel } => {
                topic(&channel).map(|topic| Deed::Unsubscribe { id, topic })
            }
            Command::Publish { channel, data } => match topic(&channel) {
                Ok(_) if data.is_empty() => Err(Error::BAD_REQUEST),
                topic => topic.map(|topic| Deed::Publish { id, topic, data }),
            },
            Command::History {
                channel,
                limit,
                since,
                reverse,
            } => topic(&channel).map(|topic| Deed::History {
                id,
                topic,
                page: Page {
                    since: since.map(|(offset, epoch)| Place { offset, epoch }),
                    limit: usize::try_from(limit).ok(),
                    reverse,
                },
            }),
            Command::Send { .. } => Ok(Deed::Nothing),
            Command::Presence { channel } => {
                topic(&channel).map(|topic| Deed::Presence { id, topic })
            }
            Command::PresenceStats { channel } => {
                topic(&channel).map(|topic| Deed::PresenceStats { id, topic })
            }
            Command::Refresh { .. } | Command::SubRefresh { .. } | Command::Rpc => {
                Err(Error::NOT_AVAILABLE)
            }
            Command::Unknown => Err(Error::METHOD_NOT_FOUND),
        };
        Ok(deed.unwrap_or_else(|error| Deed::Say(say(coding, id, &Reply::Error(error)))))
    }

    fn connect(&mut self, coding: Coding, id: u32, _connect: &Connect, terms: &Terms) -> Vec<u8> {
        self.connected = true;
        let result = &ConnectResult {
            client: &client_text(self.client),
            version: concat!("fanfare ", env!("CARGO_PKG_VERSION")),
            ping_s: u32::try_from(terms.ping.as_secs().max(1)).unwrap_or(u32::MAX),
            pong: true,
            ..ConnectResult::default()
        };
        say(coding, id, &Reply::Connect(result))
    }
}

/// The reply to a [`Wish`].
pub fn subscribed(coding: Coding, wish: &Wish, outcome: Outcome) -> Vec<u8> {
    let (epoch, offset, recovered, first) = match outcome {
        Outcome::Failed(failure) => return failed(coding, wish.id, failure),
        Outcome::Begun {
            epoch,
            offset,
            recovered,
            first,
        } => (epoch, offset, recovered, first),
    };
    let result = SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch: epoch_text(epoch),
        offset,
        was_recovering: wish.recover.is_some(),
        recovered,
        publications: first.map(|first| *first).into_iter().collect(),
        ..SubscribeResult::default()
    };
    say(coding, wish.id, &Reply::Subscribe(&result))
}

/// The reply to an unsubscribe, whether there was a subscription or not.
pub fn unsubscribed(coding: Coding, id: u32) -> Vec<u8> {
    say(coding, id, &Reply::Unsubscribe)
}

/// The reply to a publish.
pub fn published(coding: Coding, id: u32) -> Vec<u8> {
    say(coding, id, &Reply::Publish)
}

/// The reply to a [`Page`].
pub fn history(
    coding: Coding,
    id: u32,
    epoch: u64,
    offset: u64,
    publications: &[Publication],
) -> Vec<u8> {
    let epoch = &epoch_text(epoch);
    let reply = Reply::History {
        publications,
        offset,
        epoch,
    };
    say(coding, id, &reply)
}

/// The reply to who asks who follows a topic.
pub fn presence(coding: Coding, id: u32, list: &[ClientInfo]) -> Vec<u8> {
    say(coding, id, &Reply::Presence(list))
}

/// The reply to who asks how many follow a topic.
pub fn presence_stats(coding: Coding, id: u32, clients: usize, users: usize) -> Vec<u8> {
    let reply = Reply::PresenceStats {
        num_clients: u32::try_from(clients).unwrap_or(u32::MAX),
        num_users: u32::try_from(users).unwrap_or(u32::MAX),
    };
    say(coding, id, &reply)
}

/// The reply where something is not done.
pub fn failed(coding: Coding, id: u32, failure: Failure) -> Vec<u8> {
    say(coding, id, &Reply::Error(failure.into()))
}

/// Tells that a subscription has ended for a gap: its client comes back by itself for
/// what it has missed.
pub(super) fn ended(coding: Coding, topic: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let push = Push::Unsubscribe {
        channel: topic,
        code: INSUFFICIENT_STATE,
        reason: "insufficient state",
    };
    write_push(coding, &push, &mut bytes);
    bytes
}

/// The code of the close frame. Clients come back after 3000 to 3499, and stay away
/// after 3500 to 3999.
pub(super) fn code(reason: CloseReason) -> u16 {
    match reason {
        CloseReason::Drain => 3001,
        CloseReason::PartialBytes | CloseReason::LogFull => 3004,
        CloseReason::Lag | CloseReason::Stall | CloseReason::ControlFlood => 3008,
        CloseReason::Idle => 3012,
        CloseReason::BadRequest => 3501,
        CloseReason::Stale => 3502,
        reason => reason.code(),
    }
}

fn say(coding: Coding, id: u32, reply: &Reply<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_reply(coding, id, reply, &mut bytes);
    bytes
}

fn topic(channel: &str) -> Result<TopicName, Error> {
    TopicName::new(channel).map_err(|_| Error::BAD_REQUEST)
}

fn wish(id: u32, asked: Subscribe, terms: &Terms) -> Result<Wish, Error> {
    let topic = topic(&asked.channel)?;
    if asked.tf || asked.kind != 0 {
        return Err(Error::BAD_REQUEST);
    }
    if terms.topics >= terms.topics_max {
        return Err(Error::LIMIT_EXCEEDED);
    }
    let place = Place {
        offset: asked.offset,
        epoch: asked.epoch,
    };
    Ok(Wish {
        id,
        topic,
        recover: asked.recover.then_some(place),
        whole_or_not: asked.flag & FLAG_FAIL_UNRECOVERED != 0,
        joins: asked.join_leave,
    })
}
