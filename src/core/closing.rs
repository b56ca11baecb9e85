//! How connections end. One door, [`State::close`], leads from [`Phase::Open`]
//! through `Draining`, `Closing` and `ShutDown` to an empty slot; each phase is
//! entered by one function, which asserts where it comes from.

use super::conn::{Drain, Flags, Phase};
use super::reactor::{Reactor, State};
use super::subs::SubId;
use super::time::{TICK, share_of};
use crate::protocol::reason::CloseReason;
use crate::protocol::ws::close;
use crate::protocol::ws::frame;
use crate::protocol::ws::{Fault, Opcode};
use crate::ring::{Errno, Ring};

/// Goodbyes of one core at a time that are not worth spreading further: some
/// thousand in a second are nobody's burden when they come back.
const GOODBYES_MIN: usize = 256;
/// How long a peer may take to part once it has been asked to, counted from the
/// last bytes that came of it. See [`State::await_rest`].
const PARTING_MS_MAX: u64 = 2000;

/// Why a connection ends whose socket has failed.
pub(super) fn why_failed(error: Errno) -> CloseReason {
    match error {
        // The kernel has had no answer from its peer for as long as it waits for one.
        Errno::ETIMEDOUT => CloseReason::Idle,
        _ => CloseReason::Reset,
    }
}

/// What a connection that is to be closed still gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The rest of the frame under way, then the close frame.
    NextBoundary,
    /// All that is published by now, then the close frame.
    Owed,
    /// Its first log up to a position, then the close frame.
    Until(u64),
    /// Nothing, as nobody would hear it.
    AtOnce,
}

impl<R: Ring> Reactor<R> {
    /// Says goodbye to everyone: each is sent what is published by now, then
    /// the close, for as long as `drain_ms_max`.
    ///
    /// So that they do not all come back at once, goodbyes are spread over
    /// `spread_ms`: this is to be called with every tick, with what is left of
    /// that time and of `drain_ms_max`. With 0 left it is for all who remain.
    pub fn drain(&mut self, spread_ms: u64, patience_ms: u64) {
        self.state.say_goodbyes(0, spread_ms, patience_ms);
    }

    /// Says goodbye in the same way to all but `keep` connections.
    pub fn shed(&mut self, keep: usize, patience_ms: u64) {
        self.state.say_goodbyes(keep, 0, patience_ms);
    }
}

impl State {
    /// Ends a connection for `reason`. One that ends already goes on with that,
    /// unless it is to end at once.
    pub(super) fn close(&mut self, slot: u32, reason: CloseReason, how: How) {
        let open = self.conns.at(slot).phase == Phase::Open;
        if how == How::AtOnce {
            if open {
                self.part(slot, reason);
            }
            return self.shut_down(slot);
        }
        if open {
            let code = self.conns.at(slot).dialect.code(reason);
            self.drain(slot, reason, code, how, PARTING_MS_MAX);
        }
    }

    /// Ends an open connection as somebody has asked, who may say with which code and words.
    pub(super) fn disconnect(&mut self, slot: u32, farewell: Option<(u16, Box<str>)>) {
        if self.conns.at(slot).phase != Phase::Open {
            return;
        }
        let reason = CloseReason::Disconnected;
        let (code, words) = match farewell {
            Some((code, words)) => (code, Some(words)),
            None => (self.conns.at(slot).dialect.code(reason), None),
        };
        self.drain(slot, reason, code, How::NextBoundary, PARTING_MS_MAX);
        if let Some(drain) = &mut self.conns.at(slot).extra().drain {
            drain.words = words;
        }
    }

    /// Closes a connection for what it has sent only in part, of which nothing
    /// is kept.
    pub(super) fn stop_reading(&mut self, slot: u32, reason: CloseReason) {
        let reader = &mut self.conns.at(slot).reader;
        let held = reader.buffered_bytes();
        reader.stop();
        self.hub.account_partial(held, 0);
        self.close(slot, reason, How::NextBoundary);
    }

