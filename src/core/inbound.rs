//! What peers send: from received bytes to published messages.

use super::conn::{Flags, LANE_BYTES_MAX, OWN_MAX, Phase};
use super::reactor::State;
use super::reason::CloseReason;
use crate::log::{AppendError, Published};
use crate::mask;
use crate::protocol::chat;
use crate::protocol::ws::frame::{self, CONTROL_BYTES_MAX};
use crate::protocol::ws::{Event, Fault, Message, Opcode, Payload};

impl State {
    /// Reads all that a peer has sent.
    pub(super) fn handle_bytes(&mut self, slot: u32, mut bytes: &[u8]) {
        let now_ms = self.now_ms;
        let conn = self.conns.at(slot);
        conn.heard_ms = now_ms as u32;
        conn.pings = 0;
        if conn.phase == Phase::Ending {
            return;
        }
        // The reader lends out what it holds while the rest of the state is at
        // work, so it leaves its place for that long.
        let mut reader = std::mem::take(&mut conn.reader);
        let held = reader.buffered_bytes();
        let mut verdict = Ok(());
        while verdict.is_ok() {
            verdict = match reader.next(&mut bytes, &self.limits) {
                Ok(Some(event)) => self.handle_event(slot, event),
                Ok(None) => break,
                Err(fault) => Err(CloseReason::Fault(fault)),
            };
        }
        let holds = reader.buffered_bytes();
        if held != holds && !self.hub.account_partial(held, holds) && verdict.is_ok() {
            verdict = Err(CloseReason::PartialBytes);
        }
        self.conns.at(slot).reader = reader;
        match verdict {
            Ok(()) => {}
            // What it did right before is still answered, in this order.
            Err(reason @ CloseReason::Fault(_)) => self.finish_after_owed(slot, reason),
            Err(reason) => self.finish(slot, 0, reason),
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
        let len = match message.payload {
            Payload::Masked { bytes, .. } | Payload::Whole(bytes) => bytes.len(),
        };
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
        let conn = self.conns.at(slot);
        if conn.flags.any(Flags::CHAT) {
            return self.handle_chat(slot, message);
        }
        let number = conn.topic;
        let opcode = if message.text {
            Opcode::Text
        } else {
            Opcode::Binary
        };
        let published = match message.payload {
            Payload::Masked { bytes, key } => self.publish(number, opcode, len, |room| {
                mask::copy_unmasked(room, bytes, key);
                if opcode == Opcode::Text {
                    simdutf8::basic::from_utf8(room).map_err(|_| Fault::Utf8)?;
                }
                Ok(())
            }),
            Payload::Whole(bytes) => self.publish(number, opcode, len, |room| {
                room.copy_from_slice(bytes);
                Ok(())
            }),
        }?;
        self.skip_own(slot, published)
    }

    /// Appends a message to a topic of this core and has it fanned out.
    fn publish(
        &mut self,
        number: u32,
        opcode: Opcode,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> Result<(), Fault>,
    ) -> Result<Published, CloseReason> {
        let local = self.locals.at(number);
        let published = local
            .topic
            .publish(opcode, len, self.now_ms, self.hub.retention(), write)
            .map_err(|error| match error {
                AppendError::Payload(fault) => CloseReason::Fault(fault),
                AppendError::LogFull | AppendError::TotalFull => CloseReason::LogFull,
            })?;
        if !local.announce {
            local.announce = true;
            self.announce.push((number, local.topic.clone()));
        }
        self.grow(number);
        Ok(published)
    }

    /// The publisher does not hear itself: its cursor steps over the message.
    fn skip_own(&mut self, slot: u32, published: Published) -> Result<(), CloseReason> {
        let conn = self.conns.at(slot);
        if conn.flags.any(Flags::ECHO) {
            return Ok(());
        }
        let range = published.range;
        let reached = conn.cursor == range.start && !conn.flags.any(Flags::BUSY);
        let own = &mut conn.extra().own;
        if let Some(last) = own.back_mut()
            && last.end == range.start
        {
            last.end = range.end;
            return Ok(());
        }
        if own.len() == OWN_MAX {
            return Err(CloseReason::OwnLag);
        }
        if reached && own.is_empty() {
            conn.cursor = range.end;
            conn.tidy_extra();
            return Ok(());
        }
        own.push_back(range);
        Ok(())
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
        let said = self.publish_line(slot, &chat::logout(address));
        // With the log full there is nobody left to tell.
        said.map_or(0, |published| published.range.end)
    }

    fn handle_chat(&mut self, slot: u32, message: Message<'_>) -> Result<(), CloseReason> {
        if !message.text {
            return Err(CloseReason::ChatBinary);
        }
        let bytes = match message.payload {
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
        let time = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
        let address = self.conns.at(slot).peer.address();
        let line = chat::say(&time, address, text);
        self.publish_line(slot, &line).map(|_| ())
    }

    fn publish_line(&mut self, slot: u32, line: &str) -> Result<Published, CloseReason> {
        let number = self.conns.at(slot).topic;
        self.publish(number, Opcode::Text, line.len(), |room| {
            room.copy_from_slice(line.as_bytes());
            Ok(())
        })
    }
}
