//! The stream that keeps the messages: what is made, and whether one that is there will do.
//!
//! A full stream refuses what is published (`discard: new`) rather than drop the oldest
//! messages of whichever topic: what was acknowledged is kept as long as its own topic's
//! limits say. A topic's own limits drop its oldest messages all the same.
//!
//! The stream's metadata holds the *epoch*, which names the history; how many streams the
//! topics are divided into; and the key that proves a node's words where no secret is set.
//! Pure. Called by `streams`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::settings::{Limits, Settings, Storage};
use super::subject::Subjects;

const EPOCH: &str = "fanfare-epoch";
const FORMAT: &str = "fanfare-format";
const STREAMS: &str = "fanfare-streams";
const KEY: &str = "fanfare-key";

/// Format of subjects, headers and metadata.
const FORMAT_NOW: &str = "1";
const NS_PER_MS: u64 = 1_000_000;

/// Why a stream cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    #[error(
        "stream {stream} has the subjects {found:?}, not {wanted:?}: name another stream or another subject prefix"
    )]
    Subjects {
        stream: String,
        found: Vec<String>,
        wanted: String,
    },
    #[error(
        "stream {stream} does not republish {source_subject} to {destination}: nodes would hear nothing"
    )]
    Republish {
        stream: String,
        source_subject: String,
        destination: String,
    },
    #[error("stream {stream} does not allow direct gets: set allow_direct")]
    Direct { stream: String },
    #[error(
        "stream {stream} allows rollups, by which one message may delete all others: clear allow_rollup_hdrs"
    )]
    Rollup { stream: String },
    #[error("stream {stream} republishes headers only: nodes would hear no payloads")]
    HeadersOnly { stream: String },
    #[error(
        "stream {stream} knows duplicates for {found_ms} ms, not for the {wanted_ms} ms that the settings ask for"
    )]
    Duplicates {
        stream: String,
        found_ms: u64,
        wanted_ms: u64,
    },
    #[error("stream {stream} keeps {found} {what}, and a topic's rule asks for {wanted}")]
    Limit {
        stream: String,
        what: &'static str,
        found: u64,
        wanted: u64,
    },
    #[error("stream {stream} has the retention {found:?}: limits is the one that keeps a history")]
    Retention { stream: String, found: String },
    #[error(
        "stream {stream} is one of {found}, but the settings say {wanted}: their number is fixed for a cluster's life"
    )]
    Streams {
        stream: String,
        found: String,
        wanted: u16,
    },
    #[error("stream {stream} was written in format {found}, and this version knows {FORMAT_NOW}")]
    Format { stream: String, found: String },
    #[error(
        "messages of {wanted} bytes with their headers are wanted, and the NATS server takes {found}: raise its max_payload"
    )]
    Payload { found: usize, wanted: usize },
    #[error("stream {stream}: the NATS server says: {words}")]
    Server { stream: String, words: String },
}

