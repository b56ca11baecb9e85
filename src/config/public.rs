//! The safe start: where others than programs of this machine get to the daemon, nothing is
//! open to everybody unless the settings say so.

use super::check::Conflict;
use super::{Place, Settings};

/// Why a daemon does not start, or ends.
#[derive(Debug)]
pub enum StartError {
    /// Its settings are not for the addresses that it has been given: no restart cures that.
    Settings(String),
    /// It cannot have what it needs, or has failed.
    Failed(String),
}

impl From<String> for StartError {
    fn from(sentence: String) -> Self {
        StartError::Failed(sentence)
    }
}

impl From<&str> for StartError {
    fn from(sentence: &str) -> Self {
        StartError::Failed(sentence.to_owned())
    }
}

/// What to do about it.
const CURE: &str = "nothing says who may do what: add anonymous = [{ match = \"**\" }], with which \
    everybody may hear every topic and nobody publish but over admin and api (with publish = true \
    beside match everybody may publish too), or rules in topics, or token_keys";

/// The same where it is the server API that is open.
const API_CURE: &str = "api is on the same address: it needs api_key_file or admin_token_file, \
    a file with a secret";

impl Settings {
    /// Nobody has to ask anybody: everybody may do everything with all topics.
    pub fn is_open(&self) -> bool {
        self.rules().are_open()
    }

    /// The conflict where everything is open and others than programs of this machine, and
    /// pages that it serves itself, get there.
    pub(super) fn openness(&self) -> Option<Conflict> {
        let (key, why) = self.lets_others_in().filter(|_| self.is_open())?;
        Some(Conflict {
            keys: vec![key, "anonymous", "topics", "token_keys"],
            sentence: format!("{why}, and {CURE}"),
        })
    }

    /// The conflict where the server API is served to others without a secret.
    pub(super) fn api_openness(&self) -> Option<Conflict> {
        let shared = self.api.iter().any(|place| self.is_public(place));
        let (key, why) = self
            .lets_others_in()
            .filter(|_| shared && !self.guards_api())?;
        Some(Conflict {
            keys: vec![key, "api", "api_key_file", "admin_token_file"],
            sentence: format!("{why}, and {API_CURE}"),
        })
    }

    /// Who asks the server API must bear a secret.
    pub fn guards_api(&self) -> bool {
        self.api_key_file.is_some() || self.admin_token_file.is_some()
    }

    /// Nobody but programs of this machine, and pages that it serves itself, gets to the public
    /// listeners, as far as the settings say.
    pub fn is_for_this_machine(&self) -> bool {
        self.lets_others_in().is_none()
    }

    /// The setting by which others than programs of this machine, and pages that it serves
    /// itself, get to the public listeners, and how.
    fn lets_others_in(&self) -> Option<(&'static str, String)> {
        if let Some(place) = first_public(&self.listen) {
            Some(("listen", format!("listen ({place}) is beyond this machine")))
        } else if let Some(place) = first_public(&self.listen_tls) {
            let why = format!("listen_tls ({place}) is beyond this machine");
            Some(("listen_tls", why))
        } else if !self.trusted_proxies.is_empty() {
            let why = "trusted_proxies let others in".to_owned();
            Some(("trusted_proxies", why))
        } else if self.hosts.are_foreign() {
            Some(("hosts", "hosts names more than this machine".to_owned()))
        } else if self.origins.are_foreign() {
            Some(("origins", "origins lets in pages of others".to_owned()))
        } else {
            None
        }
    }

    /// What is wrong with serving at `places`, which may be others than the settings name.
    ///
    /// # Errors
    /// A sentence with what to do.
    pub fn check_places(&self, places: &[Place]) -> Result<(), String> {
        let Some(place) = first_public(places) else {
            return Ok(());
        };
        let beyond = format!("{place} is beyond this machine");
        if self.is_open() {
            return Err(format!("{beyond}, and {CURE}"));
        }
        let has_api = |place: &Place| !place.is_local() && self.serves_api_at(place);
        if places.iter().any(has_api) && !self.guards_api() {
            return Err(format!("{beyond}, and {API_CURE}"));
        }
        Ok(())
    }
}

fn first_public(places: &[Place]) -> Option<&Place> {
    places.iter().find(|place| !place.is_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{TABLE, check_file};

    /// What `check-config` says of a file.
    fn refused(text: &str) -> Option<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let checked = check_file(file.path());
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn where_others_get_there_somebody_says_who_may_do_what() {
        let line = TABLE.iter().find(|row| row.key == "anonymous").unwrap();
        assert!(line.default.is_empty());
        for public in [
            "listen = \"0.0.0.0:8000\"",
            "listen = [\"127.0.0.1:1\", \"[2001:db8::1]:1\"]",
            "trusted_proxies = \"127.0.0.1\"",
            "hosts = [\"live.example.com\"]",
            "hosts = [\"*\"]",
            "origins = [\"same-host\", \"https://example.com\"]",
            "origins = [\"*\"]",
            "origins = [\"null\"]",
        ] {
            let told = refused(public).unwrap();
            assert!(told.contains(", line 1: "), "{told}");
            // The line that it shows will do.
            let (_, line) = told.split_once("add ").unwrap();
            let (line, _) = line.split_once(", with").unwrap();
            assert_eq!(refused(&format!("{public}\n{line}")), None);
            let rule = "[[topics]]\nmatch = \"a\"\nsubscribe = \"anyone\"";
            assert_eq!(refused(&format!("{public}\n{rule}")), None);
            // Such a rule says nothing of who.
            let rule = "[[topics]]\nmatch = \"a\"\nlatest = true";
            assert!(refused(&format!("{public}\n{rule}")).is_some());
        }
    }

    #[test]
    fn on_one_machine_everything_is_open() {
        for local in [
            "",
            "listen = [\"127.0.0.2:1\", \"[::1]:1\", \"unix:/run/a\"]",
            "origins = [\"same-host\", \"http://localhost:3000\", \"http://127.0.0.1:3000\"]",
            "hosts = [\"localhost\"]",
        ] {
            assert_eq!(refused(local), None, "{local}");
        }
    }

    #[test]
    fn a_value_that_is_refused_is_told_alone() {
        let told = refused("listen = \"0.0.0.0:1\"\nanonymous = [{ mach = \"**\" }]").unwrap();
        assert_eq!(told.lines().count(), 1, "{told}");
    }

    #[test]
    fn addresses_of_others_making_are_looked_at_too() {
        let settings = Settings::default();
        let places = |words: &[&str]| -> Vec<Place> {
            words
                .iter()
                .map(|word| Place::parse(word).unwrap())
                .collect()
        };
        assert!(
            settings
                .check_places(&places(&["127.0.0.1:1", "unix:/a"]))
                .is_ok()
        );
        let told = settings.check_places(&places(&["127.0.0.1:1", "0.0.0.0:1"]));
        assert!(
            told.unwrap_err()
                .starts_with("0.0.0.0:1 is beyond this machine")
        );
    }
}
