//! From when on a core's connections are kept alive by the kernel, see `keepalive`.

use super::keepalive::KeptAlive;
use super::reactor::{Reactor, State};
use crate::ring::Ring;

/// How long a connection may wait in a listener's queue before it is accepted. Longer ones are
/// those of a core that is badly overloaded at the moment of a reload.
const QUEUE_MS_MAX: u64 = 1000;

impl<R: Ring> Reactor<R> {
    /// The kernel keeps alive who comes; not only from now on where `always` is set.
    pub fn have_kernel_keep_alive(&mut self, always: bool) {
        let state = &mut self.state;
        state.look_at_clock();
        if state.kept_alive == KeptAlive::Never {
            let wait_ms = match always {
                true => 0,
                false => QUEUE_MS_MAX,
            };
            state.kept_alive = KeptAlive::From(state.now_ms + wait_ms);
        }
    }

    /// Whether the kernel keeps alive who is accepted now.
    pub(super) fn is_kept_alive_by_kernel(&self) -> bool {
        self.state.is_kept_alive_by_kernel()
    }

    /// Who comes from now on is pinged.
    pub fn have_pings_keep_alive(&mut self) {
        self.state.kept_alive = KeptAlive::Never;
    }
}

impl State {
    /// Who is accepted now is kept alive by the kernel.
    pub(super) fn is_kept_alive_by_kernel(&self) -> bool {
        match self.kept_alive {
            KeptAlive::Never => false,
            KeptAlive::From(ms) => ms <= self.now_ms,
        }
    }
}
