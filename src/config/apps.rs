//! What `[[apps]]` say: the apps of the Pusher Channels protocol.
//!
//! What an app may is the matter of `protocol`; here its table is read, and the files of its
//! secrets. Those are read with the settings, so that a reload takes new ones.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use toml::Value as Toml;

use super::check::Conflict;
use super::fault::ConfigError;
use super::kind::Kind;
use super::secrets::token_in;
use super::topics::read_as;
use super::value::{Given, Value, tables};
use super::webhooks::{WrittenHook, read_webhooks};
use super::{KIB, MIB, Settings};
use crate::protocol::pusher::{
    APP_PREFIX_BYTES_MAX, App, Secrets, check_channel, may_end_a_prefix,
};
use crate::protocol::topic::TopicName;

/// The longest id and the longest key.
const NAME_BYTES_MAX: usize = 64;
/// While one takes the place of another, both are valid.
const SECRETS_MAX: usize = 2;

/// A table as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    key: String,
    secret_files: Files,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    client_events: bool,
    client_events_per_s_max: Option<Toml>,
    connections_max: Option<Toml>,
    event_bytes_max: Option<Toml>,
    event_channels_max: Option<Toml>,
    batch_events_max: Option<Toml>,
    presence_members_max: Option<Toml>,
    presence_user_bytes_max: Option<Toml>,
    #[serde(default)]
    webhooks: Vec<WrittenHook>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Files {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

/// A table that is right; serde wants a type of our own for it.
#[derive(Deserialize)]
#[serde(try_from = "Written")]
struct Read(App);

impl Value for Vec<Arc<App>> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let apps: Vec<Read> = tables(given, kind)?;
        Ok(apps.into_iter().map(|Read(app)| Arc::new(app)).collect())
    }
}

impl TryFrom<Written> for Read {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let secret_files = match written.secret_files {
            Files::One(path) => vec![path],
            Files::Several(paths) => paths,
        };
        if !(1..=SECRETS_MAX).contains(&secret_files.len()) {
            return Err(format!("secret_files: allowed: 1 to {SECRETS_MAX} paths"));
        }
        check_prefix(&written.prefix)?;
        let count = |key, value: Option<Toml>, standard, min, max| {
            let kind = Kind::Count(min, max);
            value.map_or(Ok(standard), |value| read_as(key, &kind, value))
        };
        let bytes = |key, value: Option<Toml>, standard, max| {
            let kind = Kind::Bytes(1, max);
            value.map_or(Ok(standard), |value| read_as(key, &kind, value))
        };
        Ok(Read(App {
            id: name("id", written.id)?,
            key: Arc::from(name("key", written.key)?),
            secret_files,
            secrets: Secrets::default(),
            prefix: written.prefix.into(),
            client_events: written.client_events,
            client_events_per_s_max: match written.client_events_per_s_max {
                Some(value) => read_as(
                    "client_events_per_s_max",
                    &Kind::Count(0, 1_000_000_000),
                    value,
                )?,
                None => 10,
            },
            connections_max: count("connections_max", written.connections_max, 0, 0, 10_000_000)?,
            event_bytes_max: bytes(
                "event_bytes_max",
                written.event_bytes_max,
                10 << 10,
                64 * MIB,
            )?,
            event_channels_max: count(
                "event_channels_max",
                written.event_channels_max,
                100,
                1,
                10_000,
            )?,
            batch_events_max: count("batch_events_max", written.batch_events_max, 10, 1, 10_000)?,
            presence_members_max: count(
                "presence_members_max",
                written.presence_members_max,
                100,
                1,
                1_000_000,
            )?,
            presence_user_bytes_max: bytes(
                "presence_user_bytes_max",
                written.presence_user_bytes_max,
                1 << 10,
                64 * KIB,
            )?,
            webhooks: read_webhooks(written.webhooks)?,
        }))
    }
}

/// An id or a key: they stand in paths and before colons.
fn name(what: &str, text: String) -> Result<Box<str>, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain) {
        true => Ok(text.into()),
        false => Err(format!(
            "{what}: {text:?} is not allowed, allowed: letters, digits, - and _, {NAME_BYTES_MAX} at most"
        )),
    }
}

