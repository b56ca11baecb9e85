//! When the end of each followed topic is proven.
//!
//! A message that is lost without a successor is noticed by asking for the topic's end: every
//! `tail_check_ms`, and at once where something may have been lost. The regular questions keep
//! to a rate; the others are few, or wanted at once. Pure: time is an argument. Called by
//! `following`.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

#[derive(Debug)]
pub(super) struct Tails<T> {
    period_ms: u64,
    per_s_max: u32,
    /// When each topic is due, soonest first: all wait equally long.
    due: VecDeque<(u64, T)>,
    urgent: VecDeque<T>,
    /// Those in `urgent`, so that none is there twice.
    is_urgent: HashSet<T>,
    /// Thousandths of a question that may be asked now.
    allowance: u64,
    updated_ms: u64,
}

const PER_QUESTION: u64 = 1000;

impl<T: Clone + Eq + Hash> Tails<T> {
    pub(super) fn new(period_ms: u64, per_s_max: u32, now_ms: u64) -> Self {
        Tails {
            period_ms,
            per_s_max,
            due: VecDeque::new(),
            urgent: VecDeque::new(),
            is_urgent: HashSet::new(),
            allowance: u64::from(per_s_max) * PER_QUESTION,
            updated_ms: now_ms,
        }
    }

    /// Asks about this topic before all that are merely due.
    pub(super) fn hurry(&mut self, topic: T) {
        if self.is_urgent.insert(topic.clone()) {
            self.urgent.push_back(topic);
        }
    }

    /// Asks about this topic after a period. To be called once for each answer, so that
    /// a topic is never in the queue twice.
    pub(super) fn schedule(&mut self, topic: T, now_ms: u64) {
        self.due.push_back((now_ms + self.period_ms, topic));
    }

    /// The next topic to ask about. `true` if it was hurried: its regular place in the
    /// queue stays.
    pub(super) fn poll(&mut self, now_ms: u64) -> Option<(T, bool)> {
        if let Some(topic) = self.urgent.pop_front() {
            self.is_urgent.remove(&topic);
            return Some((topic, true));
        }
        let passed = now_ms.saturating_sub(self.updated_ms);
        self.updated_ms = now_ms;
        let full = u64::from(self.per_s_max) * PER_QUESTION;
        let gained = passed.saturating_mul(u64::from(self.per_s_max));
        self.allowance = self.allowance.saturating_add(gained).min(full);
        let (due_ms, _) = self.due.front()?;
        if self.allowance < PER_QUESTION || *due_ms > now_ms {
            return None;
        }
        let (_, topic) = self.due.pop_front()?;
        self.allowance -= PER_QUESTION;
        Some((topic, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_is_asked_about_once_a_period() {
        let mut tails = Tails::new(100, 1000, 0);
        tails.schedule('a', 0);
        tails.schedule('b', 50);
        assert_eq!(tails.poll(99), None);
        assert_eq!(tails.poll(100), Some(('a', false)));
        assert_eq!(tails.poll(100), None);
        tails.schedule('a', 100);
        assert_eq!(tails.poll(200), Some(('b', false)));
        assert_eq!(tails.poll(200), Some(('a', false)));
    }

    #[test]
    fn doubtful_topics_come_first_and_once() {
        let mut tails = Tails::new(100, 1000, 0);
        tails.schedule('a', 0);
        tails.hurry('b');
        tails.hurry('b');
        assert_eq!(tails.poll(100), Some(('b', true)));
        assert_eq!(tails.poll(100), Some(('a', false)));
        assert_eq!(tails.poll(100), None);
    }

    #[test]
    fn regular_questions_keep_to_their_rate_and_hurried_ones_need_not() {
        let mut tails = Tails::new(0, 10, 0);
        for topic in 0..100 {
            tails.schedule(topic, 0);
        }
        let asked =
            |tails: &mut Tails<i32>, now_ms| std::iter::from_fn(|| tails.poll(now_ms)).count();
        assert_eq!(asked(&mut tails, 0), 10);
        assert_eq!(asked(&mut tails, 99), 0);
        assert_eq!(asked(&mut tails, 100), 1);
        for topic in 0..50 {
            tails.hurry(topic);
        }
        assert_eq!(asked(&mut tails, 100), 50);
        assert_eq!(asked(&mut tails, 10_000), 10);
    }
}
