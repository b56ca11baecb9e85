//! Rules of topics: who may do what with those that a pattern names.

use std::fmt;

use serde::Deserialize;

use super::Rights;
use super::pattern::Pattern;
use crate::protocol::pusher::{Access, ChannelKind, check_channel};

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
    /// What the topics of apps begin with: their names imply rules.
    app_prefixes: Vec<Box<str>>,
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
            app_prefixes: Vec::new(),
        }
    }

    /// The same, with the rules that apps of these prefixes imply.
    ///
    /// Nobody gets at a channel that is private, of a presence or of a user without a token or
    /// a signature, by whichever dialect and whatever `anonymous` or a rule says. Whoever can
    /// name a public one may hear it, where no rule says otherwise.
    pub fn with_apps(mut self, prefixes: impl IntoIterator<Item = Box<str>>) -> Self {
        self.app_prefixes = prefixes.into_iter().collect();
        self
    }

    /// Nothing says who may do what, so everybody may do everything.
    pub fn are_open(&self) -> bool {
        let says_who = |rule: &Rule| Action::ALL.iter().any(|action| rule.who(*action).is_some());
        let says_nothing = !self.keyed && self.anonymous.is_empty() && self.app_prefixes.is_empty();
        says_nothing && !self.rules.iter().any(says_who)
    }

    /// What the name of an app's channel says of it. Of several prefixes the longest counts.
    pub fn channel(&self, topic: &str) -> Option<ChannelKind> {
        let prefixes = self.app_prefixes.iter();
        let channels = prefixes.filter_map(|prefix| topic.strip_prefix(&**prefix));
        let channel = channels.min_by_key(|channel| channel.len())?;
        let kind = ChannelKind::of(channel);
        // A name that no client of an app can say still has to be guarded from all others.
        (kind.is_guarded() || check_channel(channel).is_ok()).then_some(kind)
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
            Some(Who::Anyone) if self.guard(topic) => Some(Who::Token),
            who => who,
        }
    }

    /// A topic is that of an app's channel for which everybody has to show that they may.
    fn guard(&self, topic: &str) -> bool {
        self.channel(topic).is_some_and(ChannelKind::is_guarded)
    }

    /// Whether those without a token may, where no rule says it.
    fn grants(&self, action: Action, topic: &str) -> bool {
        match self.channel(topic).map(|kind| kind.access) {
            Some(Access::Public) if matches!(action, Action::Subscribe | Action::History) => true,
            Some(Access::Public) | None => self.are_granted(action, topic),
            Some(_) => false,
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
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    fn rule(text: &str, subscribe: Option<Who>) -> Rule {
        Rule {
            pattern: pattern(text),
            subscribe,
            publish: None,
            presence: None,
            history: None,
        }
    }

    fn lists(subscribe: Option<&[&str]>) -> Rights {
        let mut rights = Rights::default();
        let patterns = subscribe.map(|texts| texts.iter().map(|text| pattern(text)).collect());
        rights.patterns.subscribe = patterns;
        rights
    }

    const SUBSCRIBE: Action = Action::Subscribe;

    #[test]
    fn without_anything_said_everything_is_open() {
        let rules = Rules::default();
        for action in Action::ALL {
            assert_eq!(rules.may(None, action, "a"), Ok(()));
        }
        // A rule that says nothing of who leaves it so.
        let rules = Rules::new(vec![rule("**", None)], Vec::new(), false);
        assert_eq!(rules.may(None, SUBSCRIBE, "a"), Ok(()));
    }

    #[test]
    fn the_first_rule_that_names_a_topic_decides() {
        let rules = Rules::new(
            vec![
                rule("a.open", Some(Who::Anyone)),
                rule("a.*", Some(Who::Token)),
                rule("a.**", Some(Who::Nobody)),
            ],
            Vec::new(),
            true,
        );
        let any = lists(None);
        assert_eq!(rules.may(None, SUBSCRIBE, "a.open"), Ok(()));
        assert_eq!(rules.may(None, SUBSCRIBE, "a.b"), Err(Denied::NeedsToken));
        assert_eq!(rules.may(Some(&any), SUBSCRIBE, "a.b"), Ok(()));
        let forbidden = Err(Denied::Forbidden);
        assert_eq!(rules.may(Some(&any), SUBSCRIBE, "a.b.c"), forbidden);
        let all = lists(Some(&["**"]));
        assert_eq!(rules.may(Some(&all), SUBSCRIBE, "a.b.c"), forbidden);
        // It says nothing of publishing, and of other topics.
        assert_eq!(rules.may(Some(&any), Action::Publish, "a.b"), forbidden);
        assert_eq!(rules.may(None, SUBSCRIBE, "b"), Err(Denied::NeedsToken));
    }

    #[test]
    fn a_list_of_the_token_narrows_what_a_rule_leaves_to_tokens_and_widens_the_rest() {
        let rules = Rules::new(vec![rule("a.*", Some(Who::Token))], Vec::new(), true);
        let some = lists(Some(&["a.b", "c"]));
        for (topic, may) in [("a.b", true), ("a.x", false), ("c", true), ("d", false)] {
            assert_eq!(rules.may(Some(&some), SUBSCRIBE, topic).is_ok(), may);
        }
        let none = lists(Some(&[]));
        assert!(rules.may(Some(&none), SUBSCRIBE, "a.b").is_err());
        // A token that lists nothing gets what rules leave to tokens, and nothing else.
        assert!(rules.may(Some(&lists(None)), SUBSCRIBE, "c").is_err());
    }

    fn everything() -> Grant {
        Grant {
            pattern: pattern("**"),
            subscribe: true,
            publish: true,
            presence: true,
            history: true,
        }
    }

    const GUARDED: [&str; 6] = [
        "app/private-a",
        "app/private-a/b",
        "app/private-encrypted-a",
        "app/presence-a",
        "app/presence-cache-a",
        "app/#server-to-user-1",
    ];

    #[test]
    fn guarded_channels_of_an_app_take_a_token_whatever_is_open_else() {
        let anyone = Rule {
            publish: Some(Who::Anyone),
            presence: Some(Who::Anyone),
            history: Some(Who::Anyone),
            ..rule("**", Some(Who::Anyone))
        };
        let prefixes = || [Box::from("app/")];
        for keyed in [true, false] {
            let nothing_said = Rules::new(Vec::new(), Vec::new(), keyed);
            let granted = Rules::new(Vec::new(), vec![everything()], keyed);
            let ruled = Rules::new(vec![anyone.clone()], Vec::new(), keyed);
            for (rules, rule_lets_tokens_in) in
                [(nothing_said, false), (granted, false), (ruled, true)]
            {
                let rules = rules.with_apps(prefixes());
                for topic in GUARDED {
                    for action in Action::ALL {
                        assert!(rules.may(None, action, topic).is_err(), "{topic}");
                        let any = rules.may(Some(&lists(None)), action, topic);
                        assert_eq!(any.is_ok(), rule_lets_tokens_in, "{topic}");
                    }
                    let named = lists(Some(&["app/**"]));
                    assert_eq!(rules.may(Some(&named), SUBSCRIBE, topic), Ok(()));
                    let other = lists(Some(&["app/public"]));
                    assert!(rules.may(Some(&other), SUBSCRIBE, topic).is_err());
                    let told = rules.describe(topic);
                    assert!(!told.contains("anyone"), "{told}");
                }
            }
        }
        let nobody = rule("app/**", Some(Who::Nobody));
        let rules = Rules::new(vec![nobody], Vec::new(), true).with_apps(prefixes());
        let all = lists(Some(&["**"]));
        assert_eq!(
            rules.may(Some(&all), SUBSCRIBE, GUARDED[0]),
            Err(Denied::Forbidden)
        );
        assert!(rules.forbid(SUBSCRIBE, GUARDED[0]));
    }

    #[test]
    fn a_public_channel_of_an_app_is_heard_by_all_and_published_to_by_who_may() {
        let apps = |rules: Rules| rules.with_apps([Box::from("app/")]);
        let rules = apps(Rules::default());
        assert!(!rules.are_open());
        for action in [SUBSCRIBE, Action::History] {
            assert_eq!(rules.may(None, action, "app/news"), Ok(()));
        }
        for action in [Action::Publish, Action::Presence] {
            assert_eq!(rules.may(None, action, "app/news"), Err(Denied::Forbidden));
        }
        // Of other topics nothing is said, so that they are for nobody.
        for topic in ["news", "app", "app/no channel", "other/news"] {
            assert_eq!(rules.may(None, SUBSCRIBE, topic), Err(Denied::Forbidden));
        }
        let rules = apps(Rules::new(Vec::new(), vec![everything()], false));
        assert_eq!(rules.may(None, Action::Publish, "app/news"), Ok(()));
        let rules = apps(Rules::new(
            vec![rule("app/*", Some(Who::Token))],
            Vec::new(),
            true,
        ));
        assert_eq!(
            rules.may(None, SUBSCRIBE, "app/news"),
            Err(Denied::NeedsToken)
        );
        assert!(
            rules
                .describe("app/news")
                .contains("a public channel of an app")
        );
    }

    #[test]
    fn the_longest_prefix_says_whose_channel_a_topic_is() {
        let prefixes = ["", "a/", "a/b/"].map(Box::from);
        let rules = Rules::default().with_apps(prefixes);
        let access = |topic| rules.channel(topic).map(|kind| kind.access);
        for topic in ["private-x", "a/private-x", "a/b/private-x"] {
            assert_eq!(access(topic), Some(Access::Private));
        }
        assert_eq!(access("a/b/news"), Some(Access::Public));
        assert_eq!(access("c/news"), None);
        // Not a prefix of an app: no client of one could say it.
        assert_eq!(access("c/private-x"), None);
    }

    #[test]
    fn what_anonymous_grants_is_for_those_that_no_rule_is_about() {
        let grant: Grant = Grant {
            pattern: pattern("**"),
            subscribe: true,
            publish: false,
            presence: false,
            history: true,
        };
        let rules = Rules::new(vec![rule("a", Some(Who::Nobody))], vec![grant], false);
        assert_eq!(rules.may(None, SUBSCRIBE, "b"), Ok(()));
        assert_eq!(rules.may(None, Action::History, "b"), Ok(()));
        let forbidden = Err(Denied::Forbidden);
        assert_eq!(rules.may(None, SUBSCRIBE, "a"), forbidden);
        // Without keys nobody is sent for a token.
        assert_eq!(rules.may(None, Action::Publish, "b"), forbidden);
        assert!(rules.describe("a").contains("rule 1 of topics"));
        assert!(rules.describe("b").contains("publish: nobody"));
    }
}
