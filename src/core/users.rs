//! The connections of a core by their user: those of sessions that have said who they are,
//! and of others that have come with a token. And what has been ordered to be done with them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::hub::Ordered;

/// A core's connections by user, then by slot. Sorted, so that who has many of them costs no
/// more for each.
#[derive(Debug, Default)]
pub(super) struct Users {
    named: BTreeSet<(Arc<str>, u32)>,
    /// Those of the one without a name: where nobody has to say who they are, that is everybody.
    nameless: BTreeSet<u32>,
}

impl Users {
    pub(super) fn insert(&mut self, user: &str, slot: u32) -> bool {
        match user {
            "" => self.nameless.insert(slot),
            user => self.named.insert((user.into(), slot)),
        }
    }

    pub(super) fn remove(&mut self, user: &str, slot: u32) -> bool {
        match user {
            "" => self.nameless.remove(&slot),
            user => self.named.remove(&(user.into(), slot)),
        }
    }

    /// The slots of a user's connections.
    pub(super) fn of(&self, user: &str) -> Vec<u32> {
        if user.is_empty() {
            return self.nameless.iter().copied().collect();
        }
        let (first, last) = ((user.into(), 0), (user.into(), u32::MAX));
        let of_user = self.named.range(first..=last);
        of_user.map(|(_, slot)| *slot).collect()
    }

    /// All slots in it.
    pub(super) fn all(&self) -> Vec<u32> {
        let named = self.named.iter().map(|(_, slot)| *slot);
        named.chain(self.nameless.iter().copied()).collect()
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
