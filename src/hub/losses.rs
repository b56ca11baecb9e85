//! What this process could not take over from one that had ended.

use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of thing that can be lost so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    Topic,
    Connection,
    /// A listening socket, or an address that it was to be replaced by.
    Listener,
}

impl Lost {
    pub const ALL: [Lost; 3] = [Lost::Topic, Lost::Connection, Lost::Listener];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Lost::Topic => "topic",
            Lost::Connection => "connection",
            Lost::Listener => "listener",
        }
    }
}

/// How many of each kind.
#[derive(Debug, Default)]
pub struct Losses([AtomicU64; Lost::ALL.len()]);

impl Losses {
    pub fn add(&self, lost: Lost, more: usize) {
        self.0[lost as usize].fetch_add(more as u64, Ordering::Relaxed);
    }

    pub fn get(&self, lost: Lost) -> u64 {
        self.0[lost as usize].load(Ordering::Relaxed)
    }
}
