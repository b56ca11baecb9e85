//! What backends may ask for.

use serde::{Deserialize, Serialize};

use super::super::request::Data;

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Publish,
    Broadcast,
    History,
    HistoryRemove,
    Info,
    Channels,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Refresh,
    Presence,
    PresenceStats,
    Batch,
}

/// The names, in the order in which a call is looked for where a batch has an object
/// with several.
pub(super) const METHODS: [(&str, Method); 13] = [
    ("publish", Method::Publish),
    ("broadcast", Method::Broadcast),
    ("subscribe", Method::Subscribe),
    ("unsubscribe", Method::Unsubscribe),
    ("disconnect", Method::Disconnect),
    ("history", Method::History),
    ("history_remove", Method::HistoryRemove),
    ("presence", Method::Presence),
    ("presence_stats", Method::PresenceStats),
    ("info", Method::Info),
    ("refresh", Method::Refresh),
    ("channels", Method::Channels),
    // No call of a batch is another batch.
    ("batch", Method::Batch),
];

impl Method {
    pub fn named(name: &str) -> Option<Method> {
        let known = METHODS.iter().find(|(known, _)| *known == name);
        known.map(|(_, method)| *method)
    }

    /// As it is called in paths and batches.
    pub fn name(self) -> &'static str {
        let known = METHODS.iter().find(|(_, known)| *known == self);
        known.expect("every method is among them").0
    }
}

impl Call {
    /// How much there is in its list, where it has one.
    pub(super) fn items(&self) -> usize {
        match self {
            Call::Broadcast { channels, .. } => channels.len(),
            Call::Disconnect { whitelist, .. } => whitelist.len(),
            _ => 0,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    Publish {
        channel: String,
        post: Post,
    },
    Broadcast {
        channels: Vec<String>,
        post: Post,
    },
    History {
        channel: String,
        limit: i32,
        /// Offset and epoch.
        since: Option<(u64, String)>,
        reverse: bool,
    },
    HistoryRemove {
        channel: String,
    },
    Info,
    Channels {
        /// Empty: all.
        pattern: String,
    },
    /// Has sessions follow a channel.
    Subscribe {
        of: Sessions,
        channel: String,
        terms: Terms,
    },
    Unsubscribe {
        of: Sessions,
        channel: String,
    },
    Disconnect {
        of: Sessions,
        code: u32,
        reason: String,
        /// Sessions that stay.
        whitelist: Vec<String>,
        revoke: Revoke,
    },
    Refresh {
        of: Sessions,
        expired: bool,
        /// In seconds since 1970; 0 is never.
        expire_at: u64,
        /// JSON; empty is as before.
        info: String,
    },
    Presence {
        channel: String,
    },
    PresenceStats {
        channel: String,
    },
}

/// The sessions of a user that a call is about.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Sessions {
    /// Empty is who has no name.
    pub user: String,
    /// Of those this one alone; empty: all.
    pub client: String,
    /// What connections of other kinds are called by; empty: all.
    pub session: String,
}

/// How a subscription is to be that the server begins.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Terms {
    /// To be shown to others: JSON; empty is none.
    pub info: String,
    /// For the client.
    pub data: Data,
    /// In seconds since 1970; 0 is never.
    pub expire_at: u64,
    /// Offset and epoch.
    pub recover_since: Option<(u64, String)>,
}

/// Tokens that are not to be accepted any more.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Revoke {
    /// The one with this `jti`; empty: none.
    pub jti: String,
    /// Those of the user that were issued before this time, in seconds since 1970; 0: none.
    pub not_before: u64,
    /// The latest `exp` of them, likewise; 0 is not known.
    pub expire_at: u64,
}

/// A message to be published.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Post {
    pub data: Data,
    /// A JSON object whose values are strings, or empty.
    pub tags: String,
    pub skip_history: bool,
    /// Names it among those of its channel; empty is none.
    pub idempotency_key: String,
}
