//! What connections may do: asked once for each thing that a peer wants, and for all of them
//! when rules change.

use super::closing::How;
use super::conn::{Flags, Phase};
use super::reactor::State;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::{Action, Denied};

impl State {
    /// Whether the connection in a slot may do `action` with a topic.
    pub(super) fn may(&self, slot: u32, action: Action, topic: &str) -> Result<(), Denied> {
        let rights = self.conns.look_at(slot).rights();
        self.hub.rules().may(rights, action, topic)
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
            return self.close(slot, CloseReason::Denied, How::NextBoundary);
        }
        // Of those with a session each publication is asked about.
        let Some(name) = names.first() else { return };
        let read_only = self.may(slot, Action::Publish, name).is_err();
        let flags = &mut self.conns.at(slot).flags;
        match read_only {
            true => flags.set(Flags::READ_ONLY),
            false => flags.clear(Flags::READ_ONLY),
        }
    }
}
