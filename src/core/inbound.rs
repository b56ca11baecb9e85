//! What peers send: from received bytes to published messages.

use super::conn::{Flags, LANE_BYTES_MAX, Phase};
use super::reactor::State;
use crate::log::{AppendError, Published, ViewKind};
use crate::mask;
use crate::protocol::chat;
use crate::protocol::reason::CloseReason;
use crate::protocol::ws::frame::{self, CONTROL_BYTES_MAX};
use crate::protocol::ws::{Event, Fault, Limits, Message, Opcode, Payload};

impl State {
    /// Reads all that a peer has sent.
    pub(super) fn handle_bytes(&mut self, slot: u32, mut bytes: &[u8]) {
        let now_ms = self.now_ms;
        if self.put_off(slot, bytes) {
            return;
        }
        let conn = self.conns.at(slot);
        conn.heard_ms = now_ms as u32;
        conn.pings = 0;
        if conn.phase == Phase::Ending {
            return;
        }
        // The reader lends out what it holds while the rest of the state is at
        // work, so it leaves its place for that long.
        let mut reader = std::mem::take(&mut conn.reader);
        let limits = Limits {
            message_bytes_max: self.hub.settings().message_bytes_max,
            deflate: conn.window_bits > 0,
        };
        let held = reader.buffered_bytes();
        let mut between = reader.is_between();
        let mut spoke = false;
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
                Err(reason @ CloseReason::Fault(_)) => self.finish_after_owed(slot, reason),
                Err(reason) => self.finish(slot, 0, reason),
            }
            between |= reader.is_between();
        }
        if between {
            // What is unfinished now, if anything is, began in these bytes.
            self.conns.at(slot).begun_ms = now_ms as u32;
        }
        let holds = reader.buffered_bytes();
        if held != holds && !self.hub.account_partial(held, holds) {
            self.hub.account_partial(holds, 0);
            reader.stop();
            self.finish(slot, 0, CloseReason::PartialBytes);
        }
        if reader.is_closed() {
            // The peer may have been waited for already.
            self.mark(slot);
        }
        self.conns.at(slot).reader = reader;
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
        let (messages_max, bytes_max) = (
            settings.inbound_messages_per_s_max,
            settings.inbound_bytes_per_s_max,
        );
        let conn = self.conns.at(slot);
        if !conn.rate.admit(self.now_ms, len, messages_max, bytes_max) {
            return Err(CloseReason::Rate);
        }
        let metrics = self.metrics();
        metrics.messages_in.add(1);
        metrics.bytes_in.add(len as u64);
        if !message.deflated {
            return self.accept_message(slot, message.text, message.payload);
        }
        let message_bytes_max = self.hub.settings().message_bytes_max;
        let own = self.conns.at(slot).extra.as_mut();
        let own = own.and_then(|extra| extra.inflater.as_deref_mut());
        let mut scratch = self.codec.lend();
        let inflated = self
            .codec
            .inflate(message.payload, own, message_bytes_max, &mut scratch);
        let accepted = inflated
            .and_then(|()| check_text(message.text, scratch.plain()))
            .map_err(CloseReason::Fault)
            .and_then(|()| {
                self.accept_message(slot, message.text, Payload::Whole(scratch.plain()))
            });
        self.codec.give_back(scratch);
        accepted
    }

    fn accept_message(
        &mut self,
        slot: u32,
        text: bool,
        payload: Payload<'_>,
    ) -> Result<(), CloseReason> {
        let conn = self.conns.at(slot);
        if conn.flags.any(Flags::CHAT) {
            return self.handle_chat(slot, text, payload);
        }
        let number = conn.topic;
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let published = self.publish(number, opcode, payload)?;
        self.skip_own(slot, published);
        Ok(())
    }

    /// Appends a message to a topic of this core and has it fanned out. Where
    /// all logs are full, history makes room.
    fn publish(
        &mut self,
        number: u32,
        opcode: Opcode,
        payload: Payload<'_>,
    ) -> Result<Published, CloseReason> {
        let published = match self.append(number, opcode, payload) {
            Err(AppendError::TotalFull) if self.hub.make_room() => {
                self.append(number, opcode, payload)
            }
            published => published,
        };
        let published = published.map_err(|error| match error {
            AppendError::Payload(fault) => CloseReason::Fault(fault),
            AppendError::LogFull | AppendError::TotalFull => CloseReason::LogFull,
        })?;
        self.grow_topic(number);
        Ok(published)
    }

    fn append(
        &mut self,
        number: u32,
        opcode: Opcode,
        payload: Payload<'_>,
    ) -> Result<Published, AppendError<Fault>> {
        let topic = &self.locals.at(number).topic;
        let text = opcode == Opcode::Text;
        match payload {
            // The common way: one pass from the receive buffer into the log.
            Payload::Masked { bytes, key } if topic.window_bits().is_none() => topic.publish(
                opcode,
                bytes.len(),
                self.now_ms,
                self.hub.retention(),
                None,
                |room| {
                    mask::copy_unmasked(room, bytes, key);
                    check_text(text, room)
                },
            ),
            Payload::Masked { bytes, key } => {
                let mut scratch = self.codec.lend();
                scratch.unmask(bytes, key);
                let checked = check_text(text, scratch.plain());
                let published = checked
                    .map_err(AppendError::Payload)
                    .and_then(|()| self.append(number, opcode, Payload::Whole(scratch.plain())));
                self.codec.give_back(scratch);
                published
            }
            Payload::Whole(bytes) => {
                let settings = self.hub.settings();
                let (level, bytes_min) =
                    (settings.deflate_level as u32, settings.deflate_bytes_min);
                let compressed = self.codec.deflate(topic, bytes, level, bytes_min);
                if let Some(compressed) = &compressed {
                    let saved = bytes.len() - compressed.payload.len();
                    let readers = topic.subscribers(ViewKind::Deflated);
                    let metrics = &self.hub.mailbox(self.core).metrics;
                    metrics.deflated_messages.add(1);
                    metrics.deflate_saved_bytes.add(saved as u64 * readers);
                }
                topic.publish(
                    opcode,
                    bytes.len(),
                    self.now_ms,
                    self.hub.retention(),
                    compressed,
                    |room| {
                        room.copy_from_slice(bytes);
                        Ok(())
                    },
                )
            }
        }
    }

    /// The publisher does not hear itself: its cursor steps over the message.
    fn skip_own(&mut self, slot: u32, published: Published) {
        let conn = self.conns.at(slot);
        if conn.flags.any(Flags::ECHO) {
            return;
        }
        let kind = self.locals.at(conn.topic).kind;
        let range = published.range(kind);
        let reached = conn.cursor == range.start && !conn.flags.any(Flags::BUSY);
        let own = &mut conn.extra().own;
        if let Some(last) = own.back_mut()
            && last.end == range.start
        {
            last.end = range.end;
        } else if reached && own.is_empty() {
            conn.cursor = range.end;
            conn.tidy_extra();
        } else {
            own.push_back(range);
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
        let lane = &mut self.conns.at(slot).extra().lane;
        if lane.len() + len > LANE_BYTES_MAX {
            return Err(CloseReason::ControlFlood);
        }
        lane.extend_from_slice(&out[..len]);
        self.mark(slot);
        Ok(())
    }

    /// A newcomer is announced to all, itself included.
    pub(super) fn welcome(&mut self, slot: u32) {
        let address = self.conns.at(slot).peer.address();
        if let Err(reason) = self.publish_line(slot, &chat::welcome(address)) {
            self.finish(slot, 0, reason);
        }
    }

    /// A leaver is announced to all. Returns where its line ends in the log.
    pub(super) fn logout(&mut self, slot: u32) -> u64 {
        let address = self.conns.at(slot).peer.address();
        let kind = self.locals.at(self.conns.at(slot).topic).kind;
        let said = self.publish_line(slot, &chat::logout(address));
        // With the log full there is nobody left to tell.
        said.map_or(0, |published| published.range(kind).end)
    }

    fn handle_chat(
        &mut self,
        slot: u32,
        text: bool,
        payload: Payload<'_>,
    ) -> Result<(), CloseReason> {
        if !text {
            return Err(CloseReason::ChatBinary);
        }
        let bytes = match payload {
            Payload::Masked { bytes, key } => {
                let mut text = bytes.to_vec();
                mask::unmask(&mut text, key);
                text
            }
            Payload::Whole(bytes) => bytes.to_vec(),
        };
        let text = simdutf8::basic::from_utf8(&bytes).map_err(|_| Fault::Utf8);
        let text = text.map_err(CloseReason::Fault)?;
        if text.trim_end_matches(['\r', '\n']) == "quit" {
            let end = self.logout(slot);
            self.conns.at(slot).flags.clear(Flags::CHAT);
            self.finish(slot, end, CloseReason::Quit);
            return Ok(());
        }
        let time = self.hub.time_of_day();
        let address = self.conns.at(slot).peer.address();
        let line = chat::say(&time, address, text);
        self.publish_line(slot, &line).map(|_| ())
    }

    fn publish_line(&mut self, slot: u32, line: &str) -> Result<Published, CloseReason> {
        let number = self.conns.at(slot).topic;
        self.publish(number, Opcode::Text, Payload::Whole(line.as_bytes()))
    }
}

/// What is published as text is UTF-8.
fn check_text(text: bool, bytes: &[u8]) -> Result<(), Fault> {
    if text && simdutf8::basic::from_utf8(bytes).is_err() {
        return Err(Fault::Utf8);
    }
    Ok(())
}
