//! What nodes tell each other: who is there, who is on which topic, and calls.
//!
//! Each node says once a second that it is there, with a random *incarnation* and the number
//! of changes it has told. It tells each change once, numbered; who finds that it lacks one
//! asks for the whole. A node that is silent for [`SILENCE_MS_MAX`] is forgotten with all
//! that it told. Messages are JSON; what a reader does not know in them is left out, so
//! that nodes of two versions understand each other.
//!
//! Pure: time is an argument. `calls` sends and receives.

use std::collections::{BTreeMap, HashMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How often a node says that it is there.
pub(super) const HELLO_MS: u64 = 1000;
/// Silence after which a node is forgotten.
pub(super) const SILENCE_MS_MAX: u64 = 3000;
/// How long the whole is awaited before it is asked for again.
const WHOLE_MS_MAX: u64 = 2000;
/// Changes that wait to be told, as they do while there is no connection. Beyond, none of them
/// is told: the others find that they lack some, and ask for the whole.
const UNTOLD_MAX: usize = 4096;
/// Entries of one message, and about how many bytes they may have.
const ENTRIES_MAX: usize = 500;
const ENTRY_BYTES_MAX: usize = 128 << 10;

/// News of the other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Joined {
        node: u64,
        name: String,
    },
    /// An entry that a node told with [`present`](super::Link::present), or that is gone.
    Entry {
        node: u64,
        topic: String,
        key: String,
        value: Option<Bytes>,
    },
    /// A node stopped or vanished, and all its entries with it.
    Left {
        node: u64,
        name: String,
    },
}

/// A question of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub from: String,
    /// What the caller's own kinds of calls are numbered by.
    pub kind: u16,
    pub bytes: Bytes,
    pub(super) answer_to: String,
}

/// A node's answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub node: u64,
    pub name: String,
    pub bytes: Bytes,
}

/// All that is told on the nodes' subjects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) incarnation: u64,
    #[serde(default)]
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum What {
    Hello {
        changes: u64,
    },
    /// Entries with the numbers from `first` on.
    Changes {
        first: u64,
        entries: Vec<Entry>,
    },
    /// Asks for the whole.
    Ask,
    /// A part of everything up to the change with this number.
    Whole {
        changes: u64,
        entries: Vec<Entry>,
        is_last: bool,
    },
    Call {
        kind: u16,
        bytes: Base64,
    },
    Answer {
        bytes: Base64,
    },
    Bye,
    /// Something that a later version tells.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    topic: String,
    key: String,
    value: Option<Base64>,
}

/// Bytes as text in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base64(pub(super) Bytes);

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(Base64(bytes.into()))
    }
}

/// Entries by topic and key.
type Entries = BTreeMap<(String, String), Bytes>;

/// What this node tells, and what it knows of the others.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    own: Entries,
    /// The number of the last change that was told.
    changes: u64,
    untold: VecDeque<Entry>,
    peers: HashMap<u64, Peer>,
}

#[derive(Debug)]
struct Peer {
    name: String,
    heard_ms: u64,
    entries: Entries,
    /// The number of the last change that is in `entries`; `None` before the first whole.
    changes: Option<u64>,
    /// The parts of the whole that came so far.
    parts: Entries,
    asked_ms: Option<u64>,
}

impl Nodes {
    pub(super) fn present(&mut self, topic: &str, key: String, value: Option<Bytes>) {
        let place = (topic.to_owned(), key);
        let was = match &value {
            Some(value) => self.own.insert(place.clone(), value.clone()),
            None => self.own.remove(&place),
        };
        if was != value {
            let (topic, key) = place;
            let value = value.map(Base64);
            self.untold.push_back(Entry { topic, key, value });
        }
        if self.untold.len() > UNTOLD_MAX {
            self.changes += self.untold.len() as u64;
            self.untold = VecDeque::new();
        }
    }

    /// Changes that are to be told to all.
    pub(super) fn poll_changes(&mut self) -> Option<What> {
        let entries = take_some(&mut self.untold)?;
        let first = self.changes + 1;
        self.changes += entries.len() as u64;
        Some(What::Changes { first, entries })
    }

    pub(super) fn hello(&self) -> What {
        let changes = self.changes;
        What::Hello { changes }
    }

    /// Everything, for a node that asks. All changes have been told before.
    pub(super) fn whole(&self) -> Vec<What> {
        assert!(self.untold.is_empty());
        let entry = |((topic, key), value): (&(String, String), &Bytes)| Entry {
            topic: topic.clone(),
            key: key.clone(),
            value: Some(Base64(value.clone())),
        };
        let mut left: VecDeque<Entry> = self.own.iter().map(entry).collect();
        let mut parts = Vec::new();
        loop {
            let entries = take_some(&mut left).unwrap_or_default();
            let is_last = left.is_empty();
            parts.push(What::Whole {
                changes: self.changes,
                entries,
                is_last,
            });
            if is_last {
                return parts;
            }
        }
    }

    /// Names of those that a call's answers are awaited from.
    pub(super) fn present_nodes(&self) -> HashMap<u64, String> {
        let named = self.peers.iter();
        named
            .map(|(node, peer)| (*node, peer.name.clone()))
            .collect()
    }

