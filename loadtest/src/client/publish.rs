//! When publishers send.
//!
//! With a rate, message n is due at a time that is fixed before the phase
//! begins. If the server or this tool falls behind, the due times do not move:
//! latency is counted from them, so a stall shows in every message that it
//! delayed (no coordinated omission). With a window there is no schedule, and
//! latency counts from the actual sending.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::sync::atomic::Ordering;

use super::Client;
use super::connection::State;
use crate::codec::{Opcode, append_frame};
use crate::dialect::Ask;
use crate::shared::{Member, Pace, Phase, Shared};
use crate::stamp::{Stamp, blank_payload};

/// Bytes of one publisher that the server has not taken; beyond, its messages
/// wait here with their due times.
const BACKLOG_BYTES_MAX: usize = 16 << 20;
/// Messages sent before the ring is looked at again.
const BURST_MAX: usize = 512;

/// A publisher's due times: `first_ns`, and `period_ns` more for each message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    first_ns: u64,
    period_ns: f64,
}

impl Schedule {
    /// The publishers of a run take turns, so that their sum is even.
    pub(super) fn new(from_ns: u64, per_second: f64, publisher: u32, publishers: u32) -> Schedule {
        let gap_ns = 1e9 / per_second;
        Schedule {
            first_ns: from_ns + (f64::from(publisher) * gap_ns) as u64,
            period_ns: gap_ns * f64::from(publishers),
        }
    }

    /// When the `count`-th message (from 0) of this phase is due.
    pub(super) fn due_ns(&self, count: u64) -> u64 {
        self.first_ns + (count as f64 * self.period_ns) as u64
    }
}

pub(super) struct Publishers {
    all: Vec<Publisher>,
    /// From a publisher's number to its place in `all`.
    places: HashMap<u32, usize>,
    total: u32,
    pace: Pace,
    until_ns: u64,
    /// With a rate: whose next message is due when.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// With a window: who may have room.
    ready: Vec<usize>,
    payload: Vec<u8>,
    /// Room for a command.
    words: Vec<u8>,
    opcode: Opcode,
    /// Sends what is ordered, and keeps to no schedule.
    burst: Option<u32>,
}

struct Publisher {
    number: u32,
    slot: u32,
    channel: String,
    sent: u64,
    in_phase: u64,
    schedule: Option<Schedule>,
    blocked: bool,
    is_ready: bool,
}

impl Publishers {
    pub(super) fn new(shared: &Shared, members: &[Member]) -> Publishers {
        let mut all = Vec::new();
        let mut places = HashMap::new();
        for (slot, member) in members.iter().enumerate() {
            if let Some(number) = member.publisher {
                places.insert(number, all.len());
                all.push(Publisher {
                    number,
                    slot: slot as u32,
                    channel: shared
                        .plan
                        .channel(shared.plan.publisher_topics[number as usize]),
                    sent: 0,
                    in_phase: 0,
                    schedule: None,
                    blocked: false,
                    is_ready: false,
                });
            }
        }
        Publishers {
            all,
            places,
            total: shared.plan.publisher_topics.len() as u32
                - u32::from(shared.plan.burst.is_some()),
            pace: Pace::Silent,
            until_ns: 0,
            due: BinaryHeap::new(),
            ready: Vec::new(),
            payload: blank_payload(shared.plan.message_bytes),
            words: Vec::new(),
            burst: shared.plan.burst,
            opcode: if shared.plan.binary {
                Opcode::Binary
            } else {
                Opcode::Text
            },
        }
    }

    pub(super) fn begin(&mut self, phase: &Phase) {
        self.pace = phase.pace;
        self.until_ns = phase.until_ns;
        self.due.clear();
        self.ready.clear();
        for (place, publisher) in self.all.iter_mut().enumerate() {
            publisher.in_phase = 0;
            publisher.blocked = false;
            publisher.is_ready = false;
            if Some(publisher.number) == self.burst {
                continue;
            }
            match phase.pace {
                Pace::Rate(per_second) => {
                    let number = publisher.number;
                    let schedule = Schedule::new(phase.from_ns, per_second, number, self.total);
                    publisher.schedule = Some(schedule);
                    self.due.push(Reverse((schedule.due_ns(0), place)));
                }
                Pace::Window(_) => {
                    publisher.is_ready = true;
                    self.ready.push(place);
                }
                Pace::Silent => {}
            }
        }
    }

    /// The slots of their connections.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.all.iter().map(|publisher| publisher.slot)
    }

    pub(super) fn windowed(&self) -> bool {
        matches!(self.pace, Pace::Window(_))
    }

    /// All that was due before the phase's end has been handed to the ring.
    pub(super) fn is_done(&self, phase: &Phase, now: u64) -> bool {
        if now < phase.until_ns {
            return false;
        }
        let waits = (self.due.peek()).is_some_and(|next| next.0.0 < self.until_ns);
        !waits && !self.all.iter().any(|publisher| publisher.blocked)
    }

    /// Something that a publisher waited for has happened.
    pub(super) fn ready(&mut self, number: u32) {
        if !self.windowed() {
            return;
        }
        let place = self.places[&number];
        if !std::mem::replace(&mut self.all[place].is_ready, true) {
            self.ready.push(place);
        }
    }

    pub(super) fn unblock(&mut self, number: u32) {
        let place = self.places[&number];
        let publisher = &mut self.all[place];
        if !std::mem::take(&mut publisher.blocked) {
            return;
        }
        match publisher.schedule {
            Some(schedule) if matches!(self.pace, Pace::Rate(_)) => {
                let due = schedule.due_ns(publisher.in_phase);
                self.due.push(Reverse((due, place)));
            }
            _ => self.ready(number),
        }
    }
}

