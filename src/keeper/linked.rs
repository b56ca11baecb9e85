//! The daemon's settings as those of the link to the NATS servers. Called by `service` at the
//! start.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::nats::{Counts, Credentials, Limits, Secret, Settings, Storage, Tls};
use crate::config::{self, ClusterStorage, ClusterTls, Keep, token_in};
use crate::hub::LinkFigures;

/// What a host without a name is called.
const NAMELESS: &str = "node";

/// What the link to the cluster's NATS servers is to know, or `None` where there is no cluster.
/// Reads the files of secrets.
///
/// # Errors
/// A sentence for the person who wrote the settings.
pub fn link_settings(settings: &config::Settings) -> Result<Option<Settings>, String> {
    if settings.cluster_nats.is_empty() {
        return Ok(None);
    }
    let identity = settings
        .cluster_cert_file
        .clone()
        .zip(settings.cluster_key_file.clone());
    let secret = settings.cluster_secret_file.as_deref().map(read);
    let link = Settings {
        credentials: credentials(settings)?,
        tls: Tls {
            required: settings.cluster_tls == ClusterTls::On,
            ca_file: settings.cluster_ca_file.clone(),
            identity,
        },
        stream: settings.cluster_stream.clone(),
        streams: settings.cluster_streams,
        prefix: settings.cluster_prefix.clone(),
        replicas: u8::try_from(settings.cluster_replicas).unwrap_or(u8::MAX),
        storage: match settings.cluster_storage {
            ClusterStorage::File => Storage::File,
            ClusterStorage::Memory => Storage::Memory,
        },
        limits: Limits {
            topic_messages: settings.cluster_topic_messages_max,
            bytes: settings.cluster_bytes_max,
            age_ms: settings.cluster_age_ms_max,
        },
        wanted: wanted(settings),
        duplicates_ms: settings.cluster_duplicates_ms,
        tail_check_ms: settings.cluster_tail_check_ms,
        answer_ms_max: settings.cluster_answer_ms_max,
        propose_ms_max: settings.cluster_propose_ms_max,
        proposed_bytes_max: settings.cluster_proposed_bytes_max,
        message_bytes_max: settings.message_bytes_max,
        node: settings.cluster_node.clone().unwrap_or_else(host),
        secret: secret.transpose()?.map(|text| Secret(text.into_bytes())),
        ..Settings::new(settings.cluster_nats.clone())
    };
    link.check().map_err(|error| error.to_string())?;
    Ok(Some(link))
}

/// Copies what the link has counted to where metrics are read from.
pub(super) fn copy_counts(counts: &Counts, figures: &LinkFigures) {
    macro_rules! copy {
        ($($name:ident),* $(,)?) => {{
            // Each of them is to be named here.
            let Counts { $($name),* } = counts;
            $(figures.$name.store(*$name, Ordering::Relaxed);)*
        }};
    }
    copy!(
        committed,
        unwanted,
        repeated,
        unreadable,
        forged,
        fetched,
        gaps,
        tail_checks,
        tail_misses,
        replica_lags,
        sent,
        stored,
        duplicates,
        retries,
        failed_away,
        failed_unknown,
        failed_overtaken,
        failed_full,
        failed_too_large,
        failed_refused,
        connects,
        disconnects,
        slow_consumers,
        leader_changes,
        epochs,
        refused_credentials,
        silences,
        nodes_lost,
        history_questions,
        topics,
        nodes,
        proposed_bytes,
    );
}

fn credentials(settings: &config::Settings) -> Result<Credentials, String> {
    if let (Some(user), Some(file)) = (&settings.cluster_user, &settings.cluster_password_file) {
        return Ok(Credentials::Password {
            user: user.clone(),
            password: read(file)?,
        });
    }
    if let Some(file) = &settings.cluster_token_file {
        return Ok(Credentials::Token(read(file)?));
    }
    if let Some(file) = &settings.cluster_credentials_file {
        return Ok(Credentials::File(file.clone()));
    }
    Ok(match &settings.cluster_nkey_file {
        Some(file) => Credentials::NkeyFile(file.clone()),
        None => Credentials::None,
    })
}

fn read(file: &Path) -> Result<String, String> {
    token_in(file).map_err(|error| error.to_string())
}

/// The most that any rule asks of the stream. How many bytes a topic may keep there no stream
/// can say.
fn wanted(settings: &config::Settings) -> Limits {
    let mut wanted = Limits::default();
    let kept = settings.policies();
    for policy in kept.filter(|policy| policy.keep == Keep::Cluster) {
        let messages = policy.retain_messages_max as u64;
        wanted.topic_messages = wanted.topic_messages.max(messages);
        wanted.age_ms = wanted.age_ms.max(policy.retain_ms_max);
    }
    wanted
}

/// What this machine is called.
pub(super) fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => NAMELESS.to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> config::Settings {
        config::Settings {
            cluster_nats: vec!["nats://127.0.0.1:4222".into()],
            ..config::Settings::default()
        }
    }

    #[test]
    fn without_servers_there_is_no_link() {
        let link = link_settings(&config::Settings::default());
        assert!(link.unwrap().is_none());
    }

    #[test]
    fn the_defaults_are_those_of_the_link() {
        let link = link_settings(&settings()).unwrap().unwrap();
        let standard = Settings {
            message_bytes_max: 1 << 20,
            node: link.node.clone(),
            ..Settings::new(link.servers.clone())
        };
        assert!(!link.node.is_empty());
        assert_eq!(format!("{link:?}"), format!("{standard:?}"));
    }

    #[test]
    fn the_stream_must_hold_what_any_rule_of_the_cluster_asks_for() {
        let rule = |words: &str| toml::from_str(&format!("match = \"a\"\n{words}")).unwrap();
        let settings = config::Settings {
            topics: vec![
                rule("keep = \"cluster\"\nretain_messages_max = 7\nretain_ms_max = 9"),
                rule("keep = \"cluster\"\nretain_messages_max = 8\nretain_ms_max = 6"),
                rule("retain_messages_max = 100"),
            ],
            ..settings()
        };
        let link = link_settings(&settings).unwrap().unwrap();
        let wanted = Limits {
            topic_messages: 8,
            bytes: 0,
            age_ms: 9,
        };
        assert_eq!(link.wanted, wanted);
    }

    #[test]
    fn what_the_link_counts_is_copied() {
        let counts = Counts {
            stored: 7,
            proposed_bytes: 8,
            ..Counts::default()
        };
        let figures = LinkFigures::default();
        copy_counts(&counts, &figures);
        assert_eq!(figures.stored.load(Ordering::Relaxed), 7);
        assert_eq!(figures.proposed_bytes.load(Ordering::Relaxed), 8);
    }

    #[test]
    fn secrets_are_the_trimmed_content_of_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs::write(&file, " hidden\n").unwrap();
        let mut settings = settings();
        settings.cluster_user = Some("fanfare".into());
        settings.cluster_password_file = Some(file.clone());
        settings.cluster_secret_file = Some(file);
        let link = link_settings(&settings).unwrap().unwrap();
        let Credentials::Password { user, password } = link.credentials else {
            panic!("not a password");
        };
        assert_eq!((user.as_str(), password.as_str()), ("fanfare", "hidden"));
        assert_eq!(link.secret, Some(Secret(b"hidden".to_vec())));
        settings.cluster_password_file = Some("/no/such/file".into());
        let told = link_settings(&settings).unwrap_err();
        assert!(told.starts_with("cannot read /no/such/file"), "{told}");
    }
}