    /// What another node told of itself. Returns whether it is to be asked for the whole.
    pub(super) fn handle_told(&mut self, now_ms: u64, told: &Told, news: &mut Vec<News>) -> bool {
        let node = told.incarnation;
        if told.what == What::Bye {
            self.forget(node, news);
            return false;
        }
        // A node is known from its first greeting on: what else it says may be late.
        if !self.peers.contains_key(&node) && !matches!(told.what, What::Hello { .. }) {
            return false;
        }
        let peer = self.peers.entry(node).or_insert_with(|| {
            let name = told.name.clone();
            news.push(News::Joined { node, name });
            Peer::new(told.name.clone())
        });
        peer.heard_ms = now_ms;
        let lacks = match &told.what {
            What::Hello { changes } => peer.changes.is_none_or(|known| known < *changes),
            What::Changes { first, entries } => !peer.handle_changes(node, *first, entries, news),
            What::Whole {
                changes,
                entries,
                is_last,
            } => {
                peer.handle_whole(node, *changes, entries, *is_last, news);
                false
            }
            _ => false,
        };
        let may_ask = peer
            .asked_ms
            .is_none_or(|asked| now_ms >= asked + WHOLE_MS_MAX);
        if lacks && may_ask {
            peer.asked_ms = Some(now_ms);
            peer.parts.clear();
        }
        lacks && may_ask
    }

    /// Forgets those that are silent. Returns how many.
    pub(super) fn handle_timeout(&mut self, now_ms: u64, news: &mut Vec<News>) -> usize {
        let is_silent = |peer: &Peer| now_ms >= peer.heard_ms + SILENCE_MS_MAX;
        let peers = self.peers.iter();
        let silent: Vec<u64> = peers
            .filter(|(_, peer)| is_silent(peer))
            .map(|(node, _)| *node)
            .collect();
        for node in &silent {
            self.forget(*node, news);
        }
        silent.len()
    }

    fn forget(&mut self, node: u64, news: &mut Vec<News>) {
        if let Some(peer) = self.peers.remove(&node) {
            let name = peer.name;
            news.push(News::Left { node, name });
        }
    }
}

impl Peer {
    fn new(name: String) -> Self {
        Peer {
            name,
            heard_ms: 0,
            entries: Entries::new(),
            changes: None,
            parts: Entries::new(),
            asked_ms: None,
        }
    }

    /// Returns whether nothing is missing before them.
    fn handle_changes(
        &mut self,
        node: u64,
        first: u64,
        entries: &[Entry],
        news: &mut Vec<News>,
    ) -> bool {
        let Some(known) = self.changes else {
            return false;
        };
        if first > known + 1 {
            return false;
        }
        // Those that the whole held already are left out.
        let skipped = (known + 1 - first) as usize;
        for entry in entries.iter().skip(skipped) {
            self.changes = self.changes.map(|known| known + 1);
            let place = (entry.topic.clone(), entry.key.clone());
            let value = entry.value.as_ref().map(|value| value.0.clone());
            match &value {
                Some(value) => self.entries.insert(place, value.clone()),
                None => self.entries.remove(&place),
            };
            news.push(told(node, (&entry.topic, &entry.key), value));
        }
        true
    }

    fn handle_whole(
        &mut self,
        node: u64,
        changes: u64,
        entries: &[Entry],
        is_last: bool,
        news: &mut Vec<News>,
    ) {
        for Entry { topic, key, value } in entries {
            if let Some(Base64(value)) = value {
                let place = (topic.clone(), key.clone());
                self.parts.insert(place, value.clone());
            }
        }
        if !is_last {
            return;
        }
        self.asked_ms = None;
        let parts = std::mem::take(&mut self.parts);
        if self.changes.is_some_and(|known| known > changes) {
            return;
        }
        let was = std::mem::replace(&mut self.entries, parts);
        for ((topic, key), _) in was
            .iter()
            .filter(|(place, _)| !self.entries.contains_key(place))
        {
            news.push(told(node, (topic, key), None));
        }
        for (place, value) in &self.entries {
            if was.get(place) != Some(value) {
                news.push(told(node, (&place.0, &place.1), Some(value.clone())));
            }
        }
        self.changes = Some(changes);
    }
}

fn told(node: u64, (topic, key): (&String, &String), value: Option<Bytes>) -> News {
    let (topic, key) = (topic.clone(), key.clone());
    News::Entry {
        node,
        topic,
        key,
        value,
    }
}

/// As many entries as one message may have; `None` if there are none.
fn take_some(entries: &mut VecDeque<Entry>) -> Option<Vec<Entry>> {
    let mut bytes = 0;
    let mut count = 0;
    for entry in entries.iter().take(ENTRIES_MAX) {
        let value = entry.value.as_ref().map_or(0, |value| value.0.len());
        bytes += entry.topic.len() + entry.key.len() + value;
        if count > 0 && bytes > ENTRY_BYTES_MAX {
            break;
        }
        count += 1;
    }
    (count > 0).then(|| entries.drain(..count).collect())
}

#[cfg(test)]
mod tests;
