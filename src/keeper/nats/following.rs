//! Topics that are followed: what is heard of them, and the questions for their ends. What
//! may be given on is `chain`'s to say.

use async_nats::{Message, StatusCode};
use serde_json::json;

use super::chain::Source;
use super::chain::{Chain, Heard, Step};
use super::event::{Committed, Event, Topic};
use super::headers;
use super::publishing::HEARD_MS_MAX;
use super::state::{Ask, Carried, Delayed, Fetch, Followed, State, Subscribed, Tail};
use super::subject;
use super::wire::{self, Got};

/// Questions for ends that may be under way at once.
const TAILS_MAX: usize = 512;

impl State {
    pub(super) fn follow(&mut self, topic: Topic, since: Option<u64>) {
        self.generation = self.generation.wrapping_add(1);
        let followed = Followed {
            name: topic.clone(),
            chain: Chain::new(),
            since,
            generation: self.generation,
        };
        self.tails.hurry((topic.clone(), self.generation));
        if self.topics.insert(topic.clone(), followed).is_none() {
            let bucket = self.subjects.bucket(&topic);
            *self.buckets.entry(bucket).or_default() += 1;
            // Before the question for the end goes out, so that nothing lies between.
            let subject = self.subjects.bucket_subject(bucket);
            self.subscribe(subject, Subscribed::Bucket(bucket));
        }
    }

    pub(super) fn unfollow(&mut self, topic: &Topic) {
        if self.topics.remove(topic).is_none() {
            return;
        }
        let bucket = self.subjects.bucket(topic);
        if let Some(count) = self.buckets.get_mut(&bucket) {
            *count -= 1;
            if *count == 0 {
                self.buckets.remove(&bucket);
                self.unsubscribe(Subscribed::Bucket(bucket));
            }
        }
    }

    /// The history of this stream is another one: its topics begin anew at their ends.
    pub(super) fn begin_topics_anew(&mut self, number: u16) {
        for topic in self.topics_of(Some(number)) {
            // A position that was asked for before anything was known is of the caller's
            // own history, which it compares with the epoch.
            let since = self.topics.get(&topic).and_then(|followed| {
                let is_new = !followed.chain.is_open();
                followed.since.filter(|_| is_new)
            });
            self.follow(topic, since);
        }
    }

    /// Something may have been lost of these topics: their ends are asked for before all
    /// that is merely due.
    pub(super) fn doubt_all(&mut self, number: Option<u16>) {
        self.expected.clear();
        self.fetches.clear();
        for topic in self.topics_of(number) {
            let followed = self.topics.get_mut(&topic).expect("it is one of them");
            followed.chain.doubt();
            let generation = followed.generation;
            self.tails.hurry((topic, generation));
        }
    }

    fn topics_of(&self, number: Option<u16>) -> Vec<Topic> {
        let is_of = |topic: &&Topic| {
            number.is_none_or(|number| {
                self.settings.streams == 1 || self.subjects.stream(topic) == number
            })
        };
        self.topics.keys().filter(is_of).cloned().collect()
    }

    /// A message that the server published again once it was stored.
    pub(super) fn handle_delivered(&mut self, message: Message) {
        let Some(topic) = subject::topic_of(&message.subject) else {
            return self.shared.counters.unreadable.one();
        };
        let headers = message.headers.as_ref();
        let said = headers.map(wire::place_and_previous).unwrap_or_default();
        let (Some(place), Some(previous)) = said else {
            return self.shared.counters.unreadable.one();
        };
        let number = usize::from(self.subjects.stream(&topic));
        let Some(followed) = self.topics.get_mut(topic.as_ref()) else {
            return self.shared.counters.unwanted.one();
        };
        let topic = followed.name.clone();
        // Of these it is known better who they are from.
        let is_own = |id| self.own.contains_key(&id);
        let (signer, payload) = (&self.signer, message.payload);
        let (read, id, is_forged) = headers::read(headers, payload, &topic, signer, is_own);
        self.shared.counters.forged.add(u64::from(is_forged));
        let stream = &mut self.streams[number];
        let carried = Carried { message: read, id };
        let mut steps = Vec::new();
        match followed
            .chain
            .handle_heard(place, previous, carried, &mut steps)
        {
            Heard::Taken => stream.last = stream.last.max(place.offset),
            Heard::Old => self.shared.counters.repeated.one(),
            Heard::Rewound => self.suspect(number as u16),
        }
        self.perform(&topic, steps);
    }

    /// Does what a topic's chain asks for.
    pub(super) fn perform(&mut self, topic: &Topic, steps: Vec<Step<Carried>>) {
        let counters = self.counters();
        for step in steps {
            match step {
                Step::Commit {
                    place,
                    previous,
                    message: Carried { message, id },
                } => {
                    counters.committed.one();
                    let own = self.take_own(id);
                    self.tell(Event::Committed(Box::new(Committed {
                        topic: topic.clone(),
                        offset: place.offset,
                        previous,
                        time_ms: place.time_ms,
                        message,
                        ticket: own.map(|(ticket, _)| ticket),
                    })));
                    if let Some((ticket, Some(lane))) = own {
                        self.handle_own(lane, ticket, place.offset);
                    }
                }
                Step::Gap { from, to } => {
                    counters.gaps.one();
                    let topic = topic.clone();
                    self.tell(Event::Gap { topic, from, to });
                }
                Step::Fetch { from, of } => {
                    let generation = self.topics.get(topic).map_or(0, |it| it.generation);
                    let fetch = Fetch {
                        generation,
                        from,
                        of,
                        found: Vec::new(),
                        is_broken: false,
                    };
                    counters.replica_lags.add(u64::from(of == Source::Leader));
                    self.fetches.push_back((topic.clone(), fetch));
                }
            }
        }
    }

