//! How many users there are, each counted once however many connections it has, on
//! whichever cores; and in the same way apps.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The connections of each user. Those without a name are one.
#[derive(Debug, Default)]
pub struct Users(Mutex<HashMap<Box<str>, u32>>);

impl Users {
    /// A user has one connection more. Returns how many that are.
    pub fn enter(&self, user: &str) -> u32 {
        let mut users = self.lock();
        match users.get_mut(user) {
            Some(count) => {
                *count += 1;
                *count
            }
            None => {
                users.insert(user.into(), 1);
                1
            }
        }
    }

    /// A user has one connection less.
    pub fn leave(&self, user: &str) {
        let mut users = self.lock();
        if let Some(count) = users.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                users.remove(user);
            }
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_counts_once_until_the_last_connection_is_gone() {
        let users = Users::default();
        for user in ["ann", "ann", "", "bob"] {
            users.enter(user);
        }
        assert_eq!(users.count(), 3);
        users.leave("ann");
        users.leave("bob");
        assert_eq!(users.count(), 2);
        users.leave("ann");
        users.leave("ann");
        assert_eq!(users.count(), 1);
    }
}
