//! Who is there: the clients of sessions stand in the lists of the topics that they follow,
//! where these have lists, and may ask for them.

use std::sync::Arc;

use super::reactor::State;
use crate::hub::Numbers;
use crate::log::Topic;
use crate::protocol::centrifugo::ClientInfo;
use crate::protocol::dialect::centrifugo::Failure;
use crate::protocol::encoding::Format;
use crate::protocol::rights::Action;
use crate::protocol::topic::TopicName;

impl State {
    /// A session's client follows a topic.
    pub(super) fn appear(&self, slot: u32, topic: &Topic) {
        if let Some(talk) = self.talks.get(&slot)
            && self.hub.policy(topic).presence_list
        {
            let (client, info) = (talk.session.client(), talk.info.clone());
            self.hub.presence().join(topic.name(), client, info);
        }
    }

    /// A session's client follows a topic no more.
    pub(super) fn disappear(&self, slot: u32, topic: &Topic) {
        if let Some(talk) = self.talks.get(&slot) {
            let client = talk.session.client();
            self.hub.presence().leave(topic.name(), client);
        }
    }

    /// Puts a session's client into the lists that there are now, and out of those that there
    /// are no more, where settings have changed.
    pub(super) fn look_at_presence_of(&self, slot: u32) {
        if !self.talks.contains_key(&slot) {
            return;
        }
        for id in self.subscriptions(slot) {
            if self.conns.look_at(slot).leaves(id) {
                continue;
            }
            let topic = &self.feeds.look_at(self.look_at_sub(id).feed).topic;
            match self.hub.policy(topic).presence_list {
                true => self.appear(slot, topic),
                false => self.disappear(slot, topic),
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
        if !self.hub.policy_named(topic.as_str()).presence_list {
            return Err(Failure::NotKnown);
        }
        Ok(self.hub.presence().list(topic.as_str()))
    }

    /// How many clients follow a topic. Of users only those that are listed are known.
    pub(super) fn occupancy(&self, slot: u32, topic: &TopicName) -> Result<Numbers, Failure> {
        self.allow(slot, Action::Presence, topic)?;
        let name = topic.as_str();
        if self.hub.policy_named(name).presence_list {
            return Ok(self.hub.presence().numbers(name));
        }
        let topic = self.hub.find_topic(name);
        let clients = topic.map_or(0, |topic| topic.subscribers(Format::is_push));
        Ok(Numbers {
            clients: usize::try_from(clients).unwrap_or(usize::MAX),
            users: 0,
        })
    }
}
