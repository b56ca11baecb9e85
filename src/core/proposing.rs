//! What connections publish to topics on whose messages a cluster decides, what becomes of
//! it, and what else comes from there.

use std::sync::Arc;

use super::closing::How;
use super::conn::{Asker, Flags, OWN_POSTED_MAX, Phase, Proposed, Ticket, Unpublished, Wait};
use super::lane::After;
use super::publishing::{check_text, plain};
use super::reactor::State;
use super::subs::SubId;
use crate::hub::{Draft, Failure, Mark, Origin, Outcome, SavedProposal, Unproposed, Waits};
use crate::log::Topic;
use crate::protocol::centrifugo::Coding;
use crate::protocol::dialect::centrifugo::{self, words};
use crate::protocol::dialect::session::Client;
use crate::protocol::dialect::{AtGap, Gap};
use crate::protocol::encoding::{Extras, Format};
use crate::protocol::reason::CloseReason;
use crate::protocol::ws::{Fault, Payload};

impl State {
    /// The topic that a connection publishes to, if a cluster decides on its messages.
    pub(super) fn shared_topic_of(&self, slot: u32) -> Option<Arc<Topic>> {
        let feed = self.conns.look_at(slot).sub.feed;
        let topic = &self.feeds.look_at(feed).topic;
        topic.is_shared().then(|| topic.clone())
    }

    /// Proposes a connection's message. Where no more may be proposed, the message waits,
    /// and its publisher with it.
    pub(super) fn publish_shared(
        &mut self,
        slot: u32,
        topic: &Arc<Topic>,
        text: bool,
        payload: Payload<'_>,
    ) -> Result<(), CloseReason> {
        let payload = plain(payload);
        check_text(text, &payload).map_err(CloseReason::Fault)?;
        let extras = self.conns.at(slot).dialect.extras();
        match self.propose(slot, topic, (text, &payload), extras, None) {
            Ok(()) => Ok(()),
            Err(Unproposed::NoRoom) => self.put_aside(slot, text, payload, Wait::Room(None)),
            Err(Unproposed::TooBig) => Err(CloseReason::Fault(Fault::TooBig)),
            Err(Unproposed::NoLink) => Err(CloseReason::NotStored),
        }
    }

    /// The same of a message that has waited. True if it still has to.
    pub(super) fn publish_shared_again(
        &mut self,
        slot: u32,
        topic: &Arc<Topic>,
        message: &Unpublished,
    ) -> Result<bool, CloseReason> {
        let extras = self.conns.at(slot).dialect.extras();
        match self.propose(slot, topic, (message.text, &message.payload), extras, None) {
            Ok(()) => Ok(false),
            Err(Unproposed::NoRoom) => Ok(true),
            Err(Unproposed::TooBig) => Err(CloseReason::Fault(Fault::TooBig)),
            Err(Unproposed::NoLink) => Err(CloseReason::NotStored),
        }
    }

    /// Proposes a message. `reply` is the command that is to be answered when it is stored.
    pub(super) fn propose(
        &mut self,
        slot: u32,
        topic: &Arc<Topic>,
        (text, payload): (bool, &[u8]),
        extras: Option<Extras<'_>>,
        reply: Option<u32>,
    ) -> Result<(), Unproposed> {
        let mut encoded = Vec::new();
        if let Some(extras) = extras {
            extras.encode(&mut encoded);
        }
        let via = self.conns.at(slot).dialect.name();
        let trace = self.hub.begin_trace(None);
        let publisher = self.publisher_of(slot);
        let waits = self.waits(slot, reply);
        let draft = Draft {
            text,
            payload: payload.to_vec().into(),
            extras: encoded,
            publisher,
            key: None,
            origin: self.origin_of(slot, &waits),
            trace: trace.map(|begun| (begun, via)),
        };
        let ticket = self.hub.propose(topic, draft, waits)?;
        self.published_bytes += payload.len() as u64;
        self.note_ticket(slot, (ticket, topic.id()), reply);
        Ok(())
    }

