//! What becomes of a request, as the settings, the rules and its token say.

use std::cell::Cell;
use std::sync::Arc;

use tokio::time::sleep;

use super::acceptor::{Acceptor, Guest};
use super::complaints;
use super::time::ROOM_LOOK;
use crate::config::{Deflate, Switch};
use crate::hub::{Busy, Verdict};
use crate::protocol::event_stream::Page;
use crate::protocol::http::{Reject, Request};
use crate::protocol::opening::{Check, Opening, Settings, TopicTerms, opening, page_that_reads};
use crate::protocol::rights::{Purpose, Rights, TokenFault};
use crate::protocol::ws::deflate;

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
        let addresses = self.hub.uncompressed();
        let spoils_it = addresses.holds(guest.peer.ip(), self.hub.now_ms());
        let deflate = (!spoils_it).then_some(deflate::Policy {
            client_takeover: self.hub.settings().deflate == Deflate::Takeover,
        });
        let is_app = |key: &str| self.hub.settings().app_by_key(key).is_some();
        let settings = Settings {
            origins: match guest.door.tls {
                true => self.hub.origins_over_tls(),
                false => self.hub.origins(),
            },
            hosts: self.hub.hosts(),
            via: guest.via,
            is_named: guest.named,
            api: guest.door.api,
            centrifugo: self.hub.settings().centrifugo == Switch::On,
            event_streams: self.hub.settings().event_streams == Switch::On,
            mercure: self.hub.settings().mercure == Switch::On,
            topics_max: self.hub.settings().topics_per_connection_max,
            apps: (!self.hub.settings().apps.is_empty()).then_some(&is_app),
            rules: self.hub.rules(),
            cookie: self.hub.settings().token_cookie.as_deref(),
            check,
            topics: &|topic| {
                let policy = self.hub.policy_named(topic.as_str());
                TopicTerms {
                    deflate: policy.deflate,
                    chat: policy.chat,
                    page: policy.page,
                }
            },
            deflate,
            deflates_somewhere: self.hub.deflates_somewhere(),
            documents: &|path, host| self.document(path, host, guest),
        };
        let opened = opening(request, &settings, self.hub.unix_s());
        (opened, page_that_reads(request, &settings))
    }
}
