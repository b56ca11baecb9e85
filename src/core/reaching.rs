//! Subscribers that want history which their view does not hold: it is written
//! once for all, a bounded share in each turn. Meanwhile the subscriber stands at
//! the view's end and is sent nothing of it.

use super::closing::How;
use super::conn::{Phase, Reaching};
use super::reactor::State;
use super::subs::SubId;
use crate::config::LagPolicy;
use crate::hub::StoreState;
use crate::log::{Reached, Start};
use crate::protocol::dialect::{AtGap, Gap};
use crate::protocol::encoding::Format;
use crate::protocol::reason::CloseReason;

/// Bytes of history that are written in one round of a turn.
const ROUND_BYTES_MAX: usize = 64 << 10;

impl State {
    /// Has a subscription, which has just taken its seat, begin with what lies at `raw`
    /// in the raw view.
    pub(super) fn reach_back(&mut self, id: SubId, raw: Start) {
        let slot = self.subs.owner(id);
        self.conns.at(slot).attend().reaching.push(id);
        self.reaching.push_back(Reaching { id, raw, run: None });
    }

    /// There is history to be written.
    pub(super) fn is_reaching(&self) -> bool {
        self.reaching.iter().any(|reaching| reaching.run.is_some())
    }

    /// From where on a subscription is to begin that has not begun.
    pub(super) fn reaches_for(&self, id: SubId) -> Option<u64> {
        let mut reaching = self.reaching.iter();
        let reaches = reaching.find_map(|r| (r.id == id).then_some(r.raw.offset));
        reaches.or_else(|| self.catches_up_from(id))
    }

    /// Goes on with those that reach back.
    pub(super) fn go_on_reaching(&mut self) {
        for _ in 0..self.reaching.len() {
            let mut reaching = self.reaching.pop_front().expect("counted");
            let wrote = reaching.run.is_some();
            match self.go_on_with(&mut reaching) {
                Some(start) => self.begin_further_back(reaching, start),
                None => self.reaching.push_back(reaching),
            }
            if wrote {
                break;
            }
        }
    }

    fn go_on_with(&mut self, reaching: &mut Reaching) -> Option<Start> {
        let feed = self.look_at_sub(reaching.id).feed;
        let feed = self.feeds.look_at(feed);
        let (topic, format) = (&feed.topic, feed.format);
        let Some(run) = &mut reaching.run else {
            // Somebody else may have written it meanwhile.
            let start = topic.start_held(format, reaching.raw.offset);
            if start.offset == reaching.raw.offset {
                return Some(start);
            }
            reaching.run = topic.reach(format, &reaching.raw);
            return None;
        };
        let mut encoder = self.codec.afresh(self.hub.effort());
        let bounds = &self.hub.retention(topic).bounds;
        let reached = run.step(&mut encoder, ROUND_BYTES_MAX, bounds);
        let metrics = &self.hub.mailbox(self.core).metrics;
        metrics.encoded_messages.add(self.codec.take_encoded());
        match reached {
            Reached::NotYet => None,
            Reached::Done(start) => {
                let topic = topic.clone();
                reaching.run = None;
                // Others may wait for it.
                self.hub.announce(&topic, Some(self.core));
                Some(start)
            }
        }
    }

    /// A subscription begins at last.
    fn begin_further_back(&mut self, reaching: Reaching, start: Start) {
        let Reaching { id, raw, .. } = reaching;
        let (slot, feed) = (self.subs.owner(id), self.look_at_sub(id).feed);
        // There may have been no room to write it once more.
        let missed = start.offset > raw.offset;
        let topic = &self.feeds.at(feed).topic;
        let works = self.hub.keeping().state() == StoreState::Working || topic.is_shared();
        if missed && topic.kept().is_some() && works {
            return self.catch_up_from_store(id, raw.offset);
        }
        let as_it_is = missed && self.feeds.at(feed).format.understands(Format::Raw);
        let offset = start.offset;
        self.begins(slot, id);
        if as_it_is {
            self.metrics().read_uncompressed.add(1);
            self.change_view(id, Format::Raw, raw);
        } else {
            self.feeds.at(feed).reach_back(start.segments);
            self.sub_mut(id).cursor = start.position;
            if missed {
                self.tell_missed(slot, id, raw.offset, offset);
            }
        }
        self.has_begun_at_last(slot, id);
    }

