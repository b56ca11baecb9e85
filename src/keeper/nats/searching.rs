//! The steps by which a place in a topic's history is found that is named by a number of
//! messages. Pure. Called by `history`.

use super::narrowing::{Narrowed, Narrowing};

/// How many messages a page may have more than it is to have: they are left out in the end. A
/// search for one place among so many is shorter, and those that are stored meanwhile do no harm.
const SLACK: u64 = 24;
/// A search takes a few questions, or some dozens where messages come in bursts. Beyond this the
/// topic changes faster than it can be searched.
const QUESTIONS_MAX: u32 = 256;

/// A search for the oldest of so many messages, those counted that are before an offset.
#[derive(Debug)]
pub(super) struct Search {
    step: Step,
    /// The place begins a page, which ends before `before`.
    is_page: bool,
    before: u64,
    limit: u64,
    slack: u64,
    /// An offset with no message of ours from there on.
    end: u64,
    /// The topic's first message.
    first: u64,
    /// Messages from `before` on.
    behind: u64,
    questions: u32,
}

#[derive(Debug)]
enum Step {
    /// How many messages are there from `before` on?
    End,
    /// Which one is the newest?
    Newest,
    /// Which one is the first, and how many are there in all?
    Beginning,
    Narrowing(Narrowing, u64),
    /// The place is known, 0 if there is none, and how many messages there are from there to
    /// `before`.
    At(u64, u64),
}

/// What is to be asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Newest,
    /// For so many messages from this offset on.
    From(u64, usize),
}

impl Search {
    /// For the oldest of the `limit` messages before an offset, which are a page then.
    pub(super) fn before(before: u64, limit: u64) -> Self {
        Search {
            step: Step::End,
            is_page: true,
            before,
            limit,
            slack: SLACK,
            end: before,
            first: 0,
            behind: 0,
            questions: 0,
        }
    }

    /// For the oldest of the topic's `count` newest messages.
    pub(super) fn oldest_of(count: u64) -> Self {
        Search {
            step: Step::Newest,
            is_page: false,
            slack: 0,
            ..Search::before(u64::MAX, count)
        }
    }

    /// Whether what is asked next is a try, with one message for its answer.
    pub(super) fn is_trying(&self) -> bool {
        !matches!(self.step, Step::At(..))
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.questions > QUESTIONS_MAX
    }

    pub(super) fn poll(&self) -> Question {
        match self.step {
            Step::End => Question::From(self.before, 1),
            Step::Newest => Question::Newest,
            Step::Beginning => Question::From(1, 1),
            Step::Narrowing(_, from) => Question::From(from, 1),
            // One more proves that none is missing before `before`.
            Step::At(place, count) => {
                let count = usize::try_from(count.saturating_add(1));
                Question::From(place, count.unwrap_or(usize::MAX))
            }
        }
    }

    /// What a try found: a message, and how many there are from it on.
    pub(super) fn handle(&mut self, found: Option<(u64, u64)>) {
        self.questions += 1;
        self.step = match (&mut self.step, found) {
            (Step::End, Some((_, rank))) => {
                self.behind = rank;
                Step::Beginning
            }
            (Step::End, None) => Step::Newest,
            (Step::Newest, Some((newest, _))) => {
                self.end = self.before.min(newest.saturating_add(1));
                Step::Beginning
            }
            (Step::Beginning, Some((first, rank))) if first < self.before => {
                self.first = first;
                let count = rank.saturating_sub(self.behind);
                match count <= self.limit + self.slack {
                    true => Step::At(first, count),
                    false => self.narrow((first, rank)),
                }
            }
            (Step::Newest, None) | (Step::Beginning, _) => Step::At(0, 0),
            (Step::Narrowing(narrowing, from), found) => {
                narrowing.handle(*from, found);
                match narrowing.poll() {
                    Narrowed::Found(place, rank) => {
                        Step::At(place, rank.saturating_sub(self.behind))
                    }
                    Narrowed::Try(next) => {
                        *from = next;
                        return;
                    }
                }
            }
            (Step::At(..), _) => return,
        };
    }

