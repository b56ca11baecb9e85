use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Word(u64);

impl Weighed for Word {
    fn bytes(&self) -> usize {
        8
    }
}

fn place(offset: u64) -> Place {
    let time_ms = offset * 10;
    Place { offset, time_ms }
}

/// A chain with what it has asked to be done.
struct Played {
    chain: Chain<Word>,
    steps: Vec<Step<Word>>,
}

fn opened(since: Option<u64>, newest: Option<u64>) -> Played {
    let mut played = Played {
        chain: Chain::new(),
        steps: Vec::new(),
    };
    let Played { chain, steps } = &mut played;
    chain.open(since, newest, newest.unwrap_or(0), steps);
    played
}

impl Played {
    fn hear(&mut self, offset: u64, previous: u64) -> Heard {
        let word = Word(offset);
        self.chain
            .handle_heard(place(offset), previous, word, &mut self.steps)
    }

    fn page(&mut self, offsets: &[u64], end: PageEnd) {
        let page = offsets.iter().map(|n| (place(*n), Word(*n))).collect();
        self.chain.handle_page(page, end, &mut self.steps);
    }

    /// `c5` for a commit, `g2-4` for a gap, `f3` and `F3` for a fetch of any and the leader.
    fn told(&mut self) -> String {
        let words: Vec<String> = self.steps.drain(..).map(|step| spell(&step)).collect();
        words.join(" ")
    }
}

fn spell(step: &Step<Word>) -> String {
    match step {
        Step::Commit { place, message, .. } => {
            assert_eq!(place.offset, message.0);
            format!("c{}", place.offset)
        }
        Step::Gap { from, to } => format!("g{from}-{to}"),
        Step::Fetch { from, of } => match of {
            Source::Any => format!("f{from}"),
            Source::Leader => format!("F{from}"),
        },
    }
}

#[test]
fn messages_that_follow_are_given_on_at_once() {
    let mut it = opened(None, Some(5));
    assert_eq!(it.hear(7, 5), Heard::Taken);
    it.hear(9, 7);
    assert_eq!(it.told(), "c7 c9");
    assert_eq!(it.hear(9, 7), Heard::Old);
    assert_eq!(it.told(), "");
}

#[test]
fn what_is_missing_is_fetched_before_what_comes_after() {
    let mut it = opened(None, Some(5));
    it.hear(9, 7);
    it.hear(11, 9);
    assert_eq!(it.told(), "f5");
    it.page(&[5, 7], PageEnd::More);
    assert_eq!(it.told(), "c7 c9 c11");
}

#[test]
fn what_a_replica_lacks_is_asked_of_the_leader() {
    let mut it = opened(None, Some(5));
    it.hear(9, 7);
    it.page(&[5], PageEnd::End);
    assert_eq!(it.told(), "f5 F6");
    it.page(&[7], PageEnd::More);
    assert_eq!(it.told(), "F5");
    it.page(&[5], PageEnd::More);
    assert_eq!(it.told(), "c7 c9");
}

#[test]
fn what_is_gone_is_told_as_a_gap() {
    let mut it = opened(None, Some(5));
    it.hear(9, 7);
    it.page(&[9], PageEnd::End);
    assert_eq!(it.told(), "f5 g6-8 c9");
    it.hear(15, 13);
    it.page(&[], PageEnd::End);
    it.page(&[], PageEnd::End);
    assert_eq!(it.told(), "f9 F10 g10-13 c15");
}

#[test]
fn an_expired_predecessor_is_no_gap_while_nothing_was_lost() {
    let mut it = opened(None, Some(5));
    it.hear(9, 0);
    assert_eq!(it.told(), "c9");
    it.chain.doubt();
    it.hear(12, 9);
    assert_eq!(it.told(), "c12");
    it.chain.doubt();
    it.hear(20, 0);
    assert_eq!(it.told(), "g13-19 c20");
}

