//! Subscribers that want history which memory does not hold any more: it is read from the
//! store a page at a time, off this thread, and goes out by their lanes. One that has come
//! to what memory holds goes on there like any other.
//!
//! Meanwhile the subscriber stands in its feed without being sent anything of it, and is
//! moved on rather than keep what it does not read.

use std::ops::Range;

use super::catching::Wanted;
use super::closing::How;
use super::conn::{Flags, Phase, Piece, Reaching};
use super::lane::History;
use super::reactor::State;
use super::subs::SubId;
use crate::hub::{Found, OlderAnswer, Postponed};
use crate::log::{Kept, OutOfReach};
use crate::protocol::reason::CloseReason;

/// Subscriptions that are looked at in one round of a turn.
const ROUND_MAX: usize = 64;
/// A peer whose lane holds more takes its time: it is sent no further page.
const LANE_BYTES_MAX: usize = 64 << 10;
/// So long may a peer take nothing of what others wait for (`store_read_bytes_max`).
const HOLD_MS_MAX: u32 = 1000;

impl State {
    /// Has a subscription, which has just taken its seat, begin with stored history.
    pub(super) fn catch_up(&mut self, id: SubId, since: u64) {
        let slot = self.subs.owner(id);
        let reaching = &mut self.conns.at(slot).attend().reaching;
        if !reaching.contains(&id) {
            reaching.push(id);
        }
        let from_store = false;
        self.catching
            .wanted
            .insert(id, Wanted { since, from_store });
        self.catching.due.push_back(id);
        self.hub.keeping().figures.note_catch_up();
    }

    /// The same where memory has no room to write in another form what it holds.
    pub(super) fn catch_up_from_store(&mut self, id: SubId, since: u64) {
        self.catch_up(id, since);
        self.catching.want(id, since).from_store = true;
    }

    /// The offset that a subscription wants next which is sent stored history.
    pub(super) fn catches_up_from(&self, id: SubId) -> Option<u64> {
        // What waits in the lane comes before what is to be read, or is all there is.
        let extra = self.conns.look_at(self.subs.owner(id)).extra.as_ref();
        let unsent = extra.and_then(|extra| extra.lane.unsent_history(id));
        unsent.or_else(|| Some(self.catching.wanted.get(&id)?.since))
    }

    /// Its own messages of which it may come to the stored ones.
    pub(super) fn own_stored(&self, id: SubId) -> &[Range<u64>] {
        self.catching.own.get(&id).map_or(&[], Vec::as_slice)
    }

    /// A subscription has published a message that it is not to hear, and may still come to
    /// it in the store.
    pub(super) fn note_own(&mut self, id: SubId, offset: u64) {
        let conn = self.conns.look_at(self.subs.owner(id));
        let comes_to_it = conn.extra.as_ref().is_some_and(|extra| {
            extra.reaching.contains(&id) || extra.lane.unsent_history(id).is_some()
        });
        if comes_to_it {
            self.note_own_stored(id, offset..offset + 1);
        }
    }

    pub(super) fn note_own_stored(&mut self, id: SubId, offsets: Range<u64>) {
        let own = self.catching.own.entry(id).or_default();
        match own.last_mut() {
            Some(last) if last.end == offsets.start => last.end = offsets.end,
            _ => own.push(offsets),
        }
    }

    /// A subscription is sent no more stored history. True if it was.
    pub(super) fn stop_catching_up(&mut self, id: SubId) -> bool {
        let was = self.catching.wanted.remove(&id).is_some();
        if was {
            self.catching.due.retain(|due| *due != id);
            self.catching.asked.retain(|_, asked| *asked != id);
        }
        was
    }

    /// A subscription ends: what its connection has not been sent of stored history is not
    /// sent any more.
    pub(super) fn drop_stored_history(&mut self, id: SubId) {
        self.catching.own.remove(&id);
        if let Some(extra) = &mut self.conns.at(self.subs.owner(id)).extra {
            let under_way = extra.sending.iter().map(|piece| match piece {
                Piece::Lane(len) => *len as usize,
                Piece::Run { .. } => 0,
            });
            let under_way = under_way.sum();
            extra.lane.drop_history(id, under_way);
        }
    }

