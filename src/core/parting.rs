//! How connections end: by their own close, by a fault, by falling behind, by
//! silence, or because the daemon stops.

use super::conn::{Finish, Flags, LANE_BYTES_MAX, NO_PLACE, Phase};
use super::reactor::{Reactor, State, note_end};
use super::thread::TICK;
use crate::config::LagPolicy;
use crate::protocol::reason::CloseReason;
use crate::protocol::ws::Opcode;
use crate::protocol::ws::close;
use crate::protocol::ws::frame;
use crate::ring::{Errno, Ring};

/// Goodbyes of one core at a time that are not worth spreading further: some
/// thousand in a second are nobody's burden when they come back.
const GOODBYES_MIN: usize = 256;
/// How long a peer may take to part once it has been asked to.
const PARTING_MS_MAX: u64 = 2000;

impl<R: Ring> Reactor<R> {
    /// Looks at every connection's clock. To be called a few times a second.
    pub fn tick(&mut self) {
        self.ring.tidy();
        self.state.tick();
    }

    /// Says goodbye to everyone: each is sent what is published by now, then
    /// the close, for as long as `drain_ms_max`.
    ///
    /// So that they do not all come back at once, goodbyes are spread over
    /// `spread_ms`: this is to be called with every tick, with what is left of
    /// that time and of `drain_ms_max`. With 0 left it is for all who remain.
    pub fn drain(&mut self, spread_ms: u64, patience_ms: u64) {
        self.state.drain(spread_ms, patience_ms);
    }
}

impl State {
    /// Ends a connection for `reason` once it has been sent the log up to
    /// `position`; 0 is at once, at the end of the frame under way.
    pub(super) fn finish(&mut self, slot: u32, position: u64, reason: CloseReason) {
        self.finish_with(slot, position, reason, reason.code(), PARTING_MS_MAX);
    }

    /// Ends a connection for `reason` once it has been sent all that is
    /// published by now.
    pub(super) fn finish_after_owed(&mut self, slot: u32, reason: CloseReason) {
        let conn = self.conns.at(slot);
        if conn.phase == Phase::Open {
            let position = self.locals.at(conn.topic).window.advance();
            self.finish(slot, position, reason);
        }
    }

    fn finish_with(
        &mut self,
        slot: u32,
        position: u64,
        reason: CloseReason,
        code: u16,
        patience_ms: u64,
    ) {
        if self.conns.at(slot).phase != Phase::Open {
            return;
        }
        self.part(slot, reason);
        let deadline_ms = self.now_ms + patience_ms;
        let conn = self.conns.at(slot);
        conn.phase = Phase::Finishing;
        let extra = conn.extra();
        extra.deadline_ms = Some(deadline_ms);
        extra.finish = Some(Finish {
            position,
            reason,
            code,
        });
        self.mark(slot);
    }

    /// Counts the end of an open connection, and tells a chat of it.
    fn part(&mut self, slot: u32, reason: CloseReason) {
        note_end(self.conns.at(slot).peer.address(), reason);
        self.metrics().note_close(reason);
        if self.conns.at(slot).flags.any(Flags::CHAT) {
            self.conns.at(slot).flags.clear(Flags::CHAT);
            self.logout(slot);
        }
    }

    /// The peer's close frame has come; `code` 0 is none.
    pub(super) fn handle_close(&mut self, slot: u32, code: u16) {
        let conn = self.conns.at(slot);
        conn.flags.set(Flags::PEER_CLOSED);
        // The same code back (RFC 6455 section 5.5.1).
        self.finish_with(slot, 0, CloseReason::Peer, code, PARTING_MS_MAX);
        self.mark(slot);
    }

    /// The peer will send no more, or has failed.
    pub(super) fn handle_end(&mut self, slot: u32, error: Option<Errno>) {
        let conn = self.conns.at(slot);
        if error == Some(Errno::ECANCELED) {
            // It was called off; the next look asks again.
            return self.mark(slot);
        }
        if let Some(pause) = conn.pause() {
            // What it said before is still to be heard.
            pause.ended = Some(error);
            return;
        }
        conn.flags.set(Flags::ENDED);
        match (conn.phase, error) {
            // It may still read what it is owed, and the close.
            (Phase::Finishing | Phase::Closing, None) => self.mark(slot),
            (_, None) => self.abort(slot, CloseReason::Gone),
            (_, Some(_)) => self.abort(slot, CloseReason::Reset),
        }
    }

