//! Messages that are followed to the sockets of their topic's subscribers, as their
//! publishers have asked (`hub::deliveries`). While nobody asks, nothing is looked at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashSet;

use super::followed::Followers;
use super::reactor::State;
use super::subs::SubId;
use crate::hub::Delivery;
use crate::log::Committed;
use crate::protocol::encoding::Format;

/// Looks take at most one part in so many of a core's time.
const LOOKS_PART: u32 = 10;

impl State {
    /// Counts this core's subscribers of a topic, to follow a message to them: the next one, or
    /// one that has just been published.
    pub(super) fn follow_delivery(&mut self, delivery: Arc<Delivery>) {
        let mut left = HashSet::default();
        for interest in delivery.topic().interests() {
            let listener = &interest[self.core];
            if listener.subscribers() > 0 {
                let feed = self.feeds.look_at(listener.place());
                left.extend(feed.subscribers.iter().copied());
            }
        }
        delivery.count(left.len() as u64);
        let mut followers = Followers { delivery, left };
        if !followers.left.is_empty() && self.goes_on(&mut followers) {
            self.followed.all.push(followers);
        }
    }

    /// Sees who has had what written by now.
    pub(super) fn look_at_deliveries(&mut self) {
        if self.followed.all.is_empty() {
            self.followed.owed = false;
            return;
        }
        let began = Instant::now();
        self.followed.owed = self.followed.due.is_some_and(|due| began < due);
        if self.followed.owed {
            return;
        }
        let mut all = std::mem::take(&mut self.followed.all);
        all.retain_mut(|followers| self.goes_on(followers));
        self.followed.all = all;
        let now = Instant::now();
        let took: Duration = now - began;
        self.followed.due = Some(now + took * (LOOKS_PART - 1));
    }

    /// Sees who has had a message written by now. False if nobody is left to wait for.
    fn goes_on(&self, Followers { delivery, left }: &mut Followers) -> bool {
        if delivery.is_over() {
            return false;
        }
        let Some(message) = delivery.message() else {
            return true;
        };
        let before = left.len();
        left.retain(|id| !self.has_been_sent(*id, message));
        if left.len() < before {
            delivery.note_written((before - left.len()) as u64);
        }
        if left.is_empty() {
            delivery.finish();
        }
        !left.is_empty()
    }

    /// A subscriber passes over what it has not been sent. What is not published yet it will be
    /// sent all the same.
    pub(super) fn skip_follower(&mut self, id: SubId) {
        self.part_with_follower(id, |delivery| delivery.message().is_some());
    }

    /// A subscriber goes: it will not have what is followed, if it has not by now.
    pub(super) fn lose_follower(&mut self, id: SubId) {
        self.part_with_follower(id, |_| true);
    }

    fn part_with_follower(&mut self, id: SubId, of: impl Fn(&Delivery) -> bool) {
        if self.followed.all.is_empty() {
            return;
        }
        let mut all = std::mem::take(&mut self.followed.all);
        all.retain_mut(|Followers { delivery, left }| {
            if !of(delivery) || !left.remove(&id) {
                return true;
            }
            let message = delivery.message();
            if message.is_some_and(|message| self.has_been_sent(id, message)) {
                delivery.note_written(1);
            }
            if left.is_empty() {
                delivery.finish();
            }
            !left.is_empty()
        });
        self.followed.all = all;
    }

    fn has_been_sent(&self, id: SubId, message: &Committed) -> bool {
        let sub = self.look_at_sub(id);
        let feed = self.feeds.look_at(sub.feed);
        let end = match message.range(feed.format) {
            Some(range) => range.end,
            // The view is newer than the message.
            None => feed
                .topic
                .translate(Format::Raw, message.raw.end, feed.format),
        };
        sub.cursor >= end
    }
}
