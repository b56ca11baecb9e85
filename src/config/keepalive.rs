//! What the setting `keepalive` means for TCP, which counts in seconds.

use std::time::Duration;

use super::{Keepalive, Settings};

/// A peer that is silent is asked so many times before it is given up.
const PROBES: u64 = 8;
/// What the kernel knows as times, in seconds, and as a number of probes (tcp(7)).
const SECONDS_MAX: u64 = 32_767;
const COUNT_MAX: u64 = 127;

/// How the kernel finds out that a peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probes {
    /// The silence after which it is asked (TCP_KEEPIDLE).
    pub silent: Duration,
    /// Between two questions (TCP_KEEPINTVL).
    pub interval: Duration,
    /// How many may stay unanswered where the next time is not known (TCP_KEEPCNT).
    pub count: u32,
    /// How long nothing may come back to what it has been sent, questions among it
    /// (TCP_USER_TIMEOUT).
    pub unanswered: Duration,
}

impl Settings {
    /// What the kernel is to do; none where the daemon pings.
    ///
    /// It looks at the last time only with each question, and may be late with these by an
    /// eighth, as timers are on Linux. All of that is within `idle_ms_max`, as far as whole
    /// seconds allow.
    pub fn probes(&self) -> Option<Probes> {
        if self.keepalive == Keepalive::Ping {
            return None;
        }
        let silent_s = self.ping_ms().div_ceil(1000).min(SECONDS_MAX);
        let rest_s = (self.idle_ms_max / 1000).saturating_sub(silent_s);
        let interval_s = (rest_s / (PROBES + 2)).clamp(1, SECONDS_MAX);
        let late_ms = interval_s * 1000 * 9 / 8 + silent_s * 1000 / 8;
        let unanswered_ms = self.idle_ms_max.saturating_sub(late_ms).max(1000);
        let count = (unanswered_ms / 1000).saturating_sub(silent_s) / interval_s;
        Some(Probes {
            silent: Duration::from_secs(silent_s),
            interval: Duration::from_secs(interval_s),
            count: count.clamp(1, COUNT_MAX) as u32,
            unanswered: Duration::from_millis(unanswered_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(ping_interval_ms: u64, idle_ms_max: u64) -> Probes {
        let settings = Settings {
            keepalive: Keepalive::Kernel,
            ping_interval_ms,
            idle_ms_max,
            ..Settings::default()
        };
        settings.probes().unwrap()
    }

    #[test]
    fn by_default_the_daemon_pings() {
        assert_eq!(Settings::default().probes(), None);
    }

    #[test]
    fn with_the_default_times_a_peer_that_is_gone_is_noticed_within_two_minutes() {
        let wanted = Probes {
            silent: Duration::from_secs(30),
            interval: Duration::from_secs(9),
            count: 8,
            unanswered: Duration::from_millis(106_125),
        };
        assert_eq!(probes(30_000, 120_000), wanted);
    }

    #[test]
    fn the_last_question_is_late_enough_and_within_the_time() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let idle_ms_max = rng.u64(8_000..=86_400_000);
            let ping_interval_ms = rng.u64(10..idle_ms_max);
            let probes = probes(ping_interval_ms, idle_ms_max);
            let (silent, interval) = (probes.silent.as_millis(), probes.interval.as_millis());
            let unanswered = probes.unanswered.as_millis();
            let mut asked = silent + silent / 8;
            while asked < unanswered {
                asked += interval + interval / 8;
            }
            assert!(
                asked <= u128::from(idle_ms_max) + 2,
                "{probes:?} {idle_ms_max}"
            );
            assert!(silent + interval <= unanswered, "{probes:?} {idle_ms_max}");
        }
    }

    #[test]
    fn times_below_a_second_are_as_short_as_tcp_knows_them() {
        let one = Duration::from_secs(1);
        for (ping_interval_ms, idle_ms_max) in [(10, 20), (999, 2_000), (1_000, 3_000)] {
            let probes = probes(ping_interval_ms, idle_ms_max);
            assert_eq!((probes.silent, probes.interval), (one, one));
            assert!(probes.unanswered >= one && probes.count >= 1);
        }
    }
}
