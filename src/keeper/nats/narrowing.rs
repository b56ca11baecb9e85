//! Finds the message of a topic behind which there is a given number of others.
//!
//! The server says of a topic's first message from an offset on how many there are behind it,
//! and nothing else that counts. So offsets are tried, guessed by proportion and halved where
//! that gained little, until one fits. Pure. Called by `searching`.

use std::ops::RangeInclusive;

/// A search. A message's *rank* is the number of messages from it to the topic's newest one, both
/// counted.
#[derive(Debug)]
pub(super) struct Narrowing {
    /// The rank that will do.
    wanted: RangeInclusive<u64>,
    /// A message before the wanted one, with its rank.
    low: (u64, u64),
    /// An offset behind the wanted one, with the rank of the first message from there on.
    high: (u64, u64),
    /// The last try has not halved what is left.
    is_slow: bool,
}

/// What a search has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Narrowed {
    /// The first message from this offset on is to be looked at.
    Try(u64),
    /// The message at this offset, and its rank when it was looked at.
    Found(u64, u64),
}

impl Narrowing {
    /// A search between a message whose rank is not too small, and an offset whose rank is not
    /// too great.
    pub(super) fn new(wanted: RangeInclusive<u64>, low: (u64, u64), high: (u64, u64)) -> Self {
        Narrowing {
            wanted,
            low,
            high,
            is_slow: false,
        }
    }

    pub(super) fn poll(&self) -> Narrowed {
        let (low, low_rank) = self.low;
        let (high, high_rank) = self.high;
        // Ranks grow while messages are stored: then nothing may fit, and the message before
        // the place is taken, of which too much is behind it rather than too little.
        if low_rank <= *self.wanted.end() || high.saturating_sub(low) <= 1 {
            return Narrowed::Found(low, low_rank);
        }
        let left = high - low;
        let step = match self.is_slow {
            true => left / 2,
            false => {
                let middle = self.wanted.start().midpoint(*self.wanted.end());
                let (part, whole) = (low_rank - middle, low_rank.saturating_sub(high_rank).max(1));
                let step = u128::from(left) * u128::from(part) / u128::from(whole);
                u64::try_from(step).unwrap_or(u64::MAX)
            }
        };
        Narrowed::Try(low + step.clamp(1, left - 1))
    }

    /// What is at the offset that was to be tried: a message with its rank, if there is one.
    pub(super) fn handle(&mut self, tried: u64, found: Option<(u64, u64)>) {
        let left = self.high.0 - self.low.0;
        match found {
            Some((offset, rank)) if rank >= *self.wanted.start() && offset < self.high.0 => {
                self.low = (offset, rank);
            }
            Some((_, rank)) => self.high = (tried, rank),
            None => self.high = (tried, 0),
        }
        self.is_slow = (self.high.0.saturating_sub(self.low.0)) > left / 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tries a search takes among messages at these offsets, and what it finds.
    fn search(offsets: &[u64], end: u64, wanted: RangeInclusive<u64>) -> (u32, u64) {
        let count = offsets.len() as u64;
        let mut narrowing = Narrowing::new(wanted, (offsets[0], count), (end, 0));
        let mut tries = 0;
        loop {
            match narrowing.poll() {
                Narrowed::Found(offset, rank) => {
                    let at = offsets.iter().position(|it| *it == offset);
                    assert_eq!(rank, count - at.expect("a message") as u64);
                    return (tries, rank);
                }
                Narrowed::Try(from) => {
                    let at = offsets.partition_point(|offset| *offset < from);
                    let found = offsets.get(at).map(|offset| (*offset, count - at as u64));
                    narrowing.handle(from, found);
                    tries += 1;
                }
            }
        }
    }

    #[test]
    fn each_rank_is_found() {
        for _ in 0..300 {
            let mut offset = 0;
            let count = fastrand::u64(1..200);
            let offsets: Vec<u64> = (0..count)
                .map(|_| {
                    // Messages come in bursts.
                    offset += match fastrand::u8(..10) {
                        0 => fastrand::u64(1..1 << 30),
                        _ => fastrand::u64(1..4),
                    };
                    offset
                })
                .collect();
            let rank = fastrand::u64(1..=count);
            let (tries, found) = search(&offsets, offset + 1, rank..=rank);
            assert_eq!(found, rank);
            assert!(tries <= 80, "{tries}");
        }
    }

    #[test]
    fn evenly_stored_messages_take_few_tries() {
        let offsets: Vec<u64> = (1..100_000).map(|n| n * 300).collect();
        let (tries, found) = search(&offsets, 100_000 * 300, 1000..=1064);
        assert!((1000..=1064).contains(&found));
        assert!(tries <= 3, "{tries}");
    }

    #[test]
    fn a_burst_far_away_does_not_make_it_long() {
        let offsets: Vec<u64> = (1..1000).chain([1 << 40, (1 << 40) + 1]).collect();
        let (tries, found) = search(&offsets, (1 << 40) + 2, 10..=10);
        assert_eq!(found, 10);
        assert!(tries <= 70, "{tries}");
    }

    #[test]
    fn a_search_ends_where_ranks_grow_meanwhile() {
        let mut narrowing = Narrowing::new(5..=5, (1, 10), (11, 0));
        let mut grown = 0;
        let mut tries = 0;
        while let Narrowed::Try(from) = narrowing.poll() {
            grown += 1;
            narrowing.handle(from, Some((from, 11 - from + grown)));
            tries += 1;
            assert!(tries < 20);
        }
    }
}
