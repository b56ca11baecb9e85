//! What peers send: from received bytes to what their messages ask for.

use super::closing::How;
use super::conn::{Flags, Phase};
use super::publishing::check_text;
use super::reactor::State;
use crate::protocol::dialect::{Command, Context, Incoming};
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::Action;
use crate::protocol::ws::deflate::Inflater;
use crate::protocol::ws::frame::{self, CONTROL_BYTES_MAX};
use crate::protocol::ws::{Event, Fault, Limits, Message, Opcode, Payload};
use crate::ring::BUFFER_BYTES;

impl State {
    /// Reads all that a peer has sent.
    pub(super) fn handle_bytes(&mut self, slot: u32, mut bytes: &[u8]) {
        if self.conns.at(slot).dialect.is_event_stream() {
            return self.overhear(slot, bytes.len());
        }
        let now_ms = self.patience_ms as u32;
        let conn = self.conns.at(slot);
        conn.heard_ms = now_ms;
        conn.pings = 0;
        if self.keep_unread(slot, bytes) {
            return;
        }
        let conn = self.conns.at(slot);
        if conn.phase == Phase::ShutDown {
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
        let (mut spoke, mut looked_at) = (false, self.published_bytes);
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
            if self.published_bytes - looked_at >= BUFFER_BYTES as u64 {
                looked_at = self.published_bytes;
                self.pause_if_ahead(slot);
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
        let is_between = reader.is_between();
        conn.reader = reader;
        if !is_between {
            self.watch(slot);
        }
        self.keep_unread(slot, bytes);
        if spoke {
            self.pause_if_ahead(slot);
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
        let command = dialect.handle_message(&context, message)?;
        if self.conns.at(slot).flags.any(Flags::READ_ONLY) {
            match command {
                Command::Publish(_) | Command::Say(_) => {
                    self.metrics().note_denial(Action::Publish);
                    return Err(CloseReason::ReadOnly);
                }
                Command::SayAndLeave(_) => {
                    self.close(slot, CloseReason::Quit, How::Owed);
                    return Ok(());
                }
                Command::Converse(_) => {}
            }
        }
        match command {
            Command::Publish(Incoming { text, payload }) => self.publish(slot, text, payload),
            Command::Say(line) => self.publish(slot, true, Payload::Whole(line.as_bytes())),
            Command::Converse(Incoming { text, payload }) => self.converse(slot, text, payload),
            Command::SayAndLeave(line) => {
                self.conns.at(slot).flags.clear(Flags::PRESENT);
                let end = self.say(slot, &line);
                self.close(slot, CloseReason::Quit, How::Until(end));
                Ok(())
            }
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
}
