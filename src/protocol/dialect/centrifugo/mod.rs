//! Centrifugo's client protocol: what a session asks for, command by command, and how
//! it is answered.
//!
//! A [`Session`] knows who its client is and what it may ask; topics, logs, keys and
//! sockets are the core's. Each [`Request`] becomes a [`Deed`] for the core, whose outcome
//! is put into words here again ([`words`]).

mod deed;
#[cfg(test)]
mod tests;
pub mod words;

use std::time::Duration;

use super::session::{Session, Source, Special};
use crate::protocol::centrifugo::{Coding, Command, Error, Reply, Request, Subscribe};
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::{Rights, Subscription, TokenFault};
use crate::protocol::topic::TopicName;

pub use deed::{
    Begun, Deed, Failure, Hello, Page, Place, Refusal, Wish, refuse_connect, refuse_refresh,
};
pub use words::Ending;

/// What a session is told that it cannot know.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The longest silence before a ping.
    pub ping: Duration,
    /// The time in seconds since 1970.
    pub now_s: u64,
}

/// How an epoch is written.
pub fn epoch_text(epoch: u64) -> String {
    format!("{epoch:016x}")
}

impl Session {
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
        let another = |client: &str| *client != *self.client().to_string();
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
            user: None,
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
        if !self.is_connected() {
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