#[test]
fn the_end_is_proven_by_its_last_offset() {
    let mut it = opened(None, Some(5));
    it.chain.doubt();
    it.chain.handle_newest(Some(5), 1, &mut it.steps);
    assert!(it.chain.is_sure());
    it.chain.handle_newest(Some(8), 1, &mut it.steps);
    it.page(&[5, 7, 8], PageEnd::End);
    assert_eq!(it.told(), "f5 c7 c8");
    // Purged while something may have been lost: the next message tells.
    it.chain.doubt();
    it.chain.handle_newest(None, 9, &mut it.steps);
    it.hear(12, 0);
    assert_eq!(it.told(), "g9-11 c12");
}

#[test]
fn an_empty_topic_has_lost_nothing_while_its_stream_has_lost_nothing() {
    let mut it = opened(None, None);
    it.chain.doubt();
    it.chain.handle_newest(None, 1, &mut it.steps);
    it.hear(4, 0);
    assert_eq!(it.told(), "c4");
}

#[test]
fn a_returning_reader_gets_what_it_missed_or_is_told() {
    let mut it = opened(Some(3), Some(8));
    it.page(&[3, 6, 8], PageEnd::End);
    assert_eq!(it.told(), "f3 c6 c8");
    let mut it = opened(Some(3), Some(8));
    it.page(&[6, 8], PageEnd::End);
    assert_eq!(it.told(), "f3 g4-5 c6 c8");
    let mut it = opened(Some(8), Some(8));
    assert_eq!(it.told(), "");
    it.hear(9, 8);
    assert_eq!(it.told(), "c9");
}

#[test]
fn a_position_that_the_stream_never_reached_is_none() {
    let mut it = opened(Some(100), Some(8));
    assert_eq!((it.chain.last(), it.told().as_str()), (8, ""));
}

#[test]
fn what_is_heard_while_it_opens_is_kept() {
    let mut it = Played {
        chain: Chain::new(),
        steps: Vec::new(),
    };
    it.hear(5, 3);
    it.hear(6, 5);
    assert_eq!(it.told(), "");
    it.chain.open(None, Some(5), 5, &mut it.steps);
    assert_eq!(it.told(), "c6");
}

#[test]
fn a_lower_offset_with_a_later_time_is_a_rewound_stream() {
    let mut it = opened(None, Some(5));
    it.hear(9, 5);
    let later = Place {
        offset: 7,
        time_ms: 1000,
    };
    let heard = it.chain.handle_heard(later, 0, Word(7), &mut it.steps);
    assert_eq!(heard, Heard::Rewound);
}

#[test]
fn a_flood_behind_a_hole_is_held_up_to_a_bound_and_fetched() {
    let mut it = opened(None, Some(1));
    let count = AHEAD_MESSAGES_MAX as u64 * 2;
    for offset in 3..count {
        it.hear(offset, offset - 1);
    }
    assert_eq!(it.chain.ahead.len(), AHEAD_MESSAGES_MAX);
    assert_eq!(it.told(), "f1");
    it.page(&[1, 2], PageEnd::More);
    let told = it.told();
    assert!(told.starts_with("c2 c3 c4"));
    assert!(told.ends_with(&format!("f{}", AHEAD_MESSAGES_MAX + 2)));
}

#[test]
fn silence_is_asked_again() {
    let mut it = opened(None, Some(5));
    it.hear(9, 7);
    it.chain.handle_silence(&mut it.steps);
    assert_eq!(it.told(), "f5 f5");
}

/// A stream with one topic of interest, which loses what it is told to lose.
struct Store {
    kept: Vec<u64>,
    all: Vec<u64>,
    next: u64,
}

impl Store {
    fn publish(&mut self, kept_max: usize) -> (u64, u64) {
        let previous = self.kept.last().copied().unwrap_or(0);
        let offset = self.next;
        self.next += 1 + fastrand::u64(..3);
        self.kept.push(offset);
        self.all.push(offset);
        if self.kept.len() > kept_max {
            self.kept.remove(0);
        }
        (offset, previous)
    }

