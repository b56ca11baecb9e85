//! Who publishes over HTTP: requests on a connection that is kept, with as many under way as are
//! wanted, and each answer checked.
//!
//! What a request says is in `api`. Called by `connection`, `hear` and `leave`.

use std::io;
use std::sync::atomic::Ordering;

use super::Client;
use super::connection::State;
use super::posts::Posts;
use crate::api::take_answer;
use crate::shared::Pace;

impl Client {
    /// Nothing is to be shaken hands about: it can publish as soon as it is connected.
    pub(super) fn begin_posting(&mut self, slot: u32, now: u64) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        if let Some(posts) = &mut conn.posts {
            posts.answer.clear();
            posts.is_over = false;
            posts.head = self.targets.of(true).head_lines();
            for request in &posts.under_way {
                conn.out.extend_from_slice(request);
            }
        }
        conn.receiving = true;
        self.ring.receive(slot)?;
        self.on_open(slot, now)?;
        self.flush(slot)?;
        self.unblock(slot);
        Ok(())
    }

    pub(super) fn hear_answers(&mut self, slot: u32, bytes: &[u8], now: u64) -> io::Result<()> {
        let Some(posts) = &mut self.conns[slot as usize].posts else {
            return Ok(());
        };
        posts.answer.extend_from_slice(bytes);
        let mut rest = &posts.answer[..];
        let mut faults = Vec::new();
        let mut is_lost = false;
        while !posts.is_over && !is_lost {
            let answer = match take_answer(&mut rest) {
                Ok(Some(answer)) => answer,
                Ok(None) => break,
                Err(fault) => {
                    // Nothing behind it can be told apart.
                    faults.push(fault.to_string());
                    is_lost = true;
                    break;
                }
            };
            if posts.under_way.pop_front().is_none() {
                faults.push("the server answered what it was not asked".into());
                is_lost = true;
            }
            faults.extend(answer.refusal);
            posts.is_over = answer.is_last;
        }
        let used = posts.answer.len() - rest.len();
        posts.answer.drain(..used);
        let is_over = posts.is_over;
        self.report.posts_refused += faults.len() as u64;
        for fault in faults {
            self.problem(fault);
        }
        if is_over || is_lost {
            return self.end_posting(slot, now);
        }
        self.unblock(slot);
        Ok(())
    }

    /// The connection is over. It is made anew, whoever ended it; what the server has not answered
    /// without having said so is lost.
    pub(super) fn end_posting(&mut self, slot: u32, now: u64) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        let group = conn.group as usize;
        conn.returns = true;
        if conn.posts.as_ref().is_some_and(|posts| posts.is_over) {
            // It has served: the next one need not wait as after a failure.
            conn.began_ns = 0;
        }
        if let Some(posts) = conn.posts.as_mut().filter(|posts| !posts.is_over)
            && !posts.under_way.is_empty()
        {
            self.report.posts_unanswered += posts.under_way.len() as u64;
            posts.under_way.clear();
            self.problem("the server ended a connection without answering a request on it".into());
        }
        let counters = &self.shared.counters[self.me];
        counters.open[group].fetch_sub(1, Ordering::Relaxed);
        self.close(slot, now)
    }

    /// Whether a phase that publishes has requests under way.
    pub(super) fn awaits_answers(&self) -> bool {
        let under_way = |posts: &Posts| !posts.under_way.is_empty();
        self.phase.pace != Pace::Silent
            && (self.publishers.slots())
                .filter_map(|slot| self.conns[slot as usize].posts.as_deref())
                .any(under_way)
    }

    fn unblock(&mut self, slot: u32) {
        let conn = &self.conns[slot as usize];
        if let Some(publisher) = conn.publisher.filter(|_| conn.state == State::Open) {
            self.publishers.unblock(publisher);
        }
    }
}
