//! Whether every message came, once, in order: for each connection and each
//! publisher that it hears.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// Joined while messages were flowing: the first one heard sets the count.
const ANY: u64 = u64::MAX;

/// What went wrong, in messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Never came.
    pub lost: u64,
    /// Came again.
    pub doubled: u64,
    /// Came after one that was sent later.
    pub reordered: u64,
    /// Are not what was sent: another run's, another length, other content.
    pub strange: u64,
}

impl Faults {
    pub fn any(&self) -> bool {
        *self != Faults::default()
    }

    pub fn add(&mut self, other: &Faults) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.strange += other.strange;
    }
}

/// How one message stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Good, but so many before it are missing.
    Gap(u64),
    /// One of the missing, late.
    Late,
    Doubled,
}

/// The count of each pair of connection and publisher, 8 bytes each; only
/// where something is missing there is more.
#[derive(Debug, Default)]
pub struct Ledger {
    next: Vec<u64>,
    /// By place: missing sequences as start and end (exclusive).
    missing: HashMap<usize, BTreeMap<u64, u64>>,
    pub faults: Faults,
}

impl Ledger {
    /// Room for `places` pairs; none has heard anything, each expects
    /// sequence 0.
    pub fn new(places: usize) -> Self {
        Ledger {
            next: vec![0; places],
            ..Ledger::default()
        }
    }

    /// From here on the place expects `sequence`, or whatever comes first if
    /// that is `None`.
    pub fn expect_from(&mut self, place: usize, sequence: Option<u64>) {
        self.next[place] = sequence.unwrap_or(ANY);
        self.missing.remove(&place);
    }

    /// Enters one message.
    #[inline]
    pub fn enter(&mut self, place: usize, sequence: u64) -> Verdict {
        let next = self.next[place];
        if sequence == next || next == ANY {
            self.next[place] = sequence + 1;
            return Verdict::Good;
        }
        self.enter_odd(place, sequence, next)
    }

    #[cold]
    fn enter_odd(&mut self, place: usize, sequence: u64, next: u64) -> Verdict {
        if sequence > next {
            self.missing
                .entry(place)
                .or_default()
                .insert(next, sequence);
            self.faults.lost += sequence - next;
            self.next[place] = sequence + 1;
            return Verdict::Gap(sequence - next);
        }
        let missing = self.missing.entry(place).or_default();
        let range = missing.range(..=sequence).next_back();
        let Some((&start, &end)) = range.filter(|(_, end)| sequence < **end) else {
            self.faults.doubled += 1;
            return Verdict::Doubled;
        };
        missing.remove(&start);
        if start < sequence {
            missing.insert(start, sequence);
        }
        if sequence + 1 < end {
            missing.insert(sequence + 1, end);
        }
        self.faults.lost -= 1;
        self.faults.reordered += 1;
        Verdict::Late
    }

    /// At the end: the publisher sent `sent` messages in all. What the place
    /// has not come to is lost; whoever joined in the middle and has heard
    /// nothing is given `joined_at`, the sequence from which it must have.
    pub fn close(&mut self, place: usize, sent: u64, joined_at: u64) -> u64 {
        let next = match self.next[place] {
            ANY => joined_at,
            next => next,
        };
        let lost = sent.saturating_sub(next);
        self.faults.lost += lost;
        lost
    }

    /// The next sequence expected, if anything was heard.
    pub fn next(&self, place: usize) -> Option<u64> {
        Some(self.next[place]).filter(|&next| next != ANY)
    }
}
