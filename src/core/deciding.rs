//! What becomes of a request, where a task can wait for its token to be checked.

use std::cell::Cell;
use std::sync::Arc;

use tokio::time::sleep;

use super::acceptor::{Acceptor, Guest};
use super::asker::Asker;
use super::complaints;
use super::judging::judge_and_tell;
use super::time::ROOM_LOOK;
use crate::hub::{Busy, Verdict};
use crate::protocol::event_stream::Page;
use crate::protocol::http::{Reject, Request};
use crate::protocol::opening::{Check, Opening};
use crate::protocol::rights::{Purpose, Rights, TokenFault};

impl Acceptor {
    /// What becomes of a request. A token whose check would hold up others is checked
    /// elsewhere.
    pub(super) async fn decide(
        &self,
        request: &Request<'_>,
        guest: &mut Guest,
    ) -> Result<Opening, Reject> {
        let costly = Cell::new(None);
        let check = |token: &[u8]| {
            let known = self.hub.recall(Purpose::Connection, token);
            let verdict = known.or_else(|| self.hub.check_if_quick(Purpose::Connection, token));
            verdict.map_or_else(
                || {
                    costly.set(Some(Box::from(token)));
                    Err(TokenFault::Signature)
                },
                Verdict::rights,
            )
        };
        let (mut opened, page) = self.open(request, guest, &check);
        guest.asks.asked_by(page);
        if let Some(token) = costly.take() {
            // In a box, as tasks of handshakes are as large as what they may ever wait for.
            let rights = Box::pin(self.check_aside(token)).await;
            (opened, _) = self.open(request, guest, &|_| rights.clone());
        }
        opened.inspect_err(|reject| complaints::of_request(&self.hub, guest.peer, request, *reject))
    }

    async fn check_aside(&self, token: Box<[u8]>) -> Result<Arc<Rights>, TokenFault> {
        let asked = loop {
            match self.hub.check_aside(token.clone()) {
                Ok(asked) => {
                    self.metrics().checks_aside.add(1);
                    break asked;
                }
                Err(Busy) => {
                    self.metrics().checks_postponed.add(1);
                    sleep(ROOM_LOOK).await;
                }
            }
        };
        let verdict = asked.await;
        let verdict = verdict.map(|verdict| self.hub.confirm(verdict));
        // Were a helper to fail, it is done here.
        verdict.map_or_else(|_| self.hub.check_token(&token), Verdict::rights)
    }

    /// What becomes of it, and the page that may read its refusal.
    fn open(
        &self,
        request: &Request<'_>,
        guest: &Guest,
        check: &Check<'_>,
    ) -> (Result<Opening, Reject>, Option<Page>) {
        let asker = Asker {
            ip: guest.peer.ip(),
            via: guest.via,
            is_named: guest.named,
            tls: guest.door.tls,
            api: guest.door.api,
        };
        judge_and_tell(&self.hub, request, &asker, check)
    }
}
