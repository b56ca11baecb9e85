//! How a connection ends: by the server, by our own will, or by mishap.
//!
//! Called by the client thread's turn and by `connection`.

use std::io;
use std::sync::atomic::Ordering;

use super::Client;
use super::connection::State;
use crate::codec::{Opcode, append_frame};
use crate::shared::Group;

/// How long to wait before a failed connect is tried again.
const RETRY_NS: u64 = 100_000_000;
/// Code of a connection that ended without a close frame (RFC 6455, section 7.1.5).
const ABNORMAL: u16 = 1006;

impl Client {
    /// The stream ended or failed.
    pub(super) fn on_end(&mut self, slot: u32, now: u64) -> io::Result<()> {
        match self.conns[slot as usize].state {
            State::Connecting | State::Handshaking | State::Joining => {
                let during = "the server closed the connection during the handshake";
                self.problem(match self.conns[slot as usize].close_code {
                    Some(code) => format!("{during} (code {code})"),
                    None => during.into(),
                });
                self.fail_opening(slot, now)
            }
            State::Open if self.conns[slot as usize].posts.is_some() => self.end_posting(slot, now),
            State::Open => {
                let conn = &mut self.conns[slot as usize];
                let code = conn.close_code.unwrap_or(ABNORMAL);
                let group = conn.group;
                // Who comes and goes comes back; a steady one has failed.
                conn.returns = group == Group::Coming;
                let closes = &mut self.report.closes[group as usize];
                *closes.entry(code).or_default() += 1;
                let counters = &self.shared.counters[self.me];
                counters.closed.fetch_add(1, Ordering::Relaxed);
                self.forget(slot);
                self.close(slot, now)
            }
            State::Leaving | State::Idle => self.close(slot, now),
        }
    }

    /// Leaves by our own will: with a close frame, or by a reset.
    pub(super) fn leave(&mut self, slot: u32, politely: bool, returns: bool) -> io::Result<()> {
        let now = self.shared.now_ns();
        if self.conns[slot as usize].state == State::Open {
            self.forget(slot);
        }
        let conn = &mut self.conns[slot as usize];
        conn.returns = returns;
        // A stream has no goodbye of its own.
        if !politely || self.shared.plan.dialect.streams(conn.publisher.is_some()) {
            return self.close(slot, now);
        }
        conn.state = State::Leaving;
        let key = fastrand::u32(..).to_ne_bytes();
        append_frame(&mut conn.out, Opcode::Close, &1000u16.to_be_bytes(), key);
        self.flush(slot)
    }

    pub(super) fn drop_group(&mut self, group: Group) -> io::Result<()> {
        for slot in self.slots_of(group) {
            if self.conns[slot as usize].state == State::Open {
                self.leave(slot, false, false)?;
            }
        }
        Ok(())
    }

    /// Books the end of an open connection.
    pub(super) fn forget(&mut self, slot: u32) {
        let shared = self.shared.clone();
        let conn = &self.conns[slot as usize];
        let group = conn.group;
        shared.counters[self.me].open[group as usize].fetch_sub(1, Ordering::Relaxed);
        for (publisher, stream) in shared.heard_from(conn.topic) {
            match group {
                // What a steady one misses from here on stays on the books.
                Group::Steady => {
                    let waited_for = shared.plan.echo || conn.publisher != Some(publisher);
                    if waited_for {
                        let expected = self.ledger.expected(slot as usize, stream);
                        self.progress
                            .leave(publisher as usize, expected.unwrap_or(0));
                    }
                }
                // It will ask for what it misses meanwhile.
                Group::Coming if shared.plan.recover => {}
                Group::Coming | Group::Stalling => {
                    let lost = self.ledger.lost(slot as usize, stream, None);
                    self.report.tallies[group as usize].lost += lost;
                    let fresh = crate::check::Start::Anywhere;
                    self.ledger.begin(slot as usize, stream, fresh);
                }
            }
        }
    }

    pub(super) fn close(&mut self, slot: u32, now: u64) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        conn.state = State::Leaving;
        conn.out = Vec::new();
        conn.answer = Vec::new();
        if conn.receiving {
            self.ring.cancel_receive(slot)?;
        }
        if conn.connecting {
            self.ring.cancel_connect(slot)?;
        }
        self.release(slot, now)
    }

    /// Frees the slot if nothing uses it any more, and reconnects if wanted.
    pub(super) fn release(&mut self, slot: u32, now: u64) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        if conn.state != State::Leaving || !conn.is_unused() {
            return Ok(());
        }
        conn.state = State::Idle;
        conn.tls = None;
        conn.stalled = false;
        let returns = std::mem::take(&mut conn.returns);
        self.ring.remove(slot)?;
        if returns {
            let failed = self.conns[slot as usize].began_ns;
            // A connection that lived reconnects at once, one that never did waits.
            let pause = if now.saturating_sub(failed) < RETRY_NS {
                RETRY_NS
            } else {
                0
            };
            self.to_open.push_back((now + pause, slot));
        }
        Ok(())
    }

    pub(super) fn retry_later(&mut self, slot: u32, now: u64) {
        self.opening -= 1;
        self.to_open.push_back((now + RETRY_NS, slot));
    }
}
