//! One topic's messages in their order, with nothing left out silently.
//!
//! Each message that is heard names the one before it on its topic. A chain gives a message
//! on when it follows what was given on last; what is missing between is fetched first, and
//! what cannot be fetched any more is told as a gap. Pure: it is told what came, and says
//! what to do in [`Step`]s. Called by `following` and `fetching`.
//!
//! Offsets are the stream's sequences, so those of one topic have holes that mean nothing.
//! The chain proves only what lies before the newest message heard. When something may have
//! been lost behind it (after a broken connection, say) the chain is in *doubt* until the
//! next message follows, or the topic's end is proven.

use std::collections::{BTreeMap, BTreeSet};

/// Messages heard out of turn that are held. Those beyond are let go and fetched later.
pub(super) const AHEAD_MESSAGES_MAX: usize = 1024;
pub(super) const AHEAD_BYTES_MAX: usize = 1 << 20;

/// Answers about a topic's end that are kept in mind while messages are missing.
const TOLD_MAX: usize = 64;

/// A message as the chain sees it.
pub(super) trait Weighed {
    fn bytes(&self) -> usize;
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    /// When it was stored, in Unix milliseconds.
    pub(super) time_ms: u64,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<M> {
    Commit {
        place: Place,
        previous: u64,
        message: M,
    },
    /// Messages with these offsets may have been there, and are gone.
    Gap { from: u64, to: u64 },
    /// Fetch messages of the topic from this offset on. One fetch of a chain is under way.
    Fetch { from: u64, of: Source },
}

/// Who is asked for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Any replica, which may be behind.
    Any,
    /// The stream's leader, which is not.
    Leader,
}

/// What a heard message is to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Taken,
    /// It was given on before.
    Old,
    /// It came later than one with a greater offset: the stream has lost its end.
    Rewound,
}

/// How a fetched page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageEnd {
    More,
    /// The topic has no further message, says the source that was asked.
    End,
}

#[derive(Debug)]
struct Ahead<M> {
    previous: u64,
    time_ms: u64,
    message: M,
}

#[derive(Debug)]
pub(super) struct Chain<M> {
    last: Place,
    /// The last message given on is one of the topic's that was in the stream, so whether
    /// it still is tells whether what comes behind it is whole.
    is_anchored: bool,
    in_doubt: bool,
    is_open: bool,
    /// A fetch is under way, of this source.
    fetch: Option<Source>,
    /// What the leader has behind the last message given on. Whether it is the next one is
    /// proven when the anchor is seen to be there still.
    unproven: Option<(Place, M)>,
    /// The greatest offset that the topic is known to have had.
    known: u64,
    /// Those behind the last message given on that are known from elsewhere than from
    /// messages heard. What comes behind one of them does not follow.
    told: BTreeSet<u64>,
    ahead: BTreeMap<u64, Ahead<M>>,
    ahead_bytes: usize,
}