    /// A subscription that has been sent stored history goes on here.
    pub(super) fn begin_at(&mut self, id: SubId, start: Start) {
        let (slot, feed) = (self.subs.owner(id), self.look_at_sub(id).feed);
        self.begins(slot, id);
        self.feeds.at(feed).reach_back(start.segments);
        self.sub_mut(id).cursor = start.position;
        // Its own messages that lay before were in the store by then.
        if let Some(extra) = &mut self.conns.at(slot).extra {
            extra
                .own
                .retain(|(own, range)| *own != id || range.end > start.position);
        }
        self.has_begun_at_last(slot, id);
    }

    fn has_begun_at_last(&mut self, slot: u32, id: SubId) {
        if self.look_at_sub(id).is_seated() {
            self.make_ready(slot, id);
        }
        self.mark(slot);
    }

    /// By its topic's policy a subscriber is told that it does not get all that it was
    /// to begin with, or closed.
    fn tell_missed(&mut self, slot: u32, id: SubId, from: u64, next: u64) {
        let feed = self.look_at_sub(id).feed;
        let topic = self.feeds.look_at(feed).topic.clone();
        let gap = Gap {
            epoch: topic.epoch(),
            from,
            to: next - 1,
            missed: Some(next - from),
        };
        let conn = self.conns.at(slot);
        if conn.phase != Phase::Open {
            return;
        }
        let goes_on = self.hub.policy(&topic).lag_policy != LagPolicy::Close;
        if goes_on || self.at_gap(id) != AtGap::Told {
            self.tell_gap(id, topic.name(), &gap);
        } else {
            self.close(slot, CloseReason::Lag, How::AtOnce);
        }
    }

    /// A subscriber is told that messages are missing from the history it is sent. How many
    /// there were nobody knows.
    pub(super) fn tell_hole(&mut self, slot: u32, id: SubId, from: u64, next: u64) {
        let feed = self.look_at_sub(id).feed;
        let topic = self.feeds.look_at(feed).topic.clone();
        let gap = Gap {
            epoch: topic.epoch(),
            from,
            to: next - 1,
            missed: None,
        };
        if self.conns.at(slot).phase == Phase::Open {
            self.tell_gap(id, topic.name(), &gap);
        }
    }

    /// A subscription that has not begun reads another view of its topic.
    fn change_view(&mut self, id: SubId, format: Format, start: Start) {
        let feed = self.look_at_sub(id).feed;
        let feed = self.feeds.look_at(feed);
        let (topic, from) = (feed.topic.clone(), feed.format);
        let slot = self.subs.owner(id);
        if let Some(extra) = &mut self.conns.at(slot).extra {
            extra.move_positions(id, |at| topic.translate(from, at, format));
        }
        self.give_up_seat(id);
        let seat = self.feeds.sit(self.core, topic, format, id, start);
        self.take_seat(id, seat);
    }

    fn begins(&mut self, slot: u32, id: SubId) {
        if let Some(extra) = &mut self.conns.at(slot).extra {
            extra.reaching.retain(|reaching| *reaching != id);
        }
    }

    /// A subscription ends, or is not to reach back any more.
    pub(super) fn stop_reaching(&mut self, id: SubId) -> bool {
        let before = self.reaching.len();
        self.reaching.retain(|reaching| reaching.id != id);
        let caught_up = self.stop_catching_up(id);
        self.begins(self.subs.owner(id), id);
        caught_up || self.reaching.len() < before
    }

    /// A subscriber has fallen behind before it has begun. True if it had not.
    pub(super) fn cut_reaching(&mut self, id: SubId, reason: CloseReason) -> bool {
        let reaching = self.stop_reaching(id);
        if reaching {
            // There is no telling it what it has missed of what it never began.
            let slot = self.subs.owner(id);
            self.close(slot, reason, How::AtOnce);
        }
        reaching
    }
}
