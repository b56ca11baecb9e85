//! What is counted of messages that are published over HTTP.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Posts {
    messages: AtomicU64,
    waits: AtomicU64,
    refusals: [AtomicU64; PostRefusal::ALL.len()],
}

/// Why something is not published, or not answered as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostRefusal {
    /// There was no room within `publish_wait_ms_max`, or cores did not catch up.
    Room,
    /// Neither rules nor the token allow it.
    Denied,
    /// There were `delivery_acks_max` already.
    Acks,
    /// A batch had more than `batch_lines_max` lines.
    BatchLines,
    /// A batch had more than `batch_bytes_max` bytes.
    BatchBytes,
    /// A call of Centrifugo's API names, or a batch has, more than `api_items_max`.
    ApiItems,
    /// The `Idempotency-Key` came with another request before.
    KeyReused,
    /// A request with the same `Idempotency-Key` is under way.
    KeyUnderWay,
    /// As many of those requests are under way as keys are kept.
    KeysFull,
}

impl PostRefusal {
    pub const ALL: [PostRefusal; 9] = [
        PostRefusal::Room,
        PostRefusal::Denied,
        PostRefusal::Acks,
        PostRefusal::BatchLines,
        PostRefusal::BatchBytes,
        PostRefusal::ApiItems,
        PostRefusal::KeyReused,
        PostRefusal::KeyUnderWay,
        PostRefusal::KeysFull,
    ];

    /// The label of the metric.
    pub fn name(self) -> &'static str {
        match self {
            PostRefusal::Room => "room",
            PostRefusal::Denied => "denied",
            PostRefusal::Acks => "delivery_acks",
            PostRefusal::BatchLines => "batch_lines",
            PostRefusal::BatchBytes => "batch_bytes",
            PostRefusal::ApiItems => "api_items",
            PostRefusal::KeyReused => "idempotency_key_reused",
            PostRefusal::KeyUnderWay => "idempotency_key_under_way",
            PostRefusal::KeysFull => "idempotency_keys",
        }
    }
}

impl Posts {
    pub(super) fn note_message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages published by others than subscribers.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// A message waits for room, or for cores to catch up.
    pub fn note_wait(&self) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    pub fn note_refusal(&self, refusal: PostRefusal) {
        self.refusals[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn refusals(&self, refusal: PostRefusal) -> u64 {
        self.refusals[refusal as usize].load(Ordering::Relaxed)
    }
}
