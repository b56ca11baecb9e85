//! When to try again: soon at first, then more and more seldom, never all at once.

use std::time::{Duration, Instant};

/// The wait after the first failure.
const WAIT_MIN: Duration = Duration::from_millis(250);
/// No wait is longer, unless the server asks for it.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// What a server may ask for: it is not trusted to know better than this.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// For how long attempts are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The first attempt has to reach the server; later ones are made for good.
    FirstThenEver,
    /// From the first failure on, for so long; an attempt that is under way then is awaited.
    For(Duration),
    Ever,
}

/// Counts failures since the last success.
#[derive(Debug)]
pub struct Retry {
    patience: Patience,
    failures: u32,
    /// When the first of them was.
    failing_since: Option<Instant>,
    is_reached: bool,
}

impl Retry {
    pub fn new(patience: Patience) -> Self {
        Retry {
            patience,
            failures: 0,
            failing_since: None,
            is_reached: false,
        }
    }

    /// The server is there, whatever becomes of the attempt: waits go on growing.
    pub fn reached(&mut self) {
        self.is_reached = true;
    }

    /// It has worked: the next failure is the first one.
    pub fn succeeded(&mut self) {
        *self = Retry {
            is_reached: true,
            ..Retry::new(self.patience)
        };
    }

    /// It has failed `now`. How long to wait before another attempt, or `None` where there is to
    /// be no other; `asked` is what the server asks for.
    pub fn failed(&mut self, now: Instant, asked: Option<Duration>) -> Option<Duration> {
        // Attempts take time as the waits between them do.
        let since = *self.failing_since.get_or_insert(now);
        let left = match self.patience {
            Patience::Ever => Duration::MAX,
            Patience::FirstThenEver if self.is_reached => Duration::MAX,
            Patience::FirstThenEver => Duration::ZERO,
            Patience::For(most) => most.saturating_sub(now.duration_since(since)),
        };
        if left.is_zero() {
            return None;
        }
        let grown = WAIT_MIN * 2_u32.saturating_pow(self.failures.min(16));
        let wait = match asked {
            // Others were asked for the same.
            Some(asked) => asked.min(ASKED_MAX).mul_f64(1.0 + fastrand::f64() / 4.0),
            None => grown.min(WAIT_MAX).mul_f64(0.5 + fastrand::f64() / 2.0),
        };
        self.failures += 1;
        Some(wait.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_begin_anew_after_success() {
        let now = Instant::now();
        let mut retry = Retry::new(Patience::Ever);
        for failure in 0..20 {
            let wait = retry.failed(now, None).unwrap();
            let most = (WAIT_MIN * 2_u32.pow(failure)).min(WAIT_MAX);
            assert!((most / 2..=most).contains(&wait), "{failure}: {wait:?}");
        }
        retry.succeeded();
        assert!(retry.failed(now, None).unwrap() <= WAIT_MIN);
    }

    #[test]
    fn the_first_attempt_has_to_succeed_unless_patience_is_asked_for() {
        let now = Instant::now();
        let mut retry = Retry::new(Patience::FirstThenEver);
        assert_eq!(retry.failed(now, None), None);
        retry.succeeded();
        assert!(retry.failed(now, None).is_some());
        assert!(retry.failed(now, None).is_some());
    }

    #[test]
    fn a_server_that_was_reached_is_tried_again_more_and_more_seldom() {
        let now = Instant::now();
        let mut retry = Retry::new(Patience::FirstThenEver);
        for failure in 0..5 {
            retry.reached();
            let wait = retry.failed(now, None).unwrap();
            assert!(
                wait >= WAIT_MIN * 2_u32.pow(failure) / 2,
                "{failure}: {wait:?}"
            );
        }
    }

    #[test]
    fn patience_ends_after_all_attempts_and_the_waits_between_them() {
        let most = Duration::from_secs(60);
        let attempt = Duration::from_secs(10);
        let first = Instant::now();
        let mut now = first;
        let mut retry = Retry::new(Patience::For(most));
        while let Some(wait) = retry.failed(now, None) {
            // None begins later.
            assert!(now + wait <= first + most);
            now += wait + attempt;
        }
        assert!((first + most..=first + most + attempt).contains(&now));
        let mut none = Retry::new(Patience::For(Duration::ZERO));
        assert_eq!(none.failed(now, None), None);
    }

    #[test]
    fn what_a_server_asks_for_counts_within_bounds() {
        let mut retry = Retry::new(Patience::Ever);
        let asked = Duration::from_secs(2);
        let now = Instant::now();
        let wait = retry.failed(now, Some(asked)).unwrap();
        assert!((asked..asked * 5 / 4).contains(&wait));
        let long = Duration::from_secs(1 << 40);
        let wait = retry.failed(now, Some(long)).unwrap();
        assert!(wait < ASKED_MAX * 2);
    }
}
