//! Centrifugo's client protocol: what a session asks for, command by command, and how
//! it is answered.
//!
//! A [`Session`] knows who its client is and what it may ask; topics, logs, keys and
//! sockets are the core's. Each [`Request`] becomes a [`Deed`] for the core, whose outcome
//! is put into words here again ([`words`]).

mod deed;
mod special;
#[cfg(test)]
mod tests;
pub mod words;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::centrifugo::{ClientInfo, Coding, Command, Error, Reply, Request, Subscribe};
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::{Rights, Subscription, TokenFault};
use crate::protocol::topic::TopicName;

pub use deed::{
    Begun, Deed, Failure, Hello, Page, Place, Refusal, Wish, refuse_connect, refuse_refresh,
};
use special::Particulars;
pub use special::{Source, Special};
pub use words::Ending;

/// What a session is told that it cannot know.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The longest silence before a ping.
    pub ping: Duration,
    /// The time in seconds since 1970.
    pub now_s: u64,
}

/// One client's side of the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Names the connection among all.
    client: u128,
    connected: bool,
    /// Pings that it has been sent and not answered. Who was away for a while answers them all.
    pings: u8,
    /// Of clients without a token and anything else of their own there is nothing.
    particulars: Option<Box<Particulars>>,
}

/// How the number of a connection is written: as a UUID.
pub fn client_text(client: u128) -> String {
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

/// The number that is written so; `None` if it is none's.
pub fn client_number(text: &str) -> Option<u128> {
    let number = u128::from_str_radix(&text.replace('-', ""), 16).ok()?;
    (client_text(number) == text).then_some(number)
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
            pings: 0,
            particulars: None,
        }
    }

    /// The number of the connection among all.
    pub fn client(&self) -> u128 {
        self.client
    }

    /// `sub` of its token; empty is a nameless one.
    pub fn user(&self) -> &str {
        self.particulars().map_or("", |own| &own.user)
    }

    /// Who it is, for others.
    pub fn info(&self) -> ClientInfo {
        let bytes = |info: &Option<Box<str>>| info.as_deref().unwrap_or_default().into();
        ClientInfo {
            user: self.user().to_owned(),
            client: client_text(self.client),
            conn_info: self
                .particulars()
                .map_or_else(Vec::new, |own| bytes(&own.info)),
            chan_info: Vec::new(),
        }
    }

    /// The client has said who it is.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// When the connection expires, in seconds since 1970.
    pub fn expires_s(&self) -> Option<u64> {
        self.particulars()?.expires_s
    }

    /// A ping goes out.
    pub fn ping(&mut self) {
        self.pings = self.pings.saturating_add(1);
    }

    /// The client has introduced itself, with these rights or none.
    pub fn connect(&mut self, rights: Option<&Rights>) {
        self.connected = true;
        if let Some(rights) = rights {
            let own = self.particulars_mut();
            own.user = rights.user.clone();
            own.info = rights.info.clone();
            own.expires_s = rights.connection_expires_s();
        }
    }

    /// The client comes with another token.
    ///
    /// # Errors
    /// When that is another user's.
    pub fn refresh(&mut self, rights: &Rights) -> Result<(), TokenFault> {
        if *rights.user != *self.user() {
            return Err(TokenFault::Mismatch);
        }
        let own = self.particulars_mut();
        own.expires_s = rights.connection_expires_s();
        // A token that says nothing of the user leaves what was said before.
        own.info = rights.info.clone().or(own.info.take());
        Ok(())
    }

    /// The server has it expire at another time, and its user shown otherwise where there
    /// is `info`.
    pub fn set_expiry(&mut self, expires_s: Option<u64>, info: Option<Box<str>>) {
        let own = self.particulars_mut();
        own.expires_s = expires_s;
        own.info = info.or(own.info.take());
    }

    /// What a subscription token that has been `checked` says about the subscription to
    /// `topic` that is asked for with it.
    ///
    /// # Errors
    /// What becomes of the `subscribe` instead.
    pub fn judge(
        &self,
        checked: Result<Subscription, TokenFault>,
        topic: &TopicName,
        now_s: u64,
    ) -> Result<Special, Refusal> {
        let token = checked.map_err(|fault| match deed::has_expired(fault) {
            true => Failure::TokenExpired,
            false => Failure::Denied,
        })?;
        self.special_by(token, topic, now_s)
    }

    /// The same of a `sub_refresh`.
    ///
    /// # Errors
    /// What becomes of it instead.
    pub fn judge_refresh(
        &self,
        checked: Result<Subscription, TokenFault>,
        topic: &TopicName,
        now_s: u64,
    ) -> Result<Special, Refusal> {
        let token = checked.map_err(|fault| match deed::has_expired(fault) {
            true => Failure::TokenExpiredTryAgain.into(),
            false => Refusal::from(fault),
        })?;
        self.special_by(token, topic, now_s)
    }

    fn special_by(
        &self,
        token: Subscription,
        topic: &TopicName,
        now_s: u64,
    ) -> Result<Special, Refusal> {
        let another = |client: &str| *client != *client_text(self.client);
        if *token.channel != *topic.as_str()
            || *token.user != *self.user()
            || token.client.as_deref().is_some_and(another)
        {
            return Err(TokenFault::Mismatch.into());
        }
        if token.expires_s.is_some_and(|expires_s| expires_s <= now_s) {
            return Err(Failure::Expired.into());
        }
        Ok(Special {
            source: Source::Token,
            expires_s: token.expires_s,
            info: token.info,
        })
    }

    /// What a command asks for.
    ///
    /// # Errors
    /// Why the connection is to be closed instead.
    pub fn handle(&mut self, coding: Coding, request: Request) -> Result<Deed, CloseReason> {
        let id = request.id;
        if !self.connected {
            let Command::Connect(connect) = request.command else {
                return Err(CloseReason::BadRequest);
            };
            return Ok(Deed::Connect(Hello {
                id,
                token: connect.token,
                subs: connect.subs,
            }));
        }
        let deed = match request.command {
            Command::Pong if self.pings > 0 => {
                self.pings -= 1;
                Ok(Deed::Nothing)
            }
            Command::Pong | Command::Connect(_) => return Err(CloseReason::BadRequest),
            Command::Refresh { token } if token.is_empty() => return Err(CloseReason::BadRequest),
            Command::Refresh { token } => Ok(Deed::Refresh { id, token }),
            Command::SubRefresh { channel, token } => {
                topic(&channel).map(|topic| Deed::SubRefresh { id, topic, token })
            }
            Command::Subscribe(subscribe) => wish(id, subscribe).map(Deed::Subscribe),
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
            Command::Rpc => Err(Error::NOT_AVAILABLE),
            Command::Unknown => Err(Error::METHOD_NOT_FOUND),
        };
        Ok(deed.unwrap_or_else(|error| Deed::Say(words::say(coding, id, &Reply::Error(error)))))
    }
}

