//! What the servers of apps have not been told yet, on its way to the next process: whoever
//! hands over asks the keeper of the webhooks for it, and that of the next process takes it up.

use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the keeper of the webhooks knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedHooks {
    /// Topics that are occupied, as their servers know.
    pub occupied: Vec<String>,
    /// Topics and users that have left them, but may come back.
    pub gone: Vec<(String, String)>,
    pub outboxes: Vec<SavedOutbox>,
}

/// What one address has not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedOutbox {
    /// The id of its app.
    pub app: String,
    pub url: String,
    /// Requests in a row that have failed.
    pub failures: u32,
    /// No request is made before.
    pub rest_ms: u64,
    /// Each with its age in milliseconds.
    pub events: Vec<(String, u64)>,
}

impl SavedHooks {
    /// One with something in every field.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        SavedHooks {
            occupied: vec!["o".into()],
            gone: vec![("presence-o".into(), "u".into())],
            outboxes: vec![SavedOutbox {
                app: "1".into(),
                url: "https://h/".into(),
                failures: 41,
                rest_ms: 42,
                events: vec![("{}".into(), 43)],
            }],
        }
    }
}

/// Where that is handed over.
#[derive(Debug, Default)]
pub(super) struct Carrying(Mutex<Parcel>);

#[derive(Debug, Default)]
struct Parcel {
    /// Nothing is told any more: the next process will.
    is_held: bool,
    /// Somebody waits for what is to be carried.
    asks: Option<Sender<SavedHooks>>,
    /// It has come from another process.
    restored: SavedHooks,
}

impl Carrying {
    pub(super) fn hold(&self, is_held: bool) {
        self.lock().is_held = is_held;
    }

    pub(super) fn is_held(&self) -> bool {
        self.lock().is_held
    }

    /// Waits for the keeper, which `wake` wakes, for `time` at most.
    pub(super) fn save(&self, time: Duration, wake: impl FnOnce()) -> Option<SavedHooks> {
        let (told, saved) = mpsc::channel();
        self.lock().asks = Some(told);
        wake();
        saved.recv_timeout(time).ok()
    }

    pub(super) fn take_asks(&self) -> Option<Sender<SavedHooks>> {
        self.lock().asks.take()
    }

    pub(super) fn restore(&self, saved: SavedHooks) {
        self.lock().restored = saved;
    }

    pub(super) fn take_restored(&self) -> SavedHooks {
        std::mem::take(&mut self.lock().restored)
    }

    fn lock(&self) -> MutexGuard<'_, Parcel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
