//! The settings in force, which a reload replaces while cores read them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::{Changes, Settings};
use crate::log::{Bounds, Retention};
use crate::protocol::rights::Rules;

/// One version of the settings, with what is made of them.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) settings: Settings,
    pub(super) retention: Retention,
    pub(super) rules: Rules,
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
    /// Held while a version is being added.
    changing: Mutex<()>,
}

impl Live {
    pub(super) fn new(settings: Settings) -> Self {
        let versions = boxcar::Vec::new();
        let current = versions.push(Version::new(settings));
        Live {
            versions,
            current: AtomicUsize::new(current),
            changing: Mutex::new(()),
        }
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
            let version = self.versions.push(Version::new(settings));
            self.current.store(version, Ordering::Release);
        }
        changes
    }
}

impl Version {
    fn new(settings: Settings) -> Self {
        if !settings.trusted_proxies.is_empty() && settings.hosts.is_empty() {
            tracing::warn!(
                "trusted_proxies is set and hosts is not: what comes from the proxies is answered \
                 only for localhost and IP addresses in Host"
            );
        }
        let retention = Retention {
            messages_max: settings.retain_messages_max as u64,
            bytes_max: settings.retain_bytes_max as u64,
            age_ms_max: settings.retain_ms_max,
            bounds: Bounds {
                log_bytes_max: settings.log_bytes_max as u64,
                log_bytes_total_max: settings.log_bytes_total_max as u64,
            },
        };
        Version {
            rules: settings.rules(),
            settings,
            retention,
        }
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
        assert_eq!(live.get().retention.messages_max, 5);
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
