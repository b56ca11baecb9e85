//! What a reload changes: the settings that may change while the daemon runs, and
//! the names of those that wait for a restart.
//!
//! Which is which stands in the table. Called by the hub, which keeps the settings
//! in force; `service::signals` reports the outcome.

use std::fmt;

use super::{ConfigError, Effect, Loaded, Settings, TABLE};

/// How the daemon gets at its settings again.
pub struct Reload {
    /// Reads the file that it was started with, under the same options.
    pub read: Box<dyn Fn() -> Result<Loaded, ConfigError> + Send>,
    /// Makes log lines follow the settings.
    pub log: Box<dyn Fn(&Settings) + Send>,
    /// There is a file; without one nothing can have changed.
    pub has_file: bool,
}

/// What became of new settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In force from now on.
    pub applied: Vec<&'static str>,
    /// In force after a restart.
    pub waiting: Vec<&'static str>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.waiting.is_empty()
    }
}

/// The end of a sentence, as "applied lag_policy; after a restart: cores".
impl fmt::Display for Changes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (applied, waiting) = (self.applied.join(", "), self.waiting.join(", "));
        match (applied.is_empty(), waiting.is_empty()) {
            (true, true) => out.write_str("nothing has changed"),
            (false, true) => write!(out, "applied {applied}"),
            (true, false) => write!(out, "only a restart changes {waiting}"),
            (false, false) => {
                write!(out, "applied {applied}; only a restart changes {waiting}")
            }
        }
    }
}

impl Settings {
    /// These settings with all of `new` that can change live, and what differs.
    pub fn changed_to(&self, new: &Settings) -> (Settings, Changes) {
        let mut settings = self.clone();
        let mut changes = Changes::default();
        for row in TABLE {
            if !settings.differs(row.key, new) {
            } else if row.effect == Effect::Restart {
                changes.waiting.push(row.key);
            } else {
                settings.take(row.key, new);
                changes.applied.push(row.key);
            }
        }
        (settings, changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::Origins;

    #[test]
    fn new_settings_are_applied_or_named() {
        let old = Settings::default();
        let new = Settings {
            retain_messages_max: 7,
            cores: old.cores + 1,
            origins: Origins::any(),
            ..old.clone()
        };
        let (settings, changes) = old.changed_to(&new);
        assert_eq!(changes.applied, ["origins", "retain_messages_max"]);
        assert_eq!(changes.waiting, ["cores"]);
        assert_eq!(settings.retain_messages_max, 7);
        assert_eq!(settings.cores, old.cores);
        assert_eq!(
            changes.to_string(),
            "applied origins, retain_messages_max; only a restart changes cores"
        );
        let (same, changes) = settings.changed_to(&settings);
        assert!(changes.is_empty());
        assert_eq!(same, settings);
    }
}
