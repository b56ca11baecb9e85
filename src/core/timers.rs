//! The clocks of connections: each has a few named timers. They run on the core's patience, not on
//! the machine's clock: while a process stands still, or its core is busy elsewhere, nobody can
//! be heard, and nobody is blamed for it.
//!
//! Only those are looked at of which something is awaited (`watched`), or whose time has come
//! (`calendar`): who is silent costs nothing until then.

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
/// Of those who are watched up to so many are looked at with each tick; of more, so many
/// and at least a fourth.
const LOOKS_MIN: usize = 4096;
const WALK_TICKS: usize = 4;
/// The same of topics that have readers here, where a look is for memory alone.
const FEEDS_LOOKS_MIN: u32 = 256;
const FEEDS_WALK_TICKS: u32 = 32;
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
    /// The message, or record, that it has begun takes too long.
    Message,
    /// It has been silent so long that it is asked whether it lives.
    Ping,
}

/// The times by which timers go, and how long they run.
struct Clock<'a> {
    patience_ms: u64,
    unix_s: u64,
    settings: &'a Settings,
}

impl Clock<'_> {
    fn since(&self, then: u32) -> u64 {
        u64::from((self.patience_ms as u32).wrapping_sub(then))
    }

    /// The first timer of a connection that is due.
    fn due(&self, slot: u32, conn: &Conn) -> Option<Timer> {
        let settings = self.settings;
        let deadline_ms = conn.extra.as_ref().and_then(|extra| extra.deadline_ms);
        if deadline_ms.is_some_and(|deadline_ms| deadline_ms <= self.patience_ms) {
            return Some(Timer::Deadline);
        }
        if conn.phase != Phase::Open {
            return None;
        }
        if self.ms_to_expiry(conn) == Some(0) {
            return Some(Timer::Expired);
        }
        let is_pinged = conn.is_pinged();
        let is_awaited = conn.flags.any(Flags::AWAITING);
        if is_awaited && self.since(conn.stalled_ms) >= settings.stall_ms_max {
            Some(Timer::Stall)
        } else if is_pinged && self.ms_to_idle(conn) == Some(0) {
            Some(Timer::Idle)
        } else if conn.is_in_message() && self.since(conn.begun_ms) >= settings.message_ms_max {
            Some(Timer::Message)
        } else if is_pinged && self.ms_to_ping(slot, conn) == 0 {
            Some(Timer::Ping)
        } else {
            None
        }
    }

    /// How long nothing can be due of a connection that is not watched; none where nothing ever
    /// will be.
    fn ms_to_look(&self, slot: u32, conn: &Conn) -> Option<u64> {
        if conn.phase != Phase::Open {
            return None;
        }
        let ping = conn.is_pinged().then(|| self.ms_to_ping(slot, conn));
        let idle = conn.is_pinged().then(|| self.ms_to_idle(conn)).flatten();
        let expiry = self.ms_to_expiry(conn);
        let first = [ping, idle, expiry].into_iter().flatten().min();
        // Not further: somebody else may have the slot by then, and is looked at no sooner.
        first.map(|first| first.min(self.settings.ping_ms()))
    }

    fn ms_to_ping(&self, slot: u32, conn: &Conn) -> u64 {
        let ping_ms = self.settings.ping_ms();
        let early_ms = share_of(ping_ms / PING_SPREAD, u64::from(slot));
        let at_ms = ping_ms * (u64::from(conn.pings) + 1) - early_ms;
        at_ms.saturating_sub(self.since(conn.heard_ms))
    }

    /// None while it has not been asked.
    fn ms_to_idle(&self, conn: &Conn) -> Option<u64> {
        let left_ms = (self.settings.idle_ms_max).saturating_sub(self.since(conn.heard_ms));
        (conn.pings > 0).then_some(left_ms)
    }

    /// It expires before whoever had its slot before would have been looked at, for which it may
    /// have to wait.
    fn expires_soon(&self, conn: &Conn) -> bool {
        let left_ms = self.ms_to_expiry(conn);
        conn.phase == Phase::Open && left_ms.is_some_and(|ms| ms <= self.settings.ping_ms())
    }

    /// Sessions have a time of their own for that, in which they may refresh.
    fn ms_to_expiry(&self, conn: &Conn) -> Option<u64> {
        if conn.dialect.has_sessions() {
            return None;
        }
        let expires_s = conn.rights()?.connection_expires_s()?;
        let left_s = expires_s
            .saturating_add(LEEWAY_S)
            .saturating_sub(self.unix_s);
        Some(left_s.saturating_mul(1000))
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
        self.look_at_intervals();
        let hub = self.hub.clone();
        let clock = Clock {
            patience_ms: self.patience_ms,
            unix_s: hub.unix_s(),
            settings: hub.settings(),
        };
        let (mut due, mut expiring) = (Vec::new(), Vec::new());
        let tells_slowest = hub.slowest().is_watched(self.now_ms);
        for _ in 0..self.watched.len().div_ceil(WALK_TICKS).max(LOOKS_MIN) {
            let Some(slot) = self.watched.here() else {
                break;
            };
            let Some(conn) = self.conns.get(slot) else {
                self.watched.dismiss();
                continue;
            };
            let timer = clock.due(slot, conn);
            let stays = conn.is_to_be_watched() || clock.expires_soon(conn);
            if conn.flags.any(Flags::EXPIRES) {
                expiring.push(slot);
            }
            if conn.flags.any(Flags::AWAITING) {
                let behind = self.behind_bytes(slot);
                self.furthest = self.furthest.max(behind);
                self.slow_walk.note(slot, behind, tells_slowest);
            }
            match stays {
                true => self.watched.pass(),
                false => self.watched.dismiss(),
            }
            match timer {
                Some(timer) => due.push((slot, timer)),
                None => self.put_off(slot, &clock),
            }
        }
        if self.watched.here().is_none() {
            self.watched.begin_again();
            self.end_walk();
        }
        for slot in self.calendar.take_due(self.patience_ms) {
            let conn = self.conns.get(slot);
            match conn.and_then(|conn| clock.due(slot, conn)) {
                // It is seen to where it is watched.
                Some(_) if self.watched.has(slot) => {}
                Some(timer) => due.push((slot, timer)),
                None => self.put_off(slot, &clock),
            }
        }
        // Who was watched no longer may have stood there as well.
        due.sort_unstable_by_key(|(slot, _)| *slot);
        due.dedup_by_key(|(slot, _)| *slot);
        self.close_stale();
        for slot in expiring {
            self.end_expired(slot);
        }
        for (slot, timer) in &due {
            self.act_on(*slot, *timer);
        }
        for (slot, _) in due {
            self.put_off(slot, &clock);
        }
    }

    fn act_on(&mut self, slot: u32, timer: Timer) {
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

    /// Something of a connection is awaited that has a time limit, or it is new: it is looked at
    /// from now on.
    #[inline]
    pub(super) fn watch(&mut self, slot: u32) {
        self.watched.add(slot);
    }

    /// Looks at a connection again when something can be due of it. Who is watched is put off
    /// once that is over.
    fn put_off(&mut self, slot: u32, clock: &Clock<'_>) {
        if self.watched.has(slot) {
            return;
        }
        let conn = self.conns.get(slot);
        if let Some(ms) = conn.and_then(|conn| clock.ms_to_look(slot, conn)) {
            self.calendar.put_down(slot, clock.patience_ms + ms);
        }
    }

    /// Where intervals have changed, everybody's time comes another time.
    fn look_at_intervals(&mut self) {
        let settings = self.hub.settings();
        let intervals = (settings.ping_ms(), settings.idle_ms_max);
        if self.intervals != intervals {
            self.intervals = intervals;
            self.calendar.begin_anew(self.patience_ms, intervals.0);
            let all = self.conns.iter().map(|(slot, _)| slot);
            all.for_each(|slot| self.watched.add(slot));
        }
    }

    /// The walk over those who are watched is at its end: it is told what it has found.
    fn end_walk(&mut self) {
        let furthest = std::mem::take(&mut self.furthest);
        self.metrics().lag_bytes.set(furthest);
        let walk = std::mem::take(&mut self.slow_walk);
        self.tell_slowest(walk);
    }

    /// Lets go of what only waits for a look.
    fn let_go(&mut self) {
        let State {
            feeds,
            conns,
            subs,
            feeds_walk,
            ..
        } = self;
        let end = feeds.numbers_end();
        for _ in 0..end.div_ceil(FEEDS_WALK_TICKS).max(FEEDS_LOOKS_MIN).min(end) {
            let number = *feeds_walk % end;
            *feeds_walk = number + 1;
            if let Some(feed) = feeds.get_mut(number)
                && feed.next == 0
            {
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
