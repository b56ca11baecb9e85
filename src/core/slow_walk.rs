//! What the walk over all connections has come by: how many are slow, and which of them most.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::hub::SLOWEST_MAX;

/// What a walk has come by so far.
#[derive(Debug, Default)]
pub(super) struct SlowWalk {
    /// Connections whose socket is full.
    stalled: u64,
    /// The furthest behind of them: by how many bytes, and their slots. The least far is on top,
    /// to make way for another.
    furthest: BinaryHeap<Reverse<(u64, u32)>>,
}

impl SlowWalk {
    /// Comes by a connection whose socket is full.
    pub(super) fn note(&mut self, slot: u32, lag_bytes: u64, is_watched: bool) {
        self.stalled += 1;
        if is_watched {
            self.furthest.push(Reverse((lag_bytes, slot)));
            if self.furthest.len() > SLOWEST_MAX {
                self.furthest.pop();
            }
        }
    }

    /// How many are slow, and the slots of the furthest behind.
    pub(super) fn end(self) -> (u64, impl Iterator<Item = u32>) {
        let slots = self.furthest.into_iter();
        (self.stalled, slots.map(|Reverse((_, slot))| slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_keeps_the_furthest_and_counts_all() {
        let mut walk = SlowWalk::default();
        let count = 3 * SLOWEST_MAX as u64;
        for number in 0..count {
            // In no order: 7 and the count have no common factor.
            let lag_bytes = number * 7 % count;
            walk.note(number as u32, lag_bytes, true);
        }
        walk.note(0, 1_000_000, false);
        assert_eq!(walk.stalled, count + 1);
        let mut kept: Vec<u64> = walk.furthest.iter().map(|kept| kept.0.0).collect();
        kept.sort_unstable();
        let furthest: Vec<u64> = (count - SLOWEST_MAX as u64..count).collect();
        assert_eq!(kept, furthest);
    }
}
