//! The memory of all logs: pieces of a few large files that live in memory
//! alone. A handover passes the files, so that no message is copied.
//!
//! Files are sparse. A piece that is given back is used again; once a second
//! [`Arenas::tidy`] returns to the system what has stayed free.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::gaps::{Gaps, PAGE_BYTES, Pages, whole_pages};
use super::memory::Memory;

/// Pieces are multiples of this; those of a page and more, of a page.
pub(super) const UNIT_BYTES: usize = 512;
/// Size of a file, but for longer messages.
const ARENA_BYTES: usize = if cfg!(miri) { 4 << 20 } else { 64 << 20 };
/// Free memory that is kept for the next segments.
const SLACK_BYTES: usize = 4 << 20;
/// The longest piece.
pub(super) const PIECE_BYTES_MAX: usize = (1 << 31) - PAGE_BYTES;

const _: () = assert!(PAGE_BYTES.is_multiple_of(UNIT_BYTES));
const _: () = assert!(ARENA_BYTES.is_multiple_of(PAGE_BYTES));

/// The size of the smallest piece that holds `len` bytes.
pub(super) fn round(len: usize) -> usize {
    let unit = if len < PAGE_BYTES {
        UNIT_BYTES
    } else {
        PAGE_BYTES
    };
    len.max(1).next_multiple_of(unit)
}

/// Where a piece lies, in any process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    arena: u32,
    at: u32,
    len: u32,
}

/// A piece of memory that one segment owns until it gives it back.
#[derive(Debug)]
pub(super) struct Piece {
    memory: Arc<Memory>,
    place: Place,
    /// It came from another process, which may have lent it to the kernel.
    inherited: bool,
}

impl Piece {
    pub(super) fn len(&self) -> usize {
        self.place.len as usize
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The first byte. Bytes are initialised, with anything.
    #[inline]
    pub(super) fn bytes(&self) -> *mut u8 {
        self.memory.at(self.place.at as usize)
    }
}

/// The memory of all logs of a process.
#[derive(Debug)]
pub struct Arenas {
    held_bytes: AtomicU64,
    space: Mutex<Space>,
}

#[derive(Debug)]
struct Space {
    arenas: Vec<Arena>,
    /// So many of them, the first ones, are another process's too: nothing in
    /// them may change.
    shared: usize,
    /// Pieces of those that have been given back.
    later: Vec<(Place, bool)>,
}

/// One file.
#[derive(Debug)]
struct Arena {
    memory: Arc<Memory>,
    gaps: Gaps,
    /// Pages that may have memory behind them.
    touched: Pages,
    /// Pages that were in use since the last tidying.
    recent: Pages,
    inherited: bool,
}

impl Arenas {
    pub fn new() -> Arc<Self> {
        Arc::new(Arenas {
            held_bytes: AtomicU64::new(0),
            space: Mutex::new(Space {
                arenas: Vec::new(),
                shared: 0,
                later: Vec::new(),
            }),
        })
    }

    /// Begins with the files of another process, of which [`Arenas::files`] were
    /// passed on. Nothing in them changes before [`Arenas::own`].
    ///
    /// # Errors
    /// A sentence, when a file cannot be one of ours, or when there are some here.
    pub fn inherit(&self, files: Vec<OwnedFd>) -> Result<(), String> {
        let open = |file| Ok(Arena::new(Memory::open(file)?, true));
        let arenas: Result<Vec<_>, String> = files.into_iter().map(open).collect();
        let mut space = self.lock();
        if !space.arenas.is_empty() {
            return Err("messages have come before the history they belong to".into());
        }
        space.arenas = arenas?;
        space.shared = space.arenas.len();
        Ok(())
    }

    /// The files for another process, in their order. Nothing in them changes
    /// from here on, but by [`Arenas::own`] if that process fails.
    ///
    /// # Errors
    /// A sentence, when there are no more descriptors.
    pub fn files(&self) -> Result<Vec<OwnedFd>, String> {
        let mut space = self.lock();
        space.shared = space.arenas.len();
        let arenas = space.arenas.iter();
        arenas.map(|arena| arena.memory.file()).collect()
    }

    /// No other process has these files any more: the one that they came from
    /// has let go, or the one that they were for has failed.
    pub fn own(&self) {
        let mut space = self.lock();
        space.shared = 0;
        for arena in space.arenas.iter_mut().filter(|arena| arena.inherited) {
            // What lies in gaps is unknown, and the kernel may still be sending
            // from there: behind a hole it keeps the old page, and a new one
            // comes when the place is used again.
            let gaps: Vec<_> = arena.gaps.iter().collect();
            for (at, len) in gaps {
                arena.touched.set(at, len);
                arena.punch_pages(at, len);
            }
        }
        for (place, inherited) in std::mem::take(&mut space.later) {
            space.free(place, inherited);
        }
    }

