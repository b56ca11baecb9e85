//! Backpressure: a publisher that is ahead of its topic's cores, ahead of its own
//! reading, or without room in the log is read from no further until that has
//! passed, and so is who has come with a token that is being checked. TCP tells it so.

use super::conn::{OWN_MAX, Pause, Phase, Unpublished, Wait};
use super::reactor::{Reactor, State};
use super::time::ROOM_LOOK;
use crate::hub::{Checked, PastAnswer};
use crate::protocol::reason::CloseReason;
use crate::ring::{BUFFER_BYTES, Ring};

impl<R: Ring> Reactor<R> {
    /// Some message waits for room, a subscriber for the store, or somebody to be let into a
    /// channel: a turn is to be taken after [`ROOM_LOOK`], if not
    /// before.
    pub fn awaits_room(&self) -> bool {
        self.state.awaits_room || self.state.catching.waits() || self.state.joiners.wait()
    }

    /// Somebody waits to be told who has been sent what: a turn is to be taken after
    /// [`DELIVERY_LOOK`], if not before.
    pub fn owes_delivery_look(&self) -> bool {
        self.state.followed.is_owed()
    }
}

impl State {
    /// Pauses a publisher that has just been read from, if it is ahead.
    pub(super) fn pause_if_ahead(&mut self, slot: u32) {
        let conn = self.conns.at(slot);
        // On its way to another process everything is read.
        if self.frozen || conn.phase != Phase::Open || conn.pause().is_some() {
            return;
        }
        if self.is_ahead(slot, 1) {
            self.pause(slot);
        }
    }

    /// Reads no further from somebody, who is looked at again in each turn.
    fn pause(&mut self, slot: u32) {
        self.metrics().pauses.add(1);
        self.paused.push(slot);
        self.hold(slot);
    }

    /// Reads no further from somebody.
    fn hold(&mut self, slot: u32) {
        self.mark(slot);
        self.conns.at(slot).extra().pause = Some(Box::default());
    }

    /// Keeps a message until it can be dealt with, and pauses its publisher.
    ///
    /// # Errors
    /// There is no room to keep it.
    pub(super) fn put_aside(
        &mut self,
        slot: u32,
        text: bool,
        payload: Vec<u8>,
        wait: Wait,
    ) -> Result<(), CloseReason> {
        let len = payload.len();
        if !self.hub.account_partial(0, len) {
            self.hub.account_partial(len, 0);
            return Err(match wait {
                Wait::Room(_) => CloseReason::LogFull,
                _ => CloseReason::PartialBytes,
            });
        }
        let is_paused = self.conns.at(slot).pause().is_some();
        match wait {
            // The answer leads back to it.
            Wait::Check(_) | Wait::Checked(_) | Wait::Read(_) | Wait::HasRead(_) => {
                if !is_paused {
                    self.hold(slot);
                }
            }
            Wait::Turn | Wait::Known(..) => {
                self.awaits_room = true;
                if !is_paused {
                    self.paused.push(slot);
                    self.hold(slot);
                }
            }
            Wait::Room(_) => {
                self.awaits_room = true;
                self.metrics().room_waits.add(1);
                if !is_paused {
                    self.pause(slot);
                }
            }
        }
        let now_ms = self.patience_ms;
        let pause = self.conns.at(slot).pause().expect("it is paused");
        assert!(pause.unpublished.is_none(), "it is read no further");
        pause.unpublished = Some(Unpublished {
            since_ms: now_ms,
            looked_ms: now_ms,
            wait,
            text,
            payload,
        });
        Ok(())
    }

    /// A token has been checked for which a message has waited.
    pub(super) fn take_verdict(&mut self, checked: Checked) {
        // It may have ended meanwhile, or be another's.
        let conn = self.conns.get_mut(checked.slot);
        let pause = conn.and_then(|conn| conn.pause());
        let Some(message) = pause.and_then(|pause| pause.unpublished.as_mut()) else {
            return;
        };
        if matches!(message.wait, Wait::Check(number) if number == checked.number) {
            message.wait = Wait::Checked(checked.verdict);
            self.paused.push(checked.slot);
        }
    }

    /// A page of history has been read for which a command has waited.
    pub(super) fn take_past(&mut self, answer: PastAnswer) {
        let conn = self.conns.get_mut(answer.slot);
        let pause = conn.and_then(|conn| conn.pause());
        let Some(message) = pause.and_then(|pause| pause.unpublished.as_mut()) else {
            return;
        };
        if matches!(message.wait, Wait::Read(number) if number == answer.number) {
            message.wait = Wait::HasRead(Box::new(answer.past));
            self.paused.push(answer.slot);
        }
    }

    /// Keeps what a paused publisher had sent already. False if it is not paused.
    pub(super) fn keep_unread(&mut self, slot: u32, bytes: &[u8]) -> bool {
        let Some(pause) = self.conns.at(slot).pause() else {
            return false;
        };
        pause.unread.extend_from_slice(bytes);
        if !self.hub.account_partial(0, bytes.len()) {
            let pause = self.conns.at(slot).extra().pause.as_mut();
            let pause = pause.expect("it is paused");
            let held = pause.unread.len();
            pause.unread = Vec::new();
            self.hub.account_partial(held, 0);
            self.stop_reading(slot, CloseReason::PartialBytes);
        }
        true
    }