    /// Asks for the next page of those who have room for it.
    pub(super) fn go_on_catching_up(&mut self) {
        self.catching.waits = false;
        for _ in 0..self.catching.due.len().min(ROUND_MAX) {
            let id = self.catching.due.pop_front().expect("counted");
            let slot = self.subs.owner(id);
            let conn = self.conns.at(slot);
            let lane = conn.extra.as_ref().map_or(0, |extra| extra.lane.bytes());
            let takes = matches!(conn.phase, Phase::Open | Phase::Draining);
            if lane > LANE_BYTES_MAX || !takes {
                // Looked at again when it has been sent something.
                self.catching.due.push_back(id);
                continue;
            }
            let since = self.catching.wanted[&id].since;
            let feed = self.feeds.look_at(self.look_at_sub(id).feed);
            let (topic, format) = (feed.topic.clone(), feed.format.plain());
            self.catching.number += 1;
            let number = self.catching.number;
            let asker = (self.core, slot, number);
            match self.hub.read_older(asker, &topic, format, since) {
                Ok(()) => _ = self.catching.asked.insert(number, id),
                Err(postponed) => {
                    self.catching.due.push_front(id);
                    self.catching.waits = true;
                    if postponed == Postponed::NoRoom {
                        self.cut_who_holds_history();
                    }
                    return;
                }
            }
        }
    }

    /// Others wait for what somebody holds who does not take it: that one is cut, the one
    /// whose socket has taken nothing for longest.
    fn cut_who_holds_history(&mut self) {
        let now_ms = self.patience_ms as u32;
        let owners = self.catching.wanted.keys().map(|id| self.subs.owner(*id));
        let stalled = owners.filter_map(|slot| {
            let conn = self.conns.look_at(slot);
            let holds = conn
                .extra
                .as_ref()
                .is_some_and(|extra| !extra.lane.is_empty());
            let stalled_ms = now_ms.wrapping_sub(conn.stalled_ms);
            let is_stalled = conn.flags.any(Flags::AWAITING) && stalled_ms >= HOLD_MS_MAX;
            (holds && is_stalled && conn.phase == Phase::Open).then_some((stalled_ms, slot))
        });
        if let Some((_, slot)) = stalled.max() {
            self.close(slot, CloseReason::Stall, How::AtOnce);
        }
    }

    /// A page has been read, or there is none.
    pub(super) fn take_older(&mut self, answer: OlderAnswer) {
        let Some(id) = self.catching.asked.remove(&answer.number) else {
            // It has ended meanwhile.
            return;
        };
        let since = self.catching.wanted[&id].since;
        match answer.found {
            Found::Part(part) => {
                // What memory holds goes out from there.
                let Some(offset) = part.first_since(since) else {
                    return self.want(id, part.next().max(since));
                };
                if offset > since && !self.miss(id, since, offset) {
                    return;
                }
                let own = self.catching.own.get(&id).map_or(&[][..], Vec::as_slice);
                let conn = self.conns.at(answer.slot);
                for (bytes, end) in part.runs(since, own) {
                    let (sub, part) = (id, part.clone());
                    let history = History { sub, part, end };
                    conn.attend().lane.push_history(bytes, history);
                }
                self.mark(answer.slot);
                self.want(id, part.next());
            }
            Found::Damaged(from, until) => {
                if self.miss(id, from.max(since), until.max(since)) {
                    self.want(id, until.max(since));
                }
            }
            Found::Nothing(held) => self.meet(id, since, held),
            Found::Later => {
                self.catching.due.push_back(id);
                self.catching.waits = true;
            }
        }
    }

