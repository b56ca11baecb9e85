//! Pace: the subscribers of a topic that has `pace_ms` are sent what is new at most that often.
//!
//! The pace is the feed's. When a round of fan-out begins, the log is released up to where it ends
//! then, and no subscriber is sent more of it until the next round, which may begin a pace later;
//! meanwhile the feed rests. One that has been silent for as long is fanned out at once. So a
//! connection has no timer for this, and one that follows many topics has the pace of each of them.
//!
//! Only what is new rests: history, and what a slow reader has not taken, was released before, and
//! what is for one peer alone is in its lane. Nor does anything rest that somebody waits for: what
//! is owed to those who are said goodbye to, and what publishers, or memory, wait for.

use super::paced::Pace;
use super::reactor::{Reactor, State};
use crate::log::Topic;
use crate::ring::Ring;

impl<R: Ring> Reactor<R> {
    /// When a turn is to be taken for a feed that rests, if none is before: in microseconds of the
    /// hub's clock.
    #[inline]
    pub fn rests_until_us(&self) -> Option<u64> {
        match self.state.frozen {
            true => None,
            false => self.state.resting.first_us(),
        }
    }
}

impl State {
    /// A round of fan-out is to begin with a feed whose log has been seen up to `end`. False if
    /// the feed has to rest before.
    #[inline]
    pub(super) fn may_begin_round(&mut self, number: u32, end: u64) -> bool {
        let Some(feed) = self.feeds.get_mut(number) else {
            return false;
        };
        let pace_us = self.hub.policy(&feed.topic).pace_ms * 1000;
        if pace_us == 0 {
            feed.pace = Pace::NONE;
            return true;
        }
        self.may_release(number, end, pace_us)
    }

    fn may_release(&mut self, number: u32, end: u64, pace_us: u64) -> bool {
        let feed = self.feeds.at(number);
        if feed.pace.released == end {
            // There is nothing new.
            return true;
        }
        let now_us = self.hub.now_us();
        let until_us = feed.pace.released_us + pace_us;
        if until_us <= now_us {
            feed.pace = Pace {
                released: end,
                released_us: now_us,
                rests_until_us: 0,
            };
            return true;
        }
        feed.pace.rests_until_us = until_us;
        // It will look at the log by itself: publishers find that it has been told, and do not
        // wake the core for what they add until then.
        feed.interest[self.core].told.tell();
        self.resting.add(until_us, number);
        self.metrics().pace_rests.add(1);
        false
    }

    /// Has the feeds fanned out whose time has come.
    #[inline]
    pub(super) fn end_rests(&mut self) {
        if self.resting.first_us().is_some() {
            let now_us = self.hub.now_us();
            while let Some(number) = self.resting.due(now_us) {
                self.end_rest(number);
            }
        }
    }

    fn end_rest(&mut self, number: u32) {
        let feed = self.feeds.at(number);
        let until_us = std::mem::take(&mut feed.pace.rests_until_us);
        // Before the look at the log, so that what comes behind that is told.
        feed.interest[self.core].told.heard();
        self.resting.remove(until_us, number);
        self.growing.push_back(number);
    }

    /// Has a feed fanned out whatever its pace, if it rests.
    pub(super) fn hurry(&mut self, number: u32) {
        let feed = self.feeds.at(number);
        if feed.pace.rests() {
            feed.pace.released_us = 0;
            self.end_rest(number);
        }
    }

    /// The same for all feeds of a topic: publishers wait for its readers.
    pub(super) fn hurry_topic(&mut self, topic: &Topic) {
        if self.resting.first_us().is_none() {
            return;
        }
        for interest in topic.interests() {
            let listener = &interest[self.core];
            if listener.subscribers() > 0 {
                self.hurry(listener.place());
            }
        }
    }

    /// The same for all feeds, or those of the topic with the number `scope`.
    pub(super) fn hurry_all(&mut self, scope: Option<u64>) {
        for number in self.resting.feeds() {
            let topic = self.feeds.look_at(number).topic.id();
            if scope.is_none_or(|scope| scope == topic) {
                self.hurry(number);
            }
        }
    }

    /// A rule may have changed while feeds rest for it.
    pub(super) fn look_at_paces(&mut self) {
        let now_us = self.hub.now_us();
        for number in self.resting.feeds() {
            let feed = self.feeds.look_at(number);
            let pace_us = self.hub.policy(&feed.topic).pace_ms * 1000;
            if feed.pace.released_us + pace_us <= now_us {
                self.hurry(number);
            }
        }
    }
}
