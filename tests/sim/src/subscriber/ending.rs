//! Why a subscriber's connection may end: each end has a cause in what happened before.

use fastrand::Rng;

use super::judging::Around;
use super::{Stand, Subscriber};
use crate::client::Fate;
use crate::plan::LATE_MS_MAX;
use crate::socket::Socket;

/// More than an event has around its data.
const ENVELOPE_BYTES: u64 = 160;
/// More than is said of somebody who comes or goes.
const MEMBER_BYTES: u64 = 300;

impl Subscriber {
    /// It may have been found too far behind in a channel, or in who comes to that.
    pub(super) fn may_miss(&self, at: usize, socket: &Socket, around: &Around<'_>) -> bool {
        let channel = &self.channels[at];
        let truth = &around.view.truths[channel.truth];
        let first = match channel.stand {
            Stand::In(next) | Stand::Left(Some(next), ..) => next.first,
            Stand::Asked(newest) | Stand::Left(None, newest, _) => newest + 1,
            Stand::Out => return false,
        };
        // It may since have been sent the rest of the frame that it was in.
        let unread = first.saturating_sub(1).max(1)..truth.next();
        let len = |offset: u64| {
            let payload = truth.message(offset).map_or(0, |m| m.payload.len() as u64);
            2 * payload + ENVELOPE_BYTES
        };
        let behind: u64 = unread.map(len).sum();
        let comings = match channel.name.starts_with("presence-") {
            true => around.comings[channel.truth] * MEMBER_BYTES,
            false => 0,
        };
        let max = around.view.settings.lag_bytes_max as u64;
        let short = around.view.tight || self.stalls(socket, around);
        let behind = behind + socket.uncounted_bytes();
        behind > max || comings > max || (behind + comings > 0 && short)
    }

    fn is_behind(&self, socket: &Socket, around: &Around<'_>) -> bool {
        (0..self.channels.len()).any(|at| self.may_miss(at, socket, around))
    }

    fn stalls(&self, socket: &Socket, around: &Around<'_>) -> bool {
        let now_ms = around.view.now_ms;
        let stalled_ms = socket.stalled_ms_max.max(now_ms - socket.accepted_ms);
        stalled_ms + LATE_MS_MAX >= around.view.settings.stall_ms_max
    }

    /// Some message of its took long to come.
    fn is_slow(&self, socket: &Socket, around: &Around<'_>) -> bool {
        let first_ms = socket.deliveries.first().map(|(_, at_ms)| *at_ms);
        let came_ms = first_ms.unwrap_or(around.view.now_ms);
        let (now_ms, ms_max) = (around.view.now_ms, around.view.settings.message_ms_max);
        now_ms - came_ms + LATE_MS_MAX >= ms_max || socket.lacks_rest(now_ms, ms_max)
    }

    fn silent_ms(&self, socket: &Socket, around: &Around<'_>) -> u64 {
        let since_ms = around.view.now_ms - socket.delivered_ms;
        socket.silent_ms_max.max(since_ms) + LATE_MS_MAX
    }

    pub(super) fn check_close(
        &mut self,
        rng: &mut Rng,
        payload: &[u8],
        socket: &Socket,
        around: &Around<'_>,
    ) {
        let settings = around.view.settings;
        self.closed = true;
        let code = payload.first_chunk::<2>().map(|c| u16::from_be_bytes(*c));
        let reason = std::str::from_utf8(payload.get(2..).unwrap_or_default());
        let reason = reason.expect("a reason is text");
        let silent_ms = self.silent_ms(socket, around);
        let explained = match (code, reason) {
            (code, "") => self.fate == Fate::SentClose(code),
            (Some(4100), "the server is stopping") => {
                let drained = around.view.drained.expect("nobody else says goodbye");
                let behind = self.is_behind(socket, around);
                let mut entered = self.entered();
                let reached = entered.all(|(channel, next)| {
                    let truth = &around.view.truths[channel.truth];
                    let newest = drained.get(channel.truth).copied().unwrap_or(0);
                    behind || next.has_heard_up_to(self.id, truth, newest + 1)
                });
                assert!(reached, "{} is owed more", self.name());
                true
            }
            (Some(4201), r) if r.starts_with("idle:") => {
                silent_ms >= settings.idle_ms_max && self.was_pinged
            }
            (Some(4200), r) if r.starts_with("come back for new keys") => socket.uses_up_keys(),
            (Some(4200), r) if r.starts_with("stall:") => self.stalls(socket, around),
            (Some(4200), r) if r.starts_with("lag:") => self.is_behind(socket, around),
            (Some(4200), r) if r.starts_with("not stored:") => around.view.refusing,
            // Some of what it asks for has a long answer.
            (Some(4200), r) if r.starts_with("control flood:") => self.nonsense > 100,
            (Some(1008), r) if r.starts_with("slow:") => self.is_slow(socket, around),
            (Some(4100), r) if r.starts_with("rate:") => settings.inbound_messages_per_s_max > 0,
            // A message that waits for room is one that has come in part.
            (Some(4100), _) => settings.partial_bytes_max < 1 << 20,
            (Some(code), _) => {
                matches!(self.fate, Fate::Wrong(wanted, _) if wanted == code)
            }
            (None, _) => false,
        };
        assert!(
            explained,
            "{} is closed with {code:?} {reason:?}, silent {silent_ms} ms, behind: {}",
            self.name(),
            self.is_behind(socket, around),
        );
        let answers = matches!(self.fate, Fate::Open | Fate::Wrong(..));
        if answers && !self.nature.rude {
            // What is half written must be finished before the answer.
            if rng.bool() {
                self.fate = Fate::HalfClosed;
            } else {
                self.say_close(rng, code);
            }
        }
    }

    /// A connection ends with a close frame, or there is a cause.
    pub(super) fn check_end(&self, socket: &Socket, around: &Around<'_>) {
        let settings = around.view.settings;
        let cause = socket.reset
            || socket.died
            || self.fate != Fate::Open
            || self.nature.sluggard
            || self.stalls(socket, around)
            || around.view.drained.is_some()
            || self.is_behind(socket, around)
            || self.is_slow(socket, around)
            || self.silent_ms(socket, around) >= settings.idle_ms_max
            || settings.inbound_messages_per_s_max > 0
            || around.view.refusing
            || settings.partial_bytes_max < 1 << 20;
        assert!(self.closed || cause, "{} is cut off", self.name());
    }
}
