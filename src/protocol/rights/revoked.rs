//! Tokens that are not accepted any more though their time has not come: by their name, or
//! all of a user that were issued before a moment.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::LEEWAY_S;

/// Revocations at a time, and bytes of the names in them. Beyond, none is added, as none
/// may be forgotten before its time.
/// Revocations that are kept.
pub const REVOCATIONS_MAX: usize = 65_536;
const BYTES_MAX: usize = 16 << 20;

/// One revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub whose: Whose,
    /// The latest `exp` of the tokens concerned, in seconds since 1970: they are of no use
    /// after that anyway. Without one it is kept for good.
    pub until_s: Option<u64>,
}

/// The tokens that a revocation concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whose {
    /// The token with that `jti`.
    Id(Box<str>),
    /// The user's tokens whose `iat` is before this time, in seconds since 1970.
    User { user: Box<str>, not_before_s: u64 },
}

/// There is no room for another revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are as many revocations as this server keeps")]
pub struct RevokedFull;

/// All revocations in force.
#[derive(Debug, Default)]
pub struct Revoked {
    ids: HashMap<Box<str>, Option<u64>>,
    users: HashMap<Box<str>, Before>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    not_before_s: u64,
    until_s: Option<u64>,
}

impl Revoked {
    /// Adds one. Of two that concern the same, the one that holds longer, or for more
    /// tokens, decides.
    ///
    /// # Errors
    /// When there is no room.
    pub fn add(&mut self, revocation: &Revocation, now_s: u64) -> Result<(), RevokedFull> {
        let (name, known) = match &revocation.whose {
            Whose::Id(id) => (id, self.ids.contains_key(id)),
            Whose::User { user, .. } => (user, self.users.contains_key(user)),
        };
        if !known {
            if !self.has_room(name.len()) {
                self.forget(now_s);
            }
            if !self.has_room(name.len()) {
                return Err(RevokedFull);
            }
            self.bytes += name.len();
        }
        let until_s = revocation.until_s;
        match &revocation.whose {
            Whose::Id(id) => {
                let kept = self.ids.entry(id.clone()).or_insert(until_s);
                *kept = later(*kept, until_s);
            }
            Whose::User { user, not_before_s } => {
                let new = Before {
                    not_before_s: *not_before_s,
                    until_s,
                };
                let kept = self.users.entry(user.clone()).or_insert(new);
                kept.not_before_s = kept.not_before_s.max(new.not_before_s);
                kept.until_s = later(kept.until_s, new.until_s);
            }
        }
        Ok(())
    }

    /// Whether a token of `user`, with that `jti` and `iat`, is among them.
    pub fn hold(&self, user: &str, id: Option<&str>, issued_s: u64) -> bool {
        let before = self.users.get(user);
        id.is_some_and(|id| self.ids.contains_key(id))
            || before.is_some_and(|before| issued_s < before.not_before_s)
    }

    /// Forgets those whose tokens have expired by now.
    pub fn forget(&mut self, now_s: u64) {
        let is_of_use = |until_s: Option<u64>| {
            until_s.is_none_or(|until_s| now_s < until_s.saturating_add(LEEWAY_S))
        };
        self.ids.retain(|_, until_s| is_of_use(*until_s));
        self.users.retain(|_, before| is_of_use(before.until_s));
        let names = self.ids.keys().chain(self.users.keys());
        self.bytes = names.map(|name| name.len()).sum();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len() + self.users.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, for the next process.
    pub fn list(&self) -> Vec<Revocation> {
        let ids = self.ids.iter().map(|(id, until_s)| Revocation {
            whose: Whose::Id(id.clone()),
            until_s: *until_s,
        });
        let users = self.users.iter().map(|(user, before)| Revocation {
            whose: Whose::User {
                user: user.clone(),
                not_before_s: before.not_before_s,
            },
            until_s: before.until_s,
        });
        ids.chain(users).collect()
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.len() < REVOCATIONS_MAX && self.bytes + bytes <= BYTES_MAX
    }
}

/// The later of two ends, of which none is never.
fn later(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a?.max(b?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_id(id: &str, until_s: Option<u64>) -> Revocation {
        Revocation {
            whose: Whose::Id(id.into()),
            until_s,
        }
    }

    fn of_user(user: &str, not_before_s: u64, until_s: Option<u64>) -> Revocation {
        Revocation {
            whose: Whose::User {
                user: user.into(),
                not_before_s,
            },
            until_s,
        }
    }

    #[test]
    fn tokens_are_revoked_by_their_name_or_by_user_and_age() {
        let mut revoked = Revoked::default();
        assert!(!revoked.hold("anna", Some("t1"), 0));
        revoked.add(&of_id("t1", Some(100)), 0).unwrap();
        revoked.add(&of_user("bob", 50, None), 0).unwrap();
        for (user, id, issued_s, held) in [
            ("anna", Some("t1"), 99, true),
            ("anna", Some("t2"), 0, false),
            ("anna", None, 0, false),
            // One that does not say when it was issued is an old one.
            ("bob", None, 0, true),
            ("bob", Some("t2"), 49, true),
            ("bob", Some("t2"), 50, false),
        ] {
            assert_eq!(revoked.hold(user, id, issued_s), held, "{user} {id:?}");
        }
    }

    #[test]
    fn of_two_the_stricter_one_holds_and_goes_when_its_tokens_have_expired() {
        let mut revoked = Revoked::default();
        for revocation in [
            of_user("bob", 50, Some(100)),
            of_user("bob", 40, Some(200)),
            of_id("t1", None),
            of_id("t1", Some(10)),
        ] {
            revoked.add(&revocation, 0).unwrap();
        }
        assert_eq!(revoked.len(), 2);
        assert_eq!(
            revoked.list(),
            [of_id("t1", None), of_user("bob", 50, Some(200))]
        );
        revoked.forget(200 + LEEWAY_S - 1);
        assert!(revoked.hold("bob", None, 49));
        revoked.forget(200 + LEEWAY_S);
        assert!(!revoked.hold("bob", None, 49) && revoked.hold("", Some("t1"), 0));
    }

    #[test]
    fn beyond_the_bound_none_is_added_before_others_have_expired() {
        let mut revoked = Revoked::default();
        for number in 0..REVOCATIONS_MAX {
            let until_s = (number == 7).then_some(100);
            revoked
                .add(&of_id(&number.to_string(), until_s), 0)
                .unwrap();
        }
        assert_eq!(revoked.add(&of_id("x", None), 50), Err(RevokedFull));
        // One that is there may be made to hold longer.
        revoked.add(&of_id("8", None), 50).unwrap();
        revoked.add(&of_id("x", None), 200).unwrap();
        assert!(revoked.hold("", Some("x"), 0) && !revoked.hold("", Some("7"), 0));
        let long = "y".repeat(BYTES_MAX);
        assert_eq!(revoked.add(&of_id(&long, None), 200), Err(RevokedFull));
    }
}
