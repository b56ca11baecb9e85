//! Rules of topics: who may do what with those that a pattern names.

use std::fmt;

use serde::Deserialize;

use super::Rights;
use super::app_channels::AppChannels;
use super::pattern::Pattern;
use crate::protocol::pusher::ChannelKind;

/// What somebody may do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Hear what is published.
    Subscribe,
    Publish,
    /// See who is there.
    Presence,
    /// Hear what was published before.
    History,
}

impl Action {
    pub const ALL: [Action; 4] = [
        Action::Subscribe,
        Action::Publish,
        Action::Presence,
        Action::History,
    ];

    /// As in rules and tokens.
    pub fn name(self) -> &'static str {
        match self {
            Action::Subscribe => "subscribe",
            Action::Publish => "publish",
            Action::Presence => "presence",
            Action::History => "history",
        }
    }

    /// The end of "may not …" before "this topic".
    pub fn phrase(self) -> &'static str {
        match self {
            Action::Subscribe => "subscribe to",
            Action::Publish => "publish to",
            Action::Presence => "see who is in",
            Action::History => "read the history of",
        }
    }
}

/// Whom a rule lets do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    Anyone,
    /// Who has a token; if that lists patterns for the action, one of them must name the topic.
    Token,
    Nobody,
}

impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Who::Anyone => "anyone",
            Who::Token => "token",
            Who::Nobody => "nobody",
        })
    }
}

/// Who may do what with the topics of a pattern. What it leaves open is as if there were no
/// rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub pattern: Pattern,
    pub subscribe: Option<Who>,
    pub publish: Option<Who>,
    pub presence: Option<Who>,
    pub history: Option<Who>,
}

impl Rule {
    pub fn who(&self, action: Action) -> Option<Who> {
        match action {
            Action::Subscribe => self.subscribe,
            Action::Publish => self.publish,
            Action::Presence => self.presence,
            Action::History => self.history,
        }
    }
}

/// What those without a token may do with the topics of a pattern, where no rule says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    #[serde(rename = "match")]
    pub pattern: Pattern,
    #[serde(default = "yes")]
    pub subscribe: bool,
    #[serde(default)]
    pub publish: bool,
    #[serde(default)]
    pub presence: bool,
    #[serde(default = "yes")]
    pub history: bool,
}

fn yes() -> bool {
    true
}

impl Grant {
    fn allows(&self, action: Action) -> bool {
        match action {
            Action::Subscribe => self.subscribe,
            Action::Publish => self.publish,
            Action::Presence => self.presence,
            Action::History => self.history,
        }
    }
}

/// All rules in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
    anonymous: Vec<Grant>,
    /// There are keys, so that there are tokens.
    keyed: bool,
    /// Their names imply rules.
    channels: AppChannels,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Somebody with a token might.
    NeedsToken,
    /// The token or the rules do not allow it.
    Forbidden,
}

impl Rules {
    /// `keyed` says whether tokens can be checked at all.
    pub fn new(rules: Vec<Rule>, anonymous: Vec<Grant>, keyed: bool) -> Self {
        Rules {
            rules,
            anonymous,
            keyed,
            channels: AppChannels::default(),
        }
    }

    /// The same, with the rules that apps of these prefixes imply.
    ///
    /// Nobody gets at a channel that is private, of a presence or of a user without a token or
    /// a signature, by whichever dialect and whatever `anonymous` or a rule says. Whoever can
    /// name a public one may hear it, where no rule says otherwise.
    pub fn with_apps(mut self, prefixes: impl IntoIterator<Item = Box<str>>) -> Self {
        self.channels = AppChannels::new(prefixes);
        self
    }

    /// Nothing says who may do what, so everybody may do everything.
    pub fn are_open(&self) -> bool {
        let says_who = |rule: &Rule| Action::ALL.iter().any(|action| rule.who(*action).is_some());
        let says_nothing = !self.keyed && self.anonymous.is_empty() && self.channels.is_empty();
        says_nothing && !self.rules.iter().any(says_who)
    }

