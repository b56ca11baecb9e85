//! What peers are sent: the lane first, then the log from the cursor on.

use std::net::Shutdown;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::conn::{Conn, Flags, Phase};
use super::local::Local;
use super::reactor::{Reactor, State};
use crate::config::{Settings, Zerocopy};
use crate::protocol::reason::CloseReason;
use crate::ring::{Errno, Mode, Ring};

/// Sends in one go of fan-out; then the ring delivers what else has come, so
/// that a large topic holds up neither pings nor small topics.
const FAN_OUT_MAX: usize = 256;
/// Runs of the log below this size are sent together where own messages, or the
/// end of a segment, lie between them.
const GATHER_BYTES: usize = 64 << 10;

impl<R: Ring> Reactor<R> {
    /// Sends grown topics to their subscribers, a bounded number at a time.
    pub(super) fn fan_out(&mut self) {
        self.state.tell_others();
        let mut budget = FAN_OUT_MAX.min(self.ring.room());
        while budget > 0 {
            let Some(number) = self.state.growing.pop_front() else {
                break;
            };
            if self.fan_out_topic(number, &mut budget) {
                self.state.growing.push_back(number);
            }
        }
        self.state.settle_lagging();
    }

    /// Goes on with one topic. True when there is more to do for it.
    fn fan_out_topic(&mut self, number: u32, budget: &mut usize) -> bool {
        let State {
            locals,
            conns,
            dirty,
            lagging,
            hub,
            core,
            ..
        } = &mut self.state;
        let settings = hub.settings();
        let Some(local) = locals.get_mut(number) else {
            return false;
        };
        // Each is sent all there is by now, though more may have come than when
        // the round began: what is published meanwhile need not wait for the
        // next one, and goes out together with what is on its way.
        let end = local.window.advance();
        if local.next == 0 {
            local.release(conns);
            local.round_end = end;
        }
        while *budget > 0 && local.next < local.subscribers.len() {
            let slot = local.subscribers[local.next];
            local.next += 1;
            let conn = conns.at(slot);
            if conn.flags.any(Flags::BUSY) {
                let behind = end.saturating_sub(conn.cursor);
                if conn.flags.any(Flags::AWAITING) && behind > settings.lag_bytes_max as u64 {
                    lagging.push(slot);
                }
            } else if conn.flags.any(Flags::SPECIAL) {
                if !conn.flags.any(Flags::DIRTY) {
                    conn.flags.set(Flags::DIRTY);
                    dirty.push(slot);
                    *budget -= 1;
                }
            } else if conn.cursor < end {
                send_log(&mut self.ring, settings, slot, conn, local, end);
                *budget -= 1;
            }
        }
        if local.next < local.subscribers.len() {
            return true;
        }
        local.next = 0;
        let more = local.window.advance() - local.round_end;
        local.growing = more > 0;
        let topic = &local.topic;
        let passed = &topic.listener(*core, local.kind).passed;
        passed.store(local.round_end, Ordering::SeqCst);
        let near = more <= settings.ahead_bytes_max as u64 / 2;
        if near && topic.publisher_waits.load(Ordering::SeqCst) {
            hub.wake_publishers(topic);
        }
        local.growing
    }