    fn page(&self, from: u64, hides: usize) -> (Vec<u64>, PageEnd) {
        let seen = &self.kept[..self.kept.len().saturating_sub(hides)];
        let found: Vec<u64> = seen.iter().copied().filter(|n| *n >= from).collect();
        match found.len() > 3 {
            true => (found[..3].to_vec(), PageEnd::More),
            false => (found, PageEnd::End),
        }
    }
}

/// Any interleaving of loss, expiry, lagging replicas and late answers gives a history that
/// is complete or names its gaps, in order.
#[test]
fn every_message_is_given_on_once_or_named_in_a_gap() {
    for seed in 0..4000 {
        fastrand::seed(seed);
        let mut store = Store {
            kept: Vec::new(),
            all: Vec::new(),
            next: 1,
        };
        let kept_max = 1 + fastrand::usize(..8);
        for _ in 0..fastrand::usize(..5) {
            store.publish(kept_max);
        }
        let since = store.all.last().copied().filter(|_| fastrand::bool());
        let mut it = opened(since, store.kept.last().copied());
        let begin = it.chain.last();
        let mut fetch = None;
        let mut told: Vec<Step<Word>> = Vec::new();
        for turn in 0..200_u8 {
            let is_quiet = turn > 150;
            let deed = match is_quiet {
                true => 7 + turn % 2,
                false => fastrand::u8(..10),
            };
            match deed {
                0..=4 => {
                    let (offset, previous) = store.publish(kept_max);
                    if fastrand::u8(..4) > 0 {
                        it.hear(offset, previous);
                    }
                }
                5 => {
                    it.chain.doubt();
                    fetch = None;
                }
                6 if fastrand::u8(..5) == 0 => {
                    // Everything expires, after the check of the end that comes first.
                    let newest = store.kept.last().copied();
                    it.chain.handle_newest(newest, 1, &mut it.steps);
                    store.kept.clear();
                }
                7 => {
                    let newest = store.kept.last().copied();
                    let first = store.kept.first().copied().unwrap_or(store.next);
                    it.chain.handle_newest(newest, first, &mut it.steps);
                }
                _ => {
                    if let Some((from, of)) = fetch.take() {
                        let hides = match of {
                            Source::Any => fastrand::usize(..3),
                            Source::Leader => 0,
                        };
                        let (mut found, mut end) = store.page(from, hides);
                        if of == Source::Leader && !found.is_empty() {
                            found.truncate(1);
                            end = PageEnd::More;
                        }
                        it.page(&found, end);
                    }
                }
            }
            for step in it.steps.drain(..) {
                match step {
                    Step::Fetch { from, of } => fetch = Some((from, of)),
                    other => told.push(other),
                }
            }
        }
        judge(seed, begin, &store, &told, &it.chain);
    }
}

fn judge(seed: u64, begin: u64, store: &Store, told: &[Step<Word>], chain: &Chain<Word>) {
    let mut at = begin;
    let mut missing = store.all.iter().copied().filter(|n| *n > begin).peekable();
    for step in told {
        match *step {
            Step::Commit {
                place, previous, ..
            } => {
                assert!(place.offset > at, "seed {seed}: {place:?} after {at}");
                assert!(previous < place.offset, "seed {seed}");
                let next = missing.next();
                assert_eq!(next, Some(place.offset), "seed {seed}: {told:?}");
                at = place.offset;
            }
            Step::Gap { from, to } => {
                assert!(
                    from == at + 1 && to >= from,
                    "seed {seed}: {from}-{to} after {at}"
                );
                while missing.next_if(|n| *n <= to).is_some() {}
                at = to;
            }
            Step::Fetch { .. } => unreachable!(),
        }
    }
    // What the store still has was given on.
    let left: Vec<u64> = missing.filter(|n| store.kept.contains(n)).collect();
    let is_done = chain.fetch.is_none();
    assert!(
        left.is_empty() || !is_done,
        "seed {seed}: {left:?} left of {:?}",
        store.all
    );
}