    /// From open to draining.
    fn drain(&mut self, slot: u32, reason: CloseReason, code: u16, how: How, patience_ms: u64) {
        assert_eq!(self.conns.at(slot).phase, Phase::Open);
        self.part(slot, reason);
        let until = match how {
            How::NextBoundary => Vec::new(),
            How::Until(position) => vec![(SubId::first(slot), position)],
            How::Owed => self.owed(slot),
            How::AtOnce => unreachable!("that is no draining"),
        };
        let deadline_ms = self.patience_ms + patience_ms;
        let now_ms = self.patience_ms as u32;
        let conn = self.conns.at(slot);
        conn.phase = Phase::Draining;
        if reason != CloseReason::SlowMessage {
            // From here on it tells since when the rest is awaited. Who was slow
            // has had its time.
            conn.begun_ms = now_ms;
        }
        let extra = conn.attend();
        extra.deadline_ms = Some(deadline_ms);
        extra.drain = Some(Box::new(Drain {
            until,
            reason,
            code,
            words: None,
        }));
        self.watch(slot);
        self.mark(slot);
    }

    /// Up to where each subscription has messages by now.
    fn owed(&mut self, slot: u32) -> Vec<(SubId, u64)> {
        let ids = self.subscriptions(slot);
        let owed = ids
            .into_iter()
            .map(|id| {
                // Its feed may rest, and would not send it on before its time.
                self.make_ready(slot, id);
                let feed = self.look_at_sub(id).feed;
                (id, self.feeds.at(feed).window.advance())
            })
            .collect();
        self.look_at_marks();
        owed
    }

    /// From draining to closing: all that was owed is sent, the close frame goes
    /// into the lane, and the connection leaves its topics.
    pub(super) fn begin_closing(&mut self, slot: u32) {
        assert_eq!(self.conns.at(slot).phase, Phase::Draining);
        let retry_ms = self.retry_ms(slot);
        let id = self.last_id(slot);
        let conn = self.conns.at(slot);
        let dialect = conn.dialect;
        let drain = conn.extra().drain.take();
        let drain = drain.expect("only who drains comes to its close");
        let words = || match &drain.words {
            Some(words) => words.to_string(),
            None => dialect.farewell(drain.reason, retry_ms),
        };
        if dialect.is_event_stream() {
            // Its end is all there is to its close.
            let last = dialect.last_event(&words(), drain.reason, retry_ms, &id);
            conn.attend().lane.push_last(last);
            conn.flags.set(Flags::PEER_CLOSED);
        } else {
            let mut frame = [0; close::FRAME_BYTES_MAX];
            let len = match drain.code {
                0 => frame::encode_control(&mut frame, Opcode::Close, &[]),
                code => close::encode(&mut frame, code, &words()),
            };
            conn.attend().lane.push_last(frame[..len].to_vec());
        }
        conn.phase = Phase::Closing;
        self.streams.forget(slot);
        self.leave_topics(slot);
    }

    /// From any phase to the last: the slot is emptied when the ring is done.
    pub(super) fn shut_down(&mut self, slot: u32) {
        // Also where it has been shut down before: this may have been the last
        // answer that its slot waited for.
        self.mark(slot);
        if self.conns.at(slot).phase == Phase::ShutDown {
            return;
        }
        self.end_session(slot);
        self.streams.forget(slot);
        self.abandon_link(slot);
        self.leave_topics(slot);
        let conn = self.conns.at(slot);
        conn.phase = Phase::ShutDown;
        let unread = conn.pause().map_or(0, |pause| pause.held_bytes());
        let extra = conn.extra.take();
        conn.flags.clear(Flags::ATTENTION | Flags::MANY);
        let held = std::mem::take(&mut conn.reader).buffered_bytes();
        self.hub.account_partial(held + unread, 0);
        if let Some(proposed) = extra.and_then(|extra| extra.proposed) {
            self.forget_tickets(&proposed);
        }
    }

    /// The slot is empty.
    pub(super) fn vacate(&mut self, slot: u32) {
        let conn = self.conns.remove(slot);
        self.links.remove(slot);
        assert_eq!(conn.phase, Phase::ShutDown);
        self.hub.admission().leave(conn.peer.address().ip());
        self.metrics().connections.set(self.conns.len() as u64);
    }

