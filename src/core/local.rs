//! A topic as one core sees it: its window on the log and its own subscribers.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use slab::Slab;

use super::conn::NO_PLACE;
use super::slots::Slots;
use crate::log::{Retention, Start, Topic, ViewKind, Window};

/// A view of a topic with at least one subscriber on this core.
pub(super) struct Local {
    pub(super) topic: Arc<Topic>,
    pub(super) kind: ViewKind,
    pub(super) window: Window,
    /// Slots of the subscribers.
    pub(super) subscribers: Vec<u32>,
    /// The place where the round of fan-out under way goes on; 0 is none.
    pub(super) next: usize,
    /// Where the log ended when that round began.
    pub(super) round_end: u64,
    /// It is in the queue of topics to be fanned out.
    pub(super) growing: bool,
    /// Other cores are to be told that it has grown.
    pub(super) announce: bool,
    tally: Tally,
    /// The last run that was copied together from two segments.
    seam: Option<Seam>,
}

/// Where a subscriber wants to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    Now,
    /// At this offset, or at the oldest one there is.
    Offset(u64),
    /// At this offset, or not at all.
    Exactly(u64),
}

/// Where a subscriber begins.
pub(super) struct Seat {
    /// The core's number for the view.
    pub(super) number: u32,
    /// The subscriber's place in it.
    pub(super) place: u32,
    pub(super) cursor: u64,
    /// Of the first message it gets.
    pub(super) offset: u64,
}

/// The log from one position on, over the end of a segment.
struct Seam {
    from: u64,
    to: u64,
    bytes: Rc<Bytes>,
}

/// How many messages lie between two positions; nearly all subscribers ask for
/// the same two.
#[derive(Default)]
struct Tally {
    from: u64,
    to: u64,
    messages: u64,
}

impl Local {
    /// Messages that end between two positions.
    #[inline]
    pub(super) fn messages_between(&mut self, from: u64, to: u64) -> u64 {
        if (self.tally.from, self.tally.to) != (from, to) {
            let messages = self.window.messages_before(to) - self.window.messages_before(from);
            self.tally = Tally { from, to, messages };
        }
        self.tally.messages
    }

    /// A short run of the log over the end of a segment, in one piece: one copy
    /// for all subscribers, who would get two sends each otherwise.
    pub(super) fn seam(&mut self, from: u64, to: u64) -> &Rc<Bytes> {
        let seam = match self.seam.take() {
            Some(seam) if (seam.from, seam.to) == (from, to) => seam,
            _ => {
                let (mut bytes, mut at) = (Vec::with_capacity((to - from) as usize), from);
                while at < to {
                    let run = self.window.slice(at, to);
                    bytes.extend_from_slice(run.as_bytes());
                    at += u64::from(run.len);
                }
                let bytes = Rc::new(bytes.into());
                Seam { from, to, bytes }
            }
        };
        &self.seam.insert(seam).bytes
    }

    /// Gives up the segments that no subscriber here needs any more.
    pub(super) fn release(&mut self, conns: &mut Slots) {
        self.seam = None;
        if self.window.segments() > 1 {
            let cursors = self.subscribers.iter().map(|slot| conns.at(*slot).cursor);
            let oldest = cursors.min().unwrap_or(u64::MAX);
            self.window.release(oldest);
        }
    }
}

/// The topics that this core serves, by its own numbers.
#[derive(Default)]
pub(super) struct Locals(Slab<Local>);

impl Locals {
    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Local> {
        self.0.get_mut(place as usize)
    }