    /// Asks for the ends of topics whose time has come.
    pub(super) fn pump_tails(&mut self) {
        let now_ms = self.now_ms();
        while self.tails_under_way < TAILS_MAX
            && let Some(((topic, generation), is_hurried)) = self.tails.poll(now_ms)
        {
            if let Some(followed) = self.topics.get(&topic)
                && followed.generation == generation
            {
                let is_sure = followed.chain.is_sure();
                let behind = is_sure.then(|| followed.chain.last());
                self.ask_tail(topic, generation, behind, !is_hurried);
            }
        }
    }

    fn ask_tail(&mut self, topic: Topic, generation: u32, behind: Option<u64>, is_regular: bool) {
        self.counters().tail_checks.one();
        self.tails_under_way += 1;
        let number = self.subjects.stream(&topic);
        let subject = self.subjects.stored(&topic);
        // An answer without a message is the usual one, and the cheapest.
        let body = match behind {
            Some(last) => json!({ "seq": last + 1, "next_by_subj": subject }),
            None => json!({ "last_by_subj": subject }),
        };
        let verb = match self.surest() {
            Source::Any => "DIRECT.GET",
            Source::Leader => "STREAM.MSG.GET",
        };
        let tail = Tail {
            generation,
            behind,
            stream_last: self.streams[usize::from(number)].last,
            is_regular,
        };
        self.ask_api(verb, number, &body, Ask::Tail(topic, tail));
    }

    pub(super) fn handle_tail(&mut self, topic: Topic, tail: Tail, message: &Message) {
        let newest = match self.surest() {
            Source::Any => direct_offset(message),
            Source::Leader => match wire::response::<Got>(message) {
                Ok(got) => got.stored().map(|stored| Some(stored.place.offset)),
                Err(error) if error.err_code == wire::NO_MESSAGE => Some(None),
                Err(_) => None,
            },
        };
        let Some(newest) = newest else {
            return self.handle_no_tail(topic, tail);
        };
        self.tails_under_way = self.tails_under_way.saturating_sub(1);
        let now_ms = self.now_ms();
        let number = usize::from(self.subjects.stream(&topic));
        let (first, epoch) = (self.streams[number].first, self.streams[number].epoch);
        let Some(followed) = self.topics.get_mut(&topic) else {
            return;
        };
        if followed.generation != tail.generation {
            return;
        }
        let mut steps = Vec::new();
        let is_new = !followed.chain.is_open();
        if is_new {
            let since = followed.since;
            let stream_last = tail.stream_last;
            let last = followed.chain.open(since, newest, stream_last, &mut steps);
            let event = Event::Following {
                topic: topic.clone(),
                last,
                newest: newest.unwrap_or(0),
                epoch: epoch.unwrap_or(0),
            };
            self.tell(event);
        } else if tail.behind.is_some() {
            // It may be on its way just now.
            if let Some(offset) = newest.filter(|offset| *offset > followed.chain.last()) {
                let due_ms = now_ms + HEARD_MS_MAX;
                self.expected.push_back((due_ms, topic.clone(), offset));
            }
        } else {
            let misses = newest.is_some_and(|newest| newest > followed.chain.last());
            followed.chain.handle_newest(newest, first, &mut steps);
            self.shared.counters.tail_misses.add(u64::from(misses));
        }
        let entry = (topic.clone(), tail.generation);
        if is_new || tail.is_regular {
            self.tails.schedule(entry, now_ms);
        }
        self.perform(&topic, steps);
    }

    /// An end that was asked for is still not known.
    pub(super) fn handle_no_tail(&mut self, topic: Topic, tail: Tail) {
        self.tails_under_way = self.tails_under_way.saturating_sub(1);
        let followed = self.topics.get(&topic);
        if followed.is_some_and(|followed| followed.generation == tail.generation) {
            if tail.is_regular {
                // It keeps its place in the queue.
                let entry = (topic.clone(), tail.generation);
                self.tails.schedule(entry, self.now_ms());
            }
            self.delay(Delayed::Tail(topic, tail.generation));
        }
    }

    pub(super) fn tick_following(&mut self, now_ms: u64) {
        while let Some((due_ms, ..)) = self.expected.front()
            && *due_ms <= now_ms
        {
            let (_, topic, offset) = self.expected.pop_front().expect("it is there");
            if let Some(followed) = self.topics.get_mut(&topic)
                && followed.chain.is_open()
                && followed.chain.last() < offset
            {
                let mut steps = Vec::new();
                followed.chain.handle_known(offset, &mut steps);
                self.shared.counters.tail_misses.one();
                self.perform(&topic, steps);
            }
        }
    }
}

/// The offset that a direct get found: `None` if nothing is known, `Some(None)` if there
/// is no such message.
fn direct_offset(message: &Message) -> Option<Option<u64>> {
    match message.status {
        Some(StatusCode::NOT_FOUND) => Some(None),
        Some(status) if !status.is_success() => None,
        _ => {
            let place = wire::place(message.headers.as_ref()?)?;
            Some(Some(place.offset))
        }
    }
}
