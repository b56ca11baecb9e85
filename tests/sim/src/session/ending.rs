//! Why a session's connection, or a subscription of its, may end: each end has a cause in what
//! happened before.

use fanfare::protocol::centrifugo::Coding;
use fastrand::Rng;

use super::judging::{Around, Pushes};
use super::wire::Ask;
use super::{Asked, Session, Topic};
use crate::client::Fate;
use crate::plan::LATE_MS_MAX;
use crate::socket::Socket;

/// More than a push has around a payload.
const ENVELOPE_BYTES: u64 = 320;
/// More than a push has that tells who comes or goes.
const MEMBERSHIP_BYTES: u64 = 200;

impl Session {
    /// It may have been found too far behind in a topic, or in who comes to that.
    pub(super) fn is_behind_in(
        &self,
        topic: &Topic,
        socket: &Socket,
        around: &Around<'_>,
        pushes: &Pushes,
    ) -> bool {
        let Some(next) = topic.next else {
            return false;
        };
        let truth = &around.view.truths[topic.truth];
        // It may since have been sent the rest of the frame that it was in.
        let unread = next.saturating_sub(1).max(1)..truth.next();
        let len = |offset: u64| {
            let key = (topic.truth, offset, self.coding == Coding::Protobuf);
            let known = pushes.read.get(&key).map(|bytes| bytes.len() as u64 + 10);
            let payload = truth.message(offset).map_or(0, |m| m.payload.len() as u64);
            known.unwrap_or(2 * payload + ENVELOPE_BYTES)
        };
        let behind: u64 = unread.map(len).sum();
        let comings = match topic.joins {
            Some(_) => around.comings[topic.truth] * MEMBERSHIP_BYTES,
            None => 0,
        };
        let max = around.view.settings.lag_bytes_max as u64;
        let short = around.view.tight || self.stalls(socket, around);
        let behind = behind + socket.uncounted_bytes();
        behind > max || comings > max || (behind + comings > 0 && short)
    }

    fn is_behind(&self, socket: &Socket, around: &Around<'_>) -> bool {
        let none = Pushes::default();
        self.followed()
            .any(|topic| self.is_behind_in(topic, socket, around, &none))
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

    /// It has not said for long who it is.
    fn is_stale(&self, around: &Around<'_>) -> bool {
        let waited_ms = around.view.now_ms - self.came_ms;
        self.client.is_none() && waited_ms + LATE_MS_MAX >= around.view.settings.handshake_ms_max
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
        // What it did right before is done and answered.
        let is_done = |asked: &Asked| {
            // What a cluster has not decided on is not waited for.
            around.view.shared && matches!(asked.ask, Ask::Publish { .. })
        };
        let all_done = self.asked.iter().all(is_done);
        let explained = match (code, reason) {
            (code, "") => self.fate == Fate::SentClose(code) && all_done,
            (Some(3001), "the server is stopping") => {
                let drained = around.view.drained.expect("nobody else says goodbye");
                let behind = self.is_behind(socket, around);
                let reached = |topic: &Topic| {
                    let newest = drained.get(topic.truth).copied().unwrap_or(0);
                    topic.next.is_some_and(|next| next > newest) || behind
                };
                assert!(self.followed().all(reached), "{} is owed more", self.name());
                true
            }
            (Some(3012), r) if r.starts_with("idle:") => {
                silent_ms >= settings.idle_ms_max && self.was_pinged
            }
            (Some(1001), r) if r.starts_with("come back for new keys") => socket.uses_up_keys(),
            (Some(3008), r) if r.starts_with("stall:") => self.stalls(socket, around),
            (Some(3008), r) if r.starts_with("lag:") => self.is_behind(socket, around),
            // Bounds of what it may have in answers that it does not read.
            (Some(3008), r) if r.starts_with("control flood:") => {
                self.last_id > 100 || self.pages > 0
            }
            (Some(3502), r) if r.starts_with("stale:") => self.is_stale(around),
            (Some(1008), r) if r.starts_with("slow:") => self.is_slow(socket, around),
            (Some(1008), r) if r.starts_with("rate:") => settings.inbound_messages_per_s_max > 0,
            // A message that waits for room is one that has come in part.
            (Some(3004), _) => settings.partial_bytes_max < 1 << 20,
            (Some(code), _) => {
                let fault = matches!(self.fate, Fate::Wrong(wanted, _) if wanted == code);
                fault && all_done
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
            || self.is_stale(around)
            || self.silent_ms(socket, around) >= settings.idle_ms_max
            || settings.inbound_messages_per_s_max > 0
            || settings.partial_bytes_max < 1 << 20;
        assert!(self.closed || cause, "{} is cut off", self.name());
    }
}
