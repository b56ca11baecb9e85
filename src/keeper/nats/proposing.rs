//! What is sent to the stream, in which order, and what is sent again.
//!
//! Proposals of one publisher to one topic form a *lane*: they are stored in the order in
//! which they were proposed, retries included. A lane has several under way at once, which
//! keep their order as they go one way over one connection. When an answer fails to come, the
//! lane sends nothing new until all that is under way is settled; then it asks for each
//! unanswered one whether it was stored (a *probe*, which stores nothing), and sends again,
//! from the first one on, those that were not. One that was not stored while a later one was
//! has been *overtaken*: to store it now would break the order, so it fails.
//!
//! Where the lane's topic is heard, a message that comes back from the stream is known to be
//! stored. Then only the last of those that are sent together asks for an answer, and each that
//! goes wrong more easily: one that is sent again, or with a key of its publisher's.
//!
//! Pure: time is an argument. Called by `publishing`.

use std::collections::VecDeque;

/// Proposals of one lane that may be under way.
pub(super) const LANE_WINDOW: usize = 1024;
/// One of so many asks for an answer at least, so that a stream that refuses all is noticed.
const UNASKED_MAX: usize = 64;

/// One message's way to the stream.
#[derive(Debug)]
struct Entry<T> {
    ticket: u64,
    message: T,
    state: State,
    /// When it gives up.
    deadline_ms: u64,
    /// The stream may have it from elsewhere: it asks for an answer.
    asks: bool,
    /// It was sent without asking: until when it is to be heard.
    heard_by_ms: Option<u64>,
    /// How often it was sent.
    attempts: u32,
    /// A later one was stored.
    is_overtaken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is certain that the stream does not have it.
    Waiting,
    Sent,
    /// No answer came: the stream may have it.
    Unknown,
    Probed,
}

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sending<'a, T> {
    Message {
        ticket: u64,
        message: &'a T,
        attempt: u32,
        asks: bool,
    },
    Probe {
        ticket: u64,
        message: &'a T,
    },
}

/// How a proposal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored {
        ticket: u64,
        offset: u64,
        /// The stream had it before it was proposed here, as far as can be told.
        is_duplicate: bool,
    },
    Failed {
        ticket: u64,
        why: Why,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Time is over, and the stream does not have it.
    NotSent,
    /// Time is over, and the stream may have it.
    Unknown,
    Overtaken,
    Refused(String),
}

/// What the server said of one that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stored {
        offset: u64,
        is_duplicate: bool,
    },
    /// For good, with the server's words.
    Refused(String),
    /// Nobody is there to take it, or no answer came in time.
    Silence,
    /// The probe's answer: the stream does not have it.
    Absent,
}

#[derive(Debug)]
pub(super) struct Lane<T> {
    entries: VecDeque<Entry<T>>,
    /// None before this place waits to be sent, so that a full window is not searched each time.
    next: usize,
    /// Something is unanswered: nothing new is sent until it is settled.
    is_settling: bool,
    /// How many are sent or probed.
    under_way: usize,
    /// How many were sent since the last one that asked.
    unasked: usize,
}

/// How what is sent is told to have been stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// By an answer.
    Answer,
    /// By being heard, before this time.
    Heard { by_ms: u64 },
}

impl<T> Lane<T> {
    pub(super) fn new() -> Self {
        Lane {
            entries: VecDeque::new(),
            next: 0,
            is_settling: false,
            under_way: 0,
            unasked: 0,
        }
    }

    /// How many are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// `asks` is said of one that the stream may have from elsewhere.
    pub(super) fn push(&mut self, ticket: u64, message: T, deadline_ms: u64, asks: bool) {
        self.entries.push_back(Entry {
            ticket,
            message,
            state: State::Waiting,
            deadline_ms,
            asks,
            heard_by_ms: None,
            attempts: 0,
            is_overtaken: false,
        });
    }

