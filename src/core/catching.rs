//! What a core knows of subscriptions that are sent stored history. Kept by the reactor,
//! looked at by `catching_up`.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::subs::SubId;

/// The subscriptions of a core that are sent stored history.
#[derive(Default)]
pub(super) struct Catching {
    /// What each wants next.
    pub(super) wanted: HashMap<SubId, Wanted>,
    pub(super) own: HashMap<SubId, Own>,
    /// Those for whom nothing is being read, in turn.
    pub(super) due: VecDeque<SubId>,
    /// For whom something is being read, by numbers.
    pub(super) asked: HashMap<u64, SubId>,
    pub(super) number: u64,
    /// Somebody has to ask again, though nothing may happen until then.
    pub(super) waits: bool,
}

impl Catching {
    /// Somebody has to ask again soon.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// A subscription wants this offset next.
    pub(super) fn want(&mut self, id: SubId, since: u64) -> &mut Wanted {
        let wanted = self.wanted.get_mut(&id).expect("it catches up");
        wanted.since = since;
        wanted
    }
}

/// What a subscription wants next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) since: u64,
    /// Memory has no room to write it in another form: it has to come from the store, and
    /// to get there before.
    pub(super) from_store: bool,
}

/// Offsets of a subscription's own messages that it is not to hear, oldest first.
pub(super) type Own = Vec<Range<u64>>;
