//! What peers send: from received bytes to published messages.

use super::closing::How;
use super::conn::{Flags, Phase, Unpublished};
use super::reactor::State;
use super::subs::SubId;
use crate::log::{AppendError, Draft, Lack, Published};
use crate::mask;
use crate::protocol::dialect::{Command, Context, Dialect, Incoming};
use crate::protocol::encoding::Extras;
use crate::protocol::reason::CloseReason;
use crate::protocol::ws::deflate::Inflater;
use crate::protocol::ws::frame::{self, CONTROL_BYTES_MAX};
use crate::protocol::ws::{Event, Fault, Limits, Message, Opcode, Payload};
use crate::ring::BUFFER_BYTES;

impl State {
    /// Reads all that a peer has sent.
    pub(super) fn handle_bytes(&mut self, slot: u32, mut bytes: &[u8]) {
        let now_ms = self.patience_ms as u32;
        let conn = self.conns.at(slot);
        conn.heard_ms = now_ms;
        conn.pings = 0;
        if self.put_off(slot, bytes) {
            return;
        }
        let conn = self.conns.at(slot);
        match conn.phase {
            Phase::Open => {}
            Phase::Draining | Phase::Closing => self.await_rest(slot, bytes.len()),
            Phase::ShutDown => return,
        }
        let conn = self.conns.at(slot);
        // The reader lends out what it holds while the rest of the state is at
        // work, so it leaves its place for that long.
        let mut reader = std::mem::take(&mut conn.reader);
        let limits = Limits {
            message_bytes_max: self.hub.settings().message_bytes_max,
            deflate: conn.window_bits > 0,
        };
        let held = reader.buffered_bytes();
        let mut between = reader.is_between();
        let (mut spoke, mut paced_at) = (false, self.published_bytes);
        loop {
            let verdict = match reader.next(&mut bytes, &limits) {
                Ok(Some(event)) => {
                    spoke |= matches!(event, Event::Message(_));
                    self.handle_event(slot, event)
                }
                Ok(None) => break,
                Err(fault) => Err(CloseReason::Fault(fault)),
            };
            // It is read on, as its answer to our close is to be seen.
            match verdict {
                Ok(()) => {}
                // What it did right before is still answered, in this order.
                Err(reason @ CloseReason::Fault(_)) => self.close(slot, reason, How::Owed),
                Err(reason) => self.close(slot, reason, How::NextBoundary),
            }
            between |= reader.is_between();
            // What is compressed grows, so that few bytes may be many messages.
            if self.published_bytes - paced_at >= BUFFER_BYTES as u64 {
                paced_at = self.published_bytes;
                self.pace(slot);
            }
            if self.conns.at(slot).pause().is_some() {
                reader.let_go();
                break;
            }
        }
        let conn = self.conns.at(slot);
        if between && conn.phase == Phase::Open {
            // What is unfinished now, if anything is, began in these bytes.
            conn.begun_ms = now_ms;
        }
        let holds = reader.buffered_bytes();
        if held != holds && !self.hub.account_partial(held, holds) {
            self.hub.account_partial(holds, 0);
            reader.stop();
            self.close(slot, CloseReason::PartialBytes, How::NextBoundary);
        }
        if reader.is_closed() {
            // The peer may have been waited for already.
            self.mark(slot);
        }
        let conn = self.conns.at(slot);
        if conn.phase == Phase::ShutDown {
            // What it held is of no use any more.
            self.hub.account_partial(reader.buffered_bytes(), 0);
            return;
        }
        conn.reader = reader;
        self.put_off(slot, bytes);
        if spoke {
            self.pace(slot);
        }
    }

    fn handle_event(&mut self, slot: u32, event: Event<'_>) -> Result<(), CloseReason> {
        let open = self.conns.at(slot).phase == Phase::Open;
        match event {
            Event::Message(message) if open => self.handle_message(slot, message),
            Event::Ping(ping) if open => self.pong(slot, ping.bytes()),
            Event::Close(close) => {
                self.handle_close(slot, close.map_or(0, |close| close.code));
                Ok(())
            }
            // What comes after we have closed is not for anybody.
            Event::Message(_) | Event::Ping(_) | Event::Pong(_) => Ok(()),
        }
    }

