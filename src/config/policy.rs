//! What holds for one topic, and what an app's channel implies for its own.

use super::{Keep, LagPolicy};
use crate::protocol::pusher::{Access, ChannelKind};

/// How long the newest message of a cache channel is kept, where no rule says it.
const CACHE_MS: u64 = 30 * 60 * 1000;

/// What holds for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub retain_messages_max: usize,
    pub retain_bytes_max: usize,
    pub retain_ms_max: u64,
    /// What keeps its messages.
    pub keep: Keep,
    pub lag_policy: LagPolicy,
    /// Its subscribers are sent what is new at most this often.
    pub pace_ms: u64,
    /// Newcomers get the newest message at once.
    pub latest: bool,
    /// It is known, and may be asked, who follows it.
    pub presence_list: bool,
    pub joins: Joins,
    /// permessage-deflate may be agreed on.
    pub deflate: bool,
    /// People may talk there, line by line.
    pub chat: bool,
    /// The built-in page may open it.
    pub page: bool,
}

/// Who is told who comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joins {
    Nobody,
    /// Who asks for it and may see who is there.
    WhoAsks,
    Everybody,
}

impl Joins {
    /// For people.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Joins::Nobody => "false",
            Joins::WhoAsks => "who asks for them and may see presence",
            Joins::Everybody => "true",
        }
    }
}

/// What the name of an app's channel implies for its topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Implied {
    /// It is known who is there, and told who asks: without that it would be no such channel.
    pub(super) presence: bool,
    /// The newest message is kept for newcomers, where no rule says otherwise.
    pub(super) cache: bool,
}

impl Implied {
    /// Every one, at its number.
    pub const ALL: [Implied; 4] = [
        Implied::new(false, false),
        Implied::new(true, false),
        Implied::new(false, true),
        Implied::new(true, true),
    ];

    const fn new(presence: bool, cache: bool) -> Self {
        Implied { presence, cache }
    }

    /// For the topic of such a channel, or of none.
    pub fn by(kind: Option<ChannelKind>) -> Self {
        kind.map_or(Implied::default(), |kind| {
            Implied::new(kind.access == Access::Presence, kind.is_cache)
        })
    }

    pub fn number(self) -> u32 {
        u32::from(self.presence) + 2 * u32::from(self.cache)
    }

    /// For how long a message is kept at least, where no rule says it; `cluster_age_ms_max` is
    /// the cluster's own limit, if that is not 0.
    pub(super) fn retain_ms(self, keep: Keep, cluster_age_ms_max: u64) -> u64 {
        match (self.cache, keep, cluster_age_ms_max) {
            (false, ..) => 0,
            // The stream keeps nothing for longer.
            (true, Keep::Cluster, age_ms_max) if age_ms_max != 0 => CACHE_MS.min(age_ms_max),
            (true, ..) => CACHE_MS,
        }
    }
}