    /// Sends a connection what comes next for it, if it can be sent.
    pub(super) fn push_out(&mut self, slot: u32) {
        let State {
            locals, conns, hub, ..
        } = &mut self.state;
        let conn = conns.at(slot);
        if conn.flags.any(Flags::BUSY) {
            return;
        }
        if conn.phase == Phase::Closing {
            return self.push_out_closing(slot);
        }
        let local = locals.at(conn.topic);
        let finish = conn.extra.as_ref().and_then(|extra| extra.finish);
        let done = finish.is_some_and(|finish| conn.cursor >= finish.position);
        let waiting = conn
            .extra
            .as_ref()
            .is_some_and(|extra| !extra.lane.is_empty());
        if (done || waiting) && conn.flags.any(Flags::MID_FRAME) {
            // Frames for this peer alone go between frames of the log.
            let (boundary, _) = local.window.boundary(conn.cursor);
            if boundary > conn.cursor {
                let settings = hub.settings();
                return send_log(&mut self.ring, settings, slot, conn, local, boundary);
            }
            conn.flags.clear(Flags::MID_FRAME);
        }
        if done {
            self.state.begin_closing(slot);
            return self.push_out_closing(slot);
        }
        if waiting {
            return send_lane(&mut self.ring, slot, conn);
        }
        let mut end = conn.step_over_own().unwrap_or(u64::MAX);
        end = end.min(local.window.end());
        if let Some(finish) = finish {
            end = end.min(finish.position);
            if conn.cursor >= finish.position {
                // Only own messages lay before the end.
                return self.state.mark(slot);
            }
        }
        if end < local.window.end() && end - conn.cursor < GATHER_BYTES as u64 {
            let last = finish.map_or(u64::MAX, |finish| finish.position);
            return send_gathered(&mut self.ring, slot, conn, local, last);
        }
        conn.tidy_extra();
        let at_rest = conn.extra.as_ref().is_none_or(|extra| extra.is_at_rest());
        if conn.flags.any(Flags::CATCHING_UP) && conn.cursor >= end && at_rest {
            return self.state.change_view(slot);
        }
        if conn.cursor < end {
            send_log(&mut self.ring, hub.settings(), slot, conn, local, end);
        }
    }

    /// The last frames of a connection, and the steps of parting after them.
    fn push_out_closing(&mut self, slot: u32) {
        let conn = self.state.conns.at(slot);
        if conn
            .extra
            .as_ref()
            .is_some_and(|extra| !extra.lane.is_empty())
        {
            return send_lane(&mut self.ring, slot, conn);
        }
        if conn.flags.any(Flags::ENDED) {
            return self.state.end(slot);
        }
        // The server closes TCP first (RFC 6455 section 7.1.1), once the peer
        // has nothing more to say or is not to be listened to.
        let parted = conn.flags.any(Flags::PEER_CLOSED) || conn.reader.is_closed();
        if parted && !conn.flags.any(Flags::SHUT_WRITE) {
            conn.flags.set(Flags::SHUT_WRITE | Flags::SHUTTING);
            self.ring.shutdown(slot, Shutdown::Write);
        }
    }

    /// A send has ended.
    pub(super) fn handle_sent(&mut self, slot: u32, result: Result<u32, Errno>, held: bool) {
        let State {
            locals,
            conns,
            hub,
            core,
            frozen,
            ..
        } = &mut self.state;
        let metrics = &hub.mailbox(*core).metrics;
        let conn = conns.at(slot);
        let from_log = conn.flags.any(Flags::SENDING_LOG);
        conn.flags.clear(Flags::SENDING_LOG | Flags::SENDING_LANE);
        conn.unreleased += u16::from(held);
        // Not all that were meant so: the ring copies when too many are held.
        metrics.zero_copy_sends.add(u64::from(held));
        let sent = match result {
            Ok(sent) => sent,
            Err(Errno::EAGAIN) => 0,
            Err(Errno::EINTR | Errno::ENOMEM | Errno::ENOBUFS) => return self.state.mark(slot),
            Err(error) => return self.state.handle_failure(slot, error),
        };
        if from_log {
            metrics.sends.add(1);
            if sent > 0 {
                if conn.phase != Phase::Ending {
                    let messages = pass_over(conn, locals.at(conn.topic), sent);
                    metrics.deliveries.add(messages);
                }
                // A whole run ends where a frame does.
                conn.flags.clear(Flags::MID_FRAME);
                if sent < conn.offered {
                    conn.flags.set(Flags::MID_FRAME);
                }
            }
        } else if let Some(extra) = &mut conn.extra {
            extra.lane.drain(..sent as usize);
        }
        metrics.bytes_out.add(u64::from(sent));
        let full = sent < conn.offered;
        if full {
            metrics.short_writes.add(1);
            // Frozen, it would keep the core waiting for its peer; thawed, it
            // is sent to anyway.
            if conn.phase != Phase::Ending && !*frozen {
                conn.flags.set(Flags::AWAITING);
                self.ring.await_writable(slot);
            }
        }
        // Most are done now; the others, or those whose run ended with its
        // segment, are looked at again.
        let more = conn.flags.any(Flags::SPECIAL)
            || conn.phase != Phase::Open
            || conn.cursor < locals.at(conn.topic).window.end();
        if more {
            self.state.mark(slot);
        }
    }
}

