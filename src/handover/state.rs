//! What a daemon knows, as bytes with a version.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::core::{Frames, SavedConn};
use crate::hub::{Hub, SavedHooks, SavedReceipt};
use crate::log::{SavedTopic, Topic};
use crate::protocol::rights::Revocation;

/// Changes whenever the meaning of the bytes does. A successor refuses any
/// other; it never guesses.
pub const VERSION: u32 = 13;

const MAGIC: &[u8; 8] = b"fanfare\n";

/// Topics, and connections in the order in which their sockets follow.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// Inode numbers of the files with the memory of the logs, in their order.
    pub logs: Vec<u64>,
    /// Tokens that are not accepted any more.
    pub revocations: Vec<Revocation>,
    /// Answers for requests that may be sent again.
    pub receipts: Vec<SavedReceipt>,
    pub topics: Vec<SavedTopic>,
    /// What tells who comes to topics and goes.
    pub companions: Vec<SavedTopic>,
    /// Bytes that many connections are sent.
    pub frames: Vec<Bytes>,
    pub conns: Vec<SavedConn>,
    /// What the servers of apps have not been told.
    pub hooks: SavedHooks,
}

/// The topics of a hub by what distinguishes them, as connections name them on their way.
pub struct Topics(HashMap<u64, Arc<Topic>>);

impl Topics {
    pub fn of_all(hub: &Hub) -> Self {
        let topics = hub.all_topics().into_iter().chain(hub.all_companions());
        Topics(topics.map(|topic| (topic.id(), topic)).collect())
    }

    /// Those that a connection follows, as far as they are known.
    pub fn of(&self, conn: &SavedConn) -> Vec<Option<Arc<Topic>>> {
        let ids = conn.topics();
        ids.map(|id| self.0.get(&id).cloned()).collect()
    }
}

/// Why state cannot be taken over.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("what was handed over is not the state of a fanfare")]
    Foreign,
    #[error("the state has version {0}, this fanfare understands {VERSION}")]
    Version(u32),
    #[error("the state is damaged: {0}")]
    Damaged(String),
}

impl State {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        postcard::to_extend(self, bytes).expect("memory takes all bytes")
    }

    /// # Errors
    /// See [`StateError`].
    pub fn decode(bytes: &[u8]) -> Result<State, StateError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(StateError::Foreign)?;
        let (version, rest) = rest.split_first_chunk().ok_or(StateError::Foreign)?;
        match u32::from_le_bytes(*version) {
            VERSION => {
                let state = postcard::from_bytes::<State>(rest);
                let state = state.map_err(|error| StateError::Damaged(error.to_string()))?;
                state.scatter()
            }
            other => Err(StateError::Version(other)),
        }
    }
}

impl State {
    /// Puts back into connections what many are sent.
    fn scatter(mut self) -> Result<State, StateError> {
        let frames = std::mem::take(&mut self.frames);
        for conn in &mut self.conns {
            let scattered = Frames::scatter(&frames, conn);
            scattered.ok_or_else(|| StateError::Damaged("a frame is missing".into()))?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::path::Path;

    use super::*;
    use crate::hub::codec::Codec;
    use crate::log::{Arenas, Bounds, Draft, Retention};
    use crate::protocol::encoding::{Extras, Format, Plain};
    use crate::protocol::rights::Whose;

    /// A state with something of everything.
    fn sample() -> State {
        let topic = Topic::new("t".into(), 7, 1, Arenas::new());
        let reader = topic.attach(Format::Deflated(Plain::Raw, 12));
        let retention = Retention {
            messages_max: 10,
            bytes_max: 1 << 20,
            age_ms_max: 1 << 20,
            bounds: Bounds {
                log_bytes_max: 1 << 20,
                log_bytes_total_max: 1 << 20,
            },
        };
        for number in 0..3 {
            let draft = Draft {
                text: true,
                len: 300,
                now_ms: 1_000 + number,
                offset: None,
                extras: (number == 1).then_some(Extras {
                    event: Some("e"),
                    ..Extras::default()
                }),
            };
            let published =
                topic.publish(&draft, &retention, &mut Codec::default().plain(), |room| {
                    room.fill(b'x');
                    Ok::<_, Infallible>(())
                });
            assert!(published.is_ok());
        }
        drop(reader);
        let companion = Topic::new("t".into(), 8, 1, Arenas::new());
        State {
            logs: vec![11, 12],
            revocations: vec![
                Revocation {
                    whose: Whose::Id("j".into()),
                    until_s: Some(13),
                },
                Revocation {
                    whose: Whose::User {
                        user: "u".into(),
                        not_before_s: 14,
                    },
                    until_s: None,
                },
            ],
            receipts: vec![SavedReceipt::sample()],
            topics: vec![topic.save()],
            companions: vec![companion.save()],
            frames: vec![Bytes::from_static(b"many")],
            conns: vec![SavedConn::sample()],
            hooks: SavedHooks::sample(),
        }
    }

    /// With `FANFARE_BLESS` set the file of a new version is written.
    #[test]
    fn the_bytes_of_a_version_never_change() {
        let name = format!("tests/golden/state-{VERSION}.hex");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        let bytes = sample().encode();
        let lines = bytes.chunks(32).map(|line| {
            let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
            hex + "\n"
        });
        let hex: String = lines.collect();
        if std::env::var_os("FANFARE_BLESS").is_some() && !path.exists() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(&path, &hex).expect("the file is written");
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            golden == hex,
            "the state is written otherwise than in {name}: raise VERSION, and run this test once \
             with FANFARE_BLESS=1"
        );
        assert!(State::decode(&bytes).is_ok());
    }

    #[test]
    fn another_version_is_refused_not_guessed() {
        let mut bytes = State::default().encode();
        assert!(State::decode(&bytes).is_ok());
        bytes[8] += 1;
        let error = State::decode(&bytes).unwrap_err();
        assert_eq!(error, StateError::Version(VERSION + 1));
        assert_eq!(
            State::decode(b"#!/bin/sh").unwrap_err(),
            StateError::Foreign
        );
        let cut = &State::default().encode()[..12];
        assert!(matches!(State::decode(cut), Err(StateError::Damaged(_))));
    }
}
