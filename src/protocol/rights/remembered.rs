//! Tokens that have been checked, by their hash, so that a peer that comes back costs no
//! second check of the signature.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Rights, Subscription};

/// Tokens remembered at a time. Beyond, those that have expired go, else all of them: a
/// flood of new tokens costs checks then, and no memory.
const TOKENS_MAX: usize = 65_536;
/// Bytes of the tokens that are remembered, which bounds what they allow as well.
const BYTES_MAX: usize = 32 << 20;

/// What tokens allow that were in order when they were checked.
#[derive(Debug, Default)]
pub struct Remembered {
    tokens: HashMap<[u8; 32], Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    allows: Allows,
    bytes: usize,
}

#[derive(Debug)]
enum Allows {
    Connection(Arc<Rights>),
    Subscription(Arc<Subscription>),
}

impl Entry {
    /// The token is of no use any more.
    fn has_ended(&self, now_s: u64) -> bool {
        match &self.allows {
            Allows::Connection(rights) => rights.have_ended(now_s),
            Allows::Subscription(subscription) => subscription.has_ended(now_s),
        }
    }
}

impl Remembered {
    /// The rights of the connection token with that hash, if they still hold.
    pub fn get(&self, hash: &[u8; 32], now_s: u64) -> Option<Arc<Rights>> {
        match self.entry(hash, now_s)? {
            Allows::Connection(rights) => Some(rights.clone()),
            Allows::Subscription(_) => None,
        }
    }

    /// What the subscription token with that hash allows, if it still does.
    pub fn get_subscription(&self, hash: &[u8; 32], now_s: u64) -> Option<Arc<Subscription>> {
        match self.entry(hash, now_s)? {
            Allows::Subscription(subscription) => Some(subscription.clone()),
            Allows::Connection(_) => None,
        }
    }

    fn entry(&self, hash: &[u8; 32], now_s: u64) -> Option<&Allows> {
        let entry = self.tokens.get(hash)?;
        (!entry.has_ended(now_s)).then_some(&entry.allows)
    }

    /// Remembers the rights of a connection token of so many bytes.
    pub fn insert(&mut self, hash: [u8; 32], rights: Arc<Rights>, bytes: usize, now_s: u64) {
        let allows = Allows::Connection(rights);
        self.insert_entry(hash, Entry { allows, bytes }, now_s);
    }

    /// Remembers what a subscription token of so many bytes allows.
    pub fn insert_subscription(
        &mut self,
        hash: [u8; 32],
        subscription: Arc<Subscription>,
        bytes: usize,
        now_s: u64,
    ) {
        let allows = Allows::Subscription(subscription);
        self.insert_entry(hash, Entry { allows, bytes }, now_s);
    }

    fn insert_entry(&mut self, hash: [u8; 32], entry: Entry, now_s: u64) {
        let bytes = entry.bytes;
        if self.tokens.len() >= TOKENS_MAX || self.bytes + bytes > BYTES_MAX {
            self.tokens.retain(|_, entry| !entry.has_ended(now_s));
            self.bytes = self.tokens.values().map(|entry| entry.bytes).sum();
            // Were only a little room made, it would be looked for again with each token.
            if self.tokens.len() >= TOKENS_MAX / 2 || self.bytes + bytes > BYTES_MAX / 2 {
                self.clear();
            }
        }
        let old = self.tokens.insert(hash, entry);
        self.bytes += bytes;
        self.bytes -= old.map_or(0, |old| old.bytes);
    }

    /// Forgets them all, as when keys change.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.bytes = 0;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(expires_s: Option<u64>) -> Arc<Rights> {
        Arc::new(Rights {
            expires_s,
            ..Rights::default()
        })
    }

    #[test]
    fn rights_are_remembered_until_they_end() {
        let mut remembered = Remembered::default();
        remembered.insert([1; 32], until(Some(100)), 10, 0);
        assert!(remembered.get(&[1; 32], 100).is_some());
        assert!(
            remembered
                .get(&[1; 32], 100 + super::super::LEEWAY_S)
                .is_none()
        );
        assert!(remembered.get(&[2; 32], 0).is_none());
        remembered.clear();
        assert!(remembered.get(&[1; 32], 0).is_none());
    }

    #[test]
    fn tokens_of_either_kind_are_remembered_together_and_not_taken_for_each_other() {
        let subscription = |ends_s| {
            Arc::new(Subscription {
                ends_s,
                ..Subscription::default()
            })
        };
        let mut remembered = Remembered::default();
        remembered.insert_subscription([1; 32], subscription(Some(100)), 10, 0);
        remembered.insert([2; 32], until(None), 10, 0);
        assert!(remembered.get_subscription(&[1; 32], 100).is_some());
        assert!(remembered.get(&[1; 32], 0).is_none());
        assert!(remembered.get_subscription(&[2; 32], 0).is_none());
        let ended_s = 100 + super::super::LEEWAY_S;
        assert!(remembered.get_subscription(&[1; 32], ended_s).is_none());
        // They have the bound in common, and those that have ended go first.
        for number in 0..TOKENS_MAX as u64 {
            let mut hash = [3; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            remembered.insert_subscription(hash, subscription(Some(1)), 100, ended_s);
            assert!(remembered.len() <= TOKENS_MAX && remembered.bytes <= BYTES_MAX);
        }
        assert!(remembered.get(&[2; 32], 0).is_some());
    }

    #[test]
    fn neither_many_tokens_nor_long_ones_take_more_than_the_bound() {
        let mut remembered = Remembered::default();
        for number in 0..3 * TOKENS_MAX as u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            remembered.insert(hash, until(None), 100, 0);
            assert!(remembered.len() <= TOKENS_MAX && remembered.bytes <= BYTES_MAX);
        }
        for number in 0..2000_u32 {
            let mut hash = [1; 32];
            hash[..4].copy_from_slice(&number.to_le_bytes());
            remembered.insert(hash, until(None), 64 << 10, 0);
            assert!(remembered.bytes <= BYTES_MAX);
        }
        assert!(!remembered.is_empty());
    }
}