    fn waits(&mut self, slot: u32, reply: Option<u32>) -> Waits {
        let hears_itself = self.conns.at(slot).flags.any(Flags::ECHO);
        match reply.is_some() || hears_itself {
            true => Waits::Reply(self.core),
            false => Waits::Own(self.core),
        }
    }

    fn note_ticket(&mut self, slot: u32, (number, topic): (u64, u64), reply: Option<u32>) {
        self.proposals.insert(number, Asker { slot, reply });
        let extra = self.conns.at(slot).extra();
        let proposed = extra.proposed.as_mut().expect("it is a publisher");
        proposed.tickets.push_back(Ticket {
            number,
            topic,
            is_overtaken: false,
        });
    }

    /// By which number a connection's messages keep their order.
    fn publisher_of(&mut self, slot: u32) -> u64 {
        let number = || self.hub.cluster().number();
        let proposed = &mut self.conns.at(slot).extra().proposed;
        let proposed = proposed.get_or_insert_with(|| {
            Box::new(Proposed {
                publisher: number(),
                origin: None,
                tickets: Default::default(),
            })
        });
        proposed.publisher
    }

    /// By what a connection's messages are known that it is not to hear.
    fn origin_of(&mut self, slot: u32, waits: &Waits) -> Option<Origin> {
        let Waits::Own(_) = waits else {
            return None;
        };
        if let Some(talk) = self.talks.get(slot)
            && let Client::Socket { node, connection } = talk.session.client()
        {
            return Some(Origin { node, connection });
        }
        let proposed = self.conns.at(slot).extra().proposed.as_mut();
        let proposed = proposed.expect("it is a publisher");
        let origin = proposed.origin.unwrap_or_else(|| {
            let origin = self.hub.cluster().origin(proposed.publisher);
            self.origins.insert(origin, slot);
            origin
        });
        proposed.origin = Some(origin);
        Some(origin)
    }

    /// Tells what the cluster has decided, while all else rests.
    pub(super) fn take_settled(&mut self) {
        for (ticket, outcome) in self.hub.mailbox(self.core).take_settled() {
            match outcome {
                Some(outcome) => self.take_outcome(ticket, outcome),
                None => _ = self.forget_ticket(ticket),
            }
        }
    }

    /// The cluster has decided on something that was proposed here.
    pub(super) fn take_outcome(&mut self, ticket: u64, outcome: Outcome) {
        if outcome.is_ok() {
            self.note_stored(ticket);
        }
        let Some(Asker { slot, reply }) = self.forget_ticket(ticket) else {
            return;
        };
        let conn = self.conns.at(slot);
        if conn.phase != Phase::Open {
            return;
        }
        match (reply, outcome) {
            (Some(id), outcome) => {
                if let Some(coding) = conn.dialect.coding() {
                    self.push(slot, &said(coding, id, &outcome));
                }
            }
            (None, Ok(_)) => {}
            (None, Err(failure)) => {
                let line = &self.hub.complaints().cluster;
                if let Some(held_back) = line.admit(self.now_ms) {
                    tracing::warn!(%failure, held_back, "a publisher's message is not stored");
                }
                self.close(slot, CloseReason::NotStored, How::NextBoundary);
            }
        }
    }

    /// Nothing more comes of a proposal.
    pub(super) fn forget_ticket(&mut self, ticket: u64) -> Option<Asker> {
        // Where it lies has been told before, if at all.
        self.look_at_marks();
        let asker = self.proposals.remove(&ticket)?;
        let extra = self.conns.at(asker.slot).extra();
        if let Some(proposed) = &mut extra.proposed {
            // They are decided on in their order, nearly always.
            let mut tickets = proposed.tickets.iter();
            if let Some(at) = tickets.position(|known| known.number == ticket) {
                proposed.tickets.remove(at);
            }
        }
        Some(asker)
    }