    /// What the name of an app's channel says of it. Of several prefixes the longest counts.
    pub fn channel(&self, topic: &str) -> Option<ChannelKind> {
        self.channels.kind(topic)
    }

    /// The first rule that names `topic`, and its number from 1.
    pub fn of(&self, topic: &str) -> Option<(usize, &Rule)> {
        let at = |(at, rule)| (at + 1, rule);
        let mut numbered = self.rules.iter().enumerate().map(at);
        numbered.find(|(_, rule)| rule.pattern.matches(topic))
    }

    /// Whether who has these `rights`, or none, may do `action` with `topic`.
    ///
    /// # Errors
    /// See [`Denied`].
    pub fn may(&self, rights: Option<&Rights>, action: Action, topic: &str) -> Result<(), Denied> {
        if self.are_open() {
            return Ok(());
        }
        let denied = match rights {
            Some(_) => Denied::Forbidden,
            None => Denied::NeedsToken,
        };
        let listed = rights.and_then(|rights| rights.lists(action, topic));
        let allowed = match self.who(action, topic) {
            Some(Who::Anyone) => true,
            Some(Who::Nobody) => return Err(Denied::Forbidden),
            Some(Who::Token) => rights.is_some() && listed.unwrap_or(true),
            None => listed.unwrap_or(false) || self.grants(action, topic),
        };
        // Where there are no keys, no token would help.
        match (allowed, self.keyed) {
            (true, _) => Ok(()),
            (false, true) => Err(denied),
            (false, false) => Err(Denied::Forbidden),
        }
    }

    /// A rule says that nobody may, whatever else allows it.
    pub fn forbid(&self, action: Action, topic: &str) -> bool {
        let rule = self.of(topic).and_then(|(_, rule)| rule.who(action));
        rule == Some(Who::Nobody)
    }

    /// Whom the first rule that names a topic lets do something, for a guarded channel no more
    /// than who has a token.
    fn who(&self, action: Action, topic: &str) -> Option<Who> {
        let who = self.of(topic).and_then(|(_, rule)| rule.who(action));
        match who {
            Some(Who::Anyone) if self.channels.guard(topic) => Some(Who::Token),
            who => who,
        }
    }

    /// Whether those without a token may, where no rule says it.
    fn grants(&self, action: Action, topic: &str) -> bool {
        match self.channels.kind(topic) {
            Some(kind) if kind.is_guarded() => false,
            Some(_) if matches!(action, Action::Subscribe | Action::History) => true,
            _ => self.are_granted(action, topic),
        }
    }

    /// Whether `anonymous` says that they may.
    fn are_granted(&self, action: Action, topic: &str) -> bool {
        let mut naming = self
            .anonymous
            .iter()
            .filter(|grant| grant.pattern.matches(topic));
        naming.next().is_some_and(|grant| grant.allows(action))
    }
}

impl Rules {
    /// Who may do what with `topic`, in lines for people.
    pub fn describe(&self, topic: &str) -> String {
        let mut text = match self.of(topic) {
            Some((number, rule)) => {
                format!(
                    "{topic}: rule {number} of topics, match = \"{}\"",
                    rule.pattern
                )
            }
            None => format!("{topic}: no rule of topics"),
        };
        if let Some(kind) = self.channel(topic) {
            text.push_str(match kind.is_guarded() {
                true => ", a channel of an app that takes a token or signature",
                false => ", a public channel of an app",
            });
        }
        for action in Action::ALL {
            let who = match self.who(action, topic) {
                Some(Who::Anyone) => "anyone",
                Some(Who::Nobody) => "nobody",
                Some(Who::Token) => {
                    "who has a token, if that has no such list or names the topic in it"
                }
                None if self.are_open() => "anyone, as there are no rules, keys or anonymous",
                None if self.are_granted(action, topic) && self.grants(action, topic) => {
                    "anyone, by anonymous"
                }
                None if self.grants(action, topic) => "anyone, as it is public",
                None if self.keyed => "who has a token that names the topic",
                None => "nobody",
            };
            text.push_str(&format!("\n  {}: {who}", action.name()));
        }
        text
    }
}

#[cfg(test)]
mod tests;
