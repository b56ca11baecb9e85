//! How much memory one log holds, beside what all logs hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::arena::{Arenas, Piece, Place};

/// Bytes of pieces that the segments of one topic hold, in its history or for
/// its readers.
#[derive(Debug)]
pub(super) struct Budget {
    log_bytes: AtomicU64,
    arenas: Arc<Arenas>,
}

impl Budget {
    pub(super) fn new(arenas: Arc<Arenas>) -> Arc<Self> {
        Arc::new(Budget {
            log_bytes: AtomicU64::new(0),
            arenas,
        })
    }

    /// Bytes that this log holds.
    pub(super) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that all logs hold.
    pub(super) fn total_bytes(&self) -> u64 {
        self.arenas.held_bytes()
    }

    /// A piece of `len` bytes, which [`super::arena::round`] has rounded;
    /// `None` if the system gives no memory.
    pub(super) fn take(&self, len: usize) -> Option<Piece> {
        let piece = self.arenas.take(len)?;
        self.account(&piece);
        Some(piece)
    }

    /// The piece that another process had in `place`.
    pub(super) fn claim(&self, place: Place) -> Option<Piece> {
        let piece = self.arenas.claim(place)?;
        self.account(&piece);
        Some(piece)
    }

    /// A piece is this log's from now on.
    fn account(&self, piece: &Piece) {
        self.log_bytes
            .fetch_add(piece.len() as u64, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, piece: Piece) {
        self.log_bytes
            .fetch_sub(piece.len() as u64, Ordering::Relaxed);
        self.arenas.give_back(piece);
    }
}
