//! How a session begins to follow a topic: from now on, or from where it was before.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::reactor::State;
use super::subs::SubId;
use crate::log::{Range, Topic};
use crate::protocol::centrifugo::publication;
use crate::protocol::dialect::centrifugo::{Begun, Failure, Place};
use crate::protocol::dialect::session::Special;
use crate::protocol::rights::Action;
use crate::protocol::topic::TopicName;

/// How a subscription is to begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    /// It has seen all up to there.
    pub(super) since: Option<&'a Place>,
    /// It is to fail rather than to begin with a hole.
    pub(super) whole_or_not: bool,
    /// It wants to hear who comes and goes.
    pub(super) joins: bool,
    /// The first message that it has missed is told by the one who asks; the others come
    /// as all do.
    pub(super) first_apart: bool,
}

impl State {
    /// Has a session follow a topic, if that can be: the one way in.
    pub(super) fn follow(
        &mut self,
        slot: u32,
        name: &TopicName,
        special: Option<Special>,
        start: Start<'_>,
    ) -> Result<Begun, Failure> {
        let source = special.as_ref().map(|special| special.source);
        if !self.may_follow(slot, name.as_str(), source) {
            self.metrics().note_denial(Action::Subscribe);
            return Err(Failure::Denied);
        }
        let recoverable = self.may_recover(slot, name.as_str(), source);
        let topic = self.hub.topic(name).map_err(|_| Failure::Full)?;
        if self.follows(slot, &topic) {
            return Err(Failure::AlreadySubscribed);
        }
        if self.topics_of(slot) >= self.hub.settings().topics_per_connection_max {
            return Err(Failure::TooManyTopics);
        }
        // What is refused in any case waits for nothing.
        if self.is_to_wait_for(&topic, start.since.filter(|_| recoverable)) {
            return Err(Failure::Full);
        }
        let since = start.since.filter(|_| recoverable);
        let recovered = since.and_then(|since| self.recover(slot, &topic, since, start));
        let mut begun = match recovered {
            Some(begun) => begun,
            None if start.whole_or_not && start.since.is_some() => {
                return Err(Failure::Unrecoverable);
            }
            None => {
                let next = self.subscribe(slot, topic.clone(), None);
                Begun {
                    epoch: topic.epoch(),
                    offset: next.expect("it did not follow it") - 1,
                    recoverable,
                    was_recovering: false,
                    recovered: false,
                    first: None,
                }
            }
        };
        begun.was_recovering = start.since.is_some();
        if let Some(special) = special {
            let talk = self.talks.get_mut(slot).expect("it has a session");
            talk.session.note(name.as_str(), special);
            self.note_expiry(slot);
        }
        self.come(slot, &topic, start.joins);
        Ok(begun)
    }

    /// It is not known yet what a topic holds, or the cluster has come to a place in it that
    /// this node has not: noted for the command that is under way.
    pub(super) fn is_to_wait_for(&mut self, topic: &Arc<Topic>, since: Option<&Place>) -> bool {
        if !topic.is_shared() {
            return false;
        }
        let is_unknown = !topic.is_known();
        let place = since.filter(|place| is_unknown || place.is_in(topic.epoch()));
        let offset = place.map_or(0, |place| place.offset);
        // Where it has waited in vain it is told to come again: to begin anew would be to hear
        // the same messages twice.
        if is_unknown || offset > topic.newest() {
            self.hub.want(topic);
            // Which epoch a place is of can be seen once the topic is known.
            let offset = if is_unknown { 0 } else { offset };
            self.unknown = Some((topic.clone(), offset));
            return true;
        }
        false
    }

    /// How many topics it follows. One that only waits for the end of a frame to leave it
    /// follows no more.
    fn topics_of(&self, slot: u32) -> usize {
        let conn = self.conns.look_at(slot);
        let is_topic = |id: &SubId| {
            let feed = self.look_at_sub(*id).feed;
            !conn.leaves(*id) && !self.feeds.look_at(feed).format.is_joins()
        };
        let ids = self.subscriptions(slot).into_iter();
        ids.filter(is_topic).count()
    }

    /// Subscribes with all that was missed, if all of that is there.
    fn recover(
        &mut self,
        slot: u32,
        topic: &Arc<Topic>,
        since: &Place,
        start: Start<'_>,
    ) -> Option<Begun> {
        if !since.is_in(topic.epoch()) {
            return None;
        }
        let from = since.offset.saturating_add(1);
        let kept = topic.kept();
        if topic.is_shared() && from < topic.floor(self.hub.retention(topic)) {
            return None;
        }
        if kept.is_some_and(|kept| from < kept.whole_from()) {
            return None;
        }
        // What the store has comes later.
        let is_stored = kept.is_some() && from < topic.held_first();
        let mut first = None;
        let missed = Range {
            from,
            until: u64::MAX,
            reverse: false,
        };
        if start.first_apart && !is_stored {
            topic.visit(missed, self.hub.retention(topic), |message| {
                first = Some(Box::new(publication(message)));
                ControlFlow::Break(())
            });
        }
        let wanted = match &first {
            // In a cluster offsets have gaps.
            Some(first) if first.offset != missed.from && !topic.is_shared() => return None,
            Some(first) => first.offset + 1,
            None => missed.from,
        };
        let begins = self.subscribe(slot, topic.clone(), Some(wanted))?;
        if begins != wanted {
            // What it wants is of another history, or has just been let go of.
            self.unsubscribe(slot, topic);
            return None;
        }
        Some(Begun {
            epoch: topic.epoch(),
            offset: since.offset,
            recoverable: true,
            was_recovering: true,
            recovered: true,
            first,
        })
    }
}