/// Sends a run of the log towards `end`, which is a frame boundary.
#[inline]
fn send_log<R: Ring>(
    ring: &mut R,
    settings: &Settings,
    slot: u32,
    conn: &mut Conn,
    local: &mut Local,
    end: u64,
) {
    conn.flags.set(Flags::SENDING_LOG);
    let run = local.window.slice(conn.cursor, end);
    let owed = end - conn.cursor;
    if u64::from(run.len) < owed && owed < GATHER_BYTES as u64 {
        conn.offered = owed as u32;
        let bytes = local.seam(conn.cursor, end);
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

/// Copies runs of the log that lie between own messages, and sends them in
/// one go: a publisher among publishers would get a send for each otherwise.
fn send_gathered<R: Ring>(ring: &mut R, slot: u32, conn: &mut Conn, local: &Local, last: u64) {
    let last = last.min(local.window.end());
    let mut bytes = Vec::new();
    let mut at = conn.cursor;
    let own = conn.extra.iter().flat_map(|extra| &extra.own);
    for own in own.cloned().chain(std::iter::once(last..last)) {
        let until = own.start.min(last);
        while at < until && bytes.len() < GATHER_BYTES {
            let run = local.window.slice(at, until);
            if run.len as usize > GATHER_BYTES && !bytes.is_empty() {
                break;
            }
            bytes.extend_from_slice(run.as_bytes());
            at += u64::from(run.len);
        }
        if at < until || at >= last || bytes.len() >= GATHER_BYTES {
            break;
        }
        at = at.max(own.end);
    }
    if bytes.is_empty() {
        return;
    }
    conn.offered = bytes.len() as u32;
    conn.flags.set(Flags::SENDING_LOG);
    ring.send(slot, &Rc::new(bytes.into()), 0, conn.offered, Mode::Copy);
}

/// Moves the cursor by `sent` bytes that went out, over own messages too.
/// Returns how many messages were among them.
#[inline]
fn pass_over(conn: &mut Conn, local: &mut Local, sent: u32) -> u64 {
    let (mut left, mut messages) = (u64::from(sent), 0);
    while left > 0 {
        let own = conn.step_over_own();
        let run = own.map_or(left, |start| left.min(start - conn.cursor));
        let (from, to) = (conn.cursor, conn.cursor + run);
        messages += local.messages_between(from, to);
        conn.cursor = to;
        left -= run;
    }
    messages
}

/// Sends the frames that are for this peer alone.
fn send_lane<R: Ring>(ring: &mut R, slot: u32, conn: &mut Conn) {
    let lane = &conn.extra().lane;
    let bytes = Rc::new(Bytes::copy_from_slice(lane));
    let len = bytes.len() as u32;
    conn.offered = len;
    conn.flags.set(Flags::SENDING_LANE);
    ring.send(slot, &bytes, 0, len, Mode::Copy);
}

impl State {
    /// Tells other cores of topics that have grown on this one.
    fn tell_others(&mut self) {
        let mut announce = std::mem::take(&mut self.announce);
        for (number, topic) in announce.drain(..) {
            // The topic may have lost its last subscriber here since, and
            // another may have its number: that one is then told of twice.
            if let Some(local) = self.locals.get_mut(number) {
                local.announce = false;
            }
            self.hub.announce(&topic, Some(self.core));
        }
        self.announce = announce;
    }

    /// A send has failed for good.
    fn handle_failure(&mut self, slot: u32, error: Errno) {
        tracing::debug!(%error, "send failed");
        self.abort(slot, CloseReason::Reset);
    }
}
