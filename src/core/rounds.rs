//! How a core shares its time between live topics and newcomers.
//!
//! A round deals with as many newcomers as leave live topics on time: what is published while it
//! lasts waits for its end. So rounds are kept short while topics are live, and long, for the sake
//! of a storm, while they are not. Between two deliveries, newcomers who wait have most of the
//! time: what is published meanwhile goes out together, which costs both sides one call for each
//! subscriber and not one for each message.

/// Newcomers of one round: while nobody would wait for them, and in any case.
const SHARE_MAX: usize = 128;
const SHARE_MIN: usize = 16;
/// How long a message may have waited for a round to end.
const LATE_US_MAX: u64 = 500;
/// For each delivery, newcomers who wait then have the core about ten times as long as it took;
/// for all together at most so long. Topics that few hear are delivered as promptly as ever.
const THEIRS_US: u64 = 30;
const THEIRS_US_MAX: u64 = 3_000;
/// For so long a topic counts as live after it has had a message.
const LIVE_US: u64 = 100_000;

/// The share of newcomers in the rounds of one core.
#[derive(Debug)]
pub(super) struct Rounds {
    goal: usize,
    /// When a round last began that went on without a pause from the one before.
    looked_us: Option<u64>,
    live_until_us: u64,
    /// When this round began.
    now_us: u64,
    /// Deliveries since newcomers last had their time.
    delivered: u64,
    /// Newcomers have the core until then.
    theirs_until_us: u64,
}

impl Default for Rounds {
    fn default() -> Self {
        Rounds {
            goal: SHARE_MAX,
            looked_us: None,
            live_until_us: 0,
            now_us: 0,
            delivered: 0,
            theirs_until_us: 0,
        }
    }
}

impl Rounds {
    /// A round begins, in which there is something to be delivered or not.
    pub(super) fn look(&mut self, now_us: u64, delivers: bool) {
        self.now_us = now_us;
        if delivers {
            self.live_until_us = now_us + LIVE_US;
        }
        let before_us = self.looked_us.replace(now_us);
        if now_us >= self.live_until_us {
            self.goal = SHARE_MAX;
        } else if before_us.is_some_and(|before_us| now_us - before_us > LATE_US_MAX) {
            self.goal = (self.goal / 2).max(SHARE_MIN);
        } else {
            self.goal = (self.goal + 1).min(SHARE_MAX);
        }
    }

    /// There is nothing to do: nobody waits for the round that begins next.
    pub(super) fn rest(&mut self) {
        self.looked_us = None;
    }

    /// Whether this round may deliver, where so many newcomers wait to be answered. Few of them
    /// have their answer within the round.
    pub(super) fn may_deliver(&self, waiting: usize) -> bool {
        waiting <= SHARE_MIN || self.now_us >= self.theirs_until_us
    }

    /// This round has made so many deliveries, which were the last of all or not.
    pub(super) fn note_deliveries(&mut self, count: usize, last: bool) {
        self.delivered += count as u64;
        if last && self.delivered > 0 {
            let us = std::mem::take(&mut self.delivered) * THEIRS_US;
            self.theirs_until_us = self.now_us + us.min(THEIRS_US_MAX);
        }
    }

    pub(super) fn goal(&self) -> usize {
        self.goal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_nothing_is_delivered_newcomers_have_long_rounds() {
        let mut rounds = Rounds::default();
        for round in 0..100 {
            rounds.look(round * 10 * LATE_US_MAX, false);
            assert_eq!(rounds.goal(), SHARE_MAX);
        }
    }

    #[test]
    fn late_deliveries_shorten_rounds_down_to_a_bound() {
        let mut rounds = Rounds::default();
        let mut goals = Vec::new();
        for round in 0..20 {
            rounds.look(round * 2 * LATE_US_MAX, true);
            goals.push(rounds.goal());
        }
        assert!(goals.is_sorted_by(|a, b| a >= b), "{goals:?}");
        assert_eq!(*goals.last().unwrap(), SHARE_MIN);
    }

    #[test]
    fn rounds_grow_again_once_deliveries_are_on_time_or_over() {
        let mut rounds = Rounds::default();
        let late = |round: u64| round * 2 * LATE_US_MAX;
        (0..20).for_each(|round| rounds.look(late(round), true));
        let us = late(20);
        rounds.look(us, true);
        let short = rounds.goal();
        (1..=5).for_each(|round| rounds.look(us + round * LATE_US_MAX, true));
        assert_eq!(rounds.goal(), short + 5);
        rounds.look(us + 5 * LATE_US_MAX + LIVE_US, false);
        assert_eq!(rounds.goal(), SHARE_MAX);
    }

    #[test]
    fn a_core_that_had_nothing_to_do_was_not_late() {
        let mut rounds = Rounds::default();
        rounds.look(0, true);
        rounds.rest();
        rounds.look(LIVE_US / 2, true);
        assert_eq!(rounds.goal(), SHARE_MAX);
    }
    #[test]
    fn after_deliveries_newcomers_who_wait_have_the_core_for_a_time() {
        let mut rounds = Rounds::default();
        rounds.look(1000, true);
        rounds.note_deliveries(10, true);
        assert!(!rounds.may_deliver(SHARE_MIN + 1));
        assert!(rounds.may_deliver(SHARE_MIN), "few are answered at once");
        rounds.look(1000 + 10 * THEIRS_US, true);
        assert!(rounds.may_deliver(usize::MAX));
    }

    #[test]
    fn deliveries_wait_for_newcomers_up_to_a_bound_and_never_once_begun() {
        let mut rounds = Rounds::default();
        rounds.look(1000, true);
        rounds.note_deliveries(100_000, false);
        rounds.look(2000, true);
        assert!(rounds.may_deliver(usize::MAX), "they are under way");
        rounds.note_deliveries(0, true);
        rounds.look(1999 + THEIRS_US_MAX, true);
        assert!(!rounds.may_deliver(usize::MAX));
        rounds.look(2000 + THEIRS_US_MAX, true);
        assert!(rounds.may_deliver(usize::MAX));
        // Who delivers nothing owes newcomers nothing.
        rounds.note_deliveries(0, true);
        assert!(rounds.may_deliver(usize::MAX));
    }
}