    fn narrow(&self, low: (u64, u64)) -> Step {
        let least = self.behind + self.limit;
        let wanted = least..=least + self.slack;
        let narrowing = Narrowing::new(wanted, low, (self.end, self.behind));
        match narrowing.poll() {
            Narrowed::Try(from) => Step::Narrowing(narrowing, from),
            Narrowed::Found(place, rank) => Step::At(place, rank.saturating_sub(self.behind)),
        }
    }

    /// A page of `count` messages came from the place, and does not reach `before`, as they are
    /// long: the search goes on, for fewer.
    pub(super) fn handle_short_page(&mut self, count: u64) {
        self.questions += 1;
        let Step::At(place, wanted) = self.step else {
            return;
        };
        self.limit = count.min(wanted.saturating_sub(1)).min(self.limit).max(1);
        self.slack = self.slack.min(wanted.saturating_sub(self.limit + 1));
        self.step = self.narrow((place, wanted + self.behind));
    }

    /// The place, where that is all that is wanted or there is none.
    pub(super) fn result(&self) -> Option<u64> {
        match self.step {
            Step::At(place, _) if place == 0 || !self.is_page => Some(place),
            _ => None,
        }
    }

    /// How many messages the page has at most.
    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn behind(&self) -> u64 {
        self.behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A topic's messages, by offset. A page holds `page` of them at most.
    struct Topic {
        offsets: Vec<u64>,
        page: usize,
    }

    impl Topic {
        fn random() -> Self {
            let mut offset = 0;
            let count = fastrand::usize(0..400);
            let step = |_| {
                offset += fastrand::u64(1..[2, 3, 100_000][fastrand::usize(..3)]);
                offset
            };
            Topic {
                offsets: (0..count).map(step).collect(),
                page: fastrand::usize(2..60),
            }
        }

        fn from(&self, offset: u64) -> &[u64] {
            &self.offsets[self.offsets.partition_point(|it| *it < offset)..]
        }

        /// Runs a search to its end: the place, and the page from there.
        fn run(&self, search: &mut Search) -> (u64, Vec<u64>) {
            loop {
                assert!(!search.is_too_long());
                if let Some(place) = search.result() {
                    return (place, Vec::new());
                }
                match search.poll() {
                    Question::Newest => search.handle(self.offsets.last().map(|it| (*it, 1))),
                    Question::From(offset, _) if search.is_trying() => {
                        let rest = self.from(offset);
                        search.handle(rest.first().map(|it| (*it, rest.len() as u64)));
                    }
                    Question::From(offset, count) => {
                        let rest = self.from(offset);
                        let page = &rest[..count.min(self.page).min(rest.len())];
                        let is_all = page.len() == rest.len();
                        if is_all || page.last().is_some_and(|last| *last >= search.before) {
                            return (offset, page.to_vec());
                        }
                        search.handle_short_page(page.len() as u64);
                    }
                }
            }
        }
    }

    #[test]
    fn pages_backward_follow_one_another_without_a_hole() {
        for _ in 0..300 {
            let topic = Topic::random();
            let mut before = [u64::MAX, 1 << 40, 500][fastrand::usize(..3)];
            let expected = topic.offsets.iter().filter(|it| **it < before);
            let expected: Vec<u64> = expected.copied().collect();
            let mut all = Vec::new();
            loop {
                let mut search = Search::before(before, fastrand::u64(1..100));
                let (_, mut page) = topic.run(&mut search);
                page.retain(|it| *it < before);
                page.drain(..page.len().saturating_sub(search.limit()));
                let Some(first) = page.first() else { break };
                before = *first;
                let more = before > search.first();
                all.splice(0..0, page);
                if !more {
                    break;
                }
            }
            assert_eq!(all, expected);
        }
    }

    #[test]
    fn the_oldest_of_the_newest_is_found() {
        for _ in 0..300 {
            let topic = Topic::random();
            let count = fastrand::usize(1..450);
            let (place, _) = topic.run(&mut Search::oldest_of(count as u64));
            let at = topic.offsets.len().saturating_sub(count);
            assert_eq!(place, topic.offsets.get(at).copied().unwrap_or(0));
        }
    }
}
