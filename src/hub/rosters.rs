//! Who is in a presence channel, as those who come are told it: one message for all who come at
//! about the same time.
//!
//! To write it takes a look at every member, and each who comes makes it another one; so where
//! many come at once they are let in together, a few times a second. It says at which message of
//! the companion it was right, and whoever gets it hears the companion from there on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{Hub, lock};
use crate::log::Topic;
use crate::protocol::dialect::Dialect;
use crate::protocol::pusher::{channel_of, words};

/// Of one channel no two rosters are written within this time.
const ROSTER_MS_MIN: u64 = 60;

/// So long a roster is known for others who have come with it.
const KEPT_MS: u64 = 1000;

/// Who is in a channel, at some moment.
#[derive(Debug)]
pub struct Roster {
    /// The number of the last change that it has.
    pub change: u64,
    /// The companion's newest message by then.
    pub newest: u64,
    /// A whole frame.
    pub frame: Bytes,
    written_ms: u64,
}

/// What is counted of rosters.
#[derive(Debug, Default)]
pub struct Rosters {
    written: AtomicU64,
    /// Of all that are known or on their way to somebody.
    bytes: Arc<AtomicU64>,
    /// Those that are known, oldest first.
    known: Mutex<VecDeque<Known>>,
}

/// A roster that is known for others who have come with it.
#[derive(Debug)]
struct Known {
    topic: Arc<str>,
    change: u64,
    written_ms: u64,
}

/// The bytes of one, counted for as long as somebody has them.
struct Counted {
    frame: Vec<u8>,
    all: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all
            .fetch_sub(self.frame.len() as u64, Ordering::Relaxed);
    }
}

impl Rosters {
    /// How many have been written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Bytes of those that there are.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn count(&self, frame: Vec<u8>) -> Bytes {
        self.written.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        let all = self.bytes.clone();
        Bytes::from_owner(Counted { frame, all })
    }
}

impl Hub {
    /// What is counted of rosters.
    pub fn rosters(&self) -> &Rosters {
        &self.rosters
    }

    /// Who is in a channel, the change with this number included. `None` is to ask again in a
    /// moment: others may come with it, or there is no room. With `now` neither counts.
    pub fn roster(&self, topic: &Topic, change: u64, now: bool) -> Option<Arc<Roster>> {
        let now_ms = self.now_ms();
        let name = topic.name();
        self.drop_rosters(now_ms);
        self.presence
            .roster(name, change, |known, change, members| {
                let is_due = known.is_none_or(|known| now_ms >= known.written_ms + ROSTER_MS_MIN);
                let bytes_max = self.settings().rosters_bytes_max as u64;
                let has_room = self.rosters.bytes() < bytes_max;
                if !(now || is_due && has_room) {
                    return None;
                }
                let message = words::subscribed_with(channel_of(name), members);
                let companion = self.find_companion(name);
                lock(&self.rosters.known).push_back(Known {
                    topic: name.clone(),
                    change,
                    written_ms: now_ms,
                });
                Some(Roster {
                    change,
                    newest: companion.map_or(0, |companion| companion.newest()),
                    frame: self.rosters.count(Dialect::Pusher.frame(&message)),
                    written_ms: now_ms,
                })
            })
    }

    /// Lets go of rosters that nobody else will want: each who comes wants a newer one.
    pub(super) fn drop_rosters(&self, now_ms: u64) {
        loop {
            let mut all = lock(&self.rosters.known);
            let is_old = |known: &Known| now_ms >= known.written_ms + KEPT_MS;
            if !all.front().is_some_and(is_old) {
                return;
            }
            let known = all.pop_front().expect("there is one");
            drop(all);
            self.presence.drop_roster(&known.topic, known.change);
        }
    }
}
