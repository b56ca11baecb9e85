//! The clocks of connections: each has a few named timers, which are looked at
//! some times a second. They run on the core's patience, not on the machine's
//! clock: while a process stands still, or its core is busy elsewhere, nobody can
//! be heard, and nobody is blamed for it.

use super::closing::How;
use super::conn::{Conn, Flags, Phase};
use super::reactor::{Reactor, State};
use super::time::{TICK, share_of};
use crate::config::Settings;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::{LEEWAY_S, TokenFault};
use crate::ring::Ring;

/// What is longer between two looks at the clock is a gap that everyone is granted.
const GAP_MS_MAX: u64 = 4 * TICK.as_millis() as u64;
/// Up to so many connections are all looked at with each tick; of more, so many
/// and at least a fourth.
const LOOKS_MIN: usize = 4096;
const WALK_TICKS: usize = 4;
/// Pings are brought forward by up to this part of their interval, each
/// connection's by another one, so that those of a storm do not stay in phase.
const PING_SPREAD: u64 = 8;

/// What a connection's time can be up for, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// A closing peer takes too long to part.
    Deadline,
    /// Its token has expired.
    Expired,
    /// Its socket has taken nothing for too long.
    Stall,
    /// It has not answered a ping.
    Idle,
    /// The message that it has begun takes too long.
    Message,
    /// It has been silent so long that it is asked whether it lives.
    Ping,
}

impl Timer {
    /// The first timer of a connection that is due at `now_ms`.
    fn due(slot: u32, conn: &Conn, now_ms: u64, unix_s: u64, settings: &Settings) -> Option<Timer> {
        let since = |then: u32| u64::from((now_ms as u32).wrapping_sub(then));
        let deadline_ms = conn.extra.as_ref().and_then(|extra| extra.deadline_ms);
        if deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) {
            return Some(Timer::Deadline);
        }
        if conn.phase != Phase::Open {
            return None;
        }
        // Sessions have a time of their own for that, in which they may refresh.
        let expires_s = match conn.dialect.has_sessions() {
            false => conn.rights().and_then(|r| r.connection_expires_s()),
            true => None,
        };
        if expires_s.is_some_and(|expires_s| expires_s.saturating_add(LEEWAY_S) <= unix_s) {
            return Some(Timer::Expired);
        }
        let (silent_ms, idle_ms_max) = (since(conn.heard_ms), settings.idle_ms_max);
        let ping_ms = settings.ping_ms();
        let early_ms = share_of(ping_ms / PING_SPREAD, u64::from(slot));
        let asked = conn.pings > 0;
        if conn.flags.any(Flags::AWAITING) && since(conn.stalled_ms) >= settings.stall_ms_max {
            Some(Timer::Stall)
        } else if asked && silent_ms >= idle_ms_max {
            Some(Timer::Idle)
        } else if !conn.reader.is_between() && since(conn.begun_ms) >= settings.message_ms_max {
            Some(Timer::Message)
        } else if silent_ms + early_ms >= ping_ms * (u64::from(conn.pings) + 1) {
            Some(Timer::Ping)
        } else {
            None
        }
    }
}

impl<R: Ring> Reactor<R> {
    /// Looks at connections' timers. To be called with every tick.
    pub fn tick(&mut self) {
        self.ring.tidy();
        self.state.tick();
        self.look_at_newcomers();
    }
}

impl State {
    fn tick(&mut self) {
        self.look_at_clock();
        self.look_at_rights();
        self.handle_timers();
        self.tell_places();
        self.tell_kept();
        self.look_at_paces();
        self.let_go();
    }

    /// Takes note of the time. Of a gap since the last look only a part counts
    /// as patience.
    #[inline]
    pub(super) fn look_at_clock(&mut self) {
        let now_ms = self.hub.now_ms();
        let passed_ms = now_ms.saturating_sub(self.now_ms);
        self.patience_ms += passed_ms.min(GAP_MS_MAX);
        self.now_ms = now_ms;
    }

    fn handle_timers(&mut self) {
        let settings = self.hub.settings();
        let now_ms = self.patience_ms;
        let unix_s = self.hub.unix_s();
        let (mut due, mut expiring) = (Vec::new(), Vec::new());
        let slots = self.conns.slots();
        let is_watched = self.hub.slowest().is_watched(self.now_ms);
        let share = slots.div_ceil(WALK_TICKS).max(LOOKS_MIN).min(slots);
        for _ in 0..share {
            let slot = self.walk;
            self.walk = (slot + 1) % slots as u32;
            if let Some(conn) = self.conns.get_mut(slot) {
                if let Some(timer) = Timer::due(slot, conn, now_ms, unix_s, settings) {
                    due.push((slot, timer));
                }
                if conn.flags.any(Flags::EXPIRES) {
                    expiring.push(slot);
                }
                if conn.flags.any(Flags::AWAITING) {
                    let behind = self.behind_bytes(slot);
                    self.furthest = self.furthest.max(behind);
                    self.slow_walk.note(slot, behind, is_watched);
                }
            }
            if self.walk == 0 {
                let furthest = std::mem::take(&mut self.furthest);
                self.metrics().lag_bytes.set(furthest);
                let walk = std::mem::take(&mut self.slow_walk);
                self.tell_slowest(walk);
            }
        }
        self.close_stale();
        for slot in expiring {
            self.end_expired(slot);
        }
        for (slot, timer) in due {
            match timer {
                Timer::Deadline => self.shut_down(slot),
                Timer::Expired => self.close(
                    slot,
                    CloseReason::Token(TokenFault::Expired),
                    How::NextBoundary,
                ),
                Timer::Stall => self.cut_stalled(slot),
                Timer::Idle => self.close(slot, CloseReason::Idle, How::NextBoundary),
                Timer::Message => self.stop_reading(slot, CloseReason::SlowMessage),
                Timer::Ping => self.ask(slot),
            }
        }
    }

    /// Lets go of what only waits for a look.
    fn let_go(&mut self) {
        let State {
            feeds, conns, subs, ..
        } = self;
        for feed in feeds.iter_mut() {
            if feed.next == 0 {
                // The log of a topic that has gone quiet ends in a smaller
                // segment; without this look the old one would stay.
                feed.window.advance();
                feed.release(|id| match id.slot() {
                    Some(slot) => conns.look_at(slot).sub.cursor,
                    None => subs.get(id).cursor,
                });
            }
        }
        self.look_at_marks();
    }
}
