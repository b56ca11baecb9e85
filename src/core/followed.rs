//! What a core knows of messages that are followed to their subscribers. Kept by the reactor,
//! looked at by `delivering`.

use std::sync::Arc;
use std::time::Instant;

use foldhash::HashSet;

use super::subs::SubId;
use crate::hub::Delivery;

/// The messages that a core follows.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) all: Vec<Followers>,
    /// No look is taken before.
    pub(super) due: Option<Instant>,
    /// One that was due has not been taken.
    pub(super) owed: bool,
}

pub(super) struct Followers {
    pub(super) delivery: Arc<Delivery>,
    /// Those who have not had the message written.
    pub(super) left: HashSet<SubId>,
}

impl Followed {
    /// A look is to be taken soon, though nothing may happen until then.
    pub(super) fn is_owed(&self) -> bool {
        self.owed
    }
}
