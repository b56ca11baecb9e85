//! Subscribers that fall behind: too far, for too long, or where memory is short
//! the one that keeps most of it.

use super::closing::How;
use super::conn::{Flags, Phase};
use super::lane::LANE_BYTES_MAX;
use super::reactor::State;
use super::subs::SubId;
use crate::config::LagPolicy;
use crate::protocol::dialect::{AtGap, Gap};
use crate::protocol::reason::CloseReason;

/// Whether a subscriber is cut for the memory that it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Sought,
    NotSought,
}

impl State {
    /// How far a connection is behind, over all that it follows.
    pub(super) fn behind_bytes(&self, slot: u32) -> u64 {
        let behind = |id: SubId| {
            let sub = self.look_at_sub(id);
            let end = self.feeds.look_at(sub.feed).window.end();
            end.saturating_sub(sub.cursor)
        };
        self.subscriptions(slot).into_iter().map(behind).sum()
    }

    /// Deals with the subscribers that fan-out found too far behind.
    pub(super) fn settle_lagging(&mut self) {
        let mut lagging = std::mem::take(&mut self.lagging);
        for id in lagging.drain(..) {
            // Two passes may have found the same one, and it lags no more.
            let sub = *self.look_at_sub(id);
            if sub.is_seated() {
                let end = self.feeds.at(sub.feed).end();
                let lag_bytes_max = self.hub.settings().lag_bytes_max as u64;
                if end.saturating_sub(sub.cursor) > lag_bytes_max {
                    self.cut(id, CloseReason::Lag, Room::NotSought);
                }
            }
        }
        self.lagging = lagging;
    }

    /// Deals with a connection whose socket has taken nothing for too long.
    pub(super) fn cut_stalled(&mut self, slot: u32) {
        for id in self.subscriptions(slot) {
            if self.conns.at(slot).phase == Phase::Open {
                self.cut(id, CloseReason::Stall, Room::NotSought);
            }
        }
        // What it was skipped over waits behind what it does not take.
        let now_ms = self.patience_ms as u32;
        let conn = self.conns.at(slot);
        if conn.phase == Phase::Open && conn.flags.any(Flags::AWAITING) {
            conn.stalled_ms = now_ms;
            if conn.lane_is_empty() {
                self.close(slot, CloseReason::Stall, How::AtOnce);
            }
        }
    }

    /// Frees a subscriber from the part of the log that it has not read, by its
    /// topic's policy. What is left of a frame it has begun is copied to its
    /// lane, so that no reader, however many there are, keeps old segments.
    fn cut(&mut self, id: SubId, reason: CloseReason, room: Room) {
        let slot = self.subs.owner(id);
        let sub = *self.look_at_sub(id);
        if !sub.is_seated() {
            // It has ended with another one: a companion ends with its topic's.
            return;
        }
        let (cursor, end) = (sub.cursor, self.feeds.at(sub.feed).window.end());
        if reason == CloseReason::Lag && self.move_on_catching_up(id) {
            return;
        }
        if self.cut_reaching(id, reason) || cursor >= end {
            return;
        }
        let conn = self.conns.at(slot);
        let feed = self.feeds.at(sub.feed);
        let (boundary, missed_from) = feed.window.boundary(cursor);
        if boundary >= end {
            // It is in the newest message and has missed nothing, long as
            // that may be.
            return;
        }
        let begun = conn.flags.any(Flags::MID_FRAME) && conn.current(slot) == id;
        let policy = self.hub.policy(&feed.topic).lag_policy;
        // Who has come or gone is not to be skipped over.
        let at_gap = conn
            .dialect
            .at_gap(policy == LagPolicy::Latest && !feed.format.is_joins());
        let until = match policy {
            LagPolicy::Close | LagPolicy::Skip => end,
            LagPolicy::Latest => {
                let newest = feed.window.newest().max(boundary);
                // Somebody waits to publish one that is newer.
                let in_the_way = room == Room::Sought && feed.window.pinned_bytes(newest) > 0;
                if in_the_way { end } else { newest }
            }
        };
        if until == boundary && !begun {
            // The newest message is all that it has still to be sent.
            return;
        }
        if self.has_begun_record(slot, id) {
            // What it is moved away from cannot be sealed again.
            self.settle_record(slot);
            return self.cut(id, reason, room);
        }
        let conn = self.conns.at(slot);
        let feed = self.feeds.at(sub.feed);
        let rest = if begun { boundary - cursor } else { 0 };
        let lane = conn
            .extra
            .as_ref()
            .map_or(0, |extra| extra.lane.own_bytes());
        if conn.unreleased > 0 || rest as usize + lane > LANE_BYTES_MAX {
            // Keeping the rest would break the promise that a slow reader
            // costs nothing. Neither may it keep what it was sent without a
            // copy and does not take: the log cannot let go of that segment,
            // nor of any behind it, and would be full for its publishers.
            return self.close(slot, reason, How::AtOnce);
        }
        let topic = feed.topic.name().clone();
        let gap = Gap {
            epoch: feed.topic.epoch(),
            from: missed_from,
            to: feed.window.boundary(until).1 - 1,
            missed: Some(
                feed.window.messages_before(until) - feed.window.messages_before(boundary),
            ),
        };
        let extra = conn.attend();
        if begun {
            let mut bytes = Vec::with_capacity(rest as usize);
            feed.copy(cursor, boundary, &mut bytes);
            extra.lane.push_front(bytes);
        }
        // Own messages may lie behind what the window has seen so far: it is to
        // hear those no more than any.
        extra
            .own
            .retain(|(own, range)| *own != id || range.end > until);
        if begun {
            conn.flags.clear(Flags::MID_FRAME);
        }
        if conn.leaves(id) {
            // It is behind what it does not want to hear.
            return self.leave(slot, id);
        }
        let goes_on = match at_gap {
            AtGap::Told => policy != LagPolicy::Close,
            AtGap::Ends => true,
            AtGap::Closes => false,
        };
        if goes_on && conn.phase == Phase::Open {
            self.skip_follower(id);
            self.sub_mut(id).cursor = until;
            if until > boundary {
                self.tell_gap(id, &topic, &gap);
            }
            return;
        }
        self.close(slot, reason, How::NextBoundary);
        if self.conns.at(slot).phase == Phase::Draining {
            // A record of another log may be begun that ends inside a frame.
            self.settle_record(slot);
            if self.conns.at(slot).flags.any(Flags::MID_FRAME) {
                // Of another log it needs the rest of a frame, of this one nothing.
                self.leave(slot, id);
            } else {
                // It holds no log any more, nor needs one.
                self.begin_closing(slot);
            }
        }
    }

