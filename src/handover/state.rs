//! What a daemon knows, as bytes with a version.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::SavedConn;
use crate::hub::Hub;
use crate::log::{SavedTopic, Topic};

/// Changes whenever the meaning of the bytes does. A successor refuses any
/// other; it never guesses.
pub const VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"fanfare\n";

/// Topics, and connections in the order in which their sockets follow.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    pub topics: Vec<SavedTopic>,
    pub conns: Vec<SavedConn>,
}

/// The topics of a hub by their epochs, as connections name them on their way.
pub struct Topics(HashMap<u64, Arc<Topic>>);

impl Topics {
    pub fn of_all(hub: &Hub) -> Self {
        let topics = hub.all_topics().into_iter();
        Topics(topics.map(|topic| (topic.epoch(), topic)).collect())
    }

    /// Those that a connection follows, as far as they are known.
    pub fn of(&self, conn: &SavedConn) -> Vec<Option<Arc<Topic>>> {
        let epochs = conn.topics();
        epochs.map(|epoch| self.0.get(&epoch).cloned()).collect()
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
                postcard::from_bytes(rest).map_err(|error| StateError::Damaged(error.to_string()))
            }
            other => Err(StateError::Version(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