    /// Bytes of the pieces that are in use.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Returns what has stayed free since the last call to the system, but for
    /// a little. Called once a second.
    pub fn tidy(&self) {
        let mut space = self.lock();
        let (shared, mut slack) = (space.shared, SLACK_BYTES);
        for arena in space.arenas.iter_mut().skip(shared) {
            arena.tidy(&mut slack);
        }
    }

    /// Bytes that may have memory behind them, in use or not.
    pub fn touched_bytes(&self) -> u64 {
        let space = self.lock();
        let pages = space.arenas.iter().map(|arena| arena.touched.count());
        pages.sum::<u64>() * PAGE_BYTES as u64
    }

    /// A piece of `len` bytes; `None` if the system gives no memory.
    pub(super) fn take(&self, len: usize) -> Option<Piece> {
        assert!(len == round(len) && len <= PIECE_BYTES_MAX);
        let mut space = self.lock();
        let place = match space.take(len) {
            Some(place) => place,
            None => {
                let memory = Memory::new(len.max(ARENA_BYTES))?;
                space.arenas.push(Arena::new(memory, false));
                space.take(len).expect("a fresh file has room")
            }
        };
        let memory = space.arenas[place.arena as usize].memory.clone();
        drop(space);
        self.held_bytes.fetch_add(len as u64, Ordering::Relaxed);
        Some(Piece {
            memory,
            place,
            inherited: false,
        })
    }

    pub(super) fn give_back(&self, piece: Piece) {
        self.held_bytes
            .fetch_sub(piece.len() as u64, Ordering::Relaxed);
        let mut space = self.lock();
        if (piece.place.arena as usize) < space.shared {
            space.later.push((piece.place, piece.inherited));
        } else {
            space.free(piece.place, piece.inherited);
        }
    }

