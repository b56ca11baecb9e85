//! When to try again: soon at first, then more and more seldom, never all at once.

use std::time::Duration;

/// The wait after the first failure.
const WAIT_MIN: Duration = Duration::from_millis(250);
/// No wait is longer, unless the server asks for it.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// What a server may ask for: it is not trusted to know better than this.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// For how long attempts are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The first attempt has to succeed; later ones are made for good.
    FirstThenEver,
    /// From a failure on, for so long.
    For(Duration),
    Ever,
}

/// Counts failures since the last success.
#[derive(Debug)]
pub struct Retry {
    patience: Patience,
    failures: u32,
    waited: Duration,
    has_succeeded: bool,
}

impl Retry {
    pub fn new(patience: Patience) -> Self {
        Retry {
            patience,
            failures: 0,
            waited: Duration::ZERO,
            has_succeeded: false,
        }
    }

    /// It has worked: the next failure is the first one.
    pub fn succeeded(&mut self) {
        *self = Retry {
            has_succeeded: true,
            ..Retry::new(self.patience)
        };
    }

    /// It has failed. How long to wait before another attempt, or `None` where there is to be no
    /// other; `asked` is what the server asks for.
    pub fn failed(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let goes_on = match self.patience {
            Patience::Ever => true,
            Patience::FirstThenEver => self.has_succeeded,
            Patience::For(most) => self.waited < most,
        };
        if !goes_on {
            return None;
        }
        let grown = WAIT_MIN * 2_u32.saturating_pow(self.failures.min(16));
        let wait = match asked {
            // Others were asked for the same.
            Some(asked) => asked.min(ASKED_MAX).mul_f64(1.0 + fastrand::f64() / 4.0),
            None => grown.min(WAIT_MAX).mul_f64(0.5 + fastrand::f64() / 2.0),
        };
        let wait = match self.patience {
            Patience::For(most) => wait.min(most - self.waited),
            _ => wait,
        };
        self.failures += 1;
        self.waited += wait;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_begin_anew_after_success() {
        let mut retry = Retry::new(Patience::Ever);
        for failure in 0..20 {
            let wait = retry.failed(None).unwrap();
            let most = (WAIT_MIN * 2_u32.pow(failure)).min(WAIT_MAX);
            assert!((most / 2..=most).contains(&wait), "{failure}: {wait:?}");
        }
        retry.succeeded();
        assert!(retry.failed(None).unwrap() <= WAIT_MIN);
    }

    #[test]
    fn the_first_attempt_has_to_succeed_unless_patience_is_asked_for() {
        let mut retry = Retry::new(Patience::FirstThenEver);
        assert_eq!(retry.failed(None), None);
        retry.succeeded();
        assert!(retry.failed(None).is_some());
        assert!(retry.failed(None).is_some());
    }

    #[test]
    fn patience_ends_after_all_waits_together() {
        let most = Duration::from_secs(10);
        let mut retry = Retry::new(Patience::For(most));
        let mut all = Duration::ZERO;
        while let Some(wait) = retry.failed(None) {
            all += wait;
        }
        assert_eq!(all, most);
        assert_eq!(Retry::new(Patience::For(Duration::ZERO)).failed(None), None);
    }

    #[test]
    fn what_a_server_asks_for_counts_within_bounds() {
        let mut retry = Retry::new(Patience::Ever);
        let asked = Duration::from_secs(2);
        let wait = retry.failed(Some(asked)).unwrap();
        assert!((asked..asked * 5 / 4).contains(&wait));
        let wait = retry.failed(Some(Duration::from_secs(1 << 40))).unwrap();
        assert!(wait < ASKED_MAX * 2);
    }
}