    /// All that was owed is sent: the close frame goes into the lane, and the
    /// connection leaves its topic.
    pub(super) fn begin_closing(&mut self, slot: u32) {
        let retry_ms = self.retry_ms(slot);
        let conn = self.conns.at(slot);
        let extra = conn.extra();
        let finish = extra.finish.take().expect("only who finishes closes");
        let mut frame = [0; close::FRAME_BYTES_MAX];
        let len = match finish.code {
            0 => frame::encode_control(&mut frame, Opcode::Close, &[]),
            code if finish.reason == CloseReason::Peer => close::encode(&mut frame, code, ""),
            code if finish.reason == CloseReason::Drain => {
                let phrase = finish.reason.phrase();
                let hint = format!("{phrase}, retry in {retry_ms} ms");
                close::encode(&mut frame, code, &hint)
            }
            code => close::encode(&mut frame, code, &finish.reason.phrase()),
        };
        extra.lane.extend_from_slice(&frame[..len]);
        conn.phase = Phase::Closing;
        self.leave_topic(slot);
    }

    /// When the peer in a slot should come back after the daemon has stopped: no
    /// two of them at the same time, as far as that can be.
    fn retry_ms(&self, slot: u32) -> u64 {
        /// 2^64 over the golden ratio: its multiples spread evenly.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let cores = self.hub.mailboxes().len() as u64;
        let number = u64::from(slot) * cores + self.core as u64;
        let spread = u128::from(self.hub.retry_spread_ms());
        let part = (u128::from(number.wrapping_mul(STEP)) * spread) >> 64;
        self.hub.settings().retry_after_s * 1000 + part as u64
    }

    /// Ends an open connection without a word, as nobody would hear it.
    pub(super) fn abort(&mut self, slot: u32, reason: CloseReason) {
        if self.conns.at(slot).phase == Phase::Open {
            self.part(slot, reason);
        }
        self.end(slot);
    }

    /// Lets go of a connection; its slot is emptied when the ring is done.
    pub(super) fn end(&mut self, slot: u32) {
        // Also where it is ending already: this may have been the last answer
        // that its slot waited for.
        self.mark(slot);
        let conn = self.conns.at(slot);
        if conn.phase == Phase::Ending {
            return;
        }
        conn.phase = Phase::Ending;
        let unread = conn.pause().map_or(0, |pause| pause.unread.len());
        conn.extra = None;
        conn.flags.clear(Flags::SPECIAL);
        let held = std::mem::take(&mut conn.reader).buffered_bytes();
        self.hub.account_partial(held + unread, 0);
        self.leave_topic(slot);
    }

    fn leave_topic(&mut self, slot: u32) {
        let conn = self.conns.at(slot);
        if conn.place == NO_PLACE {
            return;
        }
        if conn.window_bits > 0 {
            let topic = self.locals.at(conn.topic).topic.clone();
            let bits = conn.window_bits;
            self.leave(slot);
            // The view may go with its last reader, so it comes second.
            topic.remove_inflating_reader(bits);
        } else {
            self.leave(slot);
        }
    }

    /// Takes a connection from the subscribers of the view it reads.
    pub(super) fn leave(&mut self, slot: u32) {
        if let Some(moved) = self.locals.leave(self.core, &mut self.conns, slot) {
            self.mark(moved);
        }
    }

    /// Deals with the subscribers that fan-out found too far behind.
    pub(super) fn settle_lagging(&mut self) {
        let mut lagging = std::mem::take(&mut self.lagging);
        for slot in lagging.drain(..) {
            // Two passes may have found the same one, and it lags no more.
            let conn = self.conns.at(slot);
            if conn.place != NO_PLACE {
                let end = self.locals.at(conn.topic).window.end();
                if end.saturating_sub(conn.cursor) > self.hub.settings().lag_bytes_max as u64 {
                    self.cut_loose(slot);
                }
            }
        }
        self.lagging = lagging;
    }

