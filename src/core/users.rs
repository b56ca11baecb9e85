//! The connections of a core by their user: those of sessions that have said who they are,
//! and of others that have come with a token.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::reactor::State;

/// A core's connections by user, then by slot. Sorted, so that who has many of them, as the
/// nameless one, costs no more for each.
#[derive(Debug, Default)]
pub(super) struct Users(BTreeSet<(Arc<str>, u32)>);

impl Users {
    fn insert(&mut self, user: &str, slot: u32) -> bool {
        self.0.insert((user.into(), slot))
    }

    fn remove(&mut self, user: &str, slot: u32) -> bool {
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

impl State {
    /// Whose connection it is; `None` of those that have not said so.
    pub(super) fn user_of(&self, slot: u32) -> Option<&str> {
        if let Some(talk) = self.talks.get(&slot)
            && talk.session.is_connected()
        {
            return Some(talk.session.user());
        }
        let rights = self.conns.look_at(slot).rights()?;
        Some(&rights.user)
    }

    /// A connection has a user from now on, if it has one.
    pub(super) fn enlist(&mut self, slot: u32) {
        let Some(user) = self.user_of(slot).map(Arc::<str>::from) else {
            return;
        };
        if self.users.insert(&user, slot) {
            self.hub.users().enter(&user);
        }
    }

    /// A connection ends, or is about to be another user's.
    pub(super) fn delist(&mut self, slot: u32) {
        let Some(user) = self.user_of(slot).map(Arc::<str>::from) else {
            return;
        };
        if self.users.remove(&user, slot) {
            self.hub.users().leave(&user);
        }
    }
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
