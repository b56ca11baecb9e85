//! What holds for each topic: its rule's words laid over the settings. It is looked up by
//! name when a topic is made and when settings change; from then on the topic knows its
//! number, and to ask is as cheap as to ask for a setting.

use std::ops::Deref;

use super::Hub;
use crate::config::{Implied, Joins, Keep, Policy, Settings, TopicRule};
use crate::log::{Bounds, Retention, Topic};

/// What holds for a topic, with what the log is told of it.
#[derive(Clone, Debug)]
pub struct TopicPolicy {
    policy: Policy,
    pub retention: Retention,
}

impl TopicPolicy {
    /// What holds for topics of that rule, or of none, with what their names imply.
    pub(super) fn new(settings: &Settings, rule: Option<&TopicRule>, implied: Implied) -> Self {
        TopicPolicy::from_policy(settings, settings.policy_of(rule, implied))
    }

    /// What holds for companions: they keep what comes behind a list of members until that has
    /// been read.
    pub(super) fn of_companions(settings: &Settings) -> Self {
        let policy = Policy {
            retain_messages_max: 1 << 16,
            retain_bytes_max: 4 << 20,
            retain_ms_max: 2000,
            // Who comes and goes is told at once.
            pace_ms: 0,
            latest: false,
            presence_list: false,
            joins: Joins::Nobody,
            keep: Keep::Memory,
            ..settings.policy(None)
        };
        TopicPolicy::from_policy(settings, policy)
    }

    fn from_policy(settings: &Settings, policy: Policy) -> Self {
        TopicPolicy {
            retention: Retention {
                messages_max: policy.retain_messages_max as u64,
                bytes_max: policy.retain_bytes_max as u64,
                age_ms_max: policy.retain_ms_max,
                bounds: Bounds {
                    log_bytes_max: settings.log_bytes_max as u64,
                    log_bytes_total_max: settings.log_bytes_total_max as u64,
                },
            },
            policy,
        }
    }
}

impl Deref for TopicPolicy {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        &self.policy
    }
}

impl Hub {
    /// What holds for a topic.
    #[inline]
    pub fn policy(&self, topic: &Topic) -> &TopicPolicy {
        self.live.policy(topic.policy())
    }

    /// What a topic keeps, and how much it may hold.
    #[inline]
    pub fn retention(&self, topic: &Topic) -> &Retention {
        &self.policy(topic).retention
    }

    /// What holds for a topic of that name, whether there is one or not.
    pub fn policy_named(&self, topic: &str) -> &TopicPolicy {
        self.live.policy(self.live.get().policy_of(topic))
    }

    /// Whether there may be a topic whose messages are compressed.
    pub fn deflates_somewhere(&self) -> bool {
        self.live.get().deflates_somewhere
    }

    /// Tells a topic what holds for it.
    pub(super) fn give_policy(&self, topic: &Topic) {
        topic.set_policy(self.live.get().policy_of(topic.name()));
        if !topic.is_shared() {
            self.look_at_keep(topic);
        }
    }

    /// The same for a companion.
    pub(super) fn give_companions_policy(&self, companion: &Topic) {
        companion.set_policy(self.live.get().companions_policy());
    }

    /// Tells all topics what holds for them now. Those that are made meanwhile are told
    /// while they are made.
    pub(super) fn give_policies(&self) {
        for topic in self.all_topics() {
            self.give_policy(&topic);
            self.look_at_sharing(&topic);
        }
        for companion in self.all_companions() {
            self.give_companions_policy(&companion);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::topic::TopicName;

    #[test]
    fn topics_that_are_there_are_told_of_changed_rules() {
        let settings = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            crate::config::check_file(file.path()).unwrap()
        };
        let rule = "[[topics]]\nmatch = \"price.*\"\nlatest = true\nretain_messages_max = 1\n";
        let hub = Hub::new(settings(rule)).unwrap();
        let topic = |name| hub.topic(&TopicName::new(name).unwrap()).unwrap();
        let (price, news) = (topic("price.eur"), topic("news"));
        assert!(hub.policy(&price).latest && !hub.policy(&news).latest);
        assert_eq!(hub.retention(&price).messages_max, 1);
        assert_eq!(hub.retention(&news).messages_max, 1000);
        let other = rule.replace("price.*", "news");
        hub.change(&settings(&format!("retain_messages_max = 7\n{other}")));
        assert!(!hub.policy(&price).latest && hub.policy(&news).latest);
        assert_eq!(hub.retention(&price).messages_max, 7);
        assert!(!hub.policy(&topic("price.usd")).latest);
        assert!(hub.policy_named("news").latest);
    }
}
