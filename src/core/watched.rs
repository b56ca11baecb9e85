//! Slots whose connections are looked at once a second or so, for as long as something is awaited
//! of them that has a time limit of its own. All others are looked at when their time comes, see
//! `calendar`.

/// The list is walked over and over again; a slot stands in it once, whoever has it.
#[derive(Debug, Default)]
pub(super) struct Watched {
    list: Vec<u32>,
    /// A bit for each slot: it stands in the list.
    listed: Vec<u64>,
    /// Where the walk is.
    at: usize,
}

/// Room for so many is kept though nobody has it.
const KEPT: usize = 1024;

impl Watched {
    /// Puts a slot into the list, if it is not there.
    #[inline]
    pub(super) fn add(&mut self, slot: u32) {
        let (word, bit) = (slot as usize / 64, 1 << (slot % 64));
        if self.listed.len() <= word {
            self.listed.resize(word + 1, 0);
        }
        if self.listed[word] & bit == 0 {
            self.listed[word] |= bit;
            self.list.push(slot);
        }
    }

    pub(super) fn has(&self, slot: u32) -> bool {
        let word = self.listed.get(slot as usize / 64);
        word.is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The slot that the walk has come to; none at the end.
    pub(super) fn here(&self) -> Option<u32> {
        self.list.get(self.at).copied()
    }

    /// The walk goes on, and the slot that it has come to stays.
    pub(super) fn pass(&mut self) {
        self.at += 1;
    }

    /// The slot that the walk has come to is watched no more.
    pub(super) fn dismiss(&mut self) {
        let slot = self.list.swap_remove(self.at);
        self.listed[slot as usize / 64] &= !(1 << (slot % 64));
    }

    /// The walk has come to the end, and begins again.
    pub(super) fn begin_again(&mut self) {
        assert!(self.at >= self.list.len(), "there is more to be looked at");
        self.at = 0;
        // After a storm, or a handover, few of those who came are left here.
        if self.list.capacity() > 4 * self.list.len() + KEPT {
            self.list.shrink_to(2 * self.list.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One walk, of which those stay for which `stays` says so.
    fn walk(watched: &mut Watched, stays: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut seen = Vec::new();
        while let Some(slot) = watched.here() {
            seen.push(slot);
            match stays(slot) {
                true => watched.pass(),
                false => watched.dismiss(),
            }
        }
        watched.begin_again();
        seen.sort_unstable();
        seen
    }

    #[test]
    fn a_walk_comes_by_each_once_until_it_is_dismissed() {
        let mut watched = Watched::default();
        for slot in [5, 700, 5, 64, 63, 700] {
            watched.add(slot);
        }
        assert_eq!(walk(&mut watched, |slot| slot != 64), [5, 63, 64, 700]);
        assert_eq!(
            [5, 63, 64, 700, 6, 9000].map(|slot| watched.has(slot)),
            [true, true, false, true, false, false]
        );
        watched.add(64);
        assert_eq!(walk(&mut watched, |_| false), [5, 63, 64, 700]);
        assert_eq!((watched.len(), watched.here()), (0, None));
    }

    #[test]
    fn the_list_does_not_keep_the_room_that_a_storm_has_taken() {
        let mut watched = Watched::default();
        (0..100_000).for_each(|slot| watched.add(slot));
        walk(&mut watched, |slot| slot < 10);
        assert!(watched.list.capacity() <= 4 * 10 + KEPT);
        assert_eq!(walk(&mut watched, |_| true).len(), 10);
    }
}
