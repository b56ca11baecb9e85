//! The keys in force, and the tokens that have been checked with them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::Hub;
use crate::protocol::rights::{Keys, Remembered, Rights, Rules, TokenFault};

/// What checks tokens.
#[derive(Default)]
pub(super) struct Tokens {
    keys: RwLock<Keys>,
    /// Taken with `keys` locked, so that nothing is remembered of keys that are gone.
    remembered: Mutex<Remembered>,
    /// Changes of keys and rules.
    changes: AtomicU64,
}

impl Hub {
    /// Who may do what.
    pub fn rules(&self) -> &Rules {
        &self.live.get().rules
    }

    /// Checks a connection token, unless it is remembered.
    ///
    /// # Errors
    /// See [`TokenFault`].
    pub fn check_token(&self, token: &[u8]) -> Result<Arc<Rights>, TokenFault> {
        let now_s = self.unix_s();
        let keys = self
            .tokens
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let remembered = || {
            let remembered = self.tokens.remembered.lock();
            remembered.unwrap_or_else(PoisonError::into_inner)
        };
        let hash = Keys::hash(token);
        if let Some(rights) = remembered().get(&hash, now_s) {
            return Ok(rights);
        }
        let rights = Arc::new(keys.check(token, now_s)?.rights);
        remembered().insert(hash, rights.clone(), token.len(), now_s);
        Ok(rights)
    }

    /// Checks tokens with `keys` from now on. Returns whether they are other ones than before.
    pub fn set_keys(&self, keys: Keys) -> bool {
        let mut known = self
            .tokens
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if *known == keys {
            return false;
        }
        *known = keys;
        let remembered = self.tokens.remembered.lock();
        remembered.unwrap_or_else(PoisonError::into_inner).clear();
        true
    }

    /// Has all cores look again at what their connections may do.
    pub(super) fn recheck_rights(&self) {
        self.tokens.changes.fetch_add(1, Ordering::Release);
        self.wake_all();
    }

    /// How often rules have changed.
    pub fn rights_changes(&self) -> u64 {
        self.tokens.changes.load(Ordering::Acquire)
    }
}
