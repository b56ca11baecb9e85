//! What the collector has not taken yet: in batches, each tried again ever more seldom while the
//! collector is away or says that it is busy.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::protocol::otlp::{self, Attribute, Span};

/// Traces that wait. Beyond it nothing more is taken in.
const TRACES_MAX: usize = 2048;
/// A batch has no more than this.
const BATCH_TRACES_MAX: usize = 256;
/// A trace is left for others to come that go with it.
const GATHER_MS: u64 = 1000;
/// After the first failure, and at most.
const RETRY_MS_MIN: u64 = 1000;
const RETRY_MS_MAX: u64 = 60_000;

/// The traces that the collector is to be told of, in their order.
pub(super) struct Outbox {
    resource: Vec<Attribute>,
    waiting: VecDeque<Vec<Span>>,
    batch: Option<Batch>,
    /// Requests in a row that have failed.
    failures: u32,
    /// No request is made before.
    due_ms: u64,
}

/// What one request tells, which may have to be made again.
struct Batch {
    traces: usize,
    body: Bytes,
    is_under_way: bool,
}

impl Outbox {
    /// One for traces of what `resource` describes.
    pub(super) fn new(resource: Vec<Attribute>) -> Outbox {
        Outbox {
            resource,
            waiting: VecDeque::new(),
            batch: None,
            failures: 0,
            due_ms: 0,
        }
    }

    /// Takes the spans of a trace in. Returns false where there is no room for them.
    pub(super) fn push(&mut self, trace: Vec<Span>, now_ms: u64) -> bool {
        if self.waiting.len() >= TRACES_MAX {
            return false;
        }
        if self.waiting.is_empty() && self.batch.is_none() {
            self.due_ms = now_ms + GATHER_MS;
        }
        self.waiting.push_back(trace);
        true
    }

    /// The request that is to be made now, which is under way from then on, if one is.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<Bytes> {
        // A full batch waits for nothing but an answer, or for the collector to be there again.
        let is_full = self.batch.is_none() && self.waiting.len() >= BATCH_TRACES_MAX;
        if self.is_done() || (now_ms < self.due_ms && !is_full) {
            return None;
        }
        let batch = self.batch.get_or_insert_with(|| {
            let traces = self.waiting.len().min(BATCH_TRACES_MAX);
            let spans = self.waiting.drain(..traces).flatten().collect();
            Batch {
                traces,
                body: otlp::request(&self.resource, spans).into(),
                is_under_way: false,
            }
        });
        (!std::mem::replace(&mut batch.is_under_way, true)).then(|| batch.body.clone())
    }

    /// The collector has taken the request that was under way. Returns of how many traces.
    pub(super) fn note_taken(&mut self, now_ms: u64) -> usize {
        self.part_with_batch(now_ms)
    }

    /// The collector will never take it.
    pub(super) fn note_refused(&mut self, now_ms: u64) -> usize {
        self.part_with_batch(now_ms)
    }

    /// The collector has answered, whatever it was.
    fn part_with_batch(&mut self, now_ms: u64) -> usize {
        self.failures = 0;
        self.due_ms = now_ms + GATHER_MS;
        self.batch.take().map_or(0, |batch| batch.traces)
    }

    /// It has failed, and is to be made again after a while, which `random` spreads.
    pub(super) fn note_failed(&mut self, now_ms: u64, random: u64) {
        let doubled_ms = RETRY_MS_MIN << self.failures.min(16);
        let rest_ms = doubled_ms.min(RETRY_MS_MAX);
        self.failures += 1;
        self.due_ms = now_ms + rest_ms / 2 + random % (rest_ms / 2);
        if let Some(batch) = &mut self.batch {
            batch.is_under_way = false;
        }
    }

    /// What waits waits for no others any more.
    pub(super) fn hurry(&mut self) {
        if self.failures == 0 {
            self.due_ms = 0;
        }
    }

    /// When something is to be done.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let is_under_way = self.batch.as_ref().is_some_and(|batch| batch.is_under_way);
        (!is_under_way && !self.is_done()).then_some(self.due_ms)
    }

    /// Nothing waits, or is under way.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.batch.is_none()
    }

    /// The last request has failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::otlp::{Ids, Kind};

    fn trace() -> Vec<Span> {
        let ids = Ids {
            trace: 1,
            span: 2,
            parent: None,
        };
        vec![Span::new("handshake", Kind::Server, ids, (3, 4))]
    }

    #[test]
    fn traces_gather_for_a_while_and_a_full_batch_goes_at_once() {
        let mut outbox = Outbox::new(Vec::new());
        assert_eq!((outbox.next(0), outbox.next_ms()), (None, None));
        assert!(outbox.push(trace(), 5) && outbox.push(trace(), 6));
        assert_eq!(outbox.next_ms(), Some(5 + GATHER_MS));
        assert_eq!(outbox.next(4 + GATHER_MS), None);
        let both = outbox.next(5 + GATHER_MS).unwrap();
        assert_eq!(both, otlp::request(&[], [trace(), trace()].concat()));
        // One request at a time.
        assert_eq!((outbox.next(u64::MAX), outbox.next_ms()), (None, None));
        assert_eq!(outbox.note_taken(2000), 2);
        assert!(outbox.is_done());
        for _ in 0..=BATCH_TRACES_MAX {
            assert!(outbox.push(trace(), 2000));
        }
        assert!(outbox.next(2000).is_some());
        assert_eq!(outbox.note_taken(2001), BATCH_TRACES_MAX);
        assert_eq!(outbox.next(2001), None);
        assert!(outbox.next(2001 + GATHER_MS).is_some());
    }

    #[test]
    fn what_fails_is_told_again_ever_more_seldom_and_what_is_refused_never() {
        let mut outbox = Outbox::new(Vec::new());
        outbox.push(trace(), 0);
        let first = outbox.next(GATHER_MS).unwrap();
        let mut now_ms = GATHER_MS;
        for rest_ms in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            outbox.note_failed(now_ms, u64::MAX);
            assert!(outbox.is_failing());
            let due_ms = outbox.next_ms().unwrap();
            assert!((now_ms + rest_ms / 2..now_ms + rest_ms).contains(&due_ms));
            assert_eq!(outbox.next(due_ms - 1), None);
            assert_eq!(outbox.next(due_ms), Some(first.clone()));
            now_ms = due_ms;
        }
        assert_eq!(outbox.note_refused(now_ms), 1);
        assert!(outbox.is_done() && !outbox.is_failing());
        // Who has refused is there: what comes next is told at the end, and fails as if first.
        outbox.push(trace(), now_ms);
        outbox.hurry();
        assert!(outbox.next(now_ms).is_some());
        outbox.note_failed(now_ms, u64::MAX);
        assert!(outbox.next_ms().unwrap() < now_ms + RETRY_MS_MIN);
    }

    #[test]
    fn so_much_waits_and_no_more() {
        let mut outbox = Outbox::new(Vec::new());
        assert!((0..TRACES_MAX).all(|_| outbox.push(trace(), 0)));
        assert!(!outbox.push(trace(), 0));
        assert!(outbox.next(0).is_some() && outbox.push(trace(), 0));
    }

    #[test]
    fn at_the_end_it_waits_for_nothing_but_a_collector_that_is_away() {
        let mut outbox = Outbox::new(Vec::new());
        outbox.push(trace(), 5);
        outbox.hurry();
        assert!(outbox.next(5).is_some());
        outbox.note_failed(5, 0);
        outbox.hurry();
        assert_eq!(outbox.next(5), None);
    }
}
