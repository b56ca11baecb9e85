//! What newcomers ask for, read where they have come in: who opens a WebSocket or a stream of
//! events, and is let in, becomes a connection where it is. Whatever else somebody asks for is
//! for the acceptor to answer, which reads it again.

use std::cell::Cell;
use std::sync::Arc;

use super::asker::{Asker, via};
use super::conn::Flags;
use super::entering::Known;
use super::judging::{head_limits, judge};
use super::newcomers::{Newcomer, Stage};
use super::reactor::{Reactor, State};
use crate::hub::Verdict;
use crate::log::Topic;
use crate::protocol::event_stream::{EventStream, Wanted};
use crate::protocol::http::Upgrade;
use crate::protocol::opening::Opening;
use crate::protocol::rights::{Purpose, TokenFault};
use crate::protocol::topic::TopicName;
use crate::ring::Ring;

/// How much of a head is kept here that has not come as a whole; nearly all come so. What is
/// longer is for the acceptor, which has tasks for what takes time.
const BEGUN_BYTES_MAX: usize = 8 << 10;

/// What is to be done with a newcomer.
enum Wish {
    /// Its head has this length.
    WebSocket(Box<Upgrade>, Option<Arc<Topic>>, usize),
    EventStream(Box<EventStream>, Vec<Arc<Topic>>, usize),
    /// More has to come.
    NotWhole,
    /// Its token has to be checked, of which there were enough in this turn.
    Later,
    /// Something that is not done here.
    Other,
}

impl<R: Ring> Reactor<R> {
    /// Reads what newcomers have sent, and answers whom it can. Who waits for another turn keeps
    /// nobody else waiting.
    pub(super) fn greet(&mut self) {
        let share = self.state.newcomers.rounds.goal();
        for _ in 0..share {
            let Some(slot) = self.state.newcomers.knocking.pop_front() else {
                return;
            };
            let Some(mut newcomer) = self.state.newcomers.all.remove(&slot) else {
                continue;
            };
            newcomer.knocks = false;
            let wish = match newcomer.stage {
                Stage::Asking => self.state.read_wish(&mut newcomer),
                _ => Wish::NotWhole,
            };
            match wish {
                Wish::WebSocket(upgrade, topic, len) => {
                    let (known, peer) = (Known::of(&upgrade, newcomer.kept_alive), newcomer.peer);
                    let conn = self.state.record(peer, known);
                    self.state.conns.fill(slot, conn);
                    self.state.enter(slot, topic, &upgrade, false);
                    let rest = newcomer.begun.split_off(len);
                    if !rest.is_empty() {
                        self.state.handle_bytes(slot, &rest);
                    }
                    self.state.has_entered(slot, newcomer, "websocket");
                }
                Wish::EventStream(stream, topics, len) => {
                    let (known, peer) = (
                        Known::of_stream(&stream, newcomer.kept_alive),
                        newcomer.peer,
                    );
                    let conn = self.state.record(peer, known);
                    self.state.conns.fill(slot, conn);
                    self.state.enter_stream(slot, topics, &stream, false);
                    self.state.overhear(slot, newcomer.begun.len() - len);
                    self.state.has_entered(slot, newcomer, "event_stream");
                }
                other => self.let_wait(slot, newcomer, &other),
            }
        }
    }

    /// Puts a newcomer back that is not answered here and now.
    fn let_wait(&mut self, slot: u32, newcomer: Newcomer, wish: &Wish) {
        let (ended, receiving) = (newcomer.ended.is_some(), newcomer.receiving);
        let stage = newcomer.stage;
        let newcomers = &mut self.state.newcomers;
        newcomers.all.insert(slot, newcomer);
        if stage != Stage::Asking {
            return;
        }
        match wish {
            // The rest will never come.
            Wish::NotWhole if ended => self.part_with_newcomer(slot),
            Wish::NotWhole if receiving => {}
            Wish::NotWhole => newcomers.silent.push(slot),
            Wish::Later => {
                newcomers.later.push(slot);
                self.state.metrics().checks_postponed.add(1);
            }
            _ => self.hand_on(slot),
        }
    }
}