/// What `STREAM.INFO`, `CREATE` and `UPDATE` answer with, as far as it matters.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Info {
    #[serde(default)]
    pub(super) config: Value,
    #[serde(default)]
    pub(super) state: State,
    #[serde(default)]
    pub(super) created: String,
    #[serde(default)]
    pub(super) cluster: Cluster,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct State {
    #[serde(default)]
    pub(super) first_seq: u64,
    #[serde(default)]
    pub(super) last_seq: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Cluster {
    #[serde(default)]
    pub(super) leader: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    subjects: Vec<String>,
    retention: String,
    max_msgs: i64,
    max_bytes: i64,
    max_age: u64,
    max_msgs_per_subject: i64,
    duplicate_window: u64,
    allow_direct: bool,
    allow_rollup_hdrs: bool,
    republish: Option<Republish>,
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Republish {
    #[serde(default)]
    src: String,
    dest: String,
    #[serde(default)]
    headers_only: bool,
}

/// A stream that will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// `None` if its metadata names none: it is to be updated.
    pub(super) epoch: Option<u64>,
    pub(super) key: Option<String>,
}

/// The configuration of a stream that is made.
pub(super) fn wanted(settings: &Settings, stream: u16, epoch: u64, key: &str) -> Value {
    let subjects = Subjects::new(&settings.prefix, settings.streams);
    let source = subjects.source(stream);
    let limits = settings.limits;
    let or_none = |limit: u64| match limit {
        0 => -1,
        limit => i64::try_from(limit).unwrap_or(i64::MAX),
    };
    // NATS refuses a window for duplicates that is longer than messages are kept.
    let age_ms = match limits.age_ms {
        0 => 0,
        age_ms => age_ms.max(settings.duplicates_ms),
    };
    json!({
        "name": settings.stream_name(stream),
        "description": "messages of Fanfare's topics",
        "subjects": [source],
        "retention": "limits",
        "discard": "new",
        "storage": match settings.storage { Storage::File => "file", Storage::Memory => "memory" },
        "num_replicas": settings.replicas,
        "max_msgs_per_subject": or_none(limits.topic_messages),
        "max_bytes": or_none(limits.bytes),
        "max_age": age_ms.saturating_mul(NS_PER_MS),
        "duplicate_window": settings.duplicates_ms.saturating_mul(NS_PER_MS),
        "allow_direct": true,
        "allow_rollup_hdrs": false,
        "deny_delete": true,
        "republish": { "src": source, "dest": subjects.destination() },
        "metadata": {
            EPOCH: spell_epoch(epoch),
            FORMAT: FORMAT_NOW,
            STREAMS: settings.streams.to_string(),
            KEY: key,
        },
    })
}

/// The configuration of a stream that is there, under a new epoch, and with what else the
/// metadata lacks.
pub(super) fn renewed(settings: &Settings, config: &Value, epoch: u64, key: &str) -> Value {
    let mut config = config.clone();
    if !config["metadata"].is_object() {
        config["metadata"] = json!({});
    }
    let metadata = &mut config["metadata"];
    metadata[EPOCH] = spell_epoch(epoch).into();
    let others = [
        (FORMAT, FORMAT_NOW.to_owned()),
        (STREAMS, settings.streams.to_string()),
        (KEY, key.to_owned()),
    ];
    for (name, value) in others {
        if metadata[name].as_str().is_none_or(str::is_empty) {
            metadata[name] = value.into();
        }
    }
    config
}

/// Whether a stream that is there will do.
pub(super) fn judge(
    settings: &Settings,
    stream: u16,
    config: &Value,
) -> Result<Found, StreamFault> {
    let name = || settings.stream_name(stream);
    let subjects = Subjects::new(&settings.prefix, settings.streams);
    let (source, destination) = (subjects.source(stream), subjects.destination());
    let config: Config =
        serde_json::from_value(config.clone()).map_err(|error| StreamFault::Server {
            stream: name(),
            words: format!("a configuration that cannot be read: {error}"),
        })?;
    if config.subjects != [source.as_str()] {
        return Err(StreamFault::Subjects {
            stream: name(),
            found: config.subjects,
            wanted: source,
        });
    }
    let republish = config
        .republish
        .as_ref()
        .filter(|it| it.dest == destination);
    // A source that is left out stands for all subjects.
    match republish.filter(|it| ["", ">", source.as_str()].contains(&it.src.as_str())) {
        None => {
            return Err(StreamFault::Republish {
                stream: name(),
                source_subject: source,
                destination,
            });
        }
        Some(it) if it.headers_only => return Err(StreamFault::HeadersOnly { stream: name() }),
        Some(_) => {}
    }
    if !config.allow_direct {
        return Err(StreamFault::Direct { stream: name() });
    }
    if config.allow_rollup_hdrs {
        return Err(StreamFault::Rollup { stream: name() });
    }
    if !["", "limits"].contains(&config.retention.as_str()) {
        return Err(StreamFault::Retention {
            stream: name(),
            found: config.retention,
        });
    }
    let window_ms = config.duplicate_window / NS_PER_MS;
    if window_ms < settings.duplicates_ms {
        return Err(StreamFault::Duplicates {
            stream: name(),
            found_ms: window_ms,
            wanted_ms: settings.duplicates_ms,
        });
    }
    check_limits(&config, settings.wanted, name)?;
    let said = |key: &str| config.metadata.get(key).filter(|value| !value.is_empty());
    let (format, streams) = (said(FORMAT).cloned(), said(STREAMS).cloned());
    if let Some(found) = format.filter(|format| format != FORMAT_NOW) {
        return Err(StreamFault::Format {
            stream: name(),
            found,
        });
    }
    if let Some(found) = streams.filter(|streams| *streams != settings.streams.to_string()) {
        return Err(StreamFault::Streams {
            stream: name(),
            found,
            wanted: settings.streams,
        });
    }
    Ok(Found {
        epoch: said(EPOCH).and_then(|text| u64::from_str_radix(text, 16).ok()),
        key: said(KEY).cloned(),
    })
}

fn check_limits(
    config: &Config,
    wanted: Limits,
    name: impl Fn() -> String,
) -> Result<(), StreamFault> {
    let limit = |limit: i64| u64::try_from(limit).unwrap_or(0);
    let compared = [
        (
            "messages of a topic",
            limit(config.max_msgs_per_subject),
            wanted.topic_messages,
        ),
        (
            "messages in all",
            limit(config.max_msgs),
            wanted.topic_messages,
        ),
        ("bytes", limit(config.max_bytes), wanted.bytes),
        ("ms", config.max_age / NS_PER_MS, wanted.age_ms),
    ];
    for (what, found, wanted) in compared {
        if found > 0 && found < wanted {
            return Err(StreamFault::Limit {
                stream: name(),
                what,
                found,
                wanted,
            });
        }
    }
    Ok(())
}

fn spell_epoch(epoch: u64) -> String {
    format!("{epoch:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let mut settings = Settings::new(vec!["nats://127.0.0.1".into()]);
        settings.wanted = Limits {
            topic_messages: 1000,
            bytes: 0,
            age_ms: 60_000,
        };
        settings
    }

    fn made() -> Value {
        wanted(&settings(), 0, 7, "key")
    }

    #[test]
    fn what_is_made_will_do() {
        let found = Found {
            epoch: Some(7),
            key: Some("key".into()),
        };
        assert_eq!(judge(&settings(), 0, &made()), Ok(found));
    }

    #[test]
    fn a_stream_without_an_epoch_gets_one_and_keeps_the_rest() {
        let mut config = made();
        config["metadata"] = json!({ "mine": "too" });
        config["max_consumers"] = json!(-1);
        assert_eq!(judge(&settings(), 0, &config).unwrap().epoch, None);
        let renewed = renewed(&settings(), &config, 9, "new");
        assert_eq!(judge(&settings(), 0, &renewed).unwrap().epoch, Some(9));
        assert_eq!(renewed["metadata"]["mine"], "too");
        assert_eq!(renewed["max_consumers"], -1);
        let again = super::renewed(&settings(), &renewed, 10, "other");
        assert_eq!(again["metadata"][KEY], "new");
    }

    #[test]
    fn what_will_not_do_is_named() {
        let refused = |path: &str, value: Value| {
            let mut config = made();
            *config.pointer_mut(path).expect("it is there") = value;
            judge(&settings(), 0, &config).unwrap_err()
        };
        use StreamFault as F;
        assert!(matches!(
            refused("/subjects", json!(["other"])),
            F::Subjects { .. }
        ));
        assert!(matches!(
            refused("/republish", Value::Null),
            F::Republish { .. }
        ));
        assert!(matches!(
            refused("/republish/dest", json!("a.>")),
            F::Republish { .. }
        ));
        assert!(matches!(
            refused("/allow_rollup_hdrs", json!(true)),
            F::Rollup { .. }
        ));
        assert!(matches!(
            refused("/allow_direct", json!(false)),
            F::Direct { .. }
        ));
        assert!(matches!(
            refused("/retention", json!("workqueue")),
            F::Retention { .. }
        ));
        let window = refused("/duplicate_window", json!(120_000_000_000_u64));
        assert!(window.to_string().contains("120000 ms"), "{window}");
        let few = refused("/max_msgs_per_subject", json!(999));
        assert!(few.to_string().contains("999 messages of a topic"), "{few}");
        assert!(matches!(
            refused("/max_age", json!(1_000_000)),
            F::Limit { .. }
        ));
        assert!(matches!(
            refused("/metadata/fanfare-streams", json!("4")),
            F::Streams { .. }
        ));
        assert!(matches!(
            refused("/metadata/fanfare-format", json!("2")),
            F::Format { .. }
        ));
    }
}