    /// Goes on with the publishers that have been caught up with, or have room.
    pub(super) fn resume_paused(&mut self) {
        if self.paused.is_empty() {
            return;
        }
        let relieved = self.hub.relief().has_helped(&mut self.help_seen);
        self.resume_if_room(relieved);
    }

    /// The same. Room is looked for now and then, or for all who wait for it.
    pub(super) fn resume_if_room(&mut self, for_all: bool) {
        self.awaits_room = false;
        for slot in std::mem::take(&mut self.paused) {
            let Some(conn) = self.conns.get_mut(slot) else {
                continue;
            };
            if conn.pause().is_none() {
                continue;
            }
            if !self.go_on(slot, for_all) {
                if !self.awaits_answer(slot) {
                    self.awaits_room = true;
                    self.paused.push(slot);
                }
                continue;
            }
            let conn = self.conns.at(slot);
            if conn.phase == Phase::Open && !self.frozen {
                // Before the look, so that a core that catches up after it sees
                // that somebody waits.
                if let Some(topic) = self.heeded_topic(slot) {
                    topic.waiting.wait();
                }
                if self.is_ahead(slot, 2) {
                    self.paused.push(slot);
                    continue;
                }
            }
            self.resume(slot);
        }
    }

    fn awaits_answer(&mut self, slot: u32) -> bool {
        let pause = self.conns.at(slot).pause();
        let message = pause.and_then(|pause| pause.unpublished.as_ref());
        message.is_some_and(|message| matches!(message.wait, Wait::Check(_) | Wait::Read(_)))
    }

    /// Deals with what has been put aside, if anything has been; false if it has to wait on.
    fn go_on(&mut self, slot: u32, now: bool) -> bool {
        if self.awaits_answer(slot) {
            return false;
        }
        let patience_ms = self.patience_ms;
        let conn = self.conns.at(slot);
        let phase = conn.phase;
        let pause = conn.pause().expect("it is paused");
        let Some(mut message) = pause.unpublished.take() else {
            return true;
        };
        if phase != Phase::Open {
            self.hub.account_partial(message.payload.len(), 0);
            return true;
        }
        // A look may take all topics' history, and wakes all cores.
        let due = now || patience_ms - message.looked_ms >= ROOM_LOOK.as_millis() as u64;
        let waited_ms = patience_ms - message.since_ms;
        let settings = self.hub.settings();
        let converses = self.conns.at(slot).dialect.has_sessions();
        let wait_ms_max = match converses {
            // Its client waits for the answer.
            true => settings.publish_wait_ms_max,
            // Readers that kept memory have had their time by then, and been cut: what does
            // not fit will never.
            false => settings.stall_ms_max.saturating_mul(2),
        };
        let waits_on = waited_ms <= wait_ms_max;
        let is_answered = match &message.wait {
            Wait::Checked(_) | Wait::HasRead(_) => true,
            Wait::Known(topic, offset) => topic.is_known() && topic.newest() >= *offset,
            _ => false,
        };
        let due = due || !waits_on || is_answered;
        let outcome = match (converses, due) {
            (true, true) => self.converse_again(slot, &mut message, waits_on),
            (false, true) => self.publish_again(slot, &mut message),
            (_, false) => Ok(true),
        };
        match outcome {
            // For a verdict it waits as long as it takes.
            Ok(true) if waits_on || !matches!(message.wait, Wait::Room(_)) => {
                if due {
                    message.looked_ms = patience_ms;
                }
                self.grant_patience(slot);
                let pause = self.conns.at(slot).pause().expect("it is paused");
                pause.unpublished = Some(message);
                return false;
            }
            Ok(true) => self.stop_reading(slot, CloseReason::LogFull),
            Ok(false) => {}
            Err(reason) => self.stop_reading(slot, reason),
        }
        self.hub.account_partial(message.payload.len(), 0);
        // The next one of several commands may have to wait now.
        let pause = self.conns.at(slot).pause();
        pause.is_none_or(|pause| pause.unpublished.is_none())
    }

    fn resume(&mut self, slot: u32) {
        let pause = self.conns.at(slot).extra().pause.take();
        let Pause { unread, ended, .. } = *pause.expect("it is paused");
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
        let topic = self.heeded_topic(slot).cloned();
        if let Some(topic) = topic.filter(|topic| self.hub.is_far_ahead(topic, parts)) {
            self.hub.hurry(&topic, Some(self.core));
            self.hurry_topic(&topic);
            self.grant_patience(slot);
            return true;
        }
        let conn = self.conns.at(slot);
        let own = conn.extra.as_ref().map_or(0, |extra| extra.own.len());
        own > OWN_MAX / parts
    }

    /// That a paused publisher is silent is not its own doing.
    fn grant_patience(&mut self, slot: u32) {
        let now_ms = self.patience_ms as u32;
        let conn = self.conns.at(slot);
        (conn.heard_ms, conn.begun_ms) = (now_ms, now_ms);
        // What it has been asked it could not answer.
        conn.pings = 0;
    }
}
