//! What connections publish: into the log, or, where there is no room, into a message
//! that waits (`pausing`). Called by `inbound`, and by `pausing` for what has waited.

use std::sync::Arc;
use std::time::Duration;

use super::closing::How;
use super::conn::{Flags, OWN_MAX, Unpublished, Wait};
use super::reactor::State;
use super::subs::SubId;
use crate::hub::Begun;
use crate::log::{AppendError, Committed, Draft, Lack, Topic};
use crate::mask;
use crate::protocol::dialect::{Context, Dialect};
use crate::protocol::encoding::Extras;
use crate::protocol::reason::CloseReason;
use crate::protocol::ws::{Fault, Payload};

impl State {
    /// Publishes to a connection's topic. Where there is no room, the message
    /// waits for it, and its publisher with it.
    pub(super) fn publish(
        &mut self,
        slot: u32,
        text: bool,
        payload: Payload<'_>,
    ) -> Result<(), CloseReason> {
        if let Some(topic) = self.shared_topic_of(slot) {
            return self.publish_shared(slot, &topic, text, payload);
        }
        match self.try_publish(slot, text, payload, Duration::ZERO) {
            Ok(published) => {
                self.skip_own(slot, &published);
                Ok(())
            }
            Err(error) => {
                let lack = lack(error)?;
                let payload = plain(payload);
                check_text(text, &payload).map_err(CloseReason::Fault)?;
                self.put_aside(slot, text, payload, Wait::Room(Some(lack)))
            }
        }
    }

    /// Publishes once more what has waited for room, if there is room now. True if it still
    /// has to wait.
    ///
    /// # Errors
    /// It can never be published.
    pub(super) fn publish_again(
        &mut self,
        slot: u32,
        message: &mut Unpublished,
    ) -> Result<bool, CloseReason> {
        if let Some(topic) = self.shared_topic_of(slot) {
            return self.publish_shared_again(slot, &topic, message);
        }
        let number = self.conns.at(slot).sub.feed;
        if let Wait::Room(Some(lack)) = &message.wait {
            // As long as this fails, nothing is encoded.
            let topic = self.feeds.at(number).topic.clone();
            let bounds = self.hub.retention(&topic).bounds;
            let reserved = self.seek_room(&topic, |_| topic.reserve(lack, &bounds));
            if reserved.is_err() {
                return Ok(true);
            }
        }
        self.metrics().room_tries.add(1);
        let payload = Payload::Whole(&message.payload);
        let waited = Duration::from_millis(self.patience_ms.saturating_sub(message.since_ms));
        match self.try_publish(slot, message.text, payload, waited) {
            Ok(published) => {
                self.skip_own(slot, &published);
                Ok(false)
            }
            Err(error) => {
                message.wait = Wait::Room(Some(lack(error)?));
                Ok(true)
            }
        }
    }

    /// Appends a message, which has waited for so long, to a connection's topic and has it
    /// fanned out.
    fn try_publish(
        &mut self,
        slot: u32,
        text: bool,
        payload: Payload<'_>,
        waited: Duration,
    ) -> Result<Committed, AppendError<Fault>> {
        let (trace, len) = (self.hub.begin_trace(None), payload.len());
        let conn = self.conns.at(slot);
        let (number, extras) = (conn.sub.feed, conn.dialect.extras());
        let topic = self.feeds.at(number).topic.clone();
        let published = self.seek_room(&topic, |state| state.append(&topic, text, payload, extras));
        if let Ok(committed) = &published {
            if let Some(begun) = trace {
                self.trace(begun.earlier(waited), slot, (&topic, len), committed);
            }
            self.published_bytes += committed.raw.end - committed.raw.start;
            self.grow_topic(number);
        }
        published
    }

    /// A connection's message has just been published, whose trace was begun, and other cores are
    /// not told yet.
    pub(super) fn trace(
        &self,
        begun: Begun,
        slot: u32,
        (topic, bytes): (&Arc<Topic>, usize),
        message: &Committed,
    ) {
        let via = self.conns.look_at(slot).dialect.name();
        self.hub.trace_message(begun, via, (topic, bytes), message);
    }

