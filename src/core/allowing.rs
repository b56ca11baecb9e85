//! What connections may do: asked once for each thing that a peer wants, and for all of them
//! when rules change.

use super::closing::How;
use super::conn::{Flags, Phase};
use super::reactor::State;
use crate::protocol::dialect::centrifugo::Failure;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::{Action, Denied};
use crate::protocol::topic::TopicName;

impl State {
    /// Whether the connection in a slot may do `action` with a topic.
    pub(super) fn may(&self, slot: u32, action: Action, topic: &str) -> Result<(), Denied> {
        let rights = self.conns.look_at(slot).rights();
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

    /// Looks again at everybody, where rules have changed. Those who may not hear one of
    /// their topics any more are closed.
    pub(super) fn look_at_rights(&mut self) {
        let changes = self.hub.rights_changes();
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

    fn look_at_rights_of(&mut self, slot: u32) {
        let names = self.subscriptions(slot).into_iter().map(|id| {
            let feed = self.look_at_sub(id).feed;
            self.feeds.look_at(feed).topic.name().clone()
        });
        let names: Vec<_> = names.collect();
        let denied = |name: &&std::sync::Arc<str>| self.may(slot, Action::Subscribe, name).is_err();
        if names.iter().any(|name| denied(&name)) {
            self.metrics().note_denial(Action::Subscribe);
            return self.close(slot, CloseReason::Denied, How::NextBoundary);
        }
        self.look_at_presence_of(slot);
        // Of those with a session each publication is asked about.
        let Some(name) = names.first() else { return };
        let may_publish = self.may(slot, Action::Publish, name).is_ok();
        let chat = self.hub.policy_named(name).chat;
        let dialect = self.conns.look_at(slot).dialect;
        let read_only = !dialect.may_speak(may_publish, chat);
        let flags = &mut self.conns.at(slot).flags;
        match read_only {
            true => flags.set(Flags::READ_ONLY),
            false => flags.clear(Flags::READ_ONLY),
        }
    }
}