    fn handle_message(&mut self, slot: u32, message: Message<'_>) -> Result<(), CloseReason> {
        let len = message.payload.len();
        let settings = self.hub.settings();
        let messages_max = settings.inbound_messages_per_s_max;
        let bytes_max = settings.inbound_bytes_per_s_max;
        let now_ms = self.now_ms;
        let conn = self.conns.at(slot);
        // What is compressed is counted as it will lie in the log.
        let counted = if message.deflated { 0 } else { len };
        if !conn.rate.admit_message(now_ms, messages_max)
            || !conn.rate.admit_bytes(counted, bytes_max)
        {
            return Err(CloseReason::Rate);
        }
        let metrics = self.metrics();
        metrics.messages_in.add(1);
        metrics.bytes_in.add(len as u64);
        if message.deflated {
            return self.handle_deflated(slot, message);
        }
        let Message { text, payload, .. } = message;
        self.obey(slot, Incoming { text, payload })
    }

    fn handle_deflated(&mut self, slot: u32, message: Message<'_>) -> Result<(), CloseReason> {
        let settings = self.hub.settings();
        let (message_bytes_max, bytes_per_s_max) =
            (settings.message_bytes_max, settings.inbound_bytes_per_s_max);
        let conn = self.conns.at(slot);
        // It is not inflated further than it could be accepted.
        let left = conn.rate.bytes_left(bytes_per_s_max);
        let bytes_max = message_bytes_max.min(left);
        if conn.flags.any(Flags::TAKEOVER) {
            let inflater = &mut conn.extra().inflater;
            inflater.get_or_insert_with(|| Box::new(Inflater::resume(&[])));
        }
        let own = self.conns.at(slot).extra.as_mut();
        let own = own.and_then(|extra| extra.inflater.as_deref_mut());
        let mut scratch = self.codec.lend();
        let inflated = self
            .codec
            .inflate(message.payload, own, bytes_max, &mut scratch);
        let accepted = inflated
            .map_err(|fault| match fault {
                Fault::TooBig if left < message_bytes_max => CloseReason::Rate,
                fault => CloseReason::Fault(fault),
            })
            .and_then(|()| {
                let plain = scratch.plain();
                let rate = &mut self.conns.at(slot).rate;
                if !rate.admit_bytes(plain.len(), bytes_per_s_max) {
                    return Err(CloseReason::Rate);
                }
                check_text(message.text, plain).map_err(CloseReason::Fault)?;
                let incoming = Incoming {
                    text: message.text,
                    payload: Payload::Whole(plain),
                };
                self.obey(slot, incoming)
            });
        self.codec.give_back(scratch);
        accepted
    }

    /// Does what a message asks for in its connection's dialect.
    fn obey(&mut self, slot: u32, message: Incoming<'_>) -> Result<(), CloseReason> {
        let conn = self.conns.at(slot);
        let (dialect, peer) = (conn.dialect, conn.peer.address());
        let hub = self.hub.clone();
        let context = Context {
            peer,
            time_of_day: &|| hub.time_of_day(),
        };
        match dialect.handle_message(&context, message)? {
            Command::Publish(Incoming { text, payload }) => self.publish(slot, text, payload),
            Command::Say(line) => self.publish(slot, true, Payload::Whole(line.as_bytes())),
            Command::SayAndLeave(line) => {
                self.conns.at(slot).flags.clear(Flags::PRESENT);
                let end = self.say(slot, &line);
                self.close(slot, CloseReason::Quit, How::Until(end));
                Ok(())
            }
        }
    }

    /// Publishes to a connection's topic. Where there is no room, the message
    /// waits for it, and its publisher with it.
    fn publish(&mut self, slot: u32, text: bool, payload: Payload<'_>) -> Result<(), CloseReason> {
        match self.try_publish(slot, text, payload) {
            Ok(published) => {
                self.skip_own(slot, &published);
                Ok(())
            }
            Err(error) => {
                let lack = lack(error)?;
                let payload = plain(payload);
                check_text(text, &payload).map_err(CloseReason::Fault)?;
                self.await_room(slot, text, payload, lack)
            }
        }
    }

    /// Publishes once more what has waited for room, if there is room now. Returns
    /// what it lacks if it still has to wait.
    ///
    /// # Errors
    /// It can never be published.
    pub(super) fn publish_again(
        &mut self,
        slot: u32,
        message: &Unpublished,
    ) -> Result<Option<Lack>, CloseReason> {
        let number = self.conns.at(slot).sub.feed;
        if let Some(lack) = message.lack {
            // As long as this fails, nothing is encoded.
            let bounds = self.hub.retention().bounds;
            let reserved = self.seek_room(number, |state| {
                state.feeds.at(number).topic.reserve(&lack, &bounds)
            });
            if reserved.is_err() {
                return Ok(Some(lack));
            }
        }
        self.metrics().room_tries.add(1);
        let payload = Payload::Whole(&message.payload);
        match self.try_publish(slot, message.text, payload) {
            Ok(published) => {
                self.skip_own(slot, &published);
                Ok(None)
            }
            Err(error) => lack(error).map(Some),
        }
    }