    /// Does what needs room in a topic. Where all logs are full, history makes
    /// room; where nothing does, relief is asked for.
    pub(super) fn seek_room<T>(
        &mut self,
        topic: &Topic,
        mut attempt: impl FnMut(&mut Self) -> Result<T, AppendError<Fault>>,
    ) -> Result<T, AppendError<Fault>> {
        let outcome = match attempt(self) {
            Err(AppendError::TotalFull(_)) if self.hub.make_room() => attempt(self),
            outcome => outcome,
        };
        match &outcome {
            Err(AppendError::LogFull(_)) => {
                self.hub.relief().ask(Some(topic.id()), &self.hub);
            }
            Err(AppendError::TotalFull(_)) => self.hub.relief().ask(None, &self.hub),
            _ => {}
        }
        outcome
    }

    pub(super) fn append(
        &mut self,
        topic: &Topic,
        text: bool,
        payload: Payload<'_>,
        extras: Option<Extras<'_>>,
    ) -> Result<Committed, AppendError<Fault>> {
        let draft = |len| Draft {
            text,
            len,
            now_ms: self.hub.unix_ms(self.now_ms),
            offset: None,
            extras,
        };
        match payload {
            // The common way: one pass from the receive buffer into the log.
            Payload::Masked { bytes, key } if topic.formats().is_empty() => topic.publish(
                &draft(bytes.len()),
                self.hub.retention(topic),
                &mut self.codec.plain(),
                |room| {
                    mask::copy_unmasked(room, bytes, key);
                    check_text(text, room)
                },
            ),
            Payload::Masked { bytes, key } => {
                let mut scratch = self.codec.lend();
                scratch.unmask(bytes, key);
                let checked = check_text(text, scratch.plain());
                let published = checked.map_err(AppendError::Payload).and_then(|()| {
                    self.append(topic, text, Payload::Whole(scratch.plain()), extras)
                });
                self.codec.give_back(scratch);
                published
            }
            Payload::Whole(bytes) => {
                self.codec
                    .prepare(topic.formats(), text, bytes, self.hub.effort());
                let published = topic.publish(
                    &draft(bytes.len()),
                    self.hub.retention(topic),
                    &mut self.codec.prepared(),
                    |room| {
                        room.copy_from_slice(bytes);
                        Ok(())
                    },
                )?;
                let metrics = &self.hub.mailbox(self.core).metrics;
                metrics.encoded_messages.add(self.codec.take_encoded());
                for (format, saved) in self.codec.saved_bytes() {
                    let readers = topic.subscribers(|of| of == format);
                    metrics.deflated_messages.add(1);
                    metrics.deflate_saved_bytes.add(saved * readers);
                }
                Ok(published)
            }
        }
    }

    /// The publisher does not hear itself: its cursor steps over the message.
    fn skip_own(&mut self, slot: u32, committed: &Committed) {
        if !self.conns.at(slot).flags.any(Flags::ECHO) {
            self.step_over(slot, SubId::first(slot), committed);
        }
    }

    /// A subscription's cursor is to step over a message of its connection.
    pub(super) fn step_over(&mut self, slot: u32, id: SubId, committed: &Committed) {
        let sub = *self.look_at_sub(id);
        let feed = sub.feed;
        let format = self.feeds.at(feed).format;
        let Some(range) = committed.range(format) else {
            // Its view is younger than the message.
            return;
        };
        self.note_own(id, committed.offset);
        let conn = self.conns.at(slot);
        let extra = conn.extra.as_ref();
        let begun = extra.is_none_or(|extra| extra.reaching.is_empty());
        let reached = sub.cursor == range.start && !conn.flags.any(Flags::BUSY) && begun;
        let Some(extra) = conn.extra.as_mut().filter(|extra| !extra.own.is_empty()) else {
            if reached {
                self.sub_mut(id).cursor = range.end;
            } else {
                conn.attend().own.push_back((id, range));
            }
            return;
        };
        if let Some((last, own)) = extra.own.back_mut()
            && *last == id
            && own.end == range.start
        {
            own.end = range.end;
        } else {
            extra.own.push_back((id, range));
            if extra.own.len() > OWN_MAX / 2 {
                // It is not to wait, or to be closed, as it cannot step over them.
                self.hurry(feed);
            }
        }
    }

