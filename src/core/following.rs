//! What connections follow: subscribing to topics, leaving them, and finding where
//! a connection stands.

use std::sync::Arc;

use super::conn::{Flags, Phase, Piece};
use super::feeds::{Seat, Since};
use super::reactor::{Reactor, State};
use super::subs::{SubId, Subscription};
use crate::log::{OutOfReach, Topic};
use crate::protocol::encoding::Format;
use crate::ring::Ring;

impl<R: Ring> Reactor<R> {
    /// The connection in a slot may follow topics, and leave them.
    pub fn is_open(&mut self, slot: u32) -> bool {
        let conn = self.state.conns.get_mut(slot);
        conn.is_some_and(|conn| conn.phase == Phase::Open)
    }

    /// Has an open connection follow one more topic, from now on or from an
    /// offset on. Returns the offset of the first message that it gets; `None` if
    /// it follows the topic already.
    pub fn subscribe(&mut self, slot: u32, topic: Arc<Topic>, since: Option<u64>) -> Option<u64> {
        self.state.subscribe(slot, topic, since)
    }

    /// Has a connection follow a topic no more; false if it did not.
    pub fn unsubscribe(&mut self, slot: u32, topic: &Arc<Topic>) -> bool {
        self.state.unsubscribe(slot, topic)
    }
}

impl State {
    /// Gives a connection its first subscription, and says with which offset it
    /// begins.
    pub(super) fn subscribe_first(&mut self, slot: u32, topic: Arc<Topic>, since: Since) -> u64 {
        let format = self.format_of(slot, &topic);
        self.take_part(SubId::first(slot), topic, format, since)
    }

    /// What a connection reads of a topic.
    fn format_of(&mut self, slot: u32, topic: &Topic) -> Format {
        let deflate = self.hub.policy(topic).deflate;
        let conn = self.conns.at(slot);
        conn.dialect
            .format(if deflate { conn.window_bits } else { 0 })
    }

    /// See [`Reactor::subscribe`].
    pub(super) fn subscribe(
        &mut self,
        slot: u32,
        topic: Arc<Topic>,
        since: Option<u64>,
    ) -> Option<u64> {
        let format = self.format_of(slot, &topic);
        self.subscribe_to(slot, topic, format, since)
    }

    /// The same for a topic, or a companion, that is to be read in `format`.
    pub(super) fn subscribe_to(
        &mut self,
        slot: u32,
        topic: Arc<Topic>,
        format: Format,
        since: Option<u64>,
    ) -> Option<u64> {
        let since = since.map_or(Since::Now, Since::Offset);
        if self.find(slot, &topic).is_some() {
            return None;
        }
        let conn = self.conns.at(slot);
        let id = if conn.sub.is_seated() {
            conn.flags.set(Flags::MANY);
            let many = conn.attend().many.get_or_insert_default();
            let id = self.subs.add(&mut many.list, slot);
            // From now on only the ready-ring is looked at.
            self.make_ready(slot, SubId::first(slot));
            id
        } else {
            SubId::first(slot)
        };
        let offset = self.take_part(id, topic, format, since);
        self.make_ready(slot, id);
        self.mark(slot);
        Some(offset)
    }

    /// See [`Reactor::unsubscribe`].
    pub(super) fn unsubscribe(&mut self, slot: u32, topic: &Arc<Topic>) -> bool {
        let Some(id) = self.find(slot, topic) else {
            return false;
        };
        self.quit(slot, id);
        true
    }

    /// Ends a subscription.
    pub(super) fn quit(&mut self, slot: u32, id: SubId) {
        if self.has_begun(slot, id) {
            // The frame that is under way is not cut: it leaves behind that.
            self.conns.at(slot).attend().leaving.push(id);
        } else {
            self.leave(slot, id);
        }
        self.mark(slot);
    }

    /// A connection is being sent from a subscription's log, or stands inside one
    /// of its frames.
    fn has_begun(&self, slot: u32, id: SubId) -> bool {
        let conn = self.conns.look_at(slot);
        let current = conn.current(slot) == id;
        let run = conn.flags.any(Flags::SENDING_RUN | Flags::MID_FRAME) && current;
        let sending = conn.extra.iter().flat_map(|extra| &extra.sending);
        let of = |piece: &Piece| matches!(piece, Piece::Run { id: of, .. } if *of == id);
        run || self.has_begun_record(slot, id) || sending.into_iter().any(of)
    }

    /// Lets a connection leave what it wanted to once no frame of it is under way.
    pub(super) fn settle_leaving(&mut self, slot: u32) {
        let Some(extra) = &mut self.conns.at(slot).extra else {
            return;
        };
        for id in std::mem::take(&mut extra.leaving) {
            let sub = *self.look_at_sub(id);
            let window = &self.feeds.look_at(sub.feed).window;
            let at_boundary =
                window.boundary(sub.cursor).0 == sub.cursor && !self.has_begun_record(slot, id);
            if at_boundary || !self.has_begun(slot, id) {
                self.leave(slot, id);
            } else {
                self.conns.at(slot).attend().leaving.push(id);
            }
        }
    }