fn check_prefix(prefix: &str) -> Result<(), String> {
    let Some(last) = prefix.chars().last() else {
        return Ok(());
    };
    let problem = if !may_end_a_prefix(last) {
        "it must end with a character that no channel has, as / or :".to_owned()
    } else if prefix.len() > APP_PREFIX_BYTES_MAX {
        format!("it has at most {APP_PREFIX_BYTES_MAX} bytes")
    } else if prefix.contains('#') {
        "it must not contain #".to_owned()
    } else {
        match TopicName::new(prefix).map(|name| name.reserved()) {
            Ok(None) => return Ok(()),
            Ok(Some(reserved)) => format!("topics below {reserved}/ cannot be had by their path"),
            Err(error) => error.to_string(),
        }
    };
    Err(format!("prefix: {prefix:?} is not allowed: {problem}"))
}

impl Settings {
    /// The app whose clients connect to `/app/{key}`.
    pub fn app_by_key(&self, key: &str) -> Option<&Arc<App>> {
        self.apps.iter().find(|app| &*app.key == key)
    }

    /// The app whose servers ask `/apps/{id}`.
    pub fn app_by_id(&self, id: &str) -> Option<&Arc<App>> {
        self.apps.iter().find(|app| &*app.id == id)
    }

    /// The app that a topic is of, and its channel there. Of several prefixes the longest counts.
    pub fn app_of<'a>(&self, topic: &'a str) -> Option<(&Arc<App>, &'a str)> {
        let of = |app: &Arc<App>| Some(topic.strip_prefix(&*app.prefix)?.len());
        let found = self.apps.iter().filter_map(|app| Some((app, of(app)?)));
        let (app, len) = found.min_by_key(|(_, len)| *len)?;
        let channel = &topic[topic.len() - len..];
        // Users' channels are nobody's matter but the server's.
        check_channel(channel).ok().map(|()| (app, channel))
    }

    /// Reads the files of the apps' secrets.
    ///
    /// # Errors
    /// A sentence for each file that is not right.
    pub(super) fn read_app_secrets(&mut self) -> Result<(), ConfigError> {
        let mut faults = Vec::new();
        for app in &mut self.apps {
            let mut secrets = Vec::new();
            for path in &app.secret_files {
                match token_in(path) {
                    Ok(secret) => secrets.push(secret),
                    Err(ConfigError(more)) => faults.extend(more),
                }
            }
            *app = Arc::new(App {
                secrets: Secrets::new(secrets),
                ..App::clone(app)
            });
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(ConfigError(faults)),
        }
    }

    /// What two apps may not have in common.
    pub(super) fn app_conflicts(&self) -> Vec<Conflict> {
        let mut found = Vec::new();
        for (at, app) in self.apps.iter().enumerate() {
            for (other_at, other) in self.apps[..at].iter().enumerate() {
                let shared = [
                    ("id", &*app.id, &*other.id),
                    ("key", &*app.key, &*other.key),
                    ("prefix", &*app.prefix, &*other.prefix),
                ];
                let shared = shared.into_iter().filter(|(_, one, other)| one == other);
                found.extend(shared.map(|(what, value, _)| Conflict {
                    keys: vec!["apps"],
                    sentence: format!(
                        "apps, number {} and number {}: both have {what} {value:?}, give one another",
                        other_at + 1,
                        at + 1
                    ),
                }));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::check_file;

    /// Settings that stand in a file beside two secrets.
    fn check(text: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("secret"), "first\n").unwrap();
        fs::write(at("second"), "second\n").unwrap();
        fs::write(at("empty"), "\n").unwrap();
        let text = text.replace("FOLDER", folder.path().to_str().unwrap());
        fs::write(at("f.toml"), text).unwrap();
        check_file(&at("f.toml")).map_err(|error| error.to_string())
    }

    const APP: &str = "[[apps]]\nid = \"1\"\nkey = \"k\"\nsecret_files = \"FOLDER/secret\"\n";

    #[test]
    fn an_app_has_limits_that_its_table_may_change() {
        let standard = check(APP).unwrap();
        let app = standard.app_by_key("k").unwrap();
        assert_eq!(standard.app_by_id("1"), Some(app));
        assert!(standard.app_by_id("2").is_none() && standard.app_by_key("K").is_none());
        assert_eq!(&*app.prefix, "");
        assert_eq!(app.event_bytes_max, 10 << 10);
        assert_eq!(app.presence_user_bytes_max, 1 << 10);
        let limits = (
            app.connections_max,
            app.event_channels_max,
            app.batch_events_max,
        );
        assert_eq!(limits, (0, 100, 10));
        assert_eq!(
            (app.presence_members_max, app.client_events_per_s_max),
            (100, 10)
        );
        assert!(!app.client_events);
        let changed = check(&format!(
            "{APP}prefix = \"a/\"\nclient_events = true\nclient_events_per_s_max = 0\n\
             connections_max = 7\nevent_bytes_max = \"64KiB\"\nevent_channels_max = 1\n\
             batch_events_max = 2\npresence_members_max = 3\npresence_user_bytes_max = 4\n"
        ));
        let changed = changed.unwrap();
        let app = &changed.apps[0];
        assert_eq!((&*app.prefix, app.event_bytes_max), ("a/", 64 << 10));
        assert_eq!(app.topic_of("b"), "a/b");
        assert!(app.client_events && app.connections_max == 7);
        assert!(!changed.is_open());
    }

    #[test]
    fn a_topic_is_a_channel_of_the_app_with_the_longest_prefix() {
        let shop = "[[apps]]\nid = \"2\"\nkey = \"l\"\nsecret_files = \"FOLDER/secret\"\nprefix = \"shop/\"\n";
        let settings = check(&format!("{APP}{shop}")).unwrap();
        let of = |topic| {
            settings
                .app_of(topic)
                .map(|(app, channel)| (&*app.id, channel))
        };
        assert_eq!(of("news"), Some(("1", "news")));
        assert_eq!(of("shop/news"), Some(("2", "news")));
        for topic in ["shop/", "other/news", "shop/a/b", "#server-to-user-1", ""] {
            assert_eq!(of(topic), None, "{topic:?}");
        }
    }

    #[test]
    fn two_secrets_are_valid_and_the_first_signs() {
        let text = APP.replace(
            "\"FOLDER/secret\"",
            "[\"FOLDER/second\", \"FOLDER/secret\"]",
        );
        let both = check(&text).unwrap().apps[0].secrets.clone();
        let first = check(APP).unwrap().apps[0].secrets.clone();
        assert!(both.verify(b"a", &first.sign(b"a")) && !first.verify(b"a", &both.sign(b"a")));
    }

    #[test]
    fn another_secret_in_the_same_file_is_a_change() {
        let one = check(APP).unwrap();
        let mut other = one.clone();
        let app = App::clone(&other.apps[0]);
        let secrets = Secrets::new(["other".to_owned()]);
        other.apps = vec![Arc::new(App { secrets, ..app })];
        let (settings, changes) = one.changed_to(&other);
        assert_eq!(changes.applied, ["apps"]);
        assert_eq!(settings, other);
        assert!(!format!("{settings:?}").contains("other\""));
    }

    #[test]
    fn an_app_that_is_not_right_is_told_by_its_number() {
        for (from, to, told) in [
            ("id = \"1\"\n", "", "number 1: missing field `id`"),
            ("\"k\"", "\"a:b\"", "key: \"a:b\" is not allowed"),
            ("\"1\"", "\"\"", "id: \"\" is not allowed"),
            (
                "\"FOLDER/secret\"",
                "[]",
                "secret_files: allowed: 1 to 2 paths",
            ),
            ("FOLDER/secret", "FOLDER/none", "apps: cannot read"),
            (
                "FOLDER/secret",
                "FOLDER/empty",
                "is empty: it must hold a secret",
            ),
            ("id =", "secret = \"s\"\nid =", "unknown field `secret`"),
            (
                "id =",
                "event_bytes_max = \"1KB\"\nid =",
                "did you mean \"1KiB\"?",
            ),
            (
                "id =",
                "batch_events_max = 0\nid =",
                "batch_events_max: 0 is not allowed, allowed: 1 to 10000",
            ),
            (
                "id =",
                "prefix = \"a\"\nid =",
                "prefix: \"a\" is not allowed: it must end with",
            ),
            ("id =", "prefix = \"#/\"\nid =", "must not contain #"),
            ("id =", "prefix = \"api/\"\nid =", "topics below api/"),
            (
                "id =",
                &format!("prefix = \"{}/\"\nid =", "é".repeat(20)),
                "at most 39 bytes",
            ),
        ] {
            let refused = check(&APP.replace(from, to)).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[test]
    fn apps_have_nothing_in_common() {
        let other = "[[apps]]\nid = \"2\"\nkey = \"l\"\nsecret_files = \"FOLDER/secret\"\nprefix = \"b:\"\n";
        assert_eq!(check(&format!("{APP}{other}")).unwrap().apps.len(), 2);
        let same = check(&format!("{APP}{APP}")).unwrap_err();
        assert_eq!(same.lines().count(), 3, "{same}");
        assert!(
            same.contains("apps, number 1 and number 2: both have id \"1\""),
            "{same}"
        );
    }
}