    /// A topic that is known to have subscribers here.
    #[inline]
    pub(super) fn at(&mut self, place: u32) -> &mut Local {
        &mut self.0[place as usize]
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Local> {
        self.0.iter_mut().map(|(_, local)| local)
    }

    /// Adds a subscriber to a view that has a reader. `None` only where it
    /// cannot begin exactly where it wants to.
    pub(super) fn join(
        &mut self,
        core: usize,
        topic: Arc<Topic>,
        kind: ViewKind,
        slot: u32,
        since: Since,
        retention: &Retention,
    ) -> Option<Seat> {
        self.seat(core, topic, kind, slot, |topic| match since {
            Since::Now => Some(topic.start(kind, None, retention)),
            Since::Offset(offset) => Some(topic.start(kind, Some(offset), retention)),
            Since::Exactly(offset) => {
                let start = topic.start(kind, Some(offset), retention);
                (start.offset == offset).then_some(start)
            }
        })
    }

    /// Adds a subscriber that stood at `cursor` in another process. `None` if
    /// nobody can stand there.
    pub(super) fn resume(
        &mut self,
        core: usize,
        topic: Arc<Topic>,
        kind: ViewKind,
        slot: u32,
        cursor: u64,
    ) -> Option<Seat> {
        self.seat(core, topic, kind, slot, |topic| topic.resume(kind, cursor))
    }

    fn seat(
        &mut self,
        core: usize,
        topic: Arc<Topic>,
        kind: ViewKind,
        slot: u32,
        start: impl FnOnce(&Topic) -> Option<Start>,
    ) -> Option<Seat> {
        let listener = topic.listener(core, kind);
        let known = listener.subscribers.load(Ordering::Relaxed) > 0;
        let number = if known {
            listener.place.load(Ordering::Relaxed) as usize
        } else {
            self.0.vacant_key()
        };
        // First the number, then a clean flag, then the count, then the look
        // at the log: a publisher that comes behind the look finds all three.
        listener.place.store(number as u32, Ordering::Release);
        if !known {
            listener.told.heard();
            // Nobody waits for a core that has just come.
            listener.passed.store(u64::MAX, Ordering::Relaxed);
        }
        listener.subscribers.fetch_add(1, Ordering::AcqRel);
        let Some(start) = start(&topic) else {
            listener.subscribers.fetch_sub(1, Ordering::AcqRel);
            return None;
        };
        if known {
            let local = &mut self.0[number];
            local.window.reach_back(start.segments);
            local.subscribers.push(slot);
        } else {
            let inserted = self.0.insert(Local {
                topic,
                kind,
                window: Window::new(start.segments),
                subscribers: vec![slot],
                next: 0,
                round_end: 0,
                growing: false,
                announce: false,
                tally: Tally::default(),
                seam: None,
            });
            assert_eq!(inserted, number);
        }
        Some(Seat {
            number: number as u32,
            place: self.0[number].subscribers.len() as u32 - 1,
            cursor: start.position,
            offset: start.offset,
        })
    }

    /// The numbers of all views that have subscribers here.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|(number, _)| number as u32)
    }

    /// The topic of a connection, while it is a subscriber.
    pub(super) fn topic_of(&self, number: u32, place: u32) -> Option<&Arc<Topic>> {
        (place != NO_PLACE).then(|| &self.0[number as usize].topic)
    }

    /// Removes the subscriber in `slot`, and the topic with the last one. The
    /// slot that took its place, if fan-out would now miss it, is returned.
    pub(super) fn leave(&mut self, core: usize, conns: &mut Slots, slot: u32) -> Option<u32> {
        let conn = conns.at(slot);
        if conn.place == NO_PLACE {
            return None;
        }
        let (number, place) = (conn.topic, conn.place as usize);
        conn.place = NO_PLACE;
        let local = &mut self.0[number as usize];
        let removed = local.subscribers.swap_remove(place);
        assert_eq!(removed, slot, "a subscriber knows its place");
        let moved = local.subscribers.get(place).copied();
        if let Some(moved) = moved {
            conns.at(moved).place = place as u32;
        }
        let listener = local.topic.listener(core, local.kind);
        listener.subscribers.fetch_sub(1, Ordering::AcqRel);
        if local.subscribers.is_empty() {
            self.0.remove(number as usize);
            return None;
        }
        let passed_by = place < local.next;
        local.next = local.next.min(local.subscribers.len());
        moved.filter(|_| passed_by)
    }
}
