//! Tokens that have been checked, by their hash, so that a peer that comes back costs no
//! second check of the signature.

use std::collections::HashMap;
use std::sync::Arc;

use super::Rights;

/// Tokens remembered at a time. Beyond, those that have expired go, else all of them: a
/// flood of new tokens costs checks then, and no memory.
const TOKENS_MAX: usize = 65_536;
/// Bytes of the tokens whose rights are remembered, which bounds these as well.
const BYTES_MAX: usize = 32 << 20;

/// The rights of tokens that were in order when they were checked.
#[derive(Debug, Default)]
pub struct Remembered {
    tokens: HashMap<[u8; 32], Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    rights: Arc<Rights>,
    bytes: usize,
}

impl Remembered {
    /// The rights of the token with that hash, if they still hold.
    pub fn get(&self, hash: &[u8; 32], now_s: u64) -> Option<Arc<Rights>> {
        let rights = &self.tokens.get(hash)?.rights;
        (!rights.have_ended(now_s)).then(|| rights.clone())
    }

    /// Remembers the rights of a token of so many bytes.
    pub fn insert(&mut self, hash: [u8; 32], rights: Arc<Rights>, bytes: usize, now_s: u64) {
        if self.tokens.len() >= TOKENS_MAX || self.bytes + bytes > BYTES_MAX {
            self.tokens
                .retain(|_, entry| !entry.rights.have_ended(now_s));
            self.bytes = self.tokens.values().map(|entry| entry.bytes).sum();
            // Were only a little room made, it would be looked for again with each token.
            if self.tokens.len() >= TOKENS_MAX / 2 || self.bytes + bytes > BYTES_MAX / 2 {
                self.clear();
            }
        }
        let old = self.tokens.insert(hash, Entry { rights, bytes });
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