    /// Those before it to the same topic would come too late. There are none, nearly always.
    fn note_stored(&mut self, ticket: u64) {
        let Some(Asker { slot, .. }) = self.proposals.get(&ticket).copied() else {
            return;
        };
        let Some(proposed) = &mut self.conns.at(slot).extra().proposed else {
            return;
        };
        let mut all = proposed.tickets.iter();
        let Some(at) = all.position(|known| known.number == ticket) else {
            return;
        };
        let topic = proposed.tickets[at].topic;
        for earlier in proposed.tickets.range_mut(..at) {
            earlier.is_overtaken |= earlier.topic == topic;
        }
    }

    /// The topic that something was proposed to, see [`Topic::id`].
    fn topic_of_ticket(&self, slot: u32, ticket: u64) -> Option<u64> {
        let extra = self.conns.look_at(slot).extra.as_ref()?;
        let mut tickets = extra.proposed.as_ref()?.tickets.iter();
        let of = tickets.find(|known| known.number == ticket)?;
        Some(of.topic)
    }

    /// A connection has gone: whatever becomes of what it has proposed.
    pub(super) fn forget_tickets(&mut self, proposed: &Proposed) {
        for ticket in &proposed.tickets {
            self.proposals.remove(&ticket.number);
        }
        if let Some(origin) = &proposed.origin {
            self.origins.remove(origin);
        }
    }

    /// Looks at what is to be known of what has just been found in a log.
    #[inline]
    pub(super) fn look_at_marks(&mut self) {
        if self.hub.mailbox(self.core).is_marked() {
            self.take_marks();
        }
    }

    #[cold]
    fn take_marks(&mut self) {
        for mark in self.hub.mailbox(self.core).take_marks() {
            match mark {
                Mark::Own { ticket, committed } => {
                    let Some(Asker { slot, .. }) = self.proposals.get(&ticket).copied() else {
                        continue;
                    };
                    let topic = self.topic_of_ticket(slot, ticket);
                    self.note_stored(ticket);
                    let id = topic.and_then(|topic| self.find_by_id(slot, topic));
                    if let Some(id) = id {
                        self.step_over(slot, id, &committed);
                    }
                }
                Mark::From {
                    origin,
                    topic,
                    committed,
                } => {
                    let Some(slot) = self.origins.get(&origin).copied() else {
                        continue;
                    };
                    if let Some(id) = self.find_by_id(slot, topic.id())
                        && self.may_step_over_more(slot)
                    {
                        self.step_over(slot, id, &committed);
                    }
                }
                Mark::Gap {
                    topic,
                    at,
                    from,
                    to,
                } => self.tell_missing(&topic, at, from, to),
            }
        }
    }

    /// False for a connection that is too far behind to note one more message that a server has
    /// posted in its name: it is closed.
    fn may_step_over_more(&mut self, slot: u32) -> bool {
        let conn = self.conns.at(slot);
        let own = conn.extra.as_ref().map_or(0, |extra| extra.own.len());
        if own < OWN_POSTED_MAX {
            return true;
        }
        if conn.phase == Phase::Open {
            self.close(slot, CloseReason::Lag, How::NextBoundary);
        }
        false
    }

    /// All who read a topic here are told that messages are missing at a position.
    fn tell_missing(&mut self, topic: &Arc<Topic>, at: u64, from: u64, to: u64) {
        let gap = Gap {
            epoch: topic.epoch(),
            from,
            to,
            missed: None,
        };
        for (id, format) in self.readers_of(topic) {
            let position = topic.translate(Format::Raw, at, format);
            let slot = self.subs.owner(id);
            let conn = self.conns.at(slot);
            if conn.phase != Phase::Open || !self.look_at_sub(id).is_seated() {
                continue;
            }
            if self.at_gap(id) != AtGap::Told {
                self.tell_gap(id, topic.name(), &gap);
                self.mark(slot);
                continue;
            }
            self.metrics().lag_skips.add(1);
            let conn = self.conns.at(slot);
            let notice = conn.dialect.gap(topic.name(), &gap);
            let after = After { sub: id, position };
            conn.attend().lane.push_notice_after(id, notice, after);
            self.mark(slot);
        }
    }

