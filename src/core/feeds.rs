//! Feeds: the views of topics that have readers on this core, each with its window
//! on the log and its subscribers. A feed knows subscriptions by name only; where
//! they stand, whoever calls it knows.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use slab::Slab;
use smallvec::{SmallVec, smallvec};

use super::paced::Pace;
use super::subs::SubId;
use crate::log::{Interest, OutOfReach, Retention, Segment, Start, Topic, Window};
use crate::protocol::encoding::Format;

/// A view of a topic with at least one subscriber on this core.
pub(super) struct Feed {
    pub(super) topic: Arc<Topic>,
    pub(super) format: Format,
    /// Keeps the view.
    pub(super) interest: Interest,
    pub(super) window: Window,
    /// Most topics have one.
    pub(super) subscribers: SmallVec<[SubId; 4]>,
    /// The place where the round of fan-out under way goes on; 0 is none.
    pub(super) next: u32,
    /// Where the log ended when that round began.
    pub(super) round_end: u64,
    /// It is in the queue of feeds to be fanned out, or rests before.
    pub(super) growing: bool,
    /// Other cores are to be told that it has grown.
    pub(super) announce: bool,
    pub(super) pace: Pace,
    tally: Tally,
    /// The last run that was copied together from two segments.
    seam: Option<Box<Seam>>,
}

/// Where a subscriber wants to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    Now,
    /// At this offset, or at the oldest one there is.
    Offset(u64),
}

/// Where a subscriber begins.
pub(super) struct Seat {
    /// The core's number for the feed.
    pub(super) feed: u32,
    /// The subscriber's place in it.
    pub(super) place: u32,
    pub(super) cursor: u64,
    /// Of the first message it gets.
    pub(super) offset: u64,
    /// Where that is to be had, as its own view does not reach back to it: it stands at the
    /// end.
    pub(super) further: Option<OutOfReach>,
    /// Nobody had a seat in the feed.
    pub(super) is_first: bool,
}

/// What follows from giving up a seat.
pub(super) struct Left {
    /// The subscriber that took the seat, which is to be told so.
    pub(super) moved: Option<SubId>,
    /// Fan-out would now miss it in the round under way.
    pub(super) missed: bool,
    /// The feed is gone, which rested until then; 0 where it did not rest.
    pub(super) rested_until_us: u64,
    /// It was the last one of the feed, of this topic; those who hear who comes and goes do not
    /// count.
    pub(super) emptied: Option<Arc<Topic>>,
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
    len: u32,
    messages: u32,
}

impl Feed {
    /// Up to where its subscribers may be sent the log, as of the last look at that.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.window.end().min(self.pace.released)
    }

    /// Bytes of memory that who stands at `position` keeps. Where all has been sent that may be by
    /// now, nobody but the pace keeps any.
    pub(super) fn pinned_bytes(&self, position: u64) -> u64 {
        match position < self.end() {
            true => self.window.pinned_bytes(position),
            false => 0,
        }
    }

    /// Messages that end between two positions, which are one send apart at most.
    #[inline]
    pub(super) fn messages_between(&mut self, from: u64, to: u64) -> u64 {
        let len = (to - from) as u32;
        if (self.tally.from, self.tally.len) != (from, len) {
            let messages = self.window.messages_before(to) - self.window.messages_before(from);
            let messages = messages as u32;
            self.tally = Tally {
                from,
                len,
                messages,
            };
        }
        u64::from(self.tally.messages)
    }

    /// A short run of the log over the end of a segment, in one piece: one copy
    /// for all subscribers, who would get two sends each otherwise.
    pub(super) fn seam(&mut self, from: u64, to: u64) -> &Rc<Bytes> {
        let seam = match self.seam.take() {
            Some(seam) if (seam.from, seam.to) == (from, to) => seam,
            _ => {
                let mut bytes = Vec::with_capacity((to - from) as usize);
                self.copy(from, to, &mut bytes);
                let bytes = Rc::new(bytes.into());
                Box::new(Seam { from, to, bytes })
            }
        };
        &self.seam.insert(seam).bytes
    }

    /// Copies a run of the log, over ends of segments.
    pub(super) fn copy(&self, from: u64, to: u64, into: &mut Vec<u8>) {
        let mut at = from;
        while at < to {
            let run = self.window.slice(at, to);
            into.extend_from_slice(run.as_bytes());
            at += u64::from(run.len);
        }
    }

    /// Gives up the segments that no subscriber here needs any more.
    pub(super) fn release(&mut self, cursor: impl Fn(SubId) -> u64) {
        self.seam = None;
        if self.window.segments() > 1 {
            let cursors = self.subscribers.iter().map(|id| cursor(*id));
            let oldest = cursors.min().unwrap_or(u64::MAX);
            self.window.release(oldest);
        }
    }

    /// Makes the window reach back to segments that lead to it.
    pub(super) fn reach_back(&mut self, segments: Vec<Arc<Segment>>) {
        self.window.reach_back(segments);
        // Other messages may have lain at these positions before.
        self.tally = Tally::default();
        self.seam = None;
    }
}

