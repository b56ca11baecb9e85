//! What peers are sent: grown feeds are fanned out, and whoever wants a closer look
//! is sent what [`Stand::poll_transmit`] names.

use std::net::Shutdown;
use std::ops::Range;
use std::rc::Rc;

use super::conn::{Conn, Flags, Phase, Piece};
use super::feeds::Feed;
use super::links::Links;
use super::reactor::{Reactor, State};
use super::sealed::seal_and_send;
use super::transmit::{GATHER_BYTES, Stand, Transmit};
use crate::config::{Settings, Zerocopy};
use crate::protocol::tls::Alert;
use crate::ring::{Mode, Ring};

/// Sends in one go of fan-out; then the ring delivers what else has come, so
/// that a large topic holds up neither pings nor small topics.
const FAN_OUT_MAX: usize = 256;

impl<R: Ring> Reactor<R> {
    /// Sends grown feeds to their subscribers, a bounded number at a time, unless it is newcomers'
    /// turn.
    pub(super) fn fan_out(&mut self) {
        self.state.tell_others();
        let newcomers = &self.state.newcomers;
        if !newcomers.rounds.may_deliver(newcomers.knocking.len()) {
            return;
        }
        let budget_max = FAN_OUT_MAX.min(self.ring.room());
        let mut budget = budget_max;
        while budget > 0 {
            let Some(number) = self.state.growing.pop_front() else {
                break;
            };
            if self.fan_out_feed(number, &mut budget) {
                self.state.growing.push_back(number);
            }
        }
        let (made, last) = (budget_max - budget, self.state.growing.is_empty());
        self.state.newcomers.rounds.note_deliveries(made, last);
        self.state.settle_lagging();
    }

    /// Goes on with one feed. True when there is more to do for it.
    fn fan_out_feed(&mut self, number: u32, budget: &mut usize) -> bool {
        let feed = self.state.feeds.get_mut(number);
        // A feed that had this number before may still stand in the queue.
        let Some(feed) = feed.filter(|feed| feed.growing && !feed.pace.rests()) else {
            return false;
        };
        // Each is sent all there is by now, though more may have come than when
        // the round began: what is published meanwhile need not wait for the
        // next one, and goes out together with what is on its way. With a pace it
        // has to.
        let (seen, begins) = (feed.window.advance(), feed.next == 0);
        self.state.look_at_marks();
        if begins && !self.state.may_begin_round(number, seen) {
            return false;
        }
        let State {
            feeds,
            conns,
            subs,
            dirty,
            lagging,
            hub,
            core,
            links,
            ..
        } = &mut self.state;
        let settings = hub.settings();
        let Some(feed) = feeds.get_mut(number) else {
            return false;
        };
        let end = feed.end();
        if begins {
            feed.release(|id| match id.slot() {
                Some(slot) => conns.look_at(slot).sub.cursor,
                None => subs.get(id).cursor,
            });
            feed.round_end = end;
        }
        let mut look_at = |slot: u32, conn: &mut Conn, budget: &mut usize| {
            if !conn.flags.any(Flags::DIRTY) {
                conn.flags.set(Flags::DIRTY);
                dirty.push(slot);
                *budget -= 1;
            }
        };
        while *budget > 0 && (feed.next as usize) < feed.subscribers.len() {
            let id = feed.subscribers[feed.next as usize];
            feed.next += 1;
            let slot = subs.owner(id);
            let conn = conns.at(slot);
            if conn.flags.any(Flags::MANY) {
                conn.make_ready(id, subs);
            }
            let cursor = match id.slot() {
                Some(_) => conn.sub.cursor,
                None => subs.get(id).cursor,
            };
            if conn.flags.any(Flags::BUSY) {
                let behind = end.saturating_sub(cursor);
                if conn.flags.any(Flags::AWAITING) && behind > settings.lag_bytes_max as u64 {
                    lagging.push(id);
                }
            } else if conn.flags.any(Flags::ATTENTION | Flags::TLS) && wants_look(links, slot, conn)
            {
                look_at(slot, conn, budget);
            } else if cursor < end {
                send_run(
                    &mut self.ring,
                    links,
                    settings,
                    slot,
                    conn,
                    feed,
                    cursor..end,
                );
                *budget -= 1;
                if links.are_full() {
                    *budget = 0;
                }
            }
        }
        if (feed.next as usize) < feed.subscribers.len() {
            return true;
        }
        feed.next = 0;
        let more = feed.window.advance() - feed.round_end;
        feed.growing = more > 0;
        let topic = &feed.topic;
        feed.interest[*core].pass(feed.round_end);
        let near = more <= settings.ahead_bytes_max as u64 / 2;
        if near && topic.waiting.is_set() {
            hub.wake_publishers(topic);
        }
        feed.growing
    }