    /// Tells a subscriber of a gap, and counts it. In some dialects its subscription ends
    /// with that, or the connection.
    pub(super) fn tell_gap(&mut self, id: SubId, topic: &str, gap: &Gap) {
        let slot = self.subs.owner(id);
        self.metrics().lag_skips.add(1);
        self.metrics().lag_missed.add(gap.missed.unwrap_or(0));
        if self.is_begun_by_server(slot, topic) {
            // Its client would not ask for it again, but when it comes back.
            return self.close(slot, CloseReason::InsufficientState, How::NextBoundary);
        }
        let at_gap = self.at_gap(id);
        let conn = self.conns.at(slot);
        let notice = conn.dialect.gap(topic, gap);
        let lane = &mut conn.attend().lane;
        match at_gap {
            AtGap::Told => lane.push_notice(id, notice),
            AtGap::Ends => {
                lane.push_last(notice);
                self.end_at_gap(slot, id);
            }
            AtGap::Closes => {
                self.close(slot, CloseReason::InsufficientState, How::NextBoundary);
            }
        }
    }

    /// What becomes of a subscription with a gap.
    pub(super) fn at_gap(&self, id: SubId) -> AtGap {
        let feed = self.feeds.look_at(self.look_at_sub(id).feed);
        let is_latest = self.hub.policy(&feed.topic).lag_policy == LagPolicy::Latest;
        let dialect = self.conns.look_at(self.subs.owner(id)).dialect;
        dialect.at_gap(is_latest && !feed.format.is_joins())
    }

    /// Takes part in looking for the subscriber that keeps most memory, when
    /// somebody has asked for it.
    pub(super) fn relieve(&mut self) {
        let hub = self.hub.clone();
        let relief = hub.relief();
        if let Some(scope) = relief.asks(self.core) {
            // What rests takes room, and nobody is to be cut for that.
            self.hurry_all(scope);
            let worst = self.worst_pinner(scope);
            relief.report(self.core, worst.map_or(0, |(_, bytes)| bytes), &hub);
        }
        if let Some(scope) = relief.chosen(self.core) {
            let before = hub.log_bytes();
            if let Some((slot, _)) = self.worst_pinner(scope) {
                self.free_memory_of(slot, scope);
            }
            self.metrics().reliefs.add(1);
            relief.done(hub.log_bytes() < before, &hub);
        }
    }

    /// The connection that keeps most bytes of logs in memory which nobody
    /// further ahead needs, of the topic `scope` or of all. One
    /// that is just being sent to is not stuck, and cannot be cut either.
    fn worst_pinner(&self, scope: Option<u64>) -> Option<(u32, u64)> {
        let pinned = |slot: u32| -> u64 {
            let of = |id: SubId| {
                let sub = self.look_at_sub(id);
                let feed = self.feeds.look_at(sub.feed);
                let counts = scope.is_none_or(|topic| feed.topic.id() == topic);
                if counts {
                    feed.pinned_bytes(sub.cursor)
                } else {
                    0
                }
            };
            self.subscriptions(slot).into_iter().map(of).sum()
        };
        let all = self.conns.iter();
        let all = all.filter(|(_, conn)| !conn.flags.any(Flags::SENDING));
        let all = all.map(|(slot, _)| (slot, pinned(slot)));
        let pinners = all.filter(|(_, bytes)| *bytes > 0);
        pinners.max_by_key(|(_, bytes)| *bytes)
    }

    /// Cuts a connection loose from all that it keeps in memory.
    fn free_memory_of(&mut self, slot: u32, scope: Option<u64>) {
        let mut feeds = Vec::new();
        for id in self.subscriptions(slot) {
            let sub = *self.look_at_sub(id);
            if !sub.is_seated() {
                // See `cut`.
                continue;
            }
            let feed = self.feeds.look_at(sub.feed);
            let counts = scope.is_none_or(|topic| feed.topic.id() == topic);
            if counts && feed.pinned_bytes(sub.cursor) > 0 {
                feeds.push(sub.feed);
                self.cut(id, CloseReason::Lag, Room::Sought);
            }
            if self.conns.at(slot).phase != Phase::Open {
                break;
            }
        }
        // Its socket may have room for what it is told instead.
        self.mark(slot);
        let State {
            feeds: all,
            conns,
            subs,
            ..
        } = self;
        for number in feeds {
            if let Some(feed) = all.get_mut(number) {
                feed.release(|id| match id.slot() {
                    Some(slot) => conns.look_at(slot).sub.cursor,
                    None => subs.get(id).cursor,
                });
            }
        }
    }
}