impl Client {
    /// Sends what is due; returns when to look again.
    pub(super) fn publish_due(&mut self, now: u64) -> io::Result<u64> {
        match self.publishers.pace {
            Pace::Silent => Ok(u64::MAX),
            Pace::Rate(_) => self.publish_on_schedule(now),
            Pace::Window(window) => self.publish_in_window(now, window),
        }
    }

    fn publish_on_schedule(&mut self, now: u64) -> io::Result<u64> {
        let mut touched = Vec::new();
        let mut next = u64::MAX;
        for sent in 0.. {
            let Some(Reverse((due, place))) = self.publishers.due.peek().copied() else {
                break;
            };
            if due > now || due >= self.publishers.until_ns || sent == BURST_MAX {
                next = due;
                break;
            }
            self.publishers.due.pop();
            if !self.publish_one(place, due, now) {
                continue;
            }
            let publisher = &self.publishers.all[place];
            touched.push(publisher.slot);
            let schedule = publisher.schedule.expect("a rate has a schedule");
            let due = schedule.due_ns(publisher.in_phase);
            self.publishers.due.push(Reverse((due, place)));
        }
        for slot in touched {
            self.flush(slot)?;
        }
        Ok(next.max(now.min(self.publishers.until_ns)))
    }

    fn publish_in_window(&mut self, now: u64, window: u32) -> io::Result<u64> {
        if now >= self.publishers.until_ns {
            return Ok(u64::MAX);
        }
        for place in std::mem::take(&mut self.publishers.ready) {
            self.publishers.all[place].is_ready = false;
            let number = self.publishers.all[place].number as usize;
            let done = self.shared.done_by_all(number);
            // When nobody is left to hear, nothing is ever done: it stops.
            while done != u64::MAX
                && self.publishers.all[place].sent < done + u64::from(window)
                && self.publish_one(place, self.shared.now_ns(), now)
            {}
            self.flush(self.publishers.all[place].slot)?;
        }
        Ok(self.publishers.until_ns)
    }

    /// Sends messages as they are ordered; they are due now.
    pub(super) fn burst(&mut self, number: u32, count: u64) -> io::Result<()> {
        let Some(place) = self.publishers.places.get(&number).copied() else {
            return Ok(());
        };
        for _ in 0..count {
            let now = self.shared.now_ns();
            if !self.publish_one(place, now, now) {
                self.problem("a burst could not be published".into());
                break;
            }
        }
        self.flush(self.publishers.all[place].slot)
    }

    /// False if the publisher cannot send now: it is blocked, or gone.
    fn publish_one(&mut self, place: usize, due_ns: u64, now: u64) -> bool {
        let under_way_max = match self.publishers.pace {
            Pace::Window(window) => window as usize,
            _ => 1,
        };
        let publisher = &mut self.publishers.all[place];
        let conn = &mut self.conns[publisher.slot as usize];
        let posts = self.shared.plan.app.as_ref().zip(conn.posts.as_mut());
        if let Some((_, posts)) = &posts
            && (conn.state != State::Open || posts.under_way.len() >= under_way_max)
        {
            publisher.blocked = true;
            return false;
        }
        if conn.state != State::Open {
            return false;
        }
        if conn.out.len() >= BACKLOG_BYTES_MAX {
            publisher.blocked = true;
            return false;
        }
        let stamp = Stamp {
            run: self.shared.run,
            publisher: publisher.number,
            sequence: publisher.sent,
            intended_ns: due_ns,
        };
        stamp.write(&mut self.publishers.payload);
        let payload = &self.publishers.payload;
        if let Some((app, posts)) = posts {
            let request = posts.request(app, &publisher.channel, payload);
            conn.out.extend_from_slice(request);
        } else {
            let key = fastrand::u32(..).to_ne_bytes();
            let dialect = self.shared.plan.dialect;
            let (mut opcode, mut message) = (self.publishers.opcode, payload);
            if dialect.asks() {
                conn.last_id = conn.last_id.wrapping_add(1).max(1);
                self.publishers.words.clear();
                let ask = Ask::Publish {
                    channel: &publisher.channel,
                    payload,
                };
                dialect.ask(conn.last_id, &ask, &mut self.publishers.words);
                (opcode, message) = (dialect.opcode(), &self.publishers.words);
            }
            append_frame(&mut conn.out, opcode, message, key);
        }
        publisher.sent += 1;
        publisher.in_phase += 1;
        self.shared.sent[publisher.number as usize].store(publisher.sent, Ordering::Release);
        self.interval.published += 1;
        if due_ns >= self.phase.warm_ns {
            self.interval.lateness.record(now.saturating_sub(due_ns));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_do_not_depend_on_when_messages_were_sent() {
        let schedule = Schedule::new(1_000, 1_000_000.0, 0, 1);
        let due: Vec<u64> = (0..4).map(|count| schedule.due_ns(count)).collect();
        assert_eq!(due, [1_000, 2_000, 3_000, 4_000]);
    }

    #[test]
    fn publishers_take_turns_and_make_up_the_rate_together() {
        let mut due: Vec<u64> = (0..4)
            .map(|publisher| Schedule::new(0, 1000.0, publisher, 4))
            .flat_map(|schedule| (0..3).map(move |count| schedule.due_ns(count)))
            .collect();
        due.sort_unstable();
        let wanted: Vec<u64> = (0..12).map(|n| n * 1_000_000).collect();
        assert_eq!(due, wanted);
    }

    #[test]
    fn a_rate_with_a_broken_period_does_not_drift() {
        let schedule = Schedule::new(0, 3.0, 0, 1);
        let hour = schedule.due_ns(3 * 3600);
        assert!(hour.abs_diff(3_600_000_000_000) < 1_000);
    }
}
