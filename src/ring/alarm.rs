//! A clock that wakes a core's thread at a moment: the runtime's own timers tell no less than a
//! millisecond apart.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::wake::Wake;

/// A timer that an async task waits for.
pub struct Alarm {
    timer: TimerFd,
    rung: Wake,
}

impl Alarm {
    /// One that is not set, in the runtime of the calling thread.
    ///
    /// # Errors
    /// Those of `timerfd_create`, and as [`Wake::watch`].
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let rung = Wake::watch(timer.as_fd())?;
        Ok(Alarm { timer, rung })
    }

    /// Has it ring once, after `delay`, and not when it was to before.
    ///
    /// # Errors
    /// Those of `timerfd_settime`, of which none is expected.
    pub fn set(&self, delay: Duration) -> io::Result<()> {
        // No time at all would be never.
        let delay = delay.max(Duration::from_nanos(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(delay));
        self.timer.set(expiration, TimerSetTimeFlags::empty())?;
        Ok(())
    }

    /// Waits until it has rung since the last wait. As with an eventfd, each time is an edge for
    /// epoll, and the count is never read.
    ///
    /// # Errors
    /// As [`Wake::wait`].
    pub async fn wait(&self) -> io::Result<()> {
        self.rung.wait().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rings_each_time_that_it_is_set_and_not_before() {
        tokio_uring::start(async {
            let alarm = Alarm::new().unwrap();
            for delay_us in [0, 500, 2000] {
                let delay = Duration::from_micros(delay_us);
                let began = std::time::Instant::now();
                alarm.set(delay).unwrap();
                alarm.wait().await.unwrap();
                assert!(began.elapsed() >= delay);
            }
            // Set anew it rings for the later time alone.
            alarm.set(Duration::from_millis(1)).unwrap();
            alarm.set(Duration::from_secs(3600)).unwrap();
            let soon = tokio::time::sleep(Duration::from_millis(20));
            tokio::select! {
                rung = alarm.wait() => panic!("{rung:?}"),
                () = soon => {}
            }
        });
    }
}
