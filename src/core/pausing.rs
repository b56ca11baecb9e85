//! Backpressure: a publisher that is ahead of its topic's cores, or of its own
//! reading, is read from no further until they have caught up. TCP tells it so.

use std::sync::atomic::Ordering;

use super::conn::{OWN_MAX, Pause, Phase};
use super::reactor::State;
use crate::protocol::reason::CloseReason;
use crate::ring::BUFFER_BYTES;

impl State {
    /// Pauses a publisher that has just been read from, if it is ahead.
    pub(super) fn pace(&mut self, slot: u32) {
        // On its way to another process everything is read.
        if self.frozen || self.conns.at(slot).phase != Phase::Open || !self.is_ahead(slot, 1) {
            return;
        }
        self.conns.at(slot).extra().pause = Some(Pause::default());
        self.paused.push(slot);
        self.metrics().pauses.add(1);
        self.mark(slot);
    }

    /// Keeps what a paused publisher had sent already. False if it is not paused.
    pub(super) fn put_off(&mut self, slot: u32, bytes: &[u8]) -> bool {
        let Some(pause) = self.conns.at(slot).pause() else {
            return false;
        };
        let before = pause.unread.len();
        pause.unread.extend_from_slice(bytes);
        let after = pause.unread.len();
        if !self.hub.account_partial(before, after) {
            self.hub.account_partial(after, 0);
            pause.unread = Vec::new();
            self.stop_reading(slot, CloseReason::PartialBytes);
        }
        true
    }

    /// Closes a connection for what it has sent only in part, of which nothing
    /// is kept.
    pub(super) fn stop_reading(&mut self, slot: u32, reason: CloseReason) {
        let reader = &mut self.conns.at(slot).reader;
        let held = reader.buffered_bytes();
        reader.stop();
        self.hub.account_partial(held, 0);
        self.finish(slot, 0, reason);
    }

    /// Goes on with the publishers that have been caught up with.
    pub(super) fn resume_paused(&mut self) {
        for slot in std::mem::take(&mut self.paused) {
            let Some(conn) = self.conns.get_mut(slot) else {
                continue;
            };
            if conn.pause().is_none() {
                continue;
            }
            if conn.phase == Phase::Open && !self.frozen {
                let topic = &self.locals.at(conn.topic).topic;
                // Before the look, so that a core that catches up after it sees
                // that somebody waits.
                topic.publisher_waits.store(true, Ordering::SeqCst);
                if self.is_ahead(slot, 2) {
                    self.paused.push(slot);
                    continue;
                }
            }
            self.resume(slot);
        }
    }

    fn resume(&mut self, slot: u32) {
        let pause = self.conns.at(slot).extra().pause.take();
        let Pause { unread, ended, .. } = pause.expect("it is paused");
        self.hub.account_partial(unread.len(), 0);
        // It may be paused again with any piece; then the rest is put off.
        for piece in unread.chunks(BUFFER_BYTES) {
            self.handle_bytes(slot, piece);
        }
        if let Some(error) = ended {
            self.handle_end(slot, error);
        }
        self.mark(slot);
    }

    /// A publisher is further ahead than one part in `parts` of what it may be.
    fn is_ahead(&mut self, slot: u32, parts: usize) -> bool {
        let conn = self.conns.at(slot);
        let topic = &self.locals.at(conn.topic).topic;
        if topic.ahead_bytes() > (self.hub.settings().ahead_bytes_max / parts) as u64 {
            // That it is silent is not its own doing.
            conn.heard_ms = self.now_ms as u32;
            conn.begun_ms = self.now_ms as u32;
            return true;
        }
        let own = conn.extra.as_ref().map_or(0, |extra| extra.own.len());
        own > OWN_MAX / parts
    }
}