    /// Frees a subscriber from the part of the log that it has not read: what
    /// is left of a frame it has begun is copied to its lane, so that no
    /// reader, however many there are, keeps old segments.
    fn cut_loose(&mut self, slot: u32) {
        let conn = self.conns.at(slot);
        let local = self.locals.at(conn.topic);
        let (cursor, end) = (conn.cursor, local.window.end());
        let (boundary, missed_from) = local.window.boundary(cursor);
        if boundary >= end {
            // It is in the newest message and has missed nothing, long as
            // that may be.
            return;
        }
        let rest = if conn.flags.any(Flags::MID_FRAME) {
            local.window.slice(cursor, boundary)
        } else {
            local.window.slice(cursor, cursor)
        };
        let missed_to = local.window.messages_before(end);
        let skips = self.hub.settings().lag_policy == LagPolicy::Skip;
        let epoch = local.topic.epoch();
        let lane_len = conn.extra.as_ref().map_or(0, |extra| extra.lane.len());
        let pinned = conn.unreleased > 0;
        if pinned || rest.len as usize + lane_len > LANE_BYTES_MAX {
            // Keeping the rest would break the promise that a slow reader
            // costs nothing. Neither may it keep what it was sent without a
            // copy and does not take: the log cannot let go of that segment,
            // nor of any behind it, and would be full for its publishers.
            return self.abort(slot, CloseReason::Lag);
        }
        let rest = rest.as_bytes().to_vec();
        let extra = conn.extra();
        extra.lane.splice(0..0, rest);
        // Own messages may lie behind what the window has seen so far: it is to
        // hear those no more than any.
        extra.own.retain(|own| own.end > end);
        conn.flags.clear(Flags::MID_FRAME);
        if skips && conn.phase == Phase::Open {
            conn.cursor = end;
            let missed = missed_to + 1 - missed_from;
            let notice = format!(
                "{{\"gap\":{{\"epoch\":\"{epoch:016x}\",\"from\":{missed_from},\
                 \"to\":{missed_to},\"missed\":{missed}}}}}"
            );
            let mut header = [0; 10];
            let len = frame::encode(&mut header, Opcode::Text, false, notice.len());
            let lane = &mut conn.extra().lane;
            lane.extend_from_slice(&header[..len]);
            lane.extend_from_slice(notice.as_bytes());
            self.metrics().lag_skips.add(1);
            self.metrics().lag_missed.add(missed);
            return;
        }
        self.finish(slot, 0, CloseReason::Lag);
        self.begin_closing(slot);
    }

    fn tick(&mut self) {
        self.now_ms = self.hub.now_ms();
        let settings = self.hub.settings();
        let (idle_ms_max, ping_ms) = (settings.idle_ms_max, settings.ping_interval_ms);
        let message_ms_max = settings.message_ms_max;
        let mut due = Vec::new();
        let mut furthest = 0;
        for (slot, conn) in self.conns.iter() {
            let silent_ms = u64::from((self.now_ms as u32).wrapping_sub(conn.heard_ms));
            let deadline_ms = conn.extra.as_ref().and_then(|extra| extra.deadline_ms);
            if deadline_ms.is_some_and(|deadline| deadline <= self.now_ms) {
                due.push((slot, Due::Deadline));
            } else if conn.phase != Phase::Open {
            } else if silent_ms >= idle_ms_max {
                due.push((slot, Due::Idle));
            } else if !conn.reader.is_between()
                && u64::from((self.now_ms as u32).wrapping_sub(conn.begun_ms)) >= message_ms_max
            {
                due.push((slot, Due::Message));
            } else if silent_ms >= ping_ms * (u64::from(conn.pings) + 1) {
                due.push((slot, Due::Ping));
            }
            if conn.flags.any(Flags::AWAITING) && conn.place != NO_PLACE {
                let end = self.locals.at(conn.topic).window.end();
                furthest = furthest.max(end.saturating_sub(conn.cursor));
            }
        }
        self.metrics().lag_bytes.set(furthest);
        for (slot, due) in due {
            match due {
                Due::Deadline => self.end(slot),
                Due::Idle => self.finish(slot, 0, CloseReason::Idle),
                Due::Message => self.stop_reading(slot, CloseReason::SlowMessage),
                Due::Ping => {
                    let conn = self.conns.at(slot);
                    conn.pings = conn.pings.saturating_add(1);
                    self.metrics().pings.add(1);
                    if let Err(reason) = self.push_control(slot, Opcode::Ping, &[]) {
                        self.finish(slot, 0, reason);
                    }
                }
            }
        }
        for local in self.locals.iter_mut() {
            if local.next == 0 {
                // The log of a topic that has gone quiet ends in a smaller
                // segment; without this look the old one would stay.
                local.window.advance();
                local.release(&mut self.conns);
            }
        }
    }

    fn drain(&mut self, spread_ms: u64, patience_ms: u64) {
        self.now_ms = self.hub.now_ms();
        let open =
            |(slot, conn): (u32, &super::conn::Conn)| (conn.phase == Phase::Open).then_some(slot);
        let everyone: Vec<u32> = self.conns.iter().filter_map(open).collect();
        let ticks = 1 + spread_ms / TICK.as_millis() as u64;
        let share = everyone.len().div_ceil(ticks as usize).max(GOODBYES_MIN);
        for slot in everyone.into_iter().take(share) {
            // No Logout for each: the room itself is closing.
            let conn = self.conns.at(slot);
            conn.flags.clear(Flags::CHAT);
            let position = self.locals.at(conn.topic).window.advance();
            let (reason, code) = (CloseReason::Drain, CloseReason::Drain.code());
            self.finish_with(slot, position, reason, code, patience_ms);
        }
    }
}

/// What a connection's clock asks for.
enum Due {
    Deadline,
    Idle,
    /// The message that it has begun takes too long.
    Message,
    Ping,
}