/// The code of the close frame. Clients come back after 3000 to 3499, and stay away
/// after 3500 to 3999.
pub(super) fn code(reason: CloseReason) -> u16 {
    match reason {
        CloseReason::Drain => 3001,
        CloseReason::PartialBytes | CloseReason::LogFull | CloseReason::TopicsFull => 3004,
        CloseReason::Token(TokenFault::Expired) => 3005,
        CloseReason::SubscriptionExpired => 3006,
        CloseReason::Lag | CloseReason::Stall | CloseReason::ControlFlood => 3008,
        CloseReason::InsufficientState => 3010,
        CloseReason::Idle => 3012,
        CloseReason::Token(_) => 3500,
        CloseReason::BadRequest | CloseReason::TooManyCommands => 3501,
        CloseReason::Stale => 3502,
        CloseReason::Disconnected => 3503,
        CloseReason::TooManyTopics => 3505,
        reason => reason.code(),
    }
}

fn topic(channel: &str) -> Result<TopicName, Error> {
    TopicName::new(channel).map_err(|_| Error::BAD_REQUEST)
}

fn wish(id: u32, asked: Subscribe) -> Result<Wish, Error> {
    let topic = topic(&asked.channel)?;
    if asked.tf || asked.kind != 0 {
        return Err(Error::BAD_REQUEST);
    }
    Ok(Wish::new(id, topic, asked))
}
