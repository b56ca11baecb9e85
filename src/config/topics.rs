//! What `[[topics]]` say of the topics of a pattern: who may do what with them, and what
//! holds for them in place of the global settings.
//!
//! The hub looks up what holds for a topic when that is made and when settings change, the
//! acceptor for each opening.

use std::fmt::Write;

use serde::Deserialize;
use toml::Value as Toml;

use super::kind::{Kind, Size};
use super::policy::{Implied, Joins, Policy};
use super::value::{Given, Value, tables};
use super::{Deflate, Keep, LagPolicy, Settings, Switch, TABLE};
use crate::protocol::rights::{Pattern, Rule, Who};

/// One table of `[[topics]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct TopicRule {
    /// Which topics it is about, and who may do what with them.
    pub who: Rule,
    says: Says,
}

/// What a rule says beside that; `None` where it leaves something to the global settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Says {
    retain_messages_max: Option<usize>,
    retain_bytes_max: Option<usize>,
    retain_ms_max: Option<u64>,
    keep: Option<Keep>,
    lag_policy: Option<LagPolicy>,
    pace_ms: Option<u64>,
    latest: Option<bool>,
    presence_list: Option<bool>,
    joins: Option<bool>,
    deflate: Option<bool>,
    chat: Option<bool>,
    page: Option<bool>,
}

/// A table as it stands in the file. What has the name of a setting takes what that takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "match")]
    pattern: Pattern,
    subscribe: Option<Who>,
    publish: Option<Who>,
    presence: Option<Who>,
    history: Option<Who>,
    retain_messages_max: Option<Toml>,
    retain_bytes_max: Option<Toml>,
    retain_ms_max: Option<Toml>,
    keep: Option<Toml>,
    lag_policy: Option<Toml>,
    pace_ms: Option<Toml>,
    latest: Option<Toml>,
    presence_list: Option<Toml>,
    joins: Option<Toml>,
    deflate: Option<Toml>,
    chat: Option<Toml>,
    page: Option<Toml>,
}

impl Value for Vec<TopicRule> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        tables(given, kind)
    }
}

impl TryFrom<Written> for TopicRule {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        Ok(TopicRule {
            who: Rule {
                pattern: written.pattern,
                subscribe: written.subscribe,
                publish: written.publish,
                presence: written.presence,
                history: written.history,
            },
            says: Says {
                retain_messages_max: setting("retain_messages_max", written.retain_messages_max)?,
                retain_bytes_max: setting("retain_bytes_max", written.retain_bytes_max)?,
                retain_ms_max: setting("retain_ms_max", written.retain_ms_max)?,
                keep: setting("keep", written.keep)?,
                lag_policy: setting("lag_policy", written.lag_policy)?,
                pace_ms: setting("pace_ms", written.pace_ms)?,
                latest: switch("latest", written.latest)?,
                presence_list: switch("presence_list", written.presence_list)?,
                joins: switch("joins", written.joins)?,
                deflate: switch("deflate", written.deflate)?,
                chat: switch("chat", written.chat)?,
                page: switch("page", written.page)?,
            },
        })
    }
}

/// A value in place of that of the setting with the same name.
fn setting<T: Value>(key: &str, value: Option<Toml>) -> Result<Option<T>, String> {
    let mut table = TABLE.iter();
    let row = table
        .find(|row| row.key == key)
        .expect("a setting has the name");
    value
        .map(|value| read_as(key, &row.kind, value))
        .transpose()
}

/// The value of a key within a table, as a setting of that kind takes it.
pub(super) fn read_as<T: Value>(key: &str, kind: &Kind, value: Toml) -> Result<T, String> {
    let word = match value {
        Toml::String(text) => text,
        Toml::Integer(number) if kind.is_number() => number.to_string(),
        other => {
            let of = other.type_str();
            return Err(format!(
                "{key}: a value of type {of} is not allowed, allowed: {kind}"
            ));
        }
    };
    let read = T::read(&Given(vec![word]), kind);
    read.map_err(|problem| format!("{key}: {problem}"))
}

/// Something that is done or not.
fn switch(key: &str, value: Option<Toml>) -> Result<Option<bool>, String> {
    let Some(value) = value else { return Ok(None) };
    let is_on = match &value {
        Toml::Boolean(is_on) => Some(*is_on),
        // As settings of the kind are written.
        Toml::String(word) if word == "on" => Some(true),
        Toml::String(word) if word == "off" => Some(false),
        _ => None,
    };
    is_on
        .map(Some)
        .ok_or_else(|| format!("{key}: {value} is not allowed, allowed: true, false"))
}

impl Settings {
    /// What holds for topics of that rule, or of none.
    pub fn policy(&self, rule: Option<&TopicRule>) -> Policy {
        self.policy_of(rule, Implied::default())
    }