impl State {
    /// A newcomer has become a connection of that kind.
    fn has_entered(&mut self, slot: u32, newcomer: Newcomer, kind: &'static str) {
        self.hub.admission().shake(newcomer.peer.ip());
        self.metrics().ring_handshakes.add(1);
        if newcomer.receiving {
            self.conns.at(slot).flags.set(Flags::RECEIVING);
        }
        if let Some(error) = newcomer.ended {
            self.handle_end(slot, error);
        }
        newcomer.traced.answered_in_ring(kind);
    }

    fn read_wish(&mut self, newcomer: &mut Newcomer) -> Wish {
        let hub = &self.hub;
        let settings = hub.settings();
        let limits = head_limits(settings);
        // Why it is refused is for the acceptor to say.
        if hub.is_stopping() || self.conns.has_all() {
            return Wish::Other;
        }
        let (request, len) = match newcomer.head.parse(&newcomer.begun, limits) {
            Ok(Some(whole)) => whole,
            Ok(None) if newcomer.begun.len() <= BEGUN_BYTES_MAX => return Wish::NotWhole,
            Ok(None) | Err(_) => return Wish::Other,
        };
        let ip = newcomer.peer.ip();
        let asker = Asker {
            ip,
            via: via(settings, ip),
            is_named: true,
            tls: false,
            // What the server API answers there is no opening.
            api: self.newcomers.serves_api(newcomer.door),
        };
        let (checks_left, is_later, is_costly) = (
            Cell::new(self.checks_left),
            Cell::new(false),
            Cell::new(false),
        );
        let check = |token: &[u8]| {
            if let Some(verdict) = hub.recall(Purpose::Connection, token) {
                return verdict.rights();
            }
            let Some(left) = checks_left.get().checked_sub(1) else {
                is_later.set(true);
                return Err(TokenFault::Signature);
            };
            checks_left.set(left);
            let verdict = hub.check_if_quick(Purpose::Connection, token);
            is_costly.set(verdict.is_none());
            verdict.map_or(Err(TokenFault::Signature), Verdict::rights)
        };
        let opened = judge(hub, &request, &asker, &check);
        self.checks_left = checks_left.get();
        if is_later.get() {
            return Wish::Later;
        }
        match opened {
            _ if is_costly.get() => Wish::Other,
            Ok(Opening::WebSocket(upgrade)) => {
                let Some(name) = &upgrade.topic else {
                    return Wish::WebSocket(Box::new(upgrade), None, len);
                };
                match self.topic_at_once(name, |epoch| upgrade.since(epoch)) {
                    Some(topic) => Wish::WebSocket(Box::new(upgrade), Some(topic), len),
                    None => Wish::Other,
                }
            }
            Ok(Opening::EventStream(stream)) if !stream.head_only => {
                let wanted = stream.wanted.iter();
                let find = |of: &Wanted| self.topic_at_once(&of.topic, |epoch| of.since(epoch));
                match wanted.map(find).collect() {
                    Some(topics) => Wish::EventStream(stream, topics, len),
                    None => Wish::Other,
                }
            }
            _ => Wish::Other,
        }
    }

    /// The topic of that name, if there is room for it and if it is known what it holds up to
    /// where a client wants to begin.
    fn topic_at_once(
        &self,
        name: &TopicName,
        since: impl Fn(u64) -> Option<u64>,
    ) -> Option<Arc<Topic>> {
        let topic = self.hub.topic(name).ok()?;
        let has_come = |since: u64| topic.newest() >= since.saturating_sub(1);
        let is_there =
            !topic.is_shared() || topic.is_known() && since(topic.epoch()).is_none_or(has_come);
        is_there.then_some(topic)
    }
}
