//! What the ring tells: every completion is noted as a fact about its slot, to be acted on later
//! in the same round.

use super::conn::Flags;
use super::reactor::Reactor;
use crate::ring::{Completion, Event, Ring};

impl<R: Ring> Reactor<R> {
    pub(super) fn handle_completions(&mut self) {
        let completions = std::mem::take(&mut self.completions);
        for completion in &completions {
            self.handle(*completion);
        }
        self.completions = completions;
        self.completions.clear();
    }

    #[inline]
    fn handle(&mut self, Completion { slot, event }: Completion) {
        if let Event::Sent { result, held } = event {
            return self.handle_sent(slot, result, held);
        }
        if !self.state.conns.holds(slot) {
            return self.handle_newcomer(slot, event);
        }
        let state = &mut self.state;
        match event {
            Event::Sent { .. } => unreachable!("dealt with above"),
            Event::Accepted { .. } => unreachable!("nobody comes into a slot that is taken"),
            Event::Received { buffer, len, armed } => {
                if !armed {
                    state.conns.at(slot).flags.clear(Flags::RECEIVING);
                    state.mark(slot);
                }
                self.handle_received(slot, buffer, len);
                self.ring.give_back(buffer);
            }
            Event::NoBuffers => {
                state.metrics().buffers_exhausted.add(1);
                state.conns.at(slot).flags.clear(Flags::RECEIVING);
                state.mark(slot);
            }
            Event::Ended(error) => {
                state.conns.at(slot).flags.clear(Flags::RECEIVING);
                if error.is_none() {
                    state.note_truncation(slot);
                }
                state.handle_end(slot, error);
            }
            Event::Released { copied } => {
                let conn = state.conns.at(slot);
                conn.unreleased -= 1;
                if copied {
                    conn.flags.set(Flags::COPIES);
                    state.metrics().zero_copy_copied.add(1);
                }
                state.mark(slot);
            }
            Event::Writable => {
                let now_ms = state.patience_ms as u32;
                let conn = state.conns.at(slot);
                conn.flags.clear(Flags::AWAITING);
                // It has taken something of what it was sent, so it lives.
                (conn.heard_ms, conn.pings) = (now_ms, 0);
                state.mark(slot);
            }
            Event::ShutDown => {
                state.conns.at(slot).flags.clear(Flags::SHUTTING);
                state.mark(slot);
            }
            Event::Closed => state.vacate(slot),
            Event::Cancelled => {}
            Event::Installed => self.take_plain(),
        }
    }
}
