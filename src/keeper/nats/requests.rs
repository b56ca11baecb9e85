//! Questions to the servers that are not answered yet.
//!
//! All answers come on one subscription: the last token of the subject that a question names
//! for its answer is the question's number. Pure: time is an argument.

use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Requests<T> {
    /// The number of the first one.
    first: u64,
    /// By number, each with the time when it is given up. All of them wait equally long, so
    /// the oldest is first. What has been answered leaves a hole until it is the first.
    waiting: VecDeque<(u64, Option<T>)>,
}

impl<T> Requests<T> {
    pub(super) fn new() -> Self {
        Requests {
            first: 1,
            waiting: VecDeque::new(),
        }
    }

    /// The number of a new question, which is given up at `deadline_ms`.
    pub(super) fn insert(&mut self, request: T, deadline_ms: u64) -> u64 {
        self.waiting.push_back((deadline_ms, Some(request)));
        self.first + self.waiting.len() as u64 - 1
    }

    /// Takes the question that an answer with this number belongs to.
    pub(super) fn take(&mut self, number: u64) -> Option<T> {
        let taken = self.slot(number)?.take();
        while let Some((_, None)) = self.waiting.front() {
            self.pop();
        }
        taken
    }

    /// The same, of a question that further answers may come to.
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.slot(number)?.as_mut()
    }

    /// Takes one whose time is over.
    pub(super) fn poll_timeout(&mut self, now_ms: u64) -> Option<T> {
        while self
            .waiting
            .front()
            .is_some_and(|(due_ms, _)| *due_ms <= now_ms)
        {
            if let Some(request) = self.pop() {
                return Some(request);
            }
        }
        None
    }

    /// Takes all: no answer will come any more.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        self.first += self.waiting.len() as u64;
        let all = self.waiting.drain(..);
        all.filter_map(|(_, request)| request).collect()
    }

    fn slot(&mut self, number: u64) -> Option<&mut Option<T>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let (_, request) = self.waiting.get_mut(at)?;
        Some(request)
    }

    fn pop(&mut self) -> Option<T> {
        let (_, request) = self.waiting.pop_front()?;
        self.first += 1;
        request
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
        assert_eq!(requests.take(second + 1), None);
        assert_eq!(requests.poll_timeout(149), None);
        assert_eq!(requests.poll_timeout(150), Some("second"));
        assert_eq!(requests.take(second), None);
        requests.insert("third", 200);
        requests.insert("fourth", 201);
        assert_eq!(requests.take_all(), ["third", "fourth"]);
        let fifth = requests.insert("fifth", 300);
        let sixth = requests.insert("sixth", 300);
        assert_eq!(requests.take(sixth), Some("sixth"));
        assert_eq!(requests.get_mut(fifth), Some(&mut "fifth"));
        assert_eq!(requests.take(fifth), Some("fifth"));
        assert_eq!(requests.poll_timeout(300), None);
    }
}
