//! Who is there: the clients of sessions stand in the lists of the topics that they follow,
//! where these have lists. Who comes and goes is told by one message in the topic's
//! companion, which those who are to hear of it follow beside the topic.

use std::sync::Arc;

use super::closing::How;
use super::conn::Phase;
use super::reactor::State;
use super::subs::SubId;
use crate::config::Joins;
use crate::hub::{Crowded, Numbers};
use crate::log::Topic;
use crate::protocol::centrifugo::{ClientInfo, Membership, membership};
use crate::protocol::dialect::centrifugo::Failure;
use crate::protocol::encoding::Format;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::Action;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::Payload;

impl State {
    /// A session's client has subscribed to a topic. It hears who comes from itself on, if it
    /// is to hear that: `asks` says whether it wants to.
    pub(super) fn come(&mut self, slot: u32, topic: &Arc<Topic>, asks: bool) {
        self.hear_joins(slot, topic, asks);
        self.come_in(slot, topic);
    }

    /// It stands in the topic's list from now on, and others are told so. Returns the number of
    /// that change, if there is a list.
    pub(super) fn come_in(&mut self, slot: u32, topic: &Topic) -> Option<u64> {
        let come_in = self.come_in_within(slot, topic, usize::MAX);
        come_in.expect("there is room for everybody")
    }

    /// The same where there are fewer users than so many, or it is one of them.
    pub(super) fn come_in_within(
        &mut self,
        slot: u32,
        topic: &Topic,
        users_max: usize,
    ) -> Result<Option<u64>, Crowded> {
        let Some(talk) = self.talks.get(slot) else {
            return Ok(None);
        };
        let client = talk.session.client().number();
        let hub = self.hub.clone();
        let info = hub.lists(topic).then(|| talk.info_in(topic.name()));
        hub.appear(topic, client, info, users_max, |is_first| {
            self.hub
                .note_member(topic, true, is_first, || self.user_in(slot, topic));
            self.tell_membership(slot, topic, Membership::joins(is_first));
        })
    }

    /// It stands there no more, and others are told so if they are to be.
    fn go_out(&mut self, slot: u32, topic: &Topic, is_told: bool) {
        let Some(talk) = self.talks.get(slot) else {
            return;
        };
        let (client, hub) = (talk.session.client().number(), self.hub.clone());
        hub.disappear(topic, client, |is_last| {
            if is_told {
                self.hub
                    .note_member(topic, false, is_last, || self.user_in(slot, topic));
                self.tell_membership(slot, topic, Membership::leaves(is_last));
            }
        });
    }

    /// Whose session it is for those who follow a topic.
    fn user_in(&self, slot: u32, topic: &Topic) -> Box<str> {
        let talk = self.talks.at(slot);
        talk.info_in(topic.name()).user.as_str().into()
    }

    /// A session's client follows a topic no more.
    pub(super) fn go(&mut self, slot: u32, topic: &Topic) {
        if let Some(id) = self.find_companion(slot, topic.name()) {
            self.quit(slot, id);
        }
        self.go_out(slot, topic, true);
        self.forget(slot, topic);
    }

    /// A session ends with all that it follows.
    pub(super) fn go_from_all(&mut self, slot: u32) {
        // Nobody is told that one has left: the server itself is closing.
        let is_told = !self.hub.is_stopping();
        let mut topics = self.followed(slot);
        topics.extend(self.joiners.topics_of(slot).cloned());
        for topic in topics {
            self.joiners.remove(slot, &topic);
            self.go_out(slot, &topic, is_told);
        }
    }

    /// A session's subscription that has a gap ends, with its companion; or the other way round.
    pub(super) fn end_at_gap(&mut self, slot: u32, id: SubId) {
        let name = self.topic_of(id).name().clone();
        // There may be another one of that name by now.
        let mut followed = self.followed(slot).into_iter();
        let topic = followed.find(|topic| *topic.name() == name);
        self.leave(slot, id);
        for other in self.subscriptions(slot) {
            let ends = self.topic_of(other).name() == &name;
            if ends && !self.conns.look_at(slot).leaves(other) {
                self.quit(slot, other);
            }
        }
        if let Some(topic) = topic {
            self.go_out(slot, &topic, true);
            self.forget(slot, &topic);
        }
    }

    /// Nothing is special about a session's subscription any more, which has ended.
    pub(super) fn forget(&mut self, slot: u32, topic: &Topic) {
        if let Some(talk) = self.talks.get_mut(slot) {
            talk.session.forget(topic.name());
        }
    }

    /// The topics that a connection follows, without companions and those that it is leaving.
    pub(super) fn followed(&self, slot: u32) -> Vec<Arc<Topic>> {
        let conn = self.conns.look_at(slot);
        let ids = self.subscriptions(slot).into_iter();
        let feeds = ids
            .filter(|id| !conn.leaves(*id))
            .map(|id| self.feeds.look_at(self.look_at_sub(id).feed));
        let topics = feeds.filter(|feed| !feed.format.is_joins());
        topics.map(|feed| feed.topic.clone()).collect()
    }