    /// Sends a connection what comes next for it, if it can be sent.
    pub(super) fn push_out(&mut self, slot: u32) {
        let flags = self.state.conns.at(slot).flags;
        if flags.any(Flags::BUSY) || flags.any(Flags::TLS) && self.send_first(slot) {
            return;
        }
        let State {
            feeds,
            conns,
            subs,
            hub,
            links,
            ..
        } = &mut self.state;
        let conn = conns.at(slot);
        if !conn.flags.any(Flags::ATTENTION) && conn.phase == Phase::Open {
            if !conn.sub.is_seated() {
                return;
            }
            let cursor = conn.sub.cursor;
            let feed = feeds.at(conn.sub.feed);
            let end = feed.end();
            if cursor < end {
                let settings = hub.settings();
                send_run(
                    &mut self.ring,
                    links,
                    settings,
                    slot,
                    conn,
                    feed,
                    cursor..end,
                );
            }
            return;
        }
        let mut stand = Stand {
            slot,
            conn,
            feeds,
            subs,
        };
        match stand.poll_transmit() {
            Transmit::Run { id, to } => {
                let sub = match id.slot() {
                    Some(_) => conn.sub,
                    None => *subs.get(id),
                };
                conn.set_current(id);
                let feed = feeds.at(sub.feed);
                let settings = hub.settings();
                let run = sub.cursor..to;
                send_run(&mut self.ring, links, settings, slot, conn, feed, run);
            }
            Transmit::Pieces(pieces) => self.send_pieces(slot, pieces),
            Transmit::Drained => {
                self.state.begin_closing(slot);
                self.push_out(slot);
            }
            Transmit::Nothing if conn.phase == Phase::Closing => self.go_on_closing(slot),
            Transmit::Nothing => conn.tidy(),
        }
    }

    /// Copies pieces together and sends them in one go: a publisher among
    /// publishers, or a subscriber of many quiet topics, would get a send for each
    /// otherwise. Long bytes of a lane come alone, and are not copied.
    fn send_pieces(&mut self, slot: u32, pieces: Vec<Piece>) {
        let State {
            feeds,
            conns,
            subs,
            links,
            ..
        } = &mut self.state;
        let conn = conns.at(slot);
        let bytes = match (&pieces[..], conn.extra().lane.long()) {
            ([Piece::Lane(len)], Some(long)) => long.slice(..*len as usize),
            _ => {
                let mut bytes = Vec::new();
                for piece in &pieces {
                    match *piece {
                        Piece::Lane(len) => conn.extra().lane.copy(len as usize, &mut bytes),
                        Piece::Run { id, from, to } => {
                            let feed = match id.slot() {
                                Some(_) => conn.sub.feed,
                                None => subs.get(id).feed,
                            };
                            feeds.look_at(feed).copy(from, to, &mut bytes);
                        }
                    }
                }
                bytes.into()
            }
        };
        conn.offered = bytes.len() as u32;
        conn.flags.set(Flags::SENDING_PIECES);
        conn.attend().sending = pieces;
        let bytes = match conn.flags.any(Flags::TLS) {
            false => Rc::new(bytes),
            true => links.seal_gathered(slot, &bytes),
        };
        let len = bytes.len() as u32;
        self.ring.send(slot, &bytes, 0, len, Mode::Copy);
    }

    /// The steps of parting that follow the close frame.
    fn go_on_closing(&mut self, slot: u32) {
        let conn = self.state.conns.at(slot);
        if conn.flags.any(Flags::ENDED) {
            return self.state.shut_down(slot);
        }
        // The server closes TCP first (RFC 6455 section 7.1.1), once the peer
        // has nothing more to say or is not to be listened to.
        let parted = conn.flags.any(Flags::PEER_CLOSED) || conn.reader.is_closed();
        if parted && !conn.flags.any(Flags::SHUT_WRITE) {
            if conn.flags.any(Flags::TLS) && self.state.links.at(slot).owe_last(Alert::CloseNotify)
            {
                return self.state.mark(slot);
            }
            conn.flags.set(Flags::SHUT_WRITE | Flags::SHUTTING);
            self.ring.shutdown(slot, Shutdown::Write);
        }
    }
}

/// A connection is to be sent more than a run of its first log.
fn wants_look(links: &mut Links, slot: u32, conn: &Conn) -> bool {
    conn.flags.any(Flags::ATTENTION) || links.at(slot).wants_look()
}

/// Sends a run of a log from a subscriber's cursor towards `end`, which is a
/// boundary between messages.
#[inline]
fn send_run<R: Ring>(
    ring: &mut R,
    links: &mut Links,
    settings: &Settings,
    slot: u32,
    conn: &mut Conn,
    feed: &mut Feed,
    Range { start, end }: Range<u64>,
) {
    if conn.flags.any(Flags::TLS) {
        return seal_and_send(ring, links, slot, conn, feed, start..end);
    }
    conn.flags.set(Flags::SENDING_RUN);
    let run = feed.window.slice(start, end);
    let owed = end - start;
    if u64::from(run.len) < owed && owed < GATHER_BYTES {
        conn.offered = owed as u32;
        let bytes = feed.seam(start, end);
        return ring.send(slot, bytes, 0, conn.offered, Mode::Copy);
    }
    let large = run.len as usize >= settings.zerocopy_bytes_min;
    let mode = match settings.zerocopy {
        Zerocopy::Always if large => Mode::ZeroCopy,
        // A route that has copied once will copy again. And one send at a time:
        // a peer that stalls must not pin much of the log.
        Zerocopy::Auto if large && !conn.flags.any(Flags::COPIES) && conn.unreleased == 0 => {
            Mode::ZeroCopy
        }
        _ => Mode::Copy,
    };
    conn.offered = run.len;
    ring.send(slot, run.bytes, run.from, run.len, mode);
}

impl State {
    /// Tells other cores of topics that have grown on this one.
    fn tell_others(&mut self) {
        let mut announce = std::mem::take(&mut self.announce);
        for (number, topic) in announce.drain(..) {
            // The topic may have lost its last subscriber here since, and
            // another may have its number: that one is then told of twice.
            if let Some(feed) = self.feeds.get_mut(number) {
                feed.announce = false;
            }
            self.hub.announce(&topic, Some(self.core));
        }
        self.announce = announce;
    }
}
