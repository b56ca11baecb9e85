//! What connections may do: asked once for each thing that a peer wants, and for all of them
//! when rules change.

use std::sync::Arc;

use super::closing::How;
use super::conn::{Flags, Phase};
use super::reactor::State;
use crate::log::Topic;
use crate::protocol::dialect::centrifugo::{Ending, Failure};
use crate::protocol::dialect::session::Source;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::{Action, Denied};
use crate::protocol::topic::TopicName;

impl State {
    /// Whether the connection in a slot may do `action` with a topic.
    pub(super) fn may(&self, slot: u32, action: Action, topic: &str) -> Result<(), Denied> {
        let rights = self.conns.look_at(slot).rights();
        let rights = rights.map(|rights| &**rights);
        self.hub.rules().may(rights, action, topic)
    }

    /// Whether a session may do `action` with a topic; counted if not.
    pub(super) fn allow(
        &self,
        slot: u32,
        action: Action,
        topic: &TopicName,
    ) -> Result<(), Failure> {
        let may = self.may(slot, action, topic.as_str());
        may.map_err(|_| {
            self.metrics().note_denial(action);
            Failure::Denied
        })
    }

    /// Whether a session may have a subscription from that source.
    pub(super) fn may_follow(&self, slot: u32, topic: &str, source: Option<Source>) -> bool {
        self.may_by(slot, Action::Subscribe, topic, source)
    }

    /// Whether it may hear with that what it has missed.
    pub(super) fn may_recover(&self, slot: u32, topic: &str, source: Option<Source>) -> bool {
        self.may_by(slot, Action::History, topic, source)
    }

    /// A token that names a topic is as good as a rule, unless one says nobody. What the
    /// server API asks for is not asked about.
    fn may_by(&self, slot: u32, action: Action, topic: &str, source: Option<Source>) -> bool {
        match source {
            None => self.may(slot, action, topic).is_ok(),
            Some(Source::Token | Source::ConnectionToken) => {
                !self.hub.rules().forbid(action, topic)
            }
            Some(Source::Api) => true,
        }
    }

    /// Looks again at everybody, where rules have changed or may be other ones than where the
    /// connections come from.
    pub(super) fn look_at_rights(&mut self) {
        let changes = Some(self.hub.rights_changes());
        if changes == self.rights_seen {
            return;
        }
        self.rights_seen = changes;
        let slots: Vec<u32> = self.conns.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if self.conns.at(slot).phase == Phase::Open {
                self.look_at_rights_of(slot);
            }
        }
    }

    /// Why a client of an app cannot stay one, if it cannot.
    fn parts_from_app(&self, slot: u32) -> Option<CloseReason> {
        let talk = self.talks.get(slot)?;
        let own = talk.own.as_ref()?;
        let Some(app) = self.hub.settings().app_by_key(&own.key) else {
            return Some(CloseReason::AppUnknown);
        };
        let user = own.user_in(app);
        let is_known_so = user.is_none_or(|user| user == talk.session.user());
        let topics = self.followed(slot);
        let are_channels = topics.iter().all(|topic| app.has_topic(topic.name()));
        // With another prefix its channels are other topics than those that it follows.
        (!is_known_so || !are_channels).then_some(CloseReason::InsufficientState)
    }

    /// Ends what a connection may not hear any more: of a session the subscriptions, else
    /// the connection.
    pub(super) fn look_at_rights_of(&mut self, slot: u32) {
        if let Some(reason) = self.parts_from_app(slot) {
            return self.close(slot, reason, How::NextBoundary);
        }
        let topics = self.followed(slot);
        if self.talks.has(slot) {
            for topic in &topics {
                let source = self.source(slot, topic.name());
                if !self.may_follow(slot, topic.name(), source) {
                    self.metrics().note_denial(Action::Subscribe);
                    self.end_subscription(slot, topic, Ending::Denied);
                }
            }
            self.note_expiry(slot);
            return self.look_at_presence_of(slot);
        }
        let Some(topic) = topics.first() else { return };
        let may_hear = |topic: &Arc<Topic>| self.may(slot, Action::Subscribe, topic.name()).is_ok();
        if !topics.iter().all(may_hear) {
            self.metrics().note_denial(Action::Subscribe);
            return self.close(slot, CloseReason::Denied, How::NextBoundary);
        }
        let may_publish = self.may(slot, Action::Publish, topic.name()).is_ok();
        let chat = self.hub.policy(topic).chat;
        let dialect = self.conns.look_at(slot).dialect;
        let read_only = !dialect.may_speak(may_publish, chat);
        let flags = &mut self.conns.at(slot).flags;
        match read_only {
            true => flags.set(Flags::READ_ONLY),
            false => flags.clear(Flags::READ_ONLY),
        }
    }
}
