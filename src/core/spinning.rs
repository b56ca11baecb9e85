//! Spinning: with `spin_us` a core that has had something to do looks out for more for that long
//! before its thread sleeps. What comes then waits neither for the kernel to wake the thread nor
//! for a processor to come out of its sleep; the price is the processor.

use std::hint::spin_loop;
use std::io;
use std::time::{Duration, Instant};

use super::reactor::Reactor;
use crate::ring::Ring;

/// How long a core looks out at a time. Then the acceptor is let in, which is on the same thread.
const SLICE: Duration = Duration::from_micros(50);

impl<R: Ring> Reactor<R> {
    /// Takes a turn, and where `spin_us` says so looks out for what comes next and takes further
    /// ones; else it lets a crowd of newcomers gather. True if it is to be called again at once; the
    /// acceptor is to be let in before.
    ///
    /// # Errors
    /// Those of [`Reactor::turn`].
    pub fn turn_and_spin(&mut self) -> io::Result<bool> {
        let more = self.turn()?;
        let spin = Duration::from_micros(self.state.hub.settings().spin_us);
        if more || spin.is_zero() || self.state.frozen {
            return Ok(more || self.gather());
        }
        let end = Instant::now() + SLICE;
        while self.active_at.elapsed() < spin {
            let came = self.look_out(end);
            if came && self.turn()? || Instant::now() >= end {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks out, without a call of the kernel, until something is to be done or the time has come.
    /// True if something is.
    fn look_out(&mut self, end: Instant) -> bool {
        let began = Instant::now();
        // Nobody is to be woken while it looks.
        self.ring.mute(true);
        let came = loop {
            if self.is_wanted() {
                break true;
            }
            if Instant::now() >= end {
                break false;
            }
            spin_loop();
        };
        let waiting = self.ring.mute(false);
        let spun_us = began.elapsed().as_micros() as u64;
        self.metrics().spin_us.add(spun_us);
        came || waiting
    }

    /// A turn would find something to do.
    fn is_wanted(&mut self) -> bool {
        let state = &self.state;
        let rested = || {
            let until_us = state.resting.first_us();
            until_us.is_some_and(|until_us| until_us <= state.hub.now_us())
        };
        self.ring.is_due() || state.hub.mailbox(state.core).is_told() || rested()
    }
}
