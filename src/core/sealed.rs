//! Connections over TLS: what they are sent is sealed at the moment of the send, and what they
//! send is opened before it is read. All else is done with them as with any.

use std::ops::Range;

use super::closing::How;
use super::conn::{Conn, Flags, Phase};
use super::feeds::Feed;
use super::link::{Begun, Link};
use super::links::Links;
use super::reactor::{Reactor, State};
use super::subs::SubId;
use crate::protocol::reason::CloseReason;
use crate::protocol::tls::{Alert, Event};
use crate::ring::{Mode, Ring};

impl<R: Ring> Reactor<R> {
    /// Reads what has come in a receive buffer.
    #[inline]
    pub(super) fn handle_received(&mut self, slot: u32, buffer: u16, len: u32) {
        let state = &mut self.state;
        // Over TLS too it is bytes that tell of a peer at work, not records: one may be long under way.
        state.await_rest(slot, len as usize);
        if state.conns.at(slot).flags.any(Flags::TLS) {
            state.handle_records(slot, self.ring.buffer(buffer, len));
        } else {
            state.handle_bytes(slot, self.ring.buffer(buffer, len));
        }
    }

    /// Sends what goes before all that is in logs and lanes, over TLS. True if there is
    /// something, or nothing can be sent now.
    pub(super) fn send_first(&mut self, slot: u32) -> bool {
        let flags = self.state.conns.at(slot).flags;
        if flags.any(Flags::SHUT_WRITE | Flags::SHUT_BOTH) {
            return false;
        }
        let links = &mut self.state.links;
        if links.are_full() {
            // It is looked at again in the next round.
            self.state.mark(slot);
            return true;
        }
        let link = links.at(slot);
        if link.is_used_up() {
            let reason = CloseReason::TlsKeyLimit;
            self.state.close(slot, reason, How::NextBoundary);
        }
        let link = self.state.links.at(slot);
        if link.owes() {
            self.state.settle_record(slot);
            let State { conns, links, .. } = &mut self.state;
            let bytes = links.send_owed(slot);
            let conn = conns.at(slot);
            conn.flags.set(Flags::SENDING_PIECES);
            let len = bytes.len() as u32;
            self.ring.send(slot, &bytes, 0, len, Mode::Copy);
            return true;
        }
        if link.begun().is_some() && self.state.conns.at(slot).wants_attention() {
            self.send_begun(slot);
            return true;
        }
        false
    }

    /// Sends the rest of the record that is begun, and of the message that this ends in.
    fn send_begun(&mut self, slot: u32) {
        let State {
            feeds,
            conns,
            subs,
            links,
            ..
        } = &mut self.state;
        let begun = links.at(slot).begun().expect("a record is begun");
        let conn = conns.at(slot);
        let id = conn.current(slot);
        let sub = match id.slot() {
            Some(_) => conn.sub,
            None => *subs.get(id),
        };
        assert_eq!(sub.cursor, begun.from);
        let feed = feeds.at(sub.feed);
        let (boundary, _) = feed.window.boundary(begun.to());
        let run = begun.from..boundary;
        seal_and_send(&mut self.ring, links, slot, conn, feed, run);
    }

    /// Tells a peer that no more comes, where it can still hear that. True if that is on its way.
    pub(super) fn send_last(&mut self, slot: u32) -> bool {
        let conn = self.state.conns.at(slot);
        if !conn.flags.any(Flags::TLS)
            || conn
                .flags
                .any(Flags::AWAITING | Flags::SHUT_WRITE | Flags::SHUT_BOTH)
        {
            return false;
        }
        if conn.flags.any(Flags::SENDING) {
            return true;
        }
        let link = self.state.links.at(slot);
        if link.is_inside_record() || link.has_said_last() {
            return false;
        }
        link.owe_last(Alert::CloseNotify);
        self.send_first(slot)
    }
}

/// Seals a run of a log that begins at a subscriber's cursor, and sends as much of it as is worth it.
pub(super) fn seal_and_send<R: Ring>(
    ring: &mut R,
    links: &mut Links,
    slot: u32,
    conn: &mut Conn,
    feed: &Feed,
    run: Range<u64>,
) {
    let copy = |from, len, out: &mut Vec<u8>| feed.copy(from, from + len, out);
    let bytes = links.seal_run(slot, run, copy);
    conn.flags.set(Flags::SENDING_RUN);
    ring.send(slot, &bytes, 0, bytes.len() as u32, Mode::Copy);
}