impl<M: Weighed> Chain<M> {
    /// A chain that holds what it hears until it is told where it begins.
    pub(super) fn new() -> Self {
        Chain {
            last: Place {
                offset: 0,
                time_ms: 0,
            },
            is_anchored: false,
            in_doubt: false,
            is_open: false,
            fetch: None,
            unproven: None,
            known: 0,
            told: BTreeSet::new(),
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn last(&self) -> u64 {
        self.last.offset
    }

    /// It is open, and nothing may have been lost of it.
    pub(super) fn is_sure(&self) -> bool {
        self.is_open && !self.in_doubt
    }

    /// Begins behind `since`, or behind the newest message where nobody has a position.
    /// `newest` is the topic's last message, `None` if it has none; `stream_last` is the
    /// last offset of the whole stream, as far as it was known when the question was asked.
    /// Returns where the chain begins.
    pub(super) fn open(
        &mut self,
        since: Option<u64>,
        newest: Option<u64>,
        stream_last: u64,
        steps: &mut Vec<Step<M>>,
    ) -> u64 {
        let newest_offset = newest.unwrap_or(0);
        // A position that the stream has not reached is none of this history.
        let since = since.filter(|since| *since <= stream_last.max(newest_offset));
        self.is_open = true;
        (self.fetch, self.unproven) = (None, None);
        let begin = since.unwrap_or(newest_offset);
        self.last.offset = begin;
        self.learn(newest_offset);
        self.is_anchored = begin > 0 && begin <= newest_offset;
        self.in_doubt = since.is_some() && begin != newest_offset;
        self.go_on(Source::Any, steps);
        begin
    }

    /// Something may have been lost since the last message, and what was under way will
    /// not be answered.
    pub(super) fn doubt(&mut self) {
        self.in_doubt = true;
        (self.fetch, self.unproven) = (None, None);
    }

    /// A message came from the server by itself.
    pub(super) fn handle_heard(
        &mut self,
        place: Place,
        previous: u64,
        message: M,
        steps: &mut Vec<Step<M>>,
    ) -> Heard {
        if self.is_open && place.offset <= self.last.offset {
            return match place.time_ms > self.last.time_ms && self.last.time_ms > 0 {
                true => Heard::Rewound,
                false => Heard::Old,
            };
        }
        self.known = self.known.max(place.offset);
        let follows = self.ahead.is_empty() && previous <= self.last.offset;
        if self.is_open && self.fetch.is_none() && follows {
            let follows = self.follows(place, previous);
            self.commit(place, follows, message, steps);
        } else {
            self.hold(place, previous, message);
        }
        self.go_on(Source::Any, steps);
        Heard::Taken
    }

    /// The topic had a message with this offset, says an acknowledgement that is old enough
    /// for the message to have come.
    pub(super) fn handle_known(&mut self, offset: u64, steps: &mut Vec<Step<M>>) {
        self.learn(offset);
        self.go_on(Source::Any, steps);
    }

    /// The topic's newest message has this offset, or there is none. `stream_first` is the
    /// first offset that the stream still has.
    pub(super) fn handle_newest(
        &mut self,
        newest: Option<u64>,
        stream_first: u64,
        steps: &mut Vec<Step<M>>,
    ) {
        let newest = newest.unwrap_or(0);
        if newest >= self.last.offset && (self.is_anchored || newest > self.last.offset) {
            // Equal: proven. Greater: what is fetched now proves it.
            self.in_doubt &= newest > self.last.offset;
        } else if !self.is_anchored && stream_first <= self.last.offset + 1 {
            // Nothing behind the last position has been removed from the stream.
            self.in_doubt = false;
        }
        self.learn(newest);
        self.go_on(Source::Any, steps);
    }

    /// Messages of the topic as they were fetched, in order.
    pub(super) fn handle_page(
        &mut self,
        mut page: Vec<(Place, M)>,
        mut end: PageEnd,
        steps: &mut Vec<Step<M>>,
    ) {
        let Some(source) = self.fetch.take() else {
            return;
        };
        // If the anchor is still there, so is all behind it: a stream removes the oldest
        // messages of a topic first. Otherwise something may be gone.
        let is_anchor = |(place, _): &(Place, M)| place.offset == self.last.offset;
        let mut is_whole = self.is_anchored && page.iter().any(is_anchor);
        if source == Source::Leader && self.is_anchored {
            match self.unproven.take() {
                Some(found) => (page, end) = (vec![found], PageEnd::More),
                None if page.is_empty() => {}
                None => {
                    self.unproven = page.pop();
                    self.fetch = Some(source);
                    let from = self.last.offset;
                    return steps.push(Step::Fetch { from, of: source });
                }
            }
        }
        let before = self.last.offset;
        for (place, message) in page {
            if place.offset <= self.last.offset {
                continue;
            }
            self.commit(place, is_whole, message, steps);
            is_whole = true;
        }
        if end == PageEnd::More {
            if self.drain(steps).is_some() {
                // A source that has brought nothing is not asked for the same again.
                let is_stuck = self.last.offset == before;
                let of = if is_stuck { Source::Leader } else { source };
                self.fetch_from(of, steps);
            }
            return;
        }
        match (source, self.drain(steps)) {
            (_, None) => {}
            // A replica may not have it yet.
            (Source::Any, Some(_)) => self.fetch_from(Source::Leader, steps),
            (Source::Leader, Some(missing)) => {
                let from = self.last.offset + 1;
                steps.push(Step::Gap { from, to: missing });
                self.last.offset = missing;
                self.told = self.told.split_off(&(missing + 1));
                self.is_anchored = false;
                self.in_doubt = false;
                self.go_on(Source::Any, steps);
            }
        }
    }

    /// A fetch was not answered: it is asked again.
    pub(super) fn handle_silence(&mut self, steps: &mut Vec<Step<M>>) {
        if let Some(source) = self.fetch.take() {
            self.go_on(source, steps);
        }
    }

    /// The topic had a message with this offset.
    fn learn(&mut self, offset: u64) {
        self.known = self.known.max(offset);
        if offset > self.last.offset && self.told.len() < TOLD_MAX {
            self.told.insert(offset);
        }
    }

    /// Gives on what can be, and fetches what is missing.
    fn go_on(&mut self, source: Source, steps: &mut Vec<Step<M>>) {
        if self.is_open && self.fetch.is_none() && self.drain(steps).is_some() {
            self.fetch_from(source, steps);
        }
    }

    /// Asks for what comes behind the last message given on. A page of any replica begins
    /// with that one, to show whether it is still there; the leader gives one message at a
    /// time, and is asked for that one afterwards.
    fn fetch_from(&mut self, of: Source, steps: &mut Vec<Step<M>>) {
        self.fetch = Some(of);
        self.unproven = None;
        let from = match self.is_anchored && of == Source::Any {
            true => self.last.offset,
            false => self.last.offset + 1,
        };
        steps.push(Step::Fetch { from, of });
    }

    /// Gives on what was held and follows now. Returns the offset up to which messages are
    /// missing.
    fn drain(&mut self, steps: &mut Vec<Step<M>>) -> Option<u64> {
        while let Some(entry) = self.ahead.first_entry() {
            let offset = *entry.key();
            if offset > self.last.offset && entry.get().previous > self.last.offset {
                return Some(entry.get().previous);
            }
            let held = entry.remove();
            self.ahead_bytes -= held.message.bytes();
            if offset > self.last.offset {
                let time_ms = held.time_ms;
                let place = Place { offset, time_ms };
                let follows = self.follows(place, held.previous);
                self.commit(place, follows, held.message, steps);
            }
        }
        (self.known > self.last.offset).then_some(self.known)
    }

    /// Whether nothing can be missing before a message that was heard, whose predecessor
    /// has been given on or is gone.
    fn follows(&self, place: Place, previous: u64) -> bool {
        assert!(previous <= self.last.offset);
        let is_missing = self.told.first().is_some_and(|told| *told < place.offset);
        let is_next = self.is_anchored && previous == self.last.offset;
        is_next || !self.in_doubt && !is_missing
    }

    fn commit(&mut self, place: Place, follows: bool, message: M, steps: &mut Vec<Step<M>>) {
        assert!(place.offset > self.last.offset);
        if !follows && place.offset > self.last.offset + 1 {
            let (from, to) = (self.last.offset + 1, place.offset - 1);
            steps.push(Step::Gap { from, to });
        }
        let previous = self.last.offset;
        steps.push(Step::Commit {
            place,
            previous,
            message,
        });
        self.last = place;
        self.known = self.known.max(place.offset);
        while self.told.first().is_some_and(|told| *told <= place.offset) {
            self.told.pop_first();
        }
        self.is_anchored = true;
        self.in_doubt = false;
    }

    fn hold(&mut self, place: Place, previous: u64, message: M) {
        let bytes = message.bytes();
        let is_full = self.ahead.len() >= AHEAD_MESSAGES_MAX;
        if is_full || self.ahead_bytes + bytes > AHEAD_BYTES_MAX {
            return;
        }
        let held = Ahead {
            previous,
            time_ms: place.time_ms,
            message,
        };
        self.ahead_bytes += bytes;
        if let Some(old) = self.ahead.insert(place.offset, held) {
            self.ahead_bytes -= old.message.bytes();
        }
    }
}

#[cfg(test)]
mod tests;
