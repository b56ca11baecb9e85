//! The keys in force, the tokens that have been checked with them, and those that have been
//! revoked since.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use super::Hub;
use crate::protocol::rights::{
    Keys, Remembered, Revocation, Revoked, RevokedFull, Rights, Rules, Subscription, TokenFault,
};

/// What checks tokens.
#[derive(Default)]
pub(super) struct Tokens {
    keys: RwLock<Keys>,
    /// Taken with `keys` locked, so that nothing is remembered of keys that are gone.
    remembered: Mutex<Remembered>,
    revoked: RwLock<Revoked>,
    /// Checks of a token that was not remembered.
    checks: AtomicU64,
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
        self.recall_token(token)
            .unwrap_or_else(|| self.verify_token(token))
    }

    /// What is known of a connection token without a check.
    pub(super) fn recall_token(&self, token: &[u8]) -> Option<Result<Arc<Rights>, TokenFault>> {
        let hash = Keys::hash(token)?;
        let rights = self.remembered().get(&hash, self.unix_s())?;
        Some(self.uphold(rights))
    }

    /// Checks a connection token, and remembers it.
    pub(super) fn verify_token(&self, token: &[u8]) -> Result<Arc<Rights>, TokenFault> {
        let now_s = self.unix_s();
        let keys = self.keys();
        self.tokens.checks.fetch_add(1, Ordering::Relaxed);
        let accepted = keys.check(token, now_s)?;
        let rights = Arc::new(accepted.rights);
        self.remembered()
            .insert(accepted.hash, rights.clone(), token.len(), now_s);
        self.uphold(rights)
    }

    /// The rights of a token that is in order, unless that has been revoked.
    pub(super) fn uphold(&self, rights: Arc<Rights>) -> Result<Arc<Rights>, TokenFault> {
        self.refuse_revoked(&rights.user, rights.id.as_deref(), rights.issued_s)?;
        Ok(rights)
    }

    /// What is known of a subscription token without a check.
    pub(super) fn recall_subscription(
        &self,
        token: &[u8],
    ) -> Option<Result<Subscription, TokenFault>> {
        let hash = Keys::hash(token)?;
        let known = self.remembered().get_subscription(&hash, self.unix_s())?;
        Some(self.uphold_subscription(Arc::unwrap_or_clone(known)))
    }

    /// Checks a subscription token, and remembers it. That it is for who bears it is for the
    /// caller to see.
    pub(super) fn verify_subscription(&self, token: &[u8]) -> Result<Subscription, TokenFault> {
        let now_s = self.unix_s();
        let keys = self.keys();
        self.tokens.checks.fetch_add(1, Ordering::Relaxed);
        let subscription = keys.check_subscription(token, now_s)?;
        let remembered = Arc::new(subscription.clone());
        if let Some(hash) = Keys::hash(token) {
            self.remembered()
                .insert_subscription(hash, remembered, token.len(), now_s);
        }
        self.uphold_subscription(subscription)
    }

    /// The same as [`Hub::uphold`], of a subscription token.
    pub(super) fn uphold_subscription(
        &self,
        subscription: Subscription,
    ) -> Result<Subscription, TokenFault> {
        let (id, issued_s) = (subscription.id.as_deref(), subscription.issued_s);
        self.refuse_revoked(&subscription.user, id, issued_s)?;
        Ok(subscription)
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        let remembered = self.tokens.remembered.lock();
        remembered.unwrap_or_else(PoisonError::into_inner)
    }

    /// How many tokens are remembered, of either kind.
    pub fn remembered_len(&self) -> usize {
        self.remembered().len()
    }

    /// Checks of tokens that were not remembered.
    pub fn token_checks(&self) -> u64 {
        self.tokens.checks.load(Ordering::Relaxed)
    }

    /// Whether to check a token takes so long that others would notice.
    pub(super) fn is_costly(&self, token: &[u8]) -> bool {
        self.keys().is_costly(token)
    }

    fn refuse_revoked(
        &self,
        user: &str,
        id: Option<&str>,
        issued_s: u64,
    ) -> Result<(), TokenFault> {
        let revoked = self.tokens.revoked.read();
        let revoked = revoked.unwrap_or_else(PoisonError::into_inner);
        match revoked.hold(user, id, issued_s) {
            true => Err(TokenFault::Revoked),
            false => Ok(()),
        }
    }

    fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        let keys = self.tokens.keys.read();
        keys.unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts the tokens that a revocation is about no more. Connections that have come
    /// with them are for an order to end.
    ///
    /// # Errors
    /// When there are as many revocations as are kept.
    pub fn revoke(&self, revocation: &Revocation) -> Result<(), RevokedFull> {
        let revoked = self.tokens.revoked.write();
        let mut revoked = revoked.unwrap_or_else(PoisonError::into_inner);
        revoked.add(revocation, self.unix_s())
    }

    /// The revocations in force, those of tokens that have expired left out.
    pub fn revocations(&self) -> Vec<Revocation> {
        let revoked = self.tokens.revoked.write();
        let mut revoked = revoked.unwrap_or_else(PoisonError::into_inner);
        revoked.forget(self.unix_s());
        revoked.list()
    }

    /// Takes over the revocations of the process before, which has kept to the same bounds.
    pub fn restore_revocations(&self, revocations: &[Revocation]) {
        for revocation in revocations {
            if let Err(error) = self.revoke(revocation) {
                tracing::error!(%error, "a revoked token is accepted again");
            }
        }
    }

    /// How many revocations are kept.
    pub fn revocations_len(&self) -> usize {
        let revoked = self.tokens.revoked.read();
        revoked.unwrap_or_else(PoisonError::into_inner).len()
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
        self.remembered().clear();
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
