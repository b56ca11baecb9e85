//! Tokens that are checked aside from the cores, which are told the outcome.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Hub;
use super::helpers::Busy;
use crate::protocol::rights::{Purpose, Rights, Subscription, TokenFault};

/// What a token allows, or what is wrong with it.
#[derive(Debug)]
pub enum Verdict {
    Connection(Result<Arc<Rights>, TokenFault>),
    Subscription(Result<Subscription, TokenFault>),
}

impl Verdict {
    /// That on a connection token.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn rights(self) -> Result<Arc<Rights>, TokenFault> {
        match self {
            Verdict::Connection(rights) => rights,
            Verdict::Subscription(_) => Err(TokenFault::Purpose),
        }
    }

    /// That on a subscription token.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn subscription(self) -> Result<Subscription, TokenFault> {
        match self {
            Verdict::Subscription(subscription) => subscription,
            Verdict::Connection(_) => Err(TokenFault::Purpose),
        }
    }
}

/// A token has been checked aside.
#[derive(Debug)]
pub struct Checked {
    /// Whose it is.
    pub slot: u32,
    /// The core's own number of this check.
    pub number: u64,
    pub verdict: Verdict,
}

impl Hub {
    /// What is said of a token at once: those who are remembered. `None` if it has to be
    /// checked.
    pub fn recall(&self, purpose: Purpose, token: &[u8]) -> Option<Verdict> {
        match purpose {
            Purpose::Connection => self.recall_token(token).map(Verdict::Connection),
            Purpose::Subscription => self.recall_subscription(token).map(Verdict::Subscription),
        }
    }

    /// Checks a token here, if that is quick.
    pub fn check_if_quick(&self, purpose: Purpose, token: &[u8]) -> Option<Verdict> {
        (!self.is_costly(token)).then(|| self.verify(purpose, token))
    }

    /// Has a token checked elsewhere, and a core told the outcome.
    ///
    /// # Errors
    /// See [`Busy`].
    pub fn check_for_core(
        self: &Arc<Self>,
        core: usize,
        slot: u32,
        number: u64,
        (purpose, token): (Purpose, &[u8]),
    ) -> Result<(), Busy> {
        let (hub, token): (_, Box<[u8]>) = (self.clone(), token.into());
        self.run_check(move || {
            let checked = Checked {
                slot,
                number,
                verdict: hub.verify(purpose, &token),
            };
            hub.cores[core].checked(checked);
        })
    }

    /// Has a connection token checked elsewhere.
    ///
    /// # Errors
    /// See [`Busy`].
    pub fn check_aside(
        self: &Arc<Self>,
        token: Box<[u8]>,
    ) -> Result<oneshot::Receiver<Verdict>, Busy> {
        let (tell, verdict) = oneshot::channel();
        let hub = self.clone();
        self.run_check(move || {
            // Who has asked may have left.
            let _ = tell.send(hub.verify(Purpose::Connection, &token));
        })?;
        Ok(verdict)
    }

    /// A verdict that was found a while ago: the token may have been revoked since.
    pub fn confirm(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Connection(rights) => {
                Verdict::Connection(rights.and_then(|rights| self.uphold(rights)))
            }
            Verdict::Subscription(subscription) => {
                let upheld = |subscription| self.uphold_subscription(subscription);
                Verdict::Subscription(subscription.and_then(upheld))
            }
        }
    }

    /// Tokens that wait to be checked elsewhere.
    pub fn checks_waiting(&self) -> usize {
        self.helpers.waiting()
    }

    fn run_check(&self, check: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        let max = self.settings().token_checks_waiting_max;
        self.helpers.step(max, check)
    }

    fn verify(&self, purpose: Purpose, token: &[u8]) -> Verdict {
        match purpose {
            Purpose::Connection => Verdict::Connection(self.verify_token(token)),
            Purpose::Subscription => Verdict::Subscription(self.verify_subscription(token)),
        }
    }
}