    /// The same, with what the name of an app's channel implies.
    pub fn policy_of(&self, rule: Option<&TopicRule>, implied: Implied) -> Policy {
        let nothing = Says::default();
        let says = rule.map_or(&nothing, |rule| &rule.says);
        let presence_list = says.presence_list.unwrap_or(self.presence == Switch::On);
        let presence_list = presence_list || implied.presence;
        let keep = says.keep.unwrap_or(self.keep);
        let at_least = |number: usize, least| {
            if implied.cache {
                number.max(least)
            } else {
                number
            }
        };
        let implied_ms = implied.retain_ms(keep, self.cluster_age_ms_max);
        Policy {
            retain_messages_max: says
                .retain_messages_max
                .unwrap_or_else(|| at_least(self.retain_messages_max, 1)),
            retain_bytes_max: says
                .retain_bytes_max
                .unwrap_or_else(|| at_least(self.retain_bytes_max, self.message_bytes_max)),
            retain_ms_max: says
                .retain_ms_max
                .unwrap_or_else(|| self.retain_ms_max.max(implied_ms)),
            keep,
            lag_policy: says.lag_policy.unwrap_or(self.lag_policy),
            pace_ms: says.pace_ms.unwrap_or(self.pace_ms),
            latest: says.latest.unwrap_or(implied.cache),
            presence_list,
            joins: match (says.joins, presence_list) {
                (Some(true), _) => Joins::Everybody,
                (None, true) => Joins::WhoAsks,
                (Some(false), _) if implied.presence => Joins::WhoAsks,
                (Some(false), _) | (None, false) => Joins::Nobody,
            },
            deflate: says.deflate.unwrap_or(self.deflate != Deflate::Off),
            chat: says.chat.unwrap_or(true),
            page: says.page.unwrap_or(true),
        }
    }

    /// Some topics are to be kept on disk.
    pub fn keeps_on_disk(&self) -> bool {
        self.policies().any(|policy| policy.keep == Keep::Disk)
    }

    /// Some topics are to be kept by the cluster.
    pub fn keeps_in_cluster(&self) -> bool {
        self.policies().any(|policy| policy.keep == Keep::Cluster)
    }

    /// What holds for the topics of each rule, and for those of none; where there are apps,
    /// for their channels too.
    pub fn policies(&self) -> impl Iterator<Item = Policy> {
        let rules = self.topics.iter().map(Some).chain([None]);
        let implied = match self.apps.is_empty() {
            true => &Implied::ALL[..1],
            false => &Implied::ALL,
        };
        rules.flat_map(move |rule| {
            implied
                .iter()
                .map(move |implied| self.policy_of(rule, *implied))
        })
    }

