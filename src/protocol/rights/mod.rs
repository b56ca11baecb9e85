//! Who may do what with topics: rules by pattern ([`Rules`]), tokens ([`Keys::check`]), and
//! the rights that a token gives ([`Rights`]).
//!
//! Pure: the time is an argument, key files are read by `config`. Rights are shared by all
//! connections of a token and held only by connections that came with one. They are asked
//! once for each thing that a peer wants, never for a delivery.

mod jwk;
mod keys;
mod pattern;
mod pem;
mod remembered;
mod rule;
mod token;

use serde::{Deserialize, Serialize};

pub use keys::{Algorithm, KeyError, Keys};
pub use pattern::{Pattern, PatternError};
pub use remembered::Remembered;
pub use rule::{Action, Denied, Grant, Rule, Rules, Who};
pub use token::{
    Accepted, LEEWAY_S, Subscription, TOKEN_BYTES_MAX, TokenFault, looks_like_a_token,
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
    /// `exp`, in seconds since 1970. What it gives ends [`LEEWAY_S`] later.
    pub expires_s: Option<u64>,
    /// Topics that it is subscribed to without asking: `channels` and the keys of `subs`.
    pub channels: Vec<Box<str>>,
    pub patterns: Patterns,
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

    /// They are of no use any more at `now_s`.
    pub fn have_ended(&self, now_s: u64) -> bool {
        self.ends_s().is_some_and(|ends_s| now_s >= ends_s)
    }

    /// When they end, in seconds since 1970.
    pub fn ends_s(&self) -> Option<u64> {
        self.expires_s.map(|at| at.saturating_add(LEEWAY_S))
    }

    /// Whether the token's list for `action` names `topic`; `None` where it has no such list.
    fn lists(&self, action: Action, topic: &str) -> Option<bool> {
        let patterns = match action {
            Action::Subscribe => &self.patterns.subscribe,
            Action::Publish => &self.patterns.publish,
            Action::Presence => &self.patterns.presence,
            Action::History => &self.patterns.history,
        };
        let channel =
            action == Action::Subscribe && self.channels.iter().any(|channel| **channel == *topic);
        if channel {
            return Some(true);
        }
        let patterns = patterns.as_ref()?;
        Some(patterns.iter().any(|pattern| pattern.matches(topic)))
    }
}
