//! Gathering: while many come, a core lets them gather for a moment instead of being woken by each.
//!
//! To be woken costs a core a switch, and who wakes it an interrupt to another processor, which
//! is much of what it takes to connect where clients are on the same machine.

use std::thread::sleep;
use std::time::Duration;

use super::reactor::Reactor;
use crate::ring::Ring;

/// Arrivals and requests of one turn that are a crowd's.
const CROWD_MIN: usize = 4;
/// How long they gather. Whatever else would wake the core waits for it as well.
const MOMENT: Duration = Duration::from_micros(200);

impl<R: Ring> Reactor<R> {
    /// Lets newcomers gather before the core looks again, if they come in crowds. False if not.
    pub(super) fn gather(&mut self) -> bool {
        let gathers = self.meets_a_crowd() && !self.state.frozen;
        if gathers {
            self.ring.mute(true);
            sleep(MOMENT);
        }
        gathers
    }

    /// A crowd of newcomers has come in the last turn, or has sent its requests.
    pub fn meets_a_crowd(&self) -> bool {
        self.state.newcomers.stirs >= CROWD_MIN
    }
}
