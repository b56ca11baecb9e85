//! What only few messages of a segment have (an event's name, a publisher's info, tags): a
//! piece of memory beside the segment's own, filled from the front.

use std::sync::atomic::{AtomicU32, Ordering};

use super::arena::Piece;

/// Rare parts begin at multiples of this in their side piece.
const RARE_STEP: usize = 8;
pub(super) const SIDE_BYTES_MAX: usize = RARE_STEP * (u16::MAX as usize);

/// Held by the one writer of a log: the view inside the topic's lock.
#[derive(Debug)]
pub(super) struct WriterLock(pub(super) ());

/// The memory of rare parts.
#[derive(Debug)]
pub(super) struct Side {
    piece: Piece,
    /// Changed by the writer alone.
    used: AtomicU32,
}

impl Side {
    /// The memory in `piece`, whose first `used` bytes are in use.
    pub(super) fn new(piece: Piece, used: u32) -> Self {
        let used = AtomicU32::new(used);
        Side { piece, used }
    }

    /// Rare parts of `len` bytes fit behind what is there.
    pub(super) fn fits(&self, len: usize) -> bool {
        self.used.load(Ordering::Relaxed) as usize + len <= self.piece.len().min(SIDE_BYTES_MAX)
    }

    /// Puts the rare parts of a message behind those that are there. Returns what its
    /// slot is to say.
    pub(super) fn append(&self, _lock: &mut WriterLock, bytes: &[u8]) -> u16 {
        let used = self.used.load(Ordering::Relaxed) as usize;
        assert!(used + bytes.len() <= self.piece.len());
        // SAFETY: what lies behind `used` has been shown to nobody, and the
        // lock makes this the only writer; it ends inside the side piece.
        unsafe {
            let to = self.piece.bytes().add(used);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        let end = (used + bytes.len()).next_multiple_of(RARE_STEP);
        self.used.store(end as u32, Ordering::Release);
        (used / RARE_STEP + 1) as u16
    }

    /// The bytes from the rare parts on that a slot's `rare` names; `None` for none.
    pub(super) fn part(&self, rare: u16) -> Option<&[u8]> {
        let at = usize::from(rare.checked_sub(1)?) * RARE_STEP;
        self.parts().get(at..)
    }

    /// What is used so far. Only what a published slot points to is read.
    fn parts(&self) -> &[u8] {
        let used = self.used.load(Ordering::Acquire) as usize;
        // SAFETY: bytes below `used` were written before it was stored, and are
        // never written again while the segment, which owns them, lives.
        unsafe { std::slice::from_raw_parts(self.piece.bytes(), used.min(self.piece.len())) }
    }

    /// The memory, and how much of it is used.
    pub(super) fn piece(&self) -> (&Piece, u32) {
        (&self.piece, self.used.load(Ordering::Relaxed))
    }

    pub(super) fn into_piece(self) -> Piece {
        self.piece
    }
}