    /// Who has come for history is told of what is missing in it.
    pub(super) fn tell_known_gaps(&mut self, id: SubId, topic: &Topic, since: u64) {
        let Some(kept) = topic.kept().filter(|kept| kept.is_shared()) else {
            return;
        };
        let slot = self.subs.owner(id);
        for (from, to) in kept.gaps_from(since) {
            if self.look_at_sub(id).is_seated() {
                self.tell_hole(slot, id, from, to + 1);
            }
        }
    }

    /// A topic's history is another one from now on: who reads it is to come back.
    pub(super) fn part_with(&mut self, topic: &Arc<Topic>) {
        for (id, _) in self.readers_of(topic) {
            let slot = self.subs.owner(id);
            if !self.look_at_sub(id).is_seated() || self.conns.at(slot).phase != Phase::Open {
                continue;
            }
            if self.at_gap(id) != AtGap::Ends {
                self.close(slot, CloseReason::InsufficientState, How::NextBoundary);
                continue;
            }
            let gap = Gap {
                epoch: topic.epoch(),
                from: 0,
                to: 0,
                missed: None,
            };
            self.tell_gap(id, topic.name(), &gap);
            self.mark(slot);
        }
    }

    /// The subscriptions to a topic, in whatever form, without its companion's.
    pub(super) fn readers_of(&self, topic: &Arc<Topic>) -> Vec<(SubId, Format)> {
        let mut readers = Vec::new();
        for number in self.feeds.numbers() {
            let feed = self.feeds.look_at(number);
            if Arc::ptr_eq(&feed.topic, topic) {
                let ids = feed.subscribers.iter();
                readers.extend(ids.map(|id| (*id, feed.format)));
            }
        }
        readers
    }

    /// Writes down what a connection has proposed and is not decided on.
    pub(super) fn save_proposed(&self, slot: u32) -> Vec<SavedProposal> {
        let extra = self.conns.look_at(slot).extra.as_ref();
        let Some(proposed) = extra.and_then(|extra| extra.proposed.as_ref()) else {
            return Vec::new();
        };
        let named = |ticket: &Ticket| {
            let asker = self.proposals.get(&ticket.number);
            let reply = asker.and_then(|asker| asker.reply);
            (ticket.number, reply, ticket.is_overtaken)
        };
        let tickets: Vec<_> = proposed.tickets.iter().map(named).collect();
        self.hub.save_proposals(&tickets)
    }

    /// By what its messages are known, for another process.
    pub(super) fn save_origin(&self, slot: u32) -> Option<Origin> {
        let extra = self.conns.look_at(slot).extra.as_ref()?;
        extra.proposed.as_ref()?.origin
    }

    /// Takes up what a connection has proposed in another process.
    pub(super) fn carry(
        &mut self,
        slot: u32,
        saved: Vec<SavedProposal>,
        origin: Option<Origin>,
    ) -> Result<(), String> {
        if let Some(origin) = origin {
            self.publisher_of(slot);
            let proposed = self.conns.at(slot).extra().proposed.as_mut();
            proposed.expect("it is a publisher").origin = Some(origin);
            self.origins.insert(origin, slot);
            self.hub.cluster().take_up_origin(origin);
        }
        for proposal in saved {
            let (publisher, reply) = (self.publisher_of(slot), proposal.reply);
            let waits = self.waits(slot, reply);
            let by = (publisher, self.origin_of(slot, &waits));
            let ticket = self.hub.carry(proposal, by, waits)?;
            self.note_ticket(slot, ticket, reply);
        }
        Ok(())
    }
}

/// How a command is answered that has published something.
fn said(coding: Coding, id: u32, outcome: &Outcome) -> Vec<u8> {
    match outcome {
        Ok(_) => words::published(coding, id),
        Err(Failure::TooBig(_)) => words::failed(coding, id, centrifugo::Failure::TooBig),
        Err(_) => words::failed(coding, id, centrifugo::Failure::Full),
    }
}