    /// Counts the end of an open connection, and tells its topic where its
    /// dialect does so.
    fn part(&mut self, slot: u32, reason: CloseReason) {
        let conn = self.conns.at(slot);
        let peer = conn.peer.address();
        tracing::debug!(%peer, reason = reason.name(), "connection closed");
        self.metrics().note_close(reason);
        if reason == CloseReason::Fault(Fault::Deflate) {
            self.hub.uncompressed().note(peer.ip(), self.now_ms);
        }
        self.say_left(slot);
        self.end_session(slot);
    }

    /// Bytes have come, perhaps from a peer that is being closed. Over a slow line the rest
    /// of a message that was refused by its first bytes is long under way, and most
    /// clients look for an answer when it is sent: were they cut off before, they
    /// would see a reset and not why. So the peer is waited for as long as bytes
    /// come, though no longer than a message may take (`message_ms_max`), nor faster
    /// than its rate allows.
    pub(super) fn await_rest(&mut self, slot: u32, len: usize) {
        let conn = self.conns.at(slot);
        let is_being_closed = matches!(conn.phase, Phase::Draining | Phase::Closing);
        // What a stream's peer says is nothing that it would want to see answered.
        if !is_being_closed || conn.dialect.is_event_stream() {
            return;
        }
        let settings = self.hub.settings();
        let (now_ms, patience_ms) = (self.now_ms, self.patience_ms);
        let conn = self.conns.at(slot);
        let (bytes_max, ms_max) = (settings.inbound_bytes_per_s_max, settings.message_ms_max);
        let waited_ms = (patience_ms as u32).wrapping_sub(conn.begun_ms);
        conn.rate.look_at_clock(now_ms);
        let admitted = conn.rate.admit_bytes(len, bytes_max);
        if conn.flags.any(Flags::PEER_CLOSED) || !admitted || u64::from(waited_ms) >= ms_max {
            return;
        }
        if let Some(deadline_ms) = conn.extra.as_mut().and_then(|e| e.deadline_ms.as_mut()) {
            *deadline_ms = (*deadline_ms).max(patience_ms + PARTING_MS_MAX);
        }
    }

    /// The peer's close frame has come; `code` 0 is none.
    pub(super) fn handle_close(&mut self, slot: u32, code: u16) {
        let conn = self.conns.at(slot);
        conn.flags.set(Flags::PEER_CLOSED);
        if conn.phase == Phase::Open {
            // The same code back (RFC 6455 section 5.5.1).
            let (reason, how) = (CloseReason::Peer, How::NextBoundary);
            self.drain(slot, reason, code, how, PARTING_MS_MAX);
        }
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
            (Phase::Draining | Phase::Closing, None) => self.mark(slot),
            // It has no other way to close.
            (_, None) if conn.dialect.is_event_stream() => {
                self.close(slot, CloseReason::Peer, How::AtOnce);
            }
            (_, None) => self.close(slot, CloseReason::Gone, How::AtOnce),
            (_, Some(error)) => self.close(slot, why_failed(error), How::AtOnce),
        }
    }

    /// When the peer in a slot should come back after the daemon has stopped: no
    /// two of them at the same time, as far as that can be.
    fn retry_ms(&self, slot: u32) -> u64 {
        let cores = self.hub.mailboxes().len() as u64;
        let number = u64::from(slot) * cores + self.core as u64;
        let spread_ms = self.hub.retry_spread_ms();
        self.hub.settings().retry_after_s * 1000 + share_of(spread_ms, number)
    }

    fn say_goodbyes(&mut self, keep: usize, spread_ms: u64, patience_ms: u64) {
        self.look_at_clock();
        let open =
            |(slot, conn): (u32, &super::conn::Conn)| (conn.phase == Phase::Open).then_some(slot);
        let mut everyone: Vec<u32> = self.conns.iter().filter_map(open).collect();
        everyone.drain(..keep.min(everyone.len()));
        let ticks = 1 + spread_ms / TICK.as_millis() as u64;
        let share = everyone.len().div_ceil(ticks as usize).max(GOODBYES_MIN);
        for slot in everyone.into_iter().take(share) {
            // Nobody is told that one has left: the room itself is closing.
            self.conns.at(slot).flags.clear(Flags::PRESENT);
            let reason = CloseReason::Drain;
            let code = self.conns.at(slot).dialect.code(reason);
            self.drain(slot, reason, code, How::Owed, patience_ms);
        }
    }
}
