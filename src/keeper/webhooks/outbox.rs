//! What one address has not been told yet: in batches, each tried again ever more seldom until
//! it is taken, or too old.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::protocol::pusher::HookEvent;

/// Beyond one of these nothing more is taken in; beyond half of one, nothing that does not
/// change who is there, as clients can make as much of that as they like.
const EVENTS_MAX: usize = 16 << 10;
const BYTES_MAX: usize = 4 << 20;
/// A batch has no more than this, but for one event that is longer.
const BATCH_EVENTS_MAX: usize = 100;
const BATCH_BYTES_MAX: usize = 256 << 10;
/// An event is left for others to come that go with it.
const GATHER_MS: u64 = 10;
/// After the first failure, and at most.
const RETRY_MS_MIN: u64 = 1000;
const RETRY_MS_MAX: u64 = 60_000;
/// Older events are dropped.
const AGE_MS_MAX: u64 = 300_000;

/// The events that an address is to be told of, in their order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// The cache misses among them that are not under way: one of a topic says it all.
    misses: HashSet<Arc<str>>,
    /// So many of the first are under way.
    under_way: usize,
    /// Requests in a row that have failed.
    failures: u32,
    /// No request is made before.
    due_ms: u64,
}

#[derive(Debug)]
struct Waiting {
    text: Arc<str>,
    since_ms: u64,
}

impl Outbox {
    /// One that was another process's, with events and their ages. No request is made for
    /// `rest_ms`.
    pub(super) fn restore(
        events: Vec<(String, u64)>,
        (failures, rest_ms): (u32, u64),
        now_ms: u64,
    ) -> Outbox {
        let mut outbox = Outbox::default();
        for (text, age_ms) in events {
            outbox.put(text.into(), 1, now_ms.saturating_sub(age_ms));
        }
        outbox.failures = failures;
        outbox.due_ms = now_ms + rest_ms.min(RETRY_MS_MAX);
        outbox
    }

    /// All its events with their ages, those under way included, and how long it rests.
    pub(super) fn save(&self, now_ms: u64) -> (Vec<(String, u64)>, u64) {
        let saved = |event: &Waiting| {
            let age_ms = now_ms.saturating_sub(event.since_ms);
            (event.text.to_string(), age_ms)
        };
        let rest_ms = self.due_ms.saturating_sub(now_ms);
        (self.queue.iter().map(saved).collect(), rest_ms)
    }

    /// Takes an event in. Returns false where there is no room for it.
    pub(super) fn push(&mut self, what: HookEvent, text: &str, now_ms: u64) -> bool {
        let is_miss = what == HookEvent::CacheMiss;
        if is_miss && self.misses.contains(text) {
            return true;
        }
        let (text, share) = (Arc::from(text), if what.is_change() { 1 } else { 2 });
        let is_in = self.put(Arc::clone(&text), share, now_ms);
        if is_in && is_miss {
            self.misses.insert(text);
        }
        is_in
    }

    /// Puts an event into a full or half outbox, if it fits there.
    fn put(&mut self, text: Arc<str>, share: usize, now_ms: u64) -> bool {
        let bytes = self.bytes + text.len() + size_of::<Waiting>();
        if self.queue.len() >= EVENTS_MAX / share || bytes > BYTES_MAX / share {
            return false;
        }
        if self.queue.is_empty() && self.failures == 0 {
            self.due_ms = now_ms + GATHER_MS;
        }
        self.bytes = bytes;
        self.queue.push_back(Waiting {
            text,
            since_ms: now_ms,
        });
        true
    }

    /// Drops events that are too old. Returns how many.
    pub(super) fn expire(&mut self, now_ms: u64) -> usize {
        if self.under_way > 0 {
            return 0;
        }
        let is_late = |event: &&Waiting| event.since_ms + AGE_MS_MAX <= now_ms;
        let late = self.queue.iter().take_while(is_late).count();
        for event in self.queue.range(..late) {
            self.misses.remove(&event.text);
        }
        self.take(late);
        late
    }