    /// A subscription wants this offset next, be it of memory or of the store.
    fn want(&mut self, id: SubId, since: u64) {
        self.catching.want(id, since);
        self.meet(id, since, 0);
    }

    /// Lets a subscription go on in memory if that holds what it wants. There is nothing
    /// from there up to `held`.
    fn meet(&mut self, id: SubId, since: u64, held: u64) {
        let number = self.look_at_sub(id).feed;
        let feed = self.feeds.look_at(number);
        let (topic, format) = (feed.topic.clone(), feed.format);
        let retention = &self.hub.retention(&topic).clone();
        if topic.is_shared() && since > topic.newest() + 1 {
            // It has been sent what this node has not heard of yet.
            self.catching.due.push_back(id);
            self.catching.waits = true;
            return;
        }
        let own = self.own_stored(id).last().map_or(0, |own| own.end);
        let start = topic.start(format, Some(since.max(held)), retention);
        // After the look: what memory had given up by then is stored by now.
        let stored = topic.kept().map_or(0, Kept::stored);
        match start {
            // What memory has in another form only is read as well, for as long as it is
            // stored: its view need not have room for it.
            Err(further) if further.offset() < stored => {
                let offset = further.offset();
                // Meanwhile memory has let go of that, or the store of what comes before.
                if offset > since && !self.miss(id, since, offset) {
                    return;
                }
                self.catching.want(id, offset);
                self.catching.due.push_back(id);
            }
            Err(OutOfReach::Stored(offset)) => {
                // Given up meanwhile.
                if self.miss(id, since, topic.held_first()) {
                    let since = offset.max(topic.held_first());
                    self.catching.want(id, since);
                    self.catching.due.push_back(id);
                }
            }
            Err(OutOfReach::Raw(_)) if self.catching.wanted[&id].from_store => {
                self.hub.keeping().want_sync();
                self.catching.due.push_back(id);
                self.catching.waits = true;
            }
            Err(OutOfReach::Raw(raw)) => {
                self.catching.wanted.remove(&id);
                if raw.offset > since && !self.miss(id, since, raw.offset) {
                    return;
                }
                self.reaching.push_back(Reaching { id, raw, run: None });
            }
            // Where its own messages lie in the log may be forgotten by now.
            Ok(start) if start.offset < stored.min(own) => {
                self.catching.want(id, start.offset);
                self.catching.due.push_back(id);
            }
            Ok(start) => {
                self.catching.wanted.remove(&id);
                if start.offset > since && !self.miss(id, since, start.offset) {
                    return;
                }
                self.begin_at(id, start);
            }
        }
    }

    /// A subscription is told that messages are missing. False if it ends with that.
    fn miss(&mut self, id: SubId, from: u64, next: u64) -> bool {
        let slot = self.subs.owner(id);
        let feed = self.feeds.look_at(self.look_at_sub(id).feed);
        let mut next = next;
        if let Some(kept) = feed.topic.kept().filter(|kept| kept.is_shared()) {
            // In a cluster offsets have gaps: only what is given up is missing.
            next = next.min(kept.oldest());
            if next <= from {
                return true;
            }
        } else if let Some(kept) = feed.topic.kept() {
            // Who comes back for it is to know so at once.
            kept.note_hole(next);
        }
        self.tell_hole(slot, id, from, next);
        let phase = self.conns.at(slot).phase;
        let takes = matches!(phase, Phase::Open | Phase::Draining);
        let goes_on = takes && self.look_at_sub(id).is_seated();
        if !goes_on {
            self.stop_reaching(id);
        }
        goes_on
    }

    /// Nothing of the log is kept for who is sent stored history: it comes back to it later.
    /// False if it is not.
    pub(super) fn move_on_catching_up(&mut self, id: SubId) -> bool {
        if !self.catching.wanted.contains_key(&id) {
            return false;
        }
        let end = self.feeds.at(self.look_at_sub(id).feed).window.end();
        self.skip_follower(id);
        self.sub_mut(id).cursor = end;
        true
    }
}