    /// Which rule a topic gets, who may do what with it and what holds for it: lines for
    /// people.
    pub fn describe_topic(&self, topic: &str) -> String {
        let rules = self.rules();
        let rule = rules.of(topic).map(|(number, _)| &self.topics[number - 1]);
        let Policy {
            retain_messages_max,
            retain_bytes_max,
            retain_ms_max,
            keep,
            lag_policy,
            pace_ms,
            latest,
            presence_list,
            joins,
            deflate,
            chat,
            page,
        } = self.policy_of(rule, Implied::by(rules.channel(topic)));
        let mut text = rules.describe(topic);
        let retain_bytes_max = Size(retain_bytes_max as u64);
        let (keep, lag_policy, joins) = (keep.name(), lag_policy.name(), joins.describe());
        write!(
            text,
            "\n  retain_messages_max: {retain_messages_max}\n  retain_bytes_max: {retain_bytes_max}\
             \n  retain_ms_max: {retain_ms_max}\n  keep: {keep}\n  lag_policy: {lag_policy}\n  pace_ms: {pace_ms}\
             \n  latest: {latest}\n  presence_list: {presence_list}\n  joins: {joins}\n  deflate: {deflate}\
             \n  chat: {chat}\n  page: {page}"
        )
        .expect("a string takes all");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Kind;
    use crate::protocol::pusher::ChannelKind;

    fn rules(words: &[&str]) -> Result<Vec<TopicRule>, String> {
        let words = words.iter().map(|word| (*word).to_owned());
        Vec::read(&Given(words.collect()), &Kind::Rules)
    }

    #[test]
    fn what_a_rule_leaves_out_is_the_global_setting() {
        let says_all = r#"match = "all.*", retain_messages_max = 1, retain_bytes_max = "2KiB",
            retain_ms_max = 3, keep = "disk", lag_policy = "latest", pace_ms = 4, latest = true,
            presence_list = "on", joins = true, deflate = "off", chat = false, page = false"#;
        let rules = rules(&[r#"match = "none.*""#, says_all]).unwrap();
        let settings = Settings {
            topics: rules.clone(),
            ..Settings::default()
        };
        let standard = Policy {
            retain_messages_max: 1000,
            retain_bytes_max: 1 << 20,
            retain_ms_max: 300_000,
            keep: Keep::Memory,
            lag_policy: LagPolicy::Close,
            pace_ms: 0,
            latest: false,
            presence_list: false,
            joins: Joins::Nobody,
            deflate: true,
            chat: true,
            page: true,
        };
        assert_eq!(settings.policy(None), standard);
        assert_eq!(settings.policy(Some(&rules[0])), standard);
        let all = Policy {
            retain_messages_max: 1,
            retain_bytes_max: 2048,
            retain_ms_max: 3,
            keep: Keep::Disk,
            lag_policy: LagPolicy::Latest,
            pace_ms: 4,
            latest: true,
            presence_list: true,
            joins: Joins::Everybody,
            deflate: false,
            chat: false,
            page: false,
        };
        assert_eq!(settings.policy(Some(&rules[1])), all);
        let told = settings.describe_topic("all.x");
        for line in [
            "all.x: rule 2 of topics, match = \"all.*\"",
            "  subscribe: anyone, as there are no rules, keys or anonymous",
            "  retain_bytes_max: 2 KiB",
            "  lag_policy: latest",
            "  pace_ms: 4",
            "  joins: true",
            "  page: false",
        ] {
            assert!(told.lines().any(|told| told == line), "{line} in {told}");
        }
        assert!(
            settings
                .describe_topic("x")
                .contains("\n  lag_policy: close")
        );
    }

    #[test]
    fn joins_are_for_who_asks_where_it_is_known_who_is_there() {
        let joins = |words: &str, presence| {
            let settings = Settings {
                presence,
                ..Settings::default()
            };
            let rules = rules(&[&format!("match = \"a\"{words}")]).unwrap();
            settings.policy(Some(&rules[0])).joins
        };
        assert_eq!(joins("", Switch::Off), Joins::Nobody);
        assert_eq!(joins("", Switch::On), Joins::WhoAsks);
        assert_eq!(joins(", presence_list = true", Switch::Off), Joins::WhoAsks);
        assert_eq!(joins(", joins = false", Switch::On), Joins::Nobody);
        assert_eq!(joins(", joins = true", Switch::Off), Joins::Everybody);
    }

    #[test]
    fn the_channels_of_an_app_imply_what_they_need() {
        for (number, implied) in Implied::ALL.into_iter().enumerate() {
            assert_eq!(implied.number() as usize, number);
        }
        let settings = Settings {
            retain_messages_max: 0,
            retain_bytes_max: 0,
            retain_ms_max: 0,
            ..Settings::default()
        };
        let of = |channel: &str, words: &str| {
            let rules = rules(&[&format!("match = \"a\"{words}")]).unwrap();
            let implied = Implied::by(Some(ChannelKind::of(channel)));
            settings.policy_of(Some(&rules[0]), implied)
        };
        assert_eq!(of("private-a", ""), settings.policy(None));
        let presence = of("presence-a", ", presence_list = false, joins = false");
        assert!(presence.presence_list && !presence.latest);
        assert_eq!(presence.joins, Joins::WhoAsks);
        let everybody = of("presence-a", ", joins = true");
        assert_eq!(everybody.joins, Joins::Everybody);
        let cache = of("private-cache-a", "");
        assert!(cache.latest && !cache.presence_list);
        assert_eq!(cache.retain_messages_max, 1);
        assert_eq!(cache.retain_bytes_max, settings.message_bytes_max);
        assert_eq!(cache.retain_ms_max, 1_800_000);
        let ruled = of(
            "cache-a",
            ", latest = false, retain_messages_max = 0, retain_ms_max = 5",
        );
        assert!(!ruled.latest);
        assert_eq!((ruled.retain_messages_max, ruled.retain_ms_max), (0, 5));
        let both = of("presence-cache-a", "");
        assert!(both.latest && both.presence_list);
        let short_lived = Settings {
            keep: Keep::Cluster,
            cluster_age_ms_max: 7,
            ..settings.clone()
        };
        let implied = Implied::by(Some(ChannelKind::of("cache-a")));
        assert_eq!(short_lived.policy_of(None, implied).retain_ms_max, 7);
    }

    #[test]
    fn a_value_is_refused_as_that_of_the_setting_is() {
        for (words, told) in [
            (
                "retain_bytes_max = \"2KB\"",
                "number 1: retain_bytes_max: \"2KB\" is not allowed (did you mean \"2KiB\"?)",
            ),
            (
                "retain_messages_max = -1",
                "number 1: retain_messages_max: \"-1\" is not allowed, allowed: 0 to 100000000",
            ),
            (
                "lag_policy = \"drop\"",
                "lag_policy: \"drop\" is not allowed, allowed: close, skip, latest",
            ),
            (
                "lag_policy = true",
                "lag_policy: a value of type boolean is not allowed",
            ),
            (
                "pace_ms = 60001",
                "pace_ms: 60001 is not allowed, allowed: 0 to 60000 milliseconds",
            ),
            (
                "latest = 1",
                "latest: 1 is not allowed, allowed: true, false",
            ),
            ("chatt = true", "unknown field `chatt`"),
        ] {
            let refused = rules(&[&format!("match = \"a\", {words}")]).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
    }
}