    /// The next one to send, if any may be sent now.
    pub(super) fn poll_send(&mut self, proof: Proof) -> Option<Sending<'_, T>> {
        if self.is_settling {
            // The order of answers says nothing while some are still to come.
            if self.entries.iter().any(|entry| entry.state == State::Sent) {
                return None;
            }
            let unknown = |entry: &&mut Entry<T>| entry.state == State::Unknown;
            let entry = self.entries.iter_mut().find(unknown)?;
            entry.state = State::Probed;
            self.under_way += 1;
            return Some(Sending::Probe {
                ticket: entry.ticket,
                message: &entry.message,
            });
        }
        // Those that are under way stand before those that wait.
        let end = self.entries.len().min(LANE_WINDOW);
        let mut window = self.next.min(end)..end;
        let at = window.find(|at| self.entries[*at].state == State::Waiting);
        self.next = at.map_or(end, |at| at + 1);
        let at = at?;
        let next = self.entries.get(at + 1).filter(|_| at + 1 < LANE_WINDOW);
        let is_last = next.is_none_or(|next| next.state != State::Waiting);
        let entry = &mut self.entries[at];
        entry.state = State::Sent;
        entry.attempts += 1;
        entry.heard_by_ms = match proof {
            Proof::Heard { by_ms } if !is_last && !entry.asks && entry.attempts == 1 => {
                Some(by_ms).filter(|_| self.unasked < UNASKED_MAX)
            }
            _ => None,
        };
        let asks = entry.heard_by_ms.is_none();
        self.unasked = if asks { 0 } else { self.unasked + 1 };
        self.under_way += 1;
        Some(Sending::Message {
            ticket: entry.ticket,
            message: &entry.message,
            attempt: entry.attempts,
            asks,
        })
    }

    /// An answer to one that was sent or probed, or what is known by hearing it. How some ended goes to `outcomes`, and
    /// their messages to `ended`, in the same order.
    pub(super) fn handle_verdict(
        &mut self,
        ticket: u64,
        verdict: Verdict,
        outcomes: &mut Vec<Outcome>,
        ended: &mut Vec<T>,
    ) {
        let Some(at) = self.entries.iter().position(|entry| entry.ticket == ticket) else {
            return;
        };
        let was = self.entries[at].state;
        match verdict {
            Verdict::Stored {
                offset,
                is_duplicate,
            } => {
                for earlier in self.entries.range_mut(..at) {
                    earlier.is_overtaken = true;
                }
                let entry = self.remove(at);
                // Sent twice by us, it may well be our own first copy.
                let is_duplicate = is_duplicate && was == State::Sent && entry.attempts == 1;
                outcomes.push(Outcome::Stored {
                    ticket,
                    offset,
                    is_duplicate,
                });
                ended.push(entry.message);
            }
            Verdict::Refused(words) => {
                // Those before it may have been refused too.
                self.doubt(at, |_| true);
                let entry = self.remove(at);
                ended.push(entry.message);
                let why = Why::Refused(words);
                outcomes.push(Outcome::Failed { ticket, why });
            }
            Verdict::Silence => {
                self.rest(at, State::Unknown);
                self.is_settling = true;
            }
            Verdict::Absent => {
                self.rest(at, State::Waiting);
                self.next = self.next.min(at);
            }
        }
        self.settle(outcomes, ended);
    }

    /// It is not under way any more.
    fn rest(&mut self, at: usize, state: State) {
        let was = std::mem::replace(&mut self.entries[at].state, state);
        self.under_way -= usize::from(matches!(was, State::Sent | State::Probed));
    }

    /// Of those before `end` that were sent without asking, and that `is_late` says so of, nobody
    /// knows any more.
    fn doubt(&mut self, end: usize, is_late: impl Fn(u64) -> bool) {
        for at in 0..end {
            let entry = &self.entries[at];
            if entry.state == State::Sent && entry.heard_by_ms.is_some_and(&is_late) {
                self.rest(at, State::Unknown);
                self.is_settling = true;
            }
        }
    }

    fn remove(&mut self, at: usize) -> Entry<T> {
        self.rest(at, State::Waiting);
        self.next -= usize::from(at < self.next);
        self.entries.remove(at).expect("it was found there")
    }

    /// The connection is gone: no answer will come to what was under way.
    pub(super) fn handle_disconnect(&mut self) {
        for at in 0..self.entries.len() {
            if matches!(self.entries[at].state, State::Sent | State::Probed) {
                self.rest(at, State::Unknown);
                self.is_settling = true;
            }
        }
    }

    /// Doubts what was not heard in time, and gives up what has waited long enough. What is under
    /// way is left to its answer.
    pub(super) fn handle_timeout(
        &mut self,
        now_ms: u64,
        outcomes: &mut Vec<Outcome>,
        ended: &mut Vec<T>,
    ) {
        self.doubt(self.entries.len(), |by_ms| by_ms <= now_ms);
        // Those behind the first one were proposed later.
        let first = self.entries.front();
        if first.is_none_or(|entry| now_ms < entry.deadline_ms) {
            return;
        }
        let why = |entry: &Entry<T>| match entry.state {
            _ if now_ms < entry.deadline_ms => None,
            State::Waiting if entry.is_overtaken => Some(Why::Overtaken),
            State::Waiting => Some(Why::NotSent),
            State::Unknown => Some(Why::Unknown),
            State::Sent | State::Probed => None,
        };
        self.give_up(why, outcomes, ended);
        self.settle(outcomes, ended);
    }

    /// Sends again when everything is known; what was overtaken has failed then.
    fn settle(&mut self, outcomes: &mut Vec<Outcome>, ended: &mut Vec<T>) {
        let is_known = |entry: &Entry<T>| entry.state == State::Waiting;
        if !self.is_settling || !self.entries.iter().all(is_known) {
            return;
        }
        self.is_settling = false;
        let why = |entry: &Entry<T>| entry.is_overtaken.then_some(Why::Overtaken);
        self.give_up(why, outcomes, ended);
    }

    fn give_up(
        &mut self,
        why: impl Fn(&Entry<T>) -> Option<Why>,
        outcomes: &mut Vec<Outcome>,
        ended: &mut Vec<T>,
    ) {
        self.next = 0;
        for entry in std::mem::take(&mut self.entries) {
            match why(&entry) {
                None => self.entries.push_back(entry),
                Some(why) => {
                    let ticket = entry.ticket;
                    outcomes.push(Outcome::Failed { ticket, why });
                    ended.push(entry.message);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
