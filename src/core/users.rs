//! The connections of a core by their user: those of sessions that have said who they are,
//! and of others that have come with a token. And what has been ordered to be done with them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::hub::Ordered;

/// A core's connections by user, then by slot. Sorted, so that who has many of them, as the
/// nameless one, costs no more for each.
#[derive(Debug, Default)]
pub(super) struct Users(BTreeSet<(Arc<str>, u32)>);

impl Users {
    pub(super) fn insert(&mut self, user: &str, slot: u32) -> bool {
        self.0.insert((user.into(), slot))
    }

    pub(super) fn remove(&mut self, user: &str, slot: u32) -> bool {
        self.0.remove(&(user.into(), slot))
    }

    /// The slots of a user's connections.
    pub(super) fn of(&self, user: &str) -> Vec<u32> {
        let (first, last) = ((user.into(), 0), (user.into(), u32::MAX));
        self.0.range(first..=last).map(|(_, slot)| *slot).collect()
    }

    /// All slots in it.
    pub(super) fn all(&self) -> Vec<u32> {
        self.0.iter().map(|(_, slot)| *slot).collect()
    }
}

/// An order that is being carried out.
pub(super) struct Underway {
    pub(super) ordered: Ordered,
    /// The connections that it may be about and that have not been looked at.
    pub(super) slots: VecDeque<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_connections_are_found_and_nobody_elses() {
        let mut users = Users::default();
        for (user, slot) in [("b", 3), ("a", 1), ("b", 2), ("", 4), ("bb", 5)] {
            assert!(users.insert(user, slot));
        }
        assert!(!users.insert("b", 3));
        assert_eq!(users.of("b"), [2, 3]);
        assert_eq!(users.of(""), [4]);
        assert!(users.of("c").is_empty());
        assert!(users.remove("b", 2) && !users.remove("b", 2));
        assert_eq!(users.of("b"), [3]);
        assert_eq!(users.all().len(), 4);
    }
}