    /// Appends a message to a connection's topic and has it fanned out.
    fn try_publish(
        &mut self,
        slot: u32,
        text: bool,
        payload: Payload<'_>,
    ) -> Result<Published, AppendError<Fault>> {
        let conn = self.conns.at(slot);
        let (number, extras) = (conn.sub.feed, conn.dialect.extras());
        let published = self.seek_room(number, |state| state.append(number, text, payload, extras));
        // What is pending comes with what its keeper has.
        if let Ok(Published::Committed(committed)) = &published {
            self.published_bytes += committed.raw.end - committed.raw.start;
            self.grow_topic(number);
        }
        published
    }

    /// Does what needs room in a feed's topic. Where all logs are full, history makes
    /// room; where nothing does, relief is asked for.
    fn seek_room<T>(
        &mut self,
        number: u32,
        mut attempt: impl FnMut(&mut Self) -> Result<T, AppendError<Fault>>,
    ) -> Result<T, AppendError<Fault>> {
        let outcome = match attempt(self) {
            Err(AppendError::TotalFull(_)) if self.hub.make_room() => attempt(self),
            outcome => outcome,
        };
        match &outcome {
            Err(AppendError::LogFull(_)) => {
                let scope = self.feeds.at(number).topic.epoch();
                self.hub.relief().ask(Some(scope), &self.hub);
            }
            Err(AppendError::TotalFull(_)) => self.hub.relief().ask(None, &self.hub),
            _ => {}
        }
        outcome
    }

    fn append(
        &mut self,
        number: u32,
        text: bool,
        payload: Payload<'_>,
        extras: Option<Extras<'_>>,
    ) -> Result<Published, AppendError<Fault>> {
        let topic = &self.feeds.at(number).topic;
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
                self.hub.retention(),
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
                    self.append(number, text, Payload::Whole(scratch.plain()), extras)
                });
                self.codec.give_back(scratch);
                published
            }
            Payload::Whole(bytes) => {
                self.codec
                    .prepare(topic.formats(), bytes, self.hub.effort());
                let published = topic.publish(
                    &draft(bytes.len()),
                    self.hub.retention(),
                    &mut self.codec.prepared(),
                    |room| {
                        room.copy_from_slice(bytes);
                        Ok(())
                    },
                )?;
                let metrics = &self.hub.mailbox(self.core).metrics;
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
    fn skip_own(&mut self, slot: u32, published: &Published) {
        let conn = self.conns.at(slot);
        let Published::Committed(committed) = published else {
            return;
        };
        if conn.flags.any(Flags::ECHO) {
            return;
        }
        let format = self.feeds.at(conn.sub.feed).format;
        let range = committed.range(format).expect("it reads this view");
        let id = SubId::first(slot);
        let extra = conn.extra.as_ref();
        let begun = extra.is_none_or(|extra| extra.reaching.is_empty());
        let reached = conn.sub.cursor == range.start && !conn.flags.any(Flags::BUSY) && begun;
        let Some(extra) = conn.extra.as_mut().filter(|extra| !extra.own.is_empty()) else {
            if reached {
                conn.sub.cursor = range.end;
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
        }
    }

    fn pong(&mut self, slot: u32, payload: &[u8]) -> Result<(), CloseReason> {
        self.push_control(slot, Opcode::Pong, payload)
    }

    /// Puts a control frame into a connection's lane.
    pub(super) fn push_control(
        &mut self,
        slot: u32,
        opcode: Opcode,
        payload: &[u8],
    ) -> Result<(), CloseReason> {
        let mut out = [0; 2 + CONTROL_BYTES_MAX];
        let len = frame::encode_control(&mut out, opcode, payload);
        let lane = &mut self.conns.at(slot).attend().lane;
        lane.push(&out[..len])
            .map_err(|_| CloseReason::ControlFlood)?;
        self.mark(slot);
        Ok(())
    }

    /// A newcomer's dialect may announce it to all, itself included.
    pub(super) fn say_entered(&mut self, slot: u32) {
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
    fn say(&mut self, slot: u32, line: &str) -> u64 {
        let format = self.feeds.at(self.conns.at(slot).sub.feed).format;
        match self.try_publish(slot, true, Payload::Whole(line.as_bytes())) {
            Ok(Published::Committed(committed)) => {
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
fn check_text(text: bool, bytes: &[u8]) -> Result<(), Fault> {
    if text && simdutf8::basic::from_utf8(bytes).is_err() {
        return Err(Fault::Utf8);
    }
    Ok(())
}

fn plain(payload: Payload<'_>) -> Vec<u8> {
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