impl State {
    /// Reads records that a peer has sent.
    fn handle_records(&mut self, slot: u32, mut bytes: &mut [u8]) {
        let Some(mut incoming) = self.links.at(slot).take_incoming() else {
            // It is not read any more.
            return;
        };
        let held = incoming.buffered_bytes();
        let had_records_left = incoming.records_left() > 0;
        let (mut has_come, mut ended) = (false, false);
        loop {
            let next = incoming.next(&mut bytes);
            has_come |= matches!(next, Ok(Some(_)));
            match next {
                Ok(None) => break,
                Ok(Some(Event::Data(content))) => self.handle_bytes(slot, content),
                Ok(Some(Event::KeyUpdate { requested: false })) => {}
                Ok(Some(Event::KeyUpdate { requested: true })) => {
                    self.links.at(slot).owe_key_update();
                    self.mark(slot);
                }
                Ok(Some(Event::Refused(alert))) => {
                    self.links.at(slot).owe_warning(alert);
                    self.mark(slot);
                }
                Ok(Some(Event::CloseNotify)) => {
                    ended = true;
                    break;
                }
                Err(fault) => {
                    if let Some(alert) = fault.alert() {
                        self.links.at(slot).owe_last(alert);
                    }
                    self.close(slot, CloseReason::Tls(fault), How::AtOnce);
                    break;
                }
            }
            if self.conns.at(slot).phase == Phase::ShutDown {
                break;
            }
        }
        if had_records_left && incoming.records_left() == 0 {
            self.links.at(slot).owe_key_request();
            self.mark(slot);
        }
        let holds = incoming.buffered_bytes();
        let has_room = held == holds || self.hub.account_partial(held, holds);
        if self.conns.at(slot).phase == Phase::ShutDown {
            self.hub.account_partial(holds, 0);
            return;
        }
        if !has_room {
            // Nothing more of it is read.
            self.hub.account_partial(holds, 0);
            self.stop_reading(slot, CloseReason::PartialBytes);
            // Its end may have been waited for already.
            return self.mark(slot);
        }
        self.links.at(slot).put_incoming(incoming);
        self.note_part(slot, holds, held == 0 || has_come);
        if ended {
            self.handle_end(slot, None);
        }
    }

    /// So much of a record has come in part, and `is_new` is the first of it. It has the time of a
    /// message; in the midst of one that one's.
    fn note_part(&mut self, slot: u32, bytes: usize, is_new: bool) {
        let now_ms = self.patience_ms as u32;
        let conn = self.conns.at(slot);
        conn.flags.clear(Flags::IN_RECORD);
        // Who is being closed has a time of its own.
        if bytes == 0 || conn.phase != Phase::Open {
            return;
        }
        conn.flags.set(Flags::IN_RECORD);
        if is_new && conn.reader.is_between() {
            conn.begun_ms = now_ms;
        }
        self.watch(slot);
    }

    /// Keeps the rest of the record that is begun, as ciphertext: its content is about to be
    /// moved away from, or other content to go before what follows it.
    pub(super) fn settle_record(&mut self, slot: u32) {
        if !self.conns.at(slot).flags.any(Flags::TLS) {
            return;
        }
        let Some(begun) = self.links.at(slot).begun() else {
            return;
        };
        let id = self.conns.at(slot).current(slot);
        let sub = *self.look_at_sub(id);
        assert_eq!(sub.cursor, begun.from);
        let feed = self.feeds.look_at(sub.feed);
        let copy = |from, len, out: &mut Vec<u8>| feed.copy(from, from + len, out);
        self.links.settle_begun(slot, begun, copy);
        self.pass_over(slot, id, u64::from(begun.len));
        if self.conns.at(slot).dialect.has_many_topics() {
            self.streams.note_sent(slot);
        }
        let window = &self.feeds.look_at(sub.feed).window;
        let is_inside = window.boundary(begun.to()).0 != begun.to();
        let flags = &mut self.conns.at(slot).flags;
        flags.clear(Flags::MID_FRAME);
        if is_inside {
            flags.set(Flags::MID_FRAME);
        }
    }

    /// A record is begun that holds a run of this subscription's log.
    pub(super) fn has_begun_record(&self, slot: u32, id: SubId) -> bool {
        let conn = self.conns.look_at(slot);
        conn.flags.any(Flags::TLS)
            && conn.current(slot) == id
            && (self.links.get(slot)).is_some_and(|link| link.begun().is_some())
    }

    /// Up to where a subscription has been sent its log, with the record that is begun.
    pub(super) fn reached(&self, id: SubId) -> u64 {
        let slot = self.subs.owner(id);
        let cursor = self.look_at_sub(id).cursor;
        if !self.has_begun_record(slot, id) {
            return cursor;
        }
        let begun = self.links.get(slot).and_then(Link::begun);
        begun.map_or(cursor, Begun::to)
    }

    /// A connection over TLS is shut down: nothing it has begun is gone on with.
    pub(super) fn abandon_link(&mut self, slot: u32) {
        if let Some(link) = self.links.get_mut(slot) {
            let held = link.buffered_bytes();
            link.abandon();
            self.hub.account_partial(held, 0);
        }
    }

    /// Tells how much ciphertext is kept.
    pub(super) fn tell_kept(&self) {
        let kept = self.links.kept_bytes() as u64;
        self.metrics().tls_kept_bytes.set(kept);
    }

    /// The peer ends its direction. Over TLS it is to say so first: who cuts a connection off
    /// cannot.
    pub(super) fn note_truncation(&mut self, slot: u32) {
        let link = self.links.get(slot);
        if link.is_some_and(|link| !link.has_ended()) {
            self.metrics().tls.truncated.add(1);
        }
    }
}
