//! Questions to the servers that are not answered yet.
//!
//! All answers come on one subscription: the last token of the subject that a question names
//! for its answer is the question's number. Pure: time is an argument.

use std::collections::{HashMap, VecDeque};

#[derive(Debug)]
pub(super) struct Requests<T> {
    next: u64,
    waiting: HashMap<u64, T>,
    /// When each is given up. All of them wait equally long, so the oldest is first.
    deadlines: VecDeque<(u64, u64)>,
}

impl<T> Requests<T> {
    pub(super) fn new() -> Self {
        Requests {
            next: 0,
            waiting: HashMap::new(),
            deadlines: VecDeque::new(),
        }
    }

    /// The number of a new question, which is given up at `deadline_ms`.
    pub(super) fn insert(&mut self, request: T, deadline_ms: u64) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, request);
        self.deadlines.push_back((deadline_ms, self.next));
        self.next
    }

    /// Takes the question that an answer with this number belongs to.
    pub(super) fn take(&mut self, number: u64) -> Option<T> {
        self.waiting.remove(&number)
    }

    /// The same, of a question that further answers may come to.
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.waiting.get_mut(&number)
    }

    /// Takes one whose time is over.
    pub(super) fn poll_timeout(&mut self, now_ms: u64) -> Option<T> {
        while let Some(&(due_ms, number)) = self.deadlines.front() {
            if due_ms > now_ms {
                return None;
            }
            self.deadlines.pop_front();
            if let Some(request) = self.waiting.remove(&number) {
                return Some(request);
            }
        }
        None
    }

    /// Takes all: no answer will come any more.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        self.deadlines.clear();
        let mut all: Vec<(u64, T)> = self.waiting.drain().collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, request)| request).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_ends_by_an_answer_or_by_time() {
        let mut requests = Requests::new();
        let first = requests.insert("first", 100);
        let second = requests.insert("second", 150);
        assert_eq!(requests.take(first), Some("first"));
        assert_eq!(requests.take(first), None);
        assert_eq!(requests.poll_timeout(149), None);
        assert_eq!(requests.poll_timeout(150), Some("second"));
        assert_eq!(requests.take(second), None);
        requests.insert("third", 200);
        requests.insert("fourth", 201);
        assert_eq!(requests.take_all(), ["third", "fourth"]);
    }
}
