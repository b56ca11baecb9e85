//! The settings in force, which a reload replaces while cores read them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::policies::TopicPolicy;
use crate::config::{Changes, Implied, Settings};
use crate::protocol::http::Origins;
use crate::protocol::rights::Rules;

/// One version of the settings, with what is made of them.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) settings: Settings,
    pub(super) rules: Rules,
    /// The origins of the settings, for who comes over TLS.
    pub(super) origins_over_tls: Origins,
    /// There may be a topic whose messages are compressed.
    pub(super) deflates_somewhere: bool,
    /// The number of what holds for topics without a rule, with each that the names of apps'
    /// channels may imply; those of the rules follow, and then that of companions.
    first_policy: u32,
}

/// All versions there have been.
///
/// To read the one in force is an atomic load that no other core disturbs, as a
/// message may ask several times; the price is that a version, about a kilobyte,
/// stays for the life of the process. Reloads that change nothing add none.
#[derive(Debug)]
pub(super) struct Live {
    versions: boxcar::Vec<Version>,
    current: AtomicUsize,
    /// What holds for topics, in all versions. Topics know their own by its number.
    policies: boxcar::Vec<TopicPolicy>,
    /// Held while a version is being added.
    changing: Mutex<()>,
}

impl Live {
    pub(super) fn new(settings: Settings) -> Self {
        let (versions, policies) = (boxcar::Vec::new(), boxcar::Vec::new());
        let current = versions.push(Version::new(settings, &policies));
        Live {
            versions,
            current: AtomicUsize::new(current),
            policies,
            changing: Mutex::new(()),
        }
    }

    /// What holds for topics that have this number.
    #[inline]
    pub(super) fn policy(&self, number: u32) -> &TopicPolicy {
        &self.policies[number as usize]
    }

    #[inline]
    pub(super) fn get(&self) -> &Version {
        &self.versions[self.current.load(Ordering::Acquire)]
    }

    /// Puts all of `new` in force that can change live.
    pub(super) fn change(&self, new: &Settings) -> Changes {
        let _alone = self
            .changing
            .lock()
            .expect("nothing panics inside the lock");
        let (settings, changes) = self.get().settings.changed_to(new);
        if !changes.applied.is_empty() {
            let version = Version::new(settings, &self.policies);
            let version = self.versions.push(version);
            self.current.store(version, Ordering::Release);
        }
        changes
    }
}

/// What holds for topics of one rule differs by as many kinds of channels.
const KINDS: u32 = Implied::ALL.len() as u32;

impl Version {
    /// Only one is made at a time.
    fn new(settings: Settings, policies: &boxcar::Vec<TopicPolicy>) -> Self {
        if !settings.trusted_proxies.is_empty() && settings.hosts.is_empty() {
            tracing::warn!(
                "trusted_proxies is set and hosts is not: what comes from the proxies is answered \
                 only for localhost and IP addresses in Host"
            );
        }
        let mut deflates_somewhere = false;
        let first_policy = policies.count();
        for rule in [None].into_iter().chain(settings.topics.iter().map(Some)) {
            for implied in Implied::ALL {
                let policy = TopicPolicy::new(&settings, rule, implied);
                deflates_somewhere |= policy.deflate;
                policies.push(policy);
            }
        }
        policies.push(TopicPolicy::of_companions(&settings));
        Version {
            rules: settings.rules(),
            origins_over_tls: settings.origins.over_tls(),
            settings,
            deflates_somewhere,
            first_policy: u32::try_from(first_policy).expect("nobody reloads that often"),
        }
    }

    /// The number of what holds for a topic of that name.
    pub(super) fn policy_of(&self, topic: &str) -> u32 {
        let rule = self.rules.of(topic).map_or(0, |(number, _)| number);
        let implied = Implied::by(self.rules.channel(topic));
        self.first_policy + KINDS * rule as u32 + implied.number()
    }

    /// The number of what holds for companions of topics.
    pub(super) fn companions_policy(&self) -> u32 {
        self.first_policy + KINDS * (1 + self.settings.topics.len() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_the_next_who_asks_and_spares_those_who_hold_the_old() {
        let old = Settings::default();
        let live = Live::new(old.clone());
        let held = live.get();
        let new = Settings {
            retain_messages_max: 5,
            cores: old.cores + 1,
            ..old.clone()
        };
        let changes = live.change(&new);
        assert_eq!(changes.applied, ["retain_messages_max"]);
        assert_eq!(changes.waiting, ["cores"]);
        let policy = |live: &Live| live.policy(live.get().policy_of("t")).clone();
        assert_eq!(policy(&live).retention.messages_max, 5);
        assert_eq!(live.get().settings.cores, old.cores);
        assert_eq!(held.settings, old);
    }

    #[test]
    fn a_change_of_nothing_keeps_the_version() {
        let live = Live::new(Settings::default());
        live.change(&Settings::default());
        assert_eq!(live.versions.count(), 1);
    }
}
