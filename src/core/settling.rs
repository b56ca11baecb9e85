//! What has become of a send: how far it came, and whose cursors move by that.

use super::closing::{How, why_failed};
use super::conn::{Flags, Phase, Piece};
use super::link::Sent;
use super::reactor::{Reactor, State};
use super::subs::SubId;
use crate::ring::{Errno, Ring};

impl<R: Ring> Reactor<R> {
    /// A send has ended.
    pub(super) fn handle_sent(&mut self, slot: u32, result: Result<u32, Errno>, held: bool) {
        let State {
            feeds,
            conns,
            streams,
            hub,
            core,
            frozen,
            patience_ms,
            links,
            watched,
            ..
        } = &mut self.state;
        let metrics = &hub.mailbox(*core).metrics;
        let conn = conns.at(slot);
        let run = conn.flags.any(Flags::SENDING_RUN);
        conn.flags.clear(Flags::SENDING_RUN | Flags::SENDING_PIECES);
        conn.unreleased += u16::from(held);
        // Not all that were meant so: the ring copies when too many are held.
        metrics.zero_copy_sends.add(u64::from(held));
        let taken = match result {
            Ok(taken) => taken,
            Err(Errno::EAGAIN) => 0,
            Err(Errno::EINTR | Errno::ENOMEM | Errno::ENOBUFS) => {
                if let Some(extra) = &mut conn.extra {
                    extra.sending = Vec::new();
                    extra.lane.settle_left();
                }
                if let Some(link) = links.get_mut(slot) {
                    link.forget_flight();
                }
                self.state.settle_leaving(slot);
                return self.state.mark(slot);
            }
            Err(error) => {
                tracing::debug!(%error, "send failed");
                return self.state.close(slot, why_failed(error), How::AtOnce);
            }
        };
        let is_short = taken < conn.offered;
        let Sent {
            content,
            is_short,
            is_inside,
        } = match conn.flags.any(Flags::TLS) {
            true => links.settle_sent(slot, taken),
            false => Sent {
                content: taken,
                is_short,
                is_inside: is_short,
            },
        };
        if is_short {
            metrics.short_writes.add(1);
            // Frozen, it would keep the core waiting for its peer; thawed, it
            // is sent to anyway.
            if conn.phase != Phase::ShutDown && !*frozen {
                conn.stalled_ms = *patience_ms as u32;
                conn.flags.set(Flags::AWAITING);
                watched.add(slot);
                self.ring.await_writable(slot);
            }
        }
        metrics.bytes_out.add(u64::from(taken));
        if !run || conn.wants_attention() {
            metrics.sends.add(u64::from(run));
            return self.state.account_sent(slot, run, content, is_inside);
        }
        metrics.sends.add(1);
        let feed = feeds.at(conn.sub.feed);
        if content > 0 {
            let from = conn.sub.cursor;
            conn.sub.cursor += u64::from(content);
            if conn.dialect.has_many_topics() {
                streams.note_sent(slot);
            }
            let messages = feed.messages_between(from, conn.sub.cursor);
            metrics.deliveries.add(messages);
            // A whole run ends where a frame does.
            conn.flags.clear(Flags::MID_FRAME);
            if is_inside {
                conn.flags.set(Flags::MID_FRAME);
            }
        }
        // Most are done now; those whose run ended with its segment are looked
        // at again, and who came to be owed something else meanwhile.
        let is_owed = conn.flags.any(Flags::TLS) && links.at(slot).wants_look();
        if conn.sub.cursor < feed.end() || is_owed {
            self.state.mark(slot);
        }
    }
}

impl State {
    /// Notes how far a send came of a connection that wants a closer look.
    fn account_sent(&mut self, slot: u32, run: bool, sent: u32, is_inside: bool) {
        let conn = self.conns.at(slot);
        if conn.phase == Phase::ShutDown {
            return self.mark(slot);
        }
        if conn.dialect.has_many_topics() && sent > 0 {
            self.streams.note_sent(slot);
        }
        self.move_cursors(slot, run, sent, is_inside);
        if let Some(extra) = &mut self.conns.at(slot).extra {
            extra.lane.settle_left();
        }
        self.settle_leaving(slot);
        self.mark(slot);
    }

    fn move_cursors(&mut self, slot: u32, run: bool, sent: u32, is_inside: bool) {
        let mut left = u64::from(sent);
        let conn = self.conns.at(slot);
        if sent > 0 {
            conn.flags.clear(Flags::MID_FRAME);
        }
        if run {
            let id = conn.current(slot);
            self.pass_over(slot, id, left);
            if 0 < left && is_inside {
                self.conns.at(slot).flags.set(Flags::MID_FRAME);
            }
            return;
        }
        let pieces = match &mut conn.extra {
            Some(extra) => std::mem::take(&mut extra.sending),
            None => Vec::new(),
        };
        for piece in pieces {
            if left == 0 {
                break;
            }
            match piece {
                Piece::Lane(len) => {
                    let taken = left.min(u64::from(len));
                    let inside = taken < u64::from(len);
                    let lane = &mut self.conns.at(slot).extra().lane;
                    lane.consume(taken as usize, inside);
                    left -= taken;
                }
                Piece::Run { id, from, to } => {
                    let taken = left.min(to - from);
                    self.sub_mut(id).cursor = from;
                    self.pass_over(slot, id, taken);
                    left -= taken;
                    if taken < to - from {
                        let conn = self.conns.at(slot);
                        conn.flags.set(Flags::MID_FRAME);
                        conn.set_current(id);
                    }
                }
            }
        }
    }

    /// Moves a cursor by `sent` bytes that went out.
    pub(super) fn pass_over(&mut self, slot: u32, id: SubId, sent: u64) {
        assert_eq!(self.subs.owner(id), slot);
        let sub = self.sub_mut(id);
        let (from, to) = (sub.cursor, sub.cursor + sent);
        sub.cursor = to;
        let feed = sub.feed;
        let messages = self.feeds.at(feed).messages_between(from, to);
        self.metrics().deliveries.add(messages);
    }
}