    /// The piece that another process had in `place`; `None` if there can be
    /// none, or if somebody has it already.
    pub(super) fn claim(&self, place: Place) -> Option<Piece> {
        let mut space = self.lock();
        let arena = space.arenas.get_mut(place.arena as usize)?;
        let (at, len) = (place.at as usize, place.len as usize);
        let fits = len == round(len) && at.is_multiple_of(UNIT_BYTES) && len <= PIECE_BYTES_MAX;
        if !fits || !arena.inherited || !arena.gaps.remove(at, len) {
            return None;
        }
        arena.touched.set(at, len);
        let memory = arena.memory.clone();
        self.held_bytes.fetch_add(len as u64, Ordering::Relaxed);
        Some(Piece {
            memory,
            place,
            inherited: true,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Space> {
        self.space.lock().expect("nothing panics inside the lock")
    }
}

impl Space {
    fn take(&mut self, len: usize) -> Option<Place> {
        let mut arenas = self.arenas.iter_mut().enumerate().skip(self.shared);
        arenas.find_map(|(number, arena)| {
            let at = arena.gaps.take(len)?;
            arena.touched.set(at, len);
            arena.recent.set(at, len);
            Some(Place {
                arena: number as u32,
                at: at as u32,
                len: len as u32,
            })
        })
    }

    fn free(&mut self, place: Place, inherited: bool) {
        let arena = &mut self.arenas[place.arena as usize];
        let (at, len) = (place.at as usize, place.len as usize);
        arena.recent.set(at, len);
        if inherited {
            // As in `Arenas::own`.
            arena.punch_pages(at, len);
        }
        arena.gaps.add(at, len);
    }
}

impl Arena {
    fn new(memory: Memory, inherited: bool) -> Self {
        let len = memory.len();
        let mut gaps = Gaps::default();
        gaps.add(0, len);
        Arena {
            memory: Arc::new(memory),
            gaps,
            touched: Pages::new(len),
            recent: Pages::new(len),
            inherited,
        }
    }

    fn tidy(&mut self, slack: &mut usize) {
        let mut idle = Vec::new();
        for (at, len) in self.gaps.iter() {
            let (touched, recent) = (&self.touched, &self.recent);
            let is_idle = |page: &usize| touched.get(*page) && !recent.get(*page);
            let mut pages = whole_pages(at, len).filter(is_idle).peekable();
            while let Some(first) = pages.next() {
                let mut last = first;
                while pages.next_if_eq(&(last + 1)).is_some() {
                    last += 1;
                }
                idle.push((first * PAGE_BYTES, (last + 1 - first) * PAGE_BYTES));
            }
        }
        for (at, len) in idle {
            let kept = len.min(*slack);
            *slack -= kept;
            if kept < len {
                self.punch_pages(at + kept, len - kept);
            }
        }
        self.recent.clear_all();
    }

    /// Returns the whole pages of a range to the system.
    fn punch_pages(&mut self, at: usize, len: usize) {
        let pages = whole_pages(at, len);
        let (at, len) = (pages.start * PAGE_BYTES, pages.len() * PAGE_BYTES);
        // If it fails the memory stays ours, and is used again.
        if len > 0 && self.memory.punch(at, len) {
            self.touched.clear(at, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(piece: &Piece, byte: u8) {
        super::super::memory::fill(piece.bytes(), piece.len(), byte);
    }

    fn holds(piece: &Piece, byte: u8) -> bool {
        super::super::memory::is_filled(piece.bytes(), piece.len(), byte)
    }

    #[test]
    fn pieces_never_overlap_and_gaps_grow_together_again() {
        let arenas = Arenas::new();
        let mut random = fastrand::Rng::with_seed(1);
        let mut held: Vec<(Piece, u8)> = Vec::new();
        for step in 0..if cfg!(miri) { 60 } else { 3000 } {
            if random.bool() || held.is_empty() {
                let len = match random.u8(..3) {
                    0 => random.usize(1..4000),
                    1 => random.usize(4000..200_000),
                    // Under Miri every byte takes its time.
                    _ => random.usize(1..if cfg!(miri) { 100_000 } else { 2 << 20 }),
                };
                let piece = arenas.take(round(len)).unwrap();
                let aligned =
                    piece.len() < PAGE_BYTES || (piece.bytes() as usize).is_multiple_of(PAGE_BYTES);
                assert!(aligned, "pages are whole");
                write(&piece, step as u8);
                held.push((piece, step as u8));
            } else {
                let (piece, byte) = held.swap_remove(random.usize(..held.len()));
                assert!(holds(&piece, byte), "somebody else wrote here");
                arenas.give_back(piece);
            }
            if random.u8(..50) == 0 {
                arenas.tidy();
            }
        }
        let sum: usize = held.iter().map(|(piece, _)| piece.len()).sum();
        assert_eq!(arenas.held_bytes(), sum as u64);
        for (piece, byte) in held {
            assert!(holds(&piece, byte));
            arenas.give_back(piece);
        }
        assert_eq!(arenas.held_bytes(), 0);
        let space = arenas.lock();
        for arena in &space.arenas {
            assert!(arena.gaps.iter().eq([(0, arena.memory.len())]));
        }
    }

    #[test]
    fn what_stays_free_is_given_back_but_for_a_little() {
        let arenas = Arenas::new();
        let pieces: Vec<_> = (0..if cfg!(miri) { 3 } else { 20 })
            .map(|_| arenas.take(1 << 20).unwrap())
            .collect();
        let all = arenas.touched_bytes();
        assert_eq!(all, (pieces.len() << 20) as u64);
        arenas.tidy();
        assert_eq!(arenas.touched_bytes(), all, "it is in use");
        pieces.into_iter().for_each(|piece| arenas.give_back(piece));
        arenas.tidy();
        assert_eq!(arenas.touched_bytes(), all, "it was in use just now");
        arenas.tidy();
        assert_eq!(arenas.touched_bytes(), all.min(SLACK_BYTES as u64));
    }

    #[test]
    fn a_piece_larger_than_a_file_gets_one_of_its_own() {
        let arenas = Arenas::new();
        let small = arenas.take(512).unwrap();
        let large = arenas.take(ARENA_BYTES + PAGE_BYTES).unwrap();
        assert_eq!(large.len(), ARENA_BYTES + PAGE_BYTES);
        assert_ne!(small.place().arena, large.place().arena);
    }

    #[cfg(not(miri))]
    #[test]
    fn what_was_inherited_changes_only_once_it_is_owned() {
        let before = Arenas::new();
        let mut old: Vec<_> = (0..5).map(|_| before.take(1 << 20).unwrap()).collect();
        for (number, piece) in old.iter().enumerate() {
            write(piece, number as u8 + 1);
        }
        let after = Arenas::new();
        after.inherit(before.files().unwrap()).unwrap();
        // What the old one gives back now stays as it is.
        let extra = old.pop().unwrap();
        let extra_place = extra.place();
        before.give_back(extra);
        before.tidy();
        let mut new: Vec<_> = old
            .iter()
            .map(|piece| after.claim(piece.place()).unwrap())
            .collect();
        assert!(after.claim(old[0].place()).is_none(), "it is claimed");
        let extra = after.claim(extra_place).unwrap();
        assert!(holds(&extra, 5));
        let far = Place {
            at: u32::MAX - 511,
            ..old[0].place()
        };
        assert!(after.claim(far).is_none(), "there is no such place");
        assert!(new.iter().zip(1..).all(|(piece, byte)| holds(piece, byte)));
        // Neither given back nor used again before the other has let go.
        after.give_back(new.remove(0));
        after.tidy();
        let fresh = after.take(1 << 20).unwrap();
        assert_ne!(fresh.place().arena, old[0].place().arena);
        write(&fresh, 99);
        assert!(old.iter().zip(1..).all(|(piece, byte)| holds(piece, byte)));
        after.own();
        assert!(holds(&old[0], 0), "a hole is there now");
        assert!(new.iter().zip(2..).all(|(piece, byte)| holds(piece, byte)));
        after.give_back(new.remove(0));
        assert!(holds(&old[1], 0), "freed, it is a hole before it is used");
        let again = after.take(1 << 20).unwrap();
        assert_eq!(again.place().arena, old[0].place().arena);
    }
}