    /// The events that go next, which are under way from now on, if it is time and none are.
    pub(super) fn batch(&mut self, now_ms: u64) -> Option<Vec<&str>> {
        if self.under_way > 0 || self.queue.is_empty() || now_ms < self.due_ms {
            return None;
        }
        let mut bytes = 0;
        let fits = |event: &&Waiting| {
            let is_first = bytes == 0;
            bytes += event.text.len();
            is_first || bytes <= BATCH_BYTES_MAX
        };
        let events = self.queue.iter().take(BATCH_EVENTS_MAX).take_while(fits);
        let batch: Vec<&str> = events.map(|event| &*event.text).collect();
        for text in &batch {
            self.misses.remove(*text);
        }
        self.under_way = batch.len();
        Some(batch)
    }

    /// When something is to be done.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let oldest = self.queue.front()?;
        (self.under_way == 0).then(|| self.due_ms.min(oldest.since_ms + AGE_MS_MAX))
    }

    /// What was under way has been taken. Returns how many events that were.
    pub(super) fn note_taken(&mut self, now_ms: u64) -> usize {
        let taken = std::mem::take(&mut self.under_way);
        self.take(taken);
        self.failures = 0;
        self.due_ms = now_ms;
        taken
    }

    /// What was under way has not been taken. `random` spreads those who try again.
    pub(super) fn note_failed(&mut self, now_ms: u64, random: u64) {
        self.under_way = 0;
        let doubled = RETRY_MS_MIN.saturating_mul(1 << self.failures.min(16));
        let delay_ms = doubled.min(RETRY_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.due_ms = now_ms + delay_ms / 2 + random % (delay_ms / 2 + 1);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Requests in a row that have failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    fn take(&mut self, count: usize) {
        for event in self.queue.drain(..count) {
            self.bytes -= event.text.len() + size_of::<Waiting>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(outbox: &mut Outbox, text: &str, now_ms: u64) -> bool {
        outbox.push(HookEvent::MemberAdded, text, now_ms)
    }

    fn outbox(events: usize, now_ms: u64) -> Outbox {
        let mut outbox = Outbox::default();
        for number in 0..events {
            assert!(tell(&mut outbox, &number.to_string(), now_ms));
        }
        outbox
    }

    #[test]
    fn events_that_come_together_go_together_and_in_their_order() {
        let mut outbox = outbox(BATCH_EVENTS_MAX + 1, 0);
        assert_eq!(outbox.batch(GATHER_MS - 1), None);
        assert_eq!(outbox.next_ms(), Some(GATHER_MS));
        let batch = outbox.batch(GATHER_MS).unwrap();
        assert_eq!((batch.len(), batch[0]), (BATCH_EVENTS_MAX, "0"));
        // One request at a time.
        assert_eq!(outbox.batch(1000), None);
        assert_eq!(outbox.next_ms(), None);
        assert_eq!(outbox.note_taken(20), BATCH_EVENTS_MAX);
        assert_eq!(outbox.batch(20).unwrap(), ["100"]);
        outbox.note_taken(30);
        assert_eq!((outbox.len(), outbox.bytes, outbox.next_ms()), (0, 0, None));
    }

    #[test]
    fn a_batch_is_not_long_unless_one_event_is() {
        let mut outbox = Outbox::default();
        for len in [BATCH_BYTES_MAX + 1, BATCH_BYTES_MAX, 1, 1] {
            assert!(tell(&mut outbox, &"x".repeat(len), 0));
        }
        for count in [1, 1, 2] {
            assert_eq!(outbox.batch(GATHER_MS).unwrap().len(), count);
            outbox.note_taken(GATHER_MS);
        }
    }

    #[test]
    fn what_is_not_taken_is_tried_again_ever_more_seldom_until_it_is_too_old() {
        let mut outbox = outbox(2, 0);
        let mut now_ms = GATHER_MS;
        let mut waits = Vec::new();
        while now_ms < AGE_MS_MAX {
            assert_eq!(outbox.expire(now_ms), 0);
            assert_eq!(outbox.batch(now_ms).unwrap(), ["0", "1"]);
            outbox.note_failed(now_ms, u64::MAX);
            let next_ms = outbox.next_ms().unwrap();
            waits.push(next_ms - now_ms);
            now_ms = next_ms;
        }
        let doubled = [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000];
        for (wait, at_most) in waits.iter().zip(doubled) {
            assert!((at_most / 2..=at_most).contains(wait), "{wait} {at_most}");
        }
        assert!(waits.len() < 20);
        assert_eq!(now_ms, AGE_MS_MAX);
        assert_eq!((outbox.expire(now_ms), outbox.len()), (2, 0));
        // Who comes next is not in a hurry either.
        let due_ms = outbox.due_ms;
        assert!(tell(&mut outbox, "2", now_ms));
        assert_eq!(outbox.next_ms(), Some(due_ms));
    }

    #[test]
    fn after_a_success_the_next_goes_at_once() {
        let mut outbox = outbox(1, 0);
        outbox.batch(GATHER_MS).unwrap();
        outbox.note_failed(GATHER_MS, 0);
        outbox.batch(GATHER_MS + 500).unwrap();
        outbox.note_taken(600);
        assert_eq!(outbox.failures(), 0);
        tell(&mut outbox, "1", 700);
        assert_eq!(outbox.next_ms(), Some(700 + GATHER_MS));
    }

    #[test]
    fn another_process_goes_on_where_one_was() {
        let mut outbox = outbox(2, 1000);
        outbox.batch(2000).unwrap();
        outbox.note_failed(2000, 0);
        outbox.batch(2500).unwrap();
        let (events, rest_ms) = outbox.save(2600);
        assert_eq!(events, [("0".to_owned(), 1600), ("1".to_owned(), 1600)]);
        // What is under way is made again at once.
        assert_eq!((rest_ms, outbox.failures()), (0, 1));
        let mut next = Outbox::restore(events, (1, 300), 10_000);
        assert_eq!((next.next_ms(), next.failures()), (Some(10_300), 1));
        assert_eq!(next.batch(10_300).unwrap(), ["0", "1"]);
        next.note_failed(10_300, 0);
        assert_eq!(next.expire(10_000 - 1600 + AGE_MS_MAX), 2);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut full = outbox(EVENTS_MAX, 0);
        assert!(!tell(&mut full, "x", 0));
        let mut large = Outbox::default();
        let text = "x".repeat(1 << 18);
        let texts = (0..).take_while(|_| tell(&mut large, &text, 0));
        assert_eq!(texts.count(), 15);
        assert!(large.bytes <= BYTES_MAX);
    }

    #[test]
    fn what_clients_make_as_they_like_leaves_half_of_the_room() {
        let mut outbox = Outbox::default();
        let misses = (0..)
            .take_while(|number: &usize| outbox.push(HookEvent::CacheMiss, &number.to_string(), 0));
        assert_eq!(misses.count(), EVENTS_MAX / 2);
        assert!(!outbox.push(HookEvent::ClientEvent, "x", 0));
        assert!((0..EVENTS_MAX / 2).all(|_| tell(&mut outbox, "x", 0)));
        assert!(!tell(&mut outbox, "x", 0));
    }

    #[test]
    fn a_cache_miss_that_waits_is_not_told_twice() {
        let mut outbox = Outbox::default();
        let miss = |outbox: &mut Outbox, now_ms| outbox.push(HookEvent::CacheMiss, "m", now_ms);
        assert!(miss(&mut outbox, 0) && miss(&mut outbox, 0));
        assert_eq!(outbox.batch(GATHER_MS).unwrap(), ["m"]);
        // The server may have filled the channel meanwhile, and it is empty again.
        assert!(miss(&mut outbox, GATHER_MS) && miss(&mut outbox, GATHER_MS));
        outbox.note_taken(GATHER_MS);
        assert!(miss(&mut outbox, GATHER_MS));
        assert_eq!(outbox.len(), 1);
        assert_eq!(outbox.expire(GATHER_MS + AGE_MS_MAX), 1);
        let late_ms = GATHER_MS + AGE_MS_MAX;
        assert!(miss(&mut outbox, late_ms));
        assert_eq!((outbox.len(), outbox.misses.len()), (1, 1));
    }
}
