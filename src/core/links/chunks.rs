//! Things that lie together, many in a piece of memory: one by one they would each have the allocator's
//! header. They do not move. A piece that nothing lies in any more is given back.

use std::collections::BTreeSet;

/// Things in a chunk: each has a bit of a word.
const CHUNK: usize = u64::BITS as usize;

/// Things by their places.
pub(super) struct Chunks<T> {
    all: Vec<Option<Box<Chunk<T>>>>,
    /// The numbers of those that have room.
    with_room: BTreeSet<usize>,
}

struct Chunk<T> {
    things: [Option<T>; CHUNK],
    /// A bit for each place that is taken.
    taken: u64,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Chunks {
            all: Vec::new(),
            with_room: BTreeSet::new(),
        }
    }
}

impl<T> Chunks<T> {
    /// Gives a thing a place: the first one that is free, so that those behind become empty.
    pub(super) fn put(&mut self, thing: T) -> u32 {
        let number = match self.with_room.first() {
            Some(number) => *number,
            None => self.grow(),
        };
        let chunk = self.all[number].as_mut().expect("it has room");
        let at = chunk.taken.trailing_ones() as usize;
        chunk.things[at] = Some(thing);
        chunk.taken |= 1 << at;
        if chunk.taken == u64::MAX {
            self.with_room.remove(&number);
        }
        (number * CHUNK + at) as u32
    }

    /// Lets go of the thing in a place.
    pub(super) fn remove(&mut self, place: u32) {
        let (number, at) = parts(place);
        let chunk = self.all[number].as_mut().expect("something lies in it");
        assert!(chunk.taken & 1 << at != 0, "something lies there");
        // Dropped where it lies: moved away, it would leave keys behind.
        chunk.things[at] = None;
        chunk.taken &= !(1 << at);
        let is_empty = chunk.taken == 0;
        self.with_room.insert(number);
        // Some room stays: who comes and goes alone would have a chunk made and given back each time.
        if is_empty && self.with_room.len() > 1 {
            self.with_room.remove(&number);
            self.all[number] = None;
            while self.all.last().is_some_and(Option::is_none) {
                self.all.pop();
            }
        }
    }

    pub(super) fn get(&self, place: u32) -> Option<&T> {
        let (number, at) = parts(place);
        self.all.get(number)?.as_ref()?.things[at].as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        let (number, at) = parts(place);
        self.all.get_mut(number)?.as_mut()?.things[at].as_mut()
    }

    /// Makes a chunk, in the place of one that was given back if there is any.
    fn grow(&mut self) -> usize {
        let free = self.all.iter().position(Option::is_none);
        let number = free.unwrap_or(self.all.len());
        if number == self.all.len() {
            self.all.push(None);
        }
        self.all[number] = Some(Box::new(Chunk {
            things: [const { None }; CHUNK],
            taken: 0,
        }));
        self.with_room.insert(number);
        number
    }
}

/// The number of the chunk that a place is in, and where in that.
fn parts(place: u32) -> (usize, usize) {
    (place as usize / CHUNK, place as usize % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<T> Chunks<T> {
        fn there(&self) -> usize {
            self.all.iter().flatten().count()
        }
    }

    #[test]
    fn chunks_are_given_back_once_nothing_lies_in_them() {
        let mut chunks = Chunks::default();
        let places: Vec<u32> = (0..10 * CHUNK).map(|thing| chunks.put(thing)).collect();
        assert_eq!(chunks.there(), 10);
        // From the middle out, so that it is not only the last one that goes.
        let (front, back) = places.split_at(4 * CHUNK + 7);
        for place in back.iter().chain(front.iter().rev()) {
            chunks.remove(*place);
        }
        assert_eq!(chunks.there(), 1, "room for who comes next");
        assert!(chunks.all.len() <= 5);
    }

    #[test]
    fn who_comes_and_goes_alone_has_no_chunk_made_each_time() {
        let mut chunks = Chunks::default();
        for _ in 0..CHUNK {
            chunks.put(());
        }
        for _ in 0..3 {
            let place = chunks.put(());
            chunks.remove(place);
            assert_eq!(chunks.there(), 2);
        }
    }

    #[test]
    fn each_thing_is_found_where_it_was_put_whatever_comes_and_goes() {
        let mut rng = fastrand::Rng::with_seed(4);
        let mut chunks = Chunks::default();
        let mut known = std::collections::HashMap::new();
        for thing in 0..19_000_u32 {
            // It grows to some hundreds, and shrinks, in turns.
            let grows = thing / 2_000 % 2 == 0;
            if rng.u8(..) < if grows { 170 } else { 86 } {
                let place = chunks.put(thing);
                assert!(known.insert(place, thing).is_none(), "it was free");
            } else if let Some(place) = known.keys().copied().min_by_key(|_| rng.u32(..)) {
                known.remove(&place);
                chunks.remove(place);
                assert!(chunks.get(place).is_none());
            }
        }
        assert!(known.len() > 100);
        for (place, thing) in known {
            assert_eq!(chunks.get(place), Some(&thing));
            assert_eq!(chunks.get_mut(place), Some(&mut { thing }));
        }
        assert!(chunks.get(u32::MAX).is_none());
    }
}
