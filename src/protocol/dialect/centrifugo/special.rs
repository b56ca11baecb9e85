//! What sessions have that came with a token, or were given something by the server API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Session;

/// What only some sessions have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Particulars {
    /// `sub` of its token.
    pub(super) user: Box<str>,
    /// What others are shown of the user: JSON.
    pub(super) info: Option<Box<str>>,
    /// When the connection expires, in seconds since 1970.
    pub(super) expires_s: Option<u64>,
    /// Its subscriptions that are not such as anybody may ask for.
    pub(super) specials: BTreeMap<Box<str>, Special>,
}

/// What is special about a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Special {
    pub source: Source,
    /// When it expires, in seconds since 1970.
    pub expires_s: Option<u64>,
    /// What others who follow the topic are shown: JSON.
    pub info: Option<Box<str>>,
}

/// Who has begun a subscription that is allowed by more than the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The client, with a subscription token.
    Token,
    /// The server, as the connection token says so.
    ConnectionToken,
    /// The server, as its API was asked to.
    Api,
}

impl Source {
    /// Its client does not ask for it again when it has ended.
    pub fn is_server(self) -> bool {
        matches!(self, Source::ConnectionToken | Source::Api)
    }
}

impl Session {
    /// What is special about the subscription to a topic.
    pub fn special(&self, topic: &str) -> Option<&Special> {
        self.particulars()?.specials.get(topic)
    }

    /// A subscription begins that is a special one, or changes.
    pub fn note(&mut self, topic: &str, special: Special) {
        self.particulars_mut()
            .specials
            .insert(topic.into(), special);
    }

    /// A subscription has ended.
    pub fn forget(&mut self, topic: &str) {
        if let Some(own) = &mut self.particulars {
            own.specials.remove(topic);
        }
    }

    /// Something of it expires in the end.
    pub fn expires(&self) -> bool {
        let Some(own) = self.particulars() else {
            return false;
        };
        let mut subs = own.specials.values();
        own.expires_s.is_some() || subs.any(|special| special.expires_s.is_some())
    }

    /// The connection has expired before `now_s`.
    pub fn has_expired(&self, now_s: u64) -> bool {
        let expires_s = self.expires_s();
        expires_s.is_some_and(|expires_s| expires_s <= now_s)
    }

    /// The subscriptions that have expired before `now_s`.
    pub fn expired_subs(&self, now_s: u64) -> Vec<(Box<str>, Source)> {
        let has_expired = |special: &Special| {
            special
                .expires_s
                .is_some_and(|expires_s| expires_s <= now_s)
        };
        let specials = self.particulars().into_iter().flat_map(|own| &own.specials);
        let expired = specials.filter(|(_, special)| has_expired(special));
        expired
            .map(|(topic, special)| (topic.clone(), special.source))
            .collect()
    }

    /// The topics that the server has subscribed it to by its connection token.
    pub fn token_topics(&self) -> impl Iterator<Item = &str> {
        let specials = self.particulars().into_iter().flat_map(|own| &own.specials);
        let by_token = specials.filter(|(_, special)| special.source == Source::ConnectionToken);
        by_token.map(|(topic, _)| &**topic)
    }

    /// One with something in every field.
    #[cfg(test)]
    pub(crate) fn sample() -> Session {
        let mut session = Session::new(26);
        session.note(
            "t",
            Special {
                source: Source::Token,
                expires_s: Some(29),
                info: Some("30".into()),
            },
        );
        let own = session.particulars_mut();
        own.user = "u".into();
        own.info = Some("31".into());
        own.expires_s = Some(32);
        session
    }

    pub(super) fn particulars(&self) -> Option<&Particulars> {
        self.particulars.as_deref()
    }

    pub(super) fn particulars_mut(&mut self) -> &mut Particulars {
        self.particulars.get_or_insert_default()
    }
}
