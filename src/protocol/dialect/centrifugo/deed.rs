//! What a session asks of the core, and what the core answers.

use crate::protocol::centrifugo::{Data, Error, Publication, Subscribe};
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::{Purpose, TokenFault};
use crate::protocol::topic::TopicName;

/// In [`Subscribe::flag`]: error 112 is wanted where nothing can be recovered.
const FLAG_FAIL_UNRECOVERED: i64 = 2;

/// What a core is to do for a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Deed {
    Nothing,
    /// Say this, whole messages of the protocol.
    Say(Vec<u8>),
    /// Find out who it is, and subscribe it to what its token says.
    Connect(Hello),
    /// Accept another token in place of the one that the connection has.
    Refresh {
        id: u32,
        token: String,
    },
    /// The same of a subscription.
    SubRefresh {
        id: u32,
        topic: TopicName,
        token: String,
    },
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

impl Deed {
    /// The token that has to be in order for it.
    pub fn token(&self) -> Option<(Purpose, &str)> {
        let (purpose, token) = match self {
            Deed::Refresh { token, .. } => return Some((Purpose::Connection, token)),
            Deed::Connect(hello) => (Purpose::Connection, &hello.token),
            Deed::Subscribe(wish) => (Purpose::Subscription, &wish.token),
            Deed::SubRefresh { token, .. } => (Purpose::Subscription, token),
            _ => return None,
        };
        (!token.is_empty()).then_some((purpose, token))
    }
}

/// How a client introduces itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Hello {
    pub id: u32,
    /// Empty is none.
    pub token: String,
    /// What it has seen of the subscriptions that the server had begun for it.
    pub subs: Vec<(String, Subscribe)>,
}

impl Hello {
    /// Where a subscription that the server begins is to go on.
    pub fn place(&self, topic: &str) -> Option<Place> {
        let known = self.subs.iter().find(|(name, _)| name == topic);
        known.and_then(|(_, sub)| Place::of(sub))
    }
}

/// A subscription that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    pub id: u32,
    pub topic: TopicName,
    /// Empty is none.
    pub token: String,
    /// It has seen all up to this offset of the history with that epoch.
    pub recover: Option<Place>,
    /// It is to fail rather than to begin with a hole.
    pub whole_or_not: bool,
    /// It wants to hear who comes and goes.
    pub joins: bool,
}

impl Wish {
    pub(super) fn new(id: u32, topic: TopicName, asked: Subscribe) -> Wish {
        Wish {
            id,
            topic,
            recover: Place::of(&asked),
            whole_or_not: asked.flag & FLAG_FAIL_UNRECOVERED != 0,
            joins: asked.join_leave,
            token: asked.token,
        }
    }
}

/// A place in a history, as clients name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    pub epoch: String,
}

impl Place {
    fn of(asked: &Subscribe) -> Option<Place> {
        asked.recover.then(|| Place {
            offset: asked.offset,
            epoch: asked.epoch.clone(),
        })
    }

    /// It is in the history with this epoch. Who knows none has seen none.
    pub fn is_in(&self, epoch: u64) -> bool {
        self.epoch.is_empty() || self.epoch == super::epoch_text(epoch)
    }
}

/// A part of a history that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Behind this place, or before it where `reverse`.
    pub since: Option<Place>,
    /// At most so many publications; `None` asks for as many as may be.
    pub limit: Option<usize>,
    pub reverse: bool,
}

/// A subscription that has begun.
#[derive(Debug)]
pub struct Begun {
    pub epoch: u64,
    /// Of the newest message when it began, or the one that it named where all that
    /// followed comes.
    pub offset: u64,
    /// It may recover what it misses.
    pub recoverable: bool,
    /// It has asked for what it had missed.
    pub was_recovering: bool,
    pub recovered: bool,
    /// The first one that it has missed; the others follow as pushes.
    pub first: Option<Box<Publication>>,
}

/// Why something asked for is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    AlreadySubscribed,
    NotSubscribed,
    /// It follows as many topics as it may.
    TooManyTopics,
    /// The server has no room for another topic, or for the message.
    Full,
    /// What is wanted is not kept any more.
    Unrecoverable,
    TooBig,
    /// Neither a rule nor its token allows it.
    Denied,
    /// It is not known who follows the topic.
    NotKnown,
    /// The protocol that the client speaks does not have that.
    NotOffered,
    /// The token has expired: the client is to come back with another.
    TokenExpired,
    /// The same, of a subscription that goes on until then.
    TokenExpiredTryAgain,
    /// What the token gives has expired.
    Expired,
    /// A token is wanted, and none came.
    TokenMissing,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::AlreadySubscribed => Error::ALREADY_SUBSCRIBED,
            Failure::TooManyTopics => Error::LIMIT_EXCEEDED,
            Failure::Full => Error::INTERNAL,
            Failure::Unrecoverable => Error::UNRECOVERABLE_POSITION,
            Failure::TooBig | Failure::TokenMissing => Error::BAD_REQUEST,
            Failure::Denied | Failure::NotSubscribed => Error::PERMISSION_DENIED,
            Failure::NotKnown | Failure::NotOffered => Error::NOT_AVAILABLE,
            Failure::TokenExpired => Error::TOKEN_EXPIRED,
            // Official clients give a subscription up for an error that does not call itself
            // temporary. This way they ask for another token.
            Failure::TokenExpiredTryAgain => Error {
                temporary: true,
                ..Error::TOKEN_EXPIRED
            },
            Failure::Expired => Error::EXPIRED,
        }
    }
}

/// What becomes of a command that is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its reply says so.
    Fails(Failure),
    /// The connection is closed.
    Closes(CloseReason),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal::Fails(failure)
    }
}

impl From<TokenFault> for Refusal {
    fn from(fault: TokenFault) -> Refusal {
        Refusal::Closes(CloseReason::Token(fault))
    }
}

/// What becomes of a `connect` whose token is not accepted.
pub fn refuse_connect(fault: TokenFault) -> Refusal {
    match has_expired(fault) {
        true => Failure::TokenExpired.into(),
        false => fault.into(),
    }
}

/// What becomes of a `refresh` whose token is not accepted.
pub fn refuse_refresh(fault: TokenFault) -> Refusal {
    match has_expired(fault) {
        true => TokenFault::Expired.into(),
        false => fault.into(),
    }
}

/// Outside its time: the client is to fetch another one.
pub(super) fn has_expired(fault: TokenFault) -> bool {
    matches!(fault, TokenFault::Expired | TokenFault::NotYet)
}
