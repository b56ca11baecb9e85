//! Who may do what with topics: rules by pattern ([`Rules`]), tokens ([`Keys::check`]), and
//! the rights that a token gives ([`Rights`]).
//!
//! Pure: the time is an argument, key files are read by `config`. Rights are shared by all
//! connections of a token and held only by connections that came with one. They are asked
//! once for each thing that a peer wants, never for a delivery.

mod app_channels;
mod jwk;
mod keys;
mod material;
mod pattern;
mod pem;
mod remembered;
mod revoked;
mod rule;
mod token;

use serde::{Deserialize, Serialize};

pub use keys::Keys;
pub use material::{Algorithm, KeyError};
pub use pattern::{Pattern, PatternError};
pub use remembered::Remembered;
pub use revoked::{REVOCATIONS_MAX, Revocation, Revoked, RevokedFull, Whose};
pub use rule::{Action, Denied, Grant, Rule, Rules, Who};
pub use token::{
    Accepted, LEEWAY_S, Purpose, Subscription, TOKEN_BYTES_MAX, TokenFault, looks_like_a_token,
};

/// What a connection token says about who bears it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// `sub`; empty is a nameless one.
    pub user: Box<str>,
    /// `info` or what `b64info` holds, to be shown to others: JSON.
    pub info: Option<Box<str>>,
    /// `meta`, for the server alone: JSON.
    pub meta: Option<Box<str>>,
    /// `jti`
    pub id: Option<Box<str>>,
    /// `iat`, in seconds since 1970; 0 where it does not say so.
    pub issued_s: u64,
    /// `exp`, likewise. The token is of no use from [`LEEWAY_S`] later on.
    pub expires_s: Option<u64>,
    /// `expire_at`, likewise: when a connection ends that came with it; 0 is never.
    pub expire_at_s: Option<u64>,
    /// Topics that it is subscribed to without asking: `channels` and `subs`.
    pub channels: Vec<Channel>,
    pub patterns: Patterns,
}

/// A topic that a connection token subscribes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    pub name: Box<str>,
    /// To be shown to others with what is published there: JSON.
    pub info: Option<Box<str>>,
    /// For the client, when it is subscribed: JSON.
    pub data: Option<Box<str>>,
}

/// The lists of topic patterns in a token; one that is not there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patterns {
    pub subscribe: Option<Vec<Pattern>>,
    pub publish: Option<Vec<Pattern>>,
    pub presence: Option<Vec<Pattern>>,
    pub history: Option<Vec<Pattern>>,
}

impl Rights {
    /// Whether who has them may do `action` with `topic`.
    ///
    /// # Errors
    /// See [`Denied`].
    pub fn may(&self, action: Action, topic: &str, rules: &Rules) -> Result<(), Denied> {
        rules.may(Some(self), action, topic)
    }

    /// The token is of no use any more at `now_s`.
    pub fn have_ended(&self, now_s: u64) -> bool {
        let ends_s = self.expires_s.map(|at| at.saturating_add(LEEWAY_S));
        ends_s.is_some_and(|ends_s| now_s >= ends_s)
    }

    /// When a connection with them expires, in seconds since 1970.
    pub fn connection_expires_s(&self) -> Option<u64> {
        match self.expire_at_s {
            Some(0) => None,
            at => at.or(self.expires_s),
        }
    }

    /// The topic of that name among those that the token subscribes to.
    pub fn channel(&self, topic: &str) -> Option<&Channel> {
        let mut channels = self.channels.iter();
        channels.find(|channel| *channel.name == *topic)
    }

    /// Whether the token's list for `action` names `topic`; `None` where it has no such list.
    fn lists(&self, action: Action, topic: &str) -> Option<bool> {
        let patterns = match action {
            Action::Subscribe => &self.patterns.subscribe,
            Action::Publish => &self.patterns.publish,
            Action::Presence => &self.patterns.presence,
            Action::History => &self.patterns.history,
        };
        if action == Action::Subscribe && self.channel(topic).is_some() {
            return Some(true);
        }
        let patterns = patterns.as_ref()?;
        Some(patterns.iter().any(|pattern| pattern.matches(topic)))
    }
}
