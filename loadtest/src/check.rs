//! Order, loss and duplicates, for every message on every connection.
//!
//! A connection follows one sequence per publisher of its topic. What it skipped
//! is remembered, so that a message that comes late is told from one that comes
//! twice, and from one that never comes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// What was found on a set of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Messages of this run that arrived, duplicates included.
    pub received: u64,
    /// Messages that never arrived on a connection that should have heard them.
    pub lost: u64,
    pub duplicated: u64,
    /// Messages that arrived after a later one of the same publisher.
    pub reordered: u64,
    /// Messages with a wrong length, damaged padding, or of an unknown publisher.
    pub corrupt: u64,
    /// Messages that reached a subscriber of another topic.
    pub misrouted: u64,
    /// Other messages: greetings, answers, traffic of somebody else. No fault.
    pub foreign: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.received += other.received;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupt += other.corrupt;
        self.misrouted += other.misrouted;
        self.foreign += other.foreign;
    }

    /// Everything that a broadcast server must not do.
    pub fn faults(&self) -> u64 {
        self.lost + self.duplicated + self.reordered + self.corrupt + self.misrouted
    }

    /// Books what the ledger said about one message.
    pub fn book(&mut self, arrival: Arrival) {
        self.received += 1;
        match arrival {
            Arrival::InOrder | Arrival::AfterGap => {}
            Arrival::Late => self.reordered += 1,
            Arrival::Duplicate => self.duplicated += 1,
        }
    }
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    InOrder,
    /// In order, but one or more before it are missing so far.
    AfterGap,
    /// One of the missing.
    Late,
    Duplicate,
}

/// Gaps remembered per thread; beyond, a late message counts as a duplicate.
const GAPS_MAX: usize = 1 << 20;
const UNSEEN: u64 = u64::MAX;

/// Where a connection begins to listen to a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It was there before the first message, and must hear all.
    First,
    /// It came later: it must hear all from the first message that reaches it.
    Anywhere,
}

/// The sequences of all connections of one thread.
pub struct Ledger {
    streams: usize,
    next: Vec<u64>,
    gaps: HashMap<usize, Vec<(u64, u64)>>,
    gap_count: usize,
}

impl Ledger {
    /// `streams`: publishers per topic, at most.
    pub fn new(connections: usize, streams: usize) -> Ledger {
        Ledger {
            streams,
            next: vec![UNSEEN; connections * streams],
            gaps: HashMap::new(),
            gap_count: 0,
        }
    }

    /// Sets one connection's stream to its beginning.
    pub fn begin(&mut self, connection: usize, stream: usize, start: Start) {
        let at = connection * self.streams + stream;
        self.next[at] = match start {
            Start::First => 0,
            Start::Anywhere => UNSEEN,
        };
        if let Some(gaps) = self.gaps.remove(&at) {
            self.gap_count -= gaps.len();
        }
    }

    pub fn record(&mut self, connection: usize, stream: usize, sequence: u64) -> Arrival {
        let at = connection * self.streams + stream;
        let next = self.next[at];
        if sequence == next || next == UNSEEN {
            self.next[at] = sequence + 1;
            return Arrival::InOrder;
        }
        if sequence > next {
            self.next[at] = sequence + 1;
            if self.gap_count < GAPS_MAX {
                self.gap_count += 1;
                self.gaps.entry(at).or_default().push((next, sequence));
            }
            return Arrival::AfterGap;
        }
        if self.fill_gap(at, sequence) {
            Arrival::Late
        } else {
            Arrival::Duplicate
        }
    }

    /// The number that the connection expects next, `None` before the first.
    pub fn expected(&self, connection: usize, stream: usize) -> Option<u64> {
        let next = self.next[connection * self.streams + stream];
        (next != UNSEEN).then_some(next)
    }

    /// Messages that never came, when the publisher had sent `sent` in all. A
    /// stream whose connection leaves before the end is asked about `None`:
    /// only the gaps count.
    pub fn lost(&self, connection: usize, stream: usize, sent: Option<u64>) -> u64 {
        let at = connection * self.streams + stream;
        let next = self.next[at];
        if next == UNSEEN {
            return 0;
        }
        let tail = sent.map_or(0, |sent| sent.saturating_sub(next));
        let gaps = self.gaps.get(&at).into_iter().flatten();
        tail + gaps.map(|(from, to)| to - from).sum::<u64>()
    }

    fn fill_gap(&mut self, at: usize, sequence: u64) -> bool {
        let Some(gaps) = self.gaps.get_mut(&at) else {
            return false;
        };
        let Some(found) = gaps
            .iter()
            .position(|(from, to)| (*from..*to).contains(&sequence))
        else {
            return false;
        };
        let (from, to) = gaps.swap_remove(found);
        self.gap_count -= 1;
        for part in [(from, sequence), (sequence + 1, to)] {
            if part.0 < part.1 {
                self.gap_count += 1;
                gaps.push(part);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(start: Start, numbers: &[u64], sent: u64) -> Tally {
        let mut ledger = Ledger::new(2, 3);
        ledger.begin(1, 2, start);
        let mut tally = Tally::default();
        for number in numbers {
            tally.book(ledger.record(1, 2, *number));
        }
        tally.lost = ledger.lost(1, 2, Some(sent));
        tally
    }

    #[test]
    fn a_clean_run_has_no_faults() {
        let tally = hear(Start::First, &[0, 1, 2, 3], 4);
        assert_eq!((tally.received, tally.faults()), (4, 0));
    }

    #[test]
    fn losses_at_the_start_in_the_middle_and_at_the_end_are_counted() {
        assert_eq!(hear(Start::First, &[2, 3, 6], 9).lost, 2 + 2 + 2);
        assert_eq!(hear(Start::First, &[], 9).lost, 9);
    }

    #[test]
    fn a_late_message_is_reordered_and_not_lost_and_not_doubled() {
        let tally = hear(Start::First, &[0, 4, 2, 1, 3, 5], 6);
        assert_eq!((tally.reordered, tally.lost, tally.duplicated), (3, 0, 0));
    }

    #[test]
    fn the_second_copy_is_a_duplicate_also_when_the_first_came_late() {
        let tally = hear(Start::First, &[0, 2, 1, 1, 2], 3);
        assert_eq!((tally.reordered, tally.lost, tally.duplicated), (1, 0, 2));
    }

    #[test]
    fn who_joins_late_owes_nothing_before_its_first_message() {
        assert_eq!(hear(Start::Anywhere, &[70, 71, 73], 75).lost, 1 + 1);
        assert_eq!(hear(Start::Anywhere, &[], 75).lost, 0);
    }

    #[test]
    fn who_leaves_early_is_asked_about_its_gaps_only() {
        let mut ledger = Ledger::new(1, 1);
        ledger.begin(0, 0, Start::First);
        ledger.record(0, 0, 0);
        ledger.record(0, 0, 2);
        assert_eq!(ledger.lost(0, 0, None), 1);
        ledger.begin(0, 0, Start::Anywhere);
        assert_eq!(ledger.lost(0, 0, Some(10)), 0, "a new life owes nothing");
    }
}