    /// A session's client stands in a topic's list from now on, if that has one.
    pub(super) fn appear(&self, slot: u32, topic: &Topic) {
        if let Some(talk) = self.talks.get(slot) {
            let is_listed = self.hub.lists(topic);
            if is_listed || topic.is_shared() {
                let client = talk.session.client().number();
                let info = is_listed.then(|| talk.info_in(topic.name()));
                let appears = self.hub.appear(topic, client, info, usize::MAX, |_| {});
                appears.expect("there is room for everybody");
            }
        }
    }

    fn disappear(&self, slot: u32, topic: &Topic) {
        if let Some(talk) = self.talks.get(slot) {
            let client = talk.session.client().number();
            self.hub.disappear(topic, client, |_| {});
        }
    }

    /// Gives a session what it is to have where settings have changed: its place in lists, and
    /// who comes and goes.
    pub(super) fn look_at_presence_of(&mut self, slot: u32) {
        if !self.talks.has(slot) {
            return;
        }
        for topic in self.followed(slot) {
            match self.hub.policy(&topic).presence_list {
                true => self.appear(slot, &topic),
                false if topic.is_shared() => self.appear(slot, &topic),
                false => self.disappear(slot, &topic),
            }
            if self.conns.at(slot).dialect.joins_format().is_none() {
                // It hears who comes and goes by what the topic is.
                continue;
            }
            let heard = self.find_companion(slot, topic.name());
            match heard {
                Some(id) if !self.is_to_hear_joins(slot, &topic, true) => self.quit(slot, id),
                Some(_) => {}
                None => self.hear_joins(slot, &topic, false),
            }
        }
    }

    fn is_to_hear_joins(&self, slot: u32, topic: &Topic, asks: bool) -> bool {
        match self.hub.policy(topic).joins {
            Joins::Nobody => false,
            Joins::WhoAsks => asks && self.may(slot, Action::Presence, topic.name()).is_ok(),
            Joins::Everybody => true,
        }
    }

    fn hear_joins(&mut self, slot: u32, topic: &Topic, asks: bool) {
        let format = self.conns.at(slot).dialect.joins_format();
        if let Some(format) = format
            && self.is_to_hear_joins(slot, topic, asks)
        {
            let companion = self.hub.companion(topic.name());
            self.subscribe_to(slot, companion, format, None);
        }
    }

    /// A connection's subscription to the companion of the topic with this name.
    fn find_companion(&self, slot: u32, name: &str) -> Option<SubId> {
        let mut ids = self.subscriptions(slot).into_iter();
        ids.find(|id| {
            let feed = self.feeds.look_at(self.look_at_sub(*id).feed);
            feed.format.is_joins()
                && **feed.topic.name() == *name
                && !self.conns.look_at(slot).leaves(*id)
        })
    }

    fn topic_of(&self, id: SubId) -> &Arc<Topic> {
        &self.feeds.look_at(self.look_at_sub(id).feed).topic
    }

    /// Tells who is to hear of it that a session's client has come, or gone.
    fn tell_membership(&mut self, slot: u32, topic: &Topic, what: Membership) {
        if self.hub.policy(topic).joins == Joins::Nobody {
            return;
        }
        let Some(talk) = self.talks.get(slot) else {
            return;
        };
        let companion = self.hub.find_companion(topic.name());
        let heard = |companion: &Arc<Topic>| {
            let heard = companion.subscribers(Format::is_joins) > 0;
            // Somebody may be about to who has come to a channel of an app.
            heard || self.hub.rules().channel(topic.name()).is_some()
        };
        let Some(companion) = companion.filter(heard) else {
            return;
        };
        let payload = membership(what, &talk.info_in(topic.name()));
        let told = self.seek_room(&companion, |state| {
            state.append(&companion, false, Payload::Whole(&payload), None)
        });
        if told.is_err() {
            // Whoever comes or goes does not wait for room.
            self.metrics().joins_lost.add(1);
            return self.hub.lose_join(&companion);
        }
        self.metrics().joins.add(1);
        self.hub.announce(&companion, None);
        // Who comes and goes again and again is as fast as those who hear of it.
        self.published_bytes += payload.len() as u64;
        if let Some(talk) = self.talks.get_mut(slot) {
            talk.published_to = Some(companion);
        }
    }

    /// Who hears a companion has missed somebody. Clients of apps keep lists by what they hear:
    /// they are to come back.
    pub(super) fn miss_join(&mut self, companion: &Arc<Topic>) {
        for (id, format) in self.readers_of(companion) {
            let slot = self.subs.owner(id);
            if format == Format::JoinsPusher && self.conns.look_at(slot).phase == Phase::Open {
                self.close(slot, CloseReason::InsufficientState, How::NextBoundary);
            }
        }
    }

    /// The clients that follow a topic.
    pub(super) fn members(
        &self,
        slot: u32,
        topic: &TopicName,
    ) -> Result<Arc<[ClientInfo]>, Failure> {
        self.allow(slot, Action::Presence, topic)?;
        self.hub.members(topic).ok_or(Failure::NotKnown)
    }

    /// How many clients follow a topic.
    pub(super) fn occupancy(&self, slot: u32, topic: &TopicName) -> Result<Numbers, Failure> {
        self.allow(slot, Action::Presence, topic)?;
        Ok(self.hub.occupancy(topic))
    }
}
