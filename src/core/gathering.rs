//! Gathering: while many come, a core lets them gather for a moment instead of being woken by each.
//!
//! To be woken costs a core a switch, and who wakes it an interrupt to another processor, which
//! is much of what it takes to connect where clients are on the same machine.

use std::thread::sleep;
use std::time::Duration;

use super::reactor::Reactor;
use crate::ring::Ring;

/// So much of newcomers in one turn is much.
const STIRS_MANY: usize = 4;
/// How long they gather. Whatever else would wake the core waits for it as well.
const MOMENT: Duration = Duration::from_micros(200);

impl<R: Ring> Reactor<R> {
    /// Lets newcomers gather before the core looks again, if there were many in the last turn.
    /// False if there were not.
    pub(super) fn gather(&mut self) -> bool {
        let gathers = self.has_many_newcomers() && !self.state.frozen;
        if gathers {
            self.ring.mute(true);
            sleep(MOMENT);
        }
        gathers
    }

    /// Many have come in the last turn, or have sent their request.
    pub fn has_many_newcomers(&self) -> bool {
        self.state.newcomers.stirs >= STIRS_MANY
    }
}