/// The feeds of one core, by its own numbers.
#[derive(Default)]
pub(super) struct Feeds(Slab<Feed>);

impl Feeds {
    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Feed> {
        self.0.get_mut(number as usize)
    }

    /// A feed that is known to be there.
    #[inline]
    pub(super) fn at(&mut self, number: u32) -> &mut Feed {
        &mut self.0[number as usize]
    }

    #[inline]
    pub(super) fn look_at(&self, number: u32) -> &Feed {
        &self.0[number as usize]
    }

    /// No feed has this number or a higher one.
    pub(super) fn numbers_end(&self) -> u32 {
        self.0.capacity() as u32
    }

    /// The numbers of all feeds.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|(number, _)| number as u32)
    }

    /// Adds a subscriber that wants to read `format`.
    pub(super) fn join(
        &mut self,
        core: usize,
        topic: Arc<Topic>,
        format: Format,
        id: SubId,
        since: Since,
        retention: &Retention,
    ) -> Seat {
        let since = match since {
            Since::Now => None,
            Since::Offset(offset) => Some(offset),
        };
        let mut wanted = None;
        let seat = self.seat(core, topic, format, id, |topic, format| {
            match topic.start(format, since, retention) {
                Ok(start) => Some(start),
                Err(further) => {
                    wanted = Some(further);
                    topic.start(format, None, retention).ok()
                }
            }
        });
        let mut seat = seat.expect("any start will do");
        if let Some(further) = wanted {
            seat.offset = further.offset();
            seat.further = Some(further);
        }
        seat
    }

    /// Adds a subscriber that stood at `cursor` in another process. `None` if
    /// nobody can stand there.
    pub(super) fn resume(
        &mut self,
        core: usize,
        topic: Arc<Topic>,
        format: Format,
        id: SubId,
        cursor: u64,
    ) -> Option<Seat> {
        self.seat(core, topic, format, id, |topic, format| {
            topic.resume(format, cursor)
        })
    }

    /// Adds a subscriber that begins at a place in the view of `format`.
    pub(super) fn sit(
        &mut self,
        core: usize,
        topic: Arc<Topic>,
        format: Format,
        id: SubId,
        start: Start,
    ) -> Seat {
        let seat = self.seat(core, topic, format, id, |_, _| Some(start));
        seat.expect("there is a start")
    }

    fn seat(
        &mut self,
        core: usize,
        topic: Arc<Topic>,
        format: Format,
        id: SubId,
        start: impl FnOnce(&Topic, Format) -> Option<Start>,
    ) -> Option<Seat> {
        let attached = topic.attach(format);
        let (format, interest) = attached.expect("the raw view takes whom no other does");
        let listener = &interest[core];
        let known = listener.subscribers() > 0;
        let number = if known {
            listener.place() as usize
        } else {
            self.0.vacant_key()
        };
        // A publisher that comes behind the look at the log finds the core.
        listener.join(number as u32);
        let Some(start) = start(&topic, format) else {
            listener.leave();
            return None;
        };
        if known {
            let feed = &mut self.0[number];
            feed.reach_back(start.segments);
            feed.subscribers.push(id);
        } else {
            let window = Window::new(start.segments);
            listener.pass(window.end());
            let inserted = self.0.insert(Feed {
                topic,
                format,
                interest: interest.clone(),
                window,
                subscribers: smallvec![id],
                next: 0,
                round_end: 0,
                growing: false,
                announce: false,
                pace: Pace::NONE,
                tally: Tally::default(),
                seam: None,
            });
            assert_eq!(inserted, number);
        }
        Some(Seat {
            feed: number as u32,
            place: self.0[number].subscribers.len() as u32 - 1,
            cursor: start.position,
            offset: start.offset,
            further: None,
            is_first: !known,
        })
    }

    /// Removes the subscriber `id` from its seat, and the feed with the last one.
    pub(super) fn leave(&mut self, core: usize, number: u32, place: u32, id: SubId) -> Left {
        let (number, place) = (number as usize, place as usize);
        let feed = &mut self.0[number];
        let removed = feed.subscribers.swap_remove(place);
        assert_eq!(removed, id, "a subscriber knows its place");
        let moved = feed.subscribers.get(place).copied();
        feed.interest[core].leave();
        if feed.subscribers.is_empty() {
            let feed = self.0.remove(number);
            return Left {
                moved: None,
                missed: false,
                rested_until_us: feed.pace.rests_until_us,
                emptied: (!feed.format.is_joins()).then_some(feed.topic),
            };
        }
        let missed = place < feed.next as usize;
        feed.next = feed.next.min(feed.subscribers.len() as u32);
        Left {
            moved,
            missed,
            rested_until_us: 0,
            emptied: None,
        }
    }
}
