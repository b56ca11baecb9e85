//! What backends have ordered to be done with the connections of a user: this core's part.

use super::beginning::Start;
use super::closing::How;
use super::conn::Phase;
use super::reactor::State;
use super::talk::Talk;
use super::users::Underway;
use crate::hub::{Act, Order, Ordered, Task, Whom};
use crate::protocol::centrifugo::Data;
use crate::protocol::dialect::centrifugo::{Ending, Failure, words};
use crate::protocol::dialect::session::Special;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::TokenFault;
use crate::protocol::topic::TopicName;

/// Connections that are dealt with in one round of a turn: a user may have any number of
/// them, and others are not to wait for all.
const ROUND_CONNECTIONS_MAX: usize = 256;

impl State {
    /// Carries out what has been ordered, up to a bound. Orders are carried out one after
    /// the other.
    pub(super) fn carry_out_orders(&mut self) {
        for task in self.hub.mailbox(self.core).take_orders() {
            let ordered = match task {
                Task::Order(ordered) => ordered,
                Task::Checked(checked) => {
                    self.take_verdict(checked);
                    continue;
                }
                Task::Past(answer) => {
                    self.take_past(answer);
                    continue;
                }
                Task::Older(answer) => {
                    self.take_older(answer);
                    continue;
                }
                Task::Settled(ticket, outcome) => {
                    self.take_outcome(ticket, outcome);
                    continue;
                }
                Task::Forget(ticket) => {
                    self.forget_ticket(ticket);
                    continue;
                }
                Task::Hurry(topic) => {
                    self.hurry_topic(&topic);
                    continue;
                }
                Task::End(topic) => {
                    self.part_with(&topic);
                    continue;
                }
                Task::MissJoin(companion) => {
                    self.miss_join(&companion);
                    continue;
                }
                Task::Follow(delivery) => {
                    self.follow_delivery(delivery);
                    continue;
                }
            };
            let slots = match &ordered.order.whom.user {
                Some(user) => self.users.of(user),
                None => self.users.all(),
            };
            self.orders.push_back(Underway {
                ordered,
                slots: slots.into(),
            });
        }
        let mut left = ROUND_CONNECTIONS_MAX;
        while let Some(mut underway) = self.orders.pop_front() {
            while left > 0
                && let Some(slot) = underway.slots.pop_front()
            {
                left -= 1;
                let Ordered { order, failures } = &underway.ordered;
                if let Err(failure) = self.carry_out(slot, order) {
                    // Who has given the order may have stopped waiting.
                    let _ = failures.send(failure);
                }
            }
            if !underway.slots.is_empty() {
                return self.orders.push_front(underway);
            }
        }
    }

    fn carry_out(&mut self, slot: u32, order: &Order) -> Result<(), Failure> {
        // It may have ended meanwhile, or be another's.
        let open = self.conns.get_mut(slot);
        if !open.is_some_and(|conn| conn.phase == Phase::Open) || !self.is_meant(slot, &order.whom)
        {
            return Ok(());
        }
        if let Act::Disconnect { farewell } = &order.act {
            self.disconnect(slot, farewell.clone());
            return Ok(());
        }
        let is_connected = |talk: &Talk| talk.session.is_connected();
        if !self.talks.get(slot).is_some_and(is_connected) {
            return Ok(());
        }
        match &order.act {
            Act::Subscribe {
                topic,
                special,
                data,
                since,
            } => {
                if self.conns.at(slot).dialect.coding().is_none() {
                    // No word of its protocol says so: it would hear what it has not asked for.
                    // Of a user it is one connection of several, which need not be the same.
                    return match order.whom.client {
                        Some(_) => Err(Failure::NotOffered),
                        None => Ok(()),
                    };
                }
                let start = Start {
                    since: since.as_ref(),
                    whole_or_not: false,
                    joins: false,
                    first_apart: false,
                };
                let data = data.clone();
                return self.begin_as_ordered(slot, topic, special, data, start);
            }
            Act::Unsubscribe { topic } => {
                if let Some(topic) = self.hub.find_topic(topic.as_str()) {
                    self.end_subscription(slot, &topic, Ending::Asked);
                    self.note_expiry(slot);
                }
            }
            Act::Refresh { expires_s, info } => {
                self.set_expiry(slot, *expires_s, info.clone());
            }
            Act::Expire => {
                let reason = CloseReason::Token(TokenFault::Expired);
                self.close(slot, reason, How::NextBoundary);
            }
            Act::Disconnect { .. } => unreachable!("that is done"),
        }
        Ok(())
    }

    fn is_meant(&self, slot: u32, whom: &Whom) -> bool {
        let Some(user) = self.user_of(slot) else {
            return false;
        };
        let talk = self.talks.get(slot);
        let client = talk.map(|talk| talk.session.client().number());
        let rights = self.conns.look_at(slot).rights();
        let app = talk.and_then(|talk| Some(&*talk.own.as_ref()?.key));
        let id = rights.and_then(|rights| rights.id.as_deref());
        let issued_s = rights.map_or(0, |rights| rights.issued_s);
        whom.user.as_deref().is_none_or(|wanted| wanted == user)
            && whom.app.as_deref().is_none_or(|wanted| app == Some(wanted))
            && whom.client.is_none_or(|wanted| client == Some(wanted))
            && whom.id.as_deref().is_none_or(|wanted| id == Some(wanted))
            && whom.not_before_s.is_none_or(|time_s| issued_s < time_s)
            && !client.is_some_and(|client| whom.spared.contains(&client))
    }

    fn begin_as_ordered(
        &mut self,
        slot: u32,
        topic: &TopicName,
        special: &Special,
        data: Option<Data>,
        start: Start<'_>,
    ) -> Result<(), Failure> {
        let begun = match self.follow(slot, topic, Some(special.clone()), start) {
            Ok(begun) => begun,
            // It hears the topic, which is what was wanted.
            Err(Failure::AlreadySubscribed) => return Ok(()),
            Err(failure) if self.unknown.take().is_some() => return Err(failure),
            Err(failure) => return Err(failure),
        };
        let now_s = self.hub.unix_s();
        let result = words::begun(begun, special.expires_s, data, now_s);
        if let Some(coding) = self.conns.at(slot).dialect.coding() {
            self.push(
                slot,
                &words::begun_by_server(coding, topic.as_str(), &result),
            );
        }
        Ok(())
    }

    fn set_expiry(&mut self, slot: u32, expires_s: Option<u64>, info: Option<Box<str>>) {
        let talk = self.talks.get_mut(slot).expect("it has a session");
        talk.session.set_expiry(expires_s, info);
        self.show_anew(slot);
        self.note_expiry(slot);
        let now_s = self.hub.unix_s();
        if let Some(coding) = self.conns.at(slot).dialect.coding() {
            self.push(slot, &words::refreshed_by_server(coding, expires_s, now_s));
        }
    }
}