    /// Seats a subscription, and returns the offset of the first message it gets.
    fn take_part(&mut self, id: SubId, topic: Arc<Topic>, format: Format, since: Since) -> u64 {
        let policy = self.hub.policy(&topic);
        // Asked for before it is seated: what comes meanwhile it gets as well.
        let newest = match since {
            Since::Now if policy.latest => topic.newest(),
            _ => 0,
        };
        let since = match newest {
            0 => since,
            newest => Since::Offset(newest),
        };
        let retention = &policy.retention;
        let mut seat = self
            .feeds
            .join(self.core, topic.clone(), format, id, since, retention);
        if seat.is_first && !format.is_joins() {
            self.hub.note_readers(&topic);
        }
        let (offset, further) = (seat.offset, seat.further.take());
        if offset == newest {
            self.metrics().latest_given.add(1);
        }
        self.take_seat(id, seat);
        match further {
            None => {}
            Some(OutOfReach::Raw(raw)) => self.reach_back(id, raw),
            Some(OutOfReach::Stored(since)) => self.catch_up(id, since),
        }
        offset
    }

    pub(super) fn take_seat(&mut self, id: SubId, seat: Seat) {
        *self.sub_mut(id) = Subscription {
            cursor: seat.cursor,
            feed: seat.feed,
            place: seat.place,
        };
    }

    /// Puts a subscription into its connection's ready-ring, if it has one.
    pub(super) fn make_ready(&mut self, slot: u32, id: SubId) {
        let conn = self.conns.at(slot);
        if conn.flags.any(Flags::MANY) {
            conn.make_ready(id, &mut self.subs);
        }
    }

    /// A connection leaves all that it follows.
    pub(super) fn leave_topics(&mut self, slot: u32) {
        for id in self.subscriptions(slot) {
            self.leave(slot, id);
        }
    }

    /// A connection leaves one of its topics.
    pub(super) fn leave(&mut self, slot: u32, id: SubId) {
        if !self.together(slot).is_empty() {
            let place = self.place(id);
            self.streams.note_left(slot, id, place);
        }
        if self.has_begun_record(slot, id) {
            self.settle_record(slot);
        }
        self.stop_reaching(id);
        self.drop_stored_history(id);
        self.lose_follower(id);
        self.give_up_seat(id);
        let conn = self.conns.at(slot);
        if conn.current(slot) == id {
            conn.flags.clear(Flags::MID_FRAME);
        }
        conn.flags.clear(match id.slot() {
            Some(_) => Flags::READY,
            None => 0,
        });
        let Some(extra) = conn.extra.as_deref_mut() else {
            return;
        };
        extra.lane.forget(id);
        extra.own.retain(|(own, _)| *own != id);
        extra.leaving.retain(|leaving| *leaving != id);
        if let Some(drain) = &mut extra.drain {
            drain.until.retain(|(owed, _)| *owed != id);
        }
        let Some(many) = extra.many.as_deref_mut() else {
            return;
        };
        many.ready.retain(|ready| *ready != id);
        many.current = many.current.filter(|current| *current != id);
        if id.slot().is_none() {
            self.subs.remove(&mut many.list, id);
        }
    }

    /// Takes a subscription from the subscribers of its feed.
    pub(super) fn give_up_seat(&mut self, id: SubId) {
        let sub = self.sub_mut(id);
        let (feed, place) = (sub.feed, sub.place);
        sub.place = Subscription::NONE.place;
        let left = self.feeds.leave(self.core, feed, place, id);
        if left.rested_until_us > 0 {
            self.resting.remove(left.rested_until_us, feed);
        }
        if let Some(topic) = left.emptied {
            self.hub.note_readers(&topic);
        }
        if let Some(moved) = left.moved {
            self.sub_mut(moved).place = place;
            if left.missed {
                let owner = self.subs.owner(moved);
                self.make_ready(owner, moved);
                self.mark(owner);
            }
        }
    }

    pub(super) fn follows(&self, slot: u32, topic: &Arc<Topic>) -> bool {
        self.find(slot, topic).is_some()
    }

    /// A connection's subscription to a topic. One that only waits for the end of
    /// a frame to leave is none any more.
    pub(super) fn find(&self, slot: u32, topic: &Arc<Topic>) -> Option<SubId> {
        let conn = self.conns.look_at(slot);
        let mut ids = self.subscriptions(slot).into_iter();
        ids.find(|id| {
            let feed = self.look_at_sub(*id).feed;
            Arc::ptr_eq(&self.feeds.look_at(feed).topic, topic) && !conn.leaves(*id)
        })
    }

    /// A connection's subscription to the topic with that number, see [`Topic::id`].
    pub(super) fn find_by_id(&self, slot: u32, topic: u64) -> Option<SubId> {
        let is_to = |id: &SubId| {
            let feed = self.look_at_sub(*id).feed;
            self.feeds.look_at(feed).topic.id() == topic
        };
        let conn = self.conns.look_at(slot);
        let first = Some(SubId::first(slot)).filter(|_| conn.sub.is_seated());
        first
            .filter(is_to)
            .or_else(|| self.subscriptions(slot).into_iter().find(is_to))
    }

    /// All subscriptions of a connection that have a seat.
    pub(super) fn subscriptions(&self, slot: u32) -> Vec<SubId> {
        let conn = self.conns.look_at(slot);
        let first = conn.sub.is_seated().then_some(SubId::first(slot));
        let further = conn.many().into_iter();
        let further = further.flat_map(|many| self.subs.iter(&many.list));
        first.into_iter().chain(further).collect()
    }

    #[inline]
    pub(super) fn look_at_sub(&self, id: SubId) -> &Subscription {
        match id.slot() {
            Some(slot) => &self.conns.look_at(slot).sub,
            None => self.subs.get(id),
        }
    }

    #[inline]
    pub(super) fn sub_mut(&mut self, id: SubId) -> &mut Subscription {
        match id.slot() {
            Some(slot) => &mut self.conns.at(slot).sub,
            None => self.subs.get_mut(id),
        }
    }
}