    /// A newcomer's dialect may announce it to all, itself included.
    pub(super) fn say_entered(&mut self, slot: u32) {
        if self.conns.at(slot).flags.any(Flags::READ_ONLY) {
            return;
        }
        let entered = |dialect: Dialect, context: &Context<'_>| dialect.entered(context);
        if let Some(line) = self.words(slot, entered) {
            self.conns.at(slot).flags.set(Flags::PRESENT);
            let payload = Payload::Whole(line.as_bytes());
            if let Err(reason) = self.publish(slot, true, payload) {
                self.close(slot, reason, How::NextBoundary);
            }
        }
    }

    /// A leaver's dialect may announce its end to all.
    pub(super) fn say_left(&mut self, slot: u32) {
        let conn = self.conns.at(slot);
        if conn.flags.any(Flags::PRESENT) {
            conn.flags.clear(Flags::PRESENT);
            let left = |dialect: Dialect, context: &Context<'_>| dialect.left(context);
            if let Some(line) = self.words(slot, left) {
                self.say(slot, &line);
            }
        }
    }

    fn words(
        &mut self,
        slot: u32,
        ask: impl FnOnce(Dialect, &Context<'_>) -> Option<String>,
    ) -> Option<String> {
        let conn = self.conns.at(slot);
        let (dialect, peer) = (conn.dialect, conn.peer.address());
        let context = Context {
            peer,
            time_of_day: &|| self.hub.time_of_day(),
        };
        ask(dialect, &context)
    }

    /// Publishes a line of somebody who leaves, and returns where it ends in
    /// their log; 0 where there was no room for it, as they do not wait.
    pub(super) fn say(&mut self, slot: u32, line: &str) -> u64 {
        if let Some(topic) = self.shared_topic_of(slot) {
            // Nobody waits for what becomes of it either.
            let extras = self.conns.at(slot).dialect.extras();
            let _ = self.propose(slot, &topic, (true, line.as_bytes()), extras, None);
            return 0;
        }
        let format = self.feeds.at(self.conns.at(slot).sub.feed).format;
        let line = Payload::Whole(line.as_bytes());
        match self.try_publish(slot, true, line, Duration::ZERO) {
            Ok(committed) => {
                let range = committed.range(format);
                range.expect("it reads this view").end
            }
            _ => 0,
        }
    }
}

/// What there was no room for yet, or why the publisher is to be closed, where there
/// never will be.
fn lack(error: AppendError<Fault>) -> Result<Lack, CloseReason> {
    match error {
        AppendError::LogFull(lack) | AppendError::TotalFull(lack) | AppendError::NoMemory(lack) => {
            Ok(lack)
        }
        AppendError::Payload(fault) => Err(CloseReason::Fault(fault)),
        AppendError::ExtrasTooBig => Err(CloseReason::Fault(Fault::TooBig)),
    }
}

/// What is published as text is UTF-8.
pub(super) fn check_text(text: bool, bytes: &[u8]) -> Result<(), Fault> {
    if text && simdutf8::basic::from_utf8(bytes).is_err() {
        return Err(Fault::Utf8);
    }
    Ok(())
}

pub(super) fn plain(payload: Payload<'_>) -> Vec<u8> {
    match payload {
        Payload::Masked { bytes, key } => {
            let mut plain = bytes.to_vec();
            mask::unmask(&mut plain, key);
            plain
        }
        Payload::Whole(bytes) => bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_can_never_be_appended_does_not_wait_for_room() {
        let refused = |error| lack(error).expect_err("it does not wait");
        assert_eq!(
            refused(AppendError::ExtrasTooBig),
            CloseReason::Fault(Fault::TooBig)
        );
        assert_eq!(
            refused(AppendError::Payload(Fault::Utf8)),
            CloseReason::Fault(Fault::Utf8)
        );
    }
}
