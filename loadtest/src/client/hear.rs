//! What a connection hears: messages go into the checks and the histograms, pings
//! are answered, and it is counted what all have heard.
//!
//! Called by the client thread's turn for each buffer that arrives.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;

use super::{Client, is_waited_for};
use crate::check::Arrival;
use crate::codec::{Opcode, Piece, append_frame, close_code};
use crate::events::Event;
use crate::shared::{Group, Member, Shared};
use crate::stamp::{STAMP_BYTES, Stamp, padding_is_whole};

/// Private frames that may wait for a server that does not read; pongs beyond are left out.
pub(super) const PONGS_BYTES_MAX: usize = 64 << 10;

impl Client {
    pub(super) fn hear(&mut self, slot: u32, mut bytes: &[u8], now: u64) -> io::Result<()> {
        if self.conns[slot as usize].posts.is_some() {
            return self.hear_answers(slot, bytes, now);
        }
        self.interval.bytes += bytes.len() as u64;
        let publishes = self.conns[slot as usize].publisher.is_some();
        if self.shared.plan.dialect.streams(publishes) {
            self.hear_events(slot, bytes, now);
            return Ok(());
        }
        loop {
            let conn = &mut self.conns[slot as usize];
            match conn.decoder.next(&mut bytes) {
                Ok(None) => return Ok(()),
                Ok(Some(Piece::Data { bytes, last, .. })) if self.shared.plan.dialect.asks() => {
                    self.hear_words(slot, bytes, last, now)?;
                }
                Ok(Some(Piece::Data {
                    offset,
                    bytes,
                    last,
                })) => self.hear_piece(slot, offset, bytes, last, now),
                Ok(Some(Piece::Control { opcode, payload })) => {
                    self.hear_control(slot, opcode, &payload)?;
                }
                Err(fault) => return self.give_up(slot, fault.to_string(), now),
            }
        }
    }

    fn hear_events(&mut self, slot: u32, mut bytes: &[u8], now: u64) {
        while let Some(event) = self.conns[slot as usize].events.next(&mut bytes) {
            // What one that is told of a gap lacks, the checks find by themselves.
            if event == Event::Message {
                let data = std::mem::take(self.conns[slot as usize].events.data());
                self.hear_piece(slot, 0, &data, true, now);
                // Its room serves the next one.
                *self.conns[slot as usize].events.data() = data;
            }
        }
    }

    fn hear_piece(&mut self, slot: u32, offset: u64, bytes: &[u8], last: bool, now: u64) {
        let conn = &mut self.conns[slot as usize];
        if self.shared.plan.verify && !padding_is_whole(offset, bytes) {
            conn.damaged = true;
        }
        let whole = offset == 0 && last;
        if !whole && offset < STAMP_BYTES as u64 {
            let at = offset as usize;
            let take = bytes.len().min(STAMP_BYTES - at);
            conn.head[at..at + take].copy_from_slice(&bytes[..take]);
            conn.head_bytes = (at + take) as u8;
        }
        if !last {
            return;
        }
        let damaged = std::mem::take(&mut conn.damaged);
        let length = offset + bytes.len() as u64;
        let stamp = if whole {
            Stamp::read(bytes)
        } else {
            Stamp::read(&conn.head[..conn.head_bytes as usize])
        };
        // Of messages that do not tell their offsets, each is the next one.
        if let Some(position) = conn.positions.first_mut() {
            position.offset += 1;
        }
        let topic = conn.topic;
        let message = Message {
            topic,
            stamp,
            length,
            damaged,
        };
        self.hear_message(slot, &message, now);
    }

    /// What the server does not know how to say ends the connection.
    pub(super) fn give_up(&mut self, slot: u32, fault: String, now: u64) -> io::Result<()> {
        self.problem(fault);
        let conn = &self.conns[slot as usize];
        self.report.tallies[conn.group as usize].corrupt += 1;
        if conn.state.is_opening() {
            return self.fail_opening(slot, now);
        }
        self.leave(slot, false, false)
    }

    pub(super) fn hear_message(&mut self, slot: u32, message: &Message, now: u64) {
        let Message {
            stamp,
            length,
            damaged,
            ..
        } = *message;
        let conn = &mut self.conns[slot as usize];
        let tally = &mut self.report.tallies[conn.group as usize];
        let Some(stamp) = stamp.filter(|stamp| stamp.run == self.shared.run) else {
            tally.foreign += 1;
            return;
        };
        let publisher = stamp.publisher as usize;
        let Some(topic) = self.shared.plan.publisher_topics.get(publisher) else {
            tally.corrupt += 1;
            return;
        };
        if damaged || length != self.shared.plan.message_bytes as u64 {
            tally.corrupt += 1;
        }
        let place = self.shared.plan.place_of(conn.topic, *topic);
        let Some(place) = place.filter(|_| *topic == message.topic) else {
            tally.misrouted += 1;
            return;
        };
        let stream = self.shared.stream(place, stamp.publisher);
        let expected = self.ledger.expected(slot as usize, stream);
        let arrival = self.ledger.record(slot as usize, stream, stamp.sequence);
        tally.book(arrival);
        conn.order = mix(conn.order, publisher as u64, stamp.sequence);
        let steady = conn.group == Group::Steady;
        self.interval.delivered += 1;
        let counters = &self.shared.counters[self.me];
        counters.delivered.fetch_add(1, Ordering::Relaxed);
        counters.last_delivery_ns.store(now, Ordering::Relaxed);
        let fresh = matches!(arrival, Arrival::InOrder | Arrival::AfterGap);
        if !steady {
            self.note_caught_up(slot, &stamp, fresh, now);
            return;
        }
        if stamp.intended_ns >= self.phase.warm_ns {
            let latency_ns = now.saturating_sub(stamp.intended_ns);
            self.interval.latency.record(latency_ns);
        }
        let own = conn.publisher == Some(stamp.publisher);
        self.report.echoes += u64::from(own);
        if fresh && (!own || self.shared.plan.echo) {
            let from = expected.unwrap_or(stamp.sequence);
            let alone = self.shared.mailboxes.len() == 1;
            let last = self.progress.heard(publisher, from, stamp.sequence + 1);
            if alone && last && stamp.intended_ns >= self.phase.warm_ns {
                self.interval
                    .last
                    .record(now.saturating_sub(stamp.intended_ns));
            }
        }
    }

    /// Who has been away has heard all when it hears the last of what was sent meanwhile.
    fn note_caught_up(&mut self, slot: u32, stamp: &Stamp, fresh: bool, now: u64) {
        let group = self.conns[slot as usize].group;
        let target = self.shared.burst_target.load(Ordering::Acquire);
        let last = Some(stamp.publisher) == self.shared.plan.burst && stamp.sequence + 1 == target;
        if group == Group::Coming && last && fresh {
            let since_ns = now.saturating_sub(self.open_order_ns[group as usize]);
            self.interval.caught_up.record(since_ns);
            let counters = &self.shared.counters[self.me];
            counters.caught_up.fetch_add(1, Ordering::Release);
        }
    }

    fn hear_control(&mut self, slot: u32, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        let key = fastrand::u32(..).to_ne_bytes();
        match opcode {
            Opcode::Ping if conn.out.len() < PONGS_BYTES_MAX => {
                append_frame(&mut conn.out, Opcode::Pong, payload, key);
            }
            Opcode::Close => {
                conn.close_code = Some(close_code(payload));
                let code = payload.get(..2).unwrap_or(&[]);
                append_frame(&mut conn.out, Opcode::Close, code, key);
            }
            _ => return Ok(()),
        }
        self.flush(slot)
    }

    /// Tells the publishers' threads what all connections of this one have heard.
    pub(super) fn tell_advances(&mut self) {
        if self.progress.advanced.is_empty() {
            return;
        }
        let mut elsewhere: Vec<(u16, Vec<u32>)> = Vec::new();
        for publisher in std::mem::take(&mut self.progress.advanced) {
            let at = publisher as usize;
            let stream = &mut self.progress.streams[at];
            stream.told = true;
            self.shared.done[self.me][at].store(stream.done, Ordering::Release);
            let owner = self.shared.owners[at];
            if owner as usize == self.me {
                self.publishers.ready(publisher);
            } else if self.publishers.windowed() {
                match elsewhere.iter_mut().find(|(thread, _)| *thread == owner) {
                    Some((_, list)) => list.push(publisher),
                    None => elsewhere.push((owner, vec![publisher])),
                }
            }
        }
        for (owner, list) in elsewhere {
            self.shared.mailboxes[owner as usize].advance(&list);
        }
    }
}

/// A message as it was heard.
pub(super) struct Message {
    /// The topic by whose name, or on whose connection, it came.
    pub(super) topic: u32,
    /// `None` if it is none of this tool's.
    pub(super) stamp: Option<Stamp>,
    pub(super) length: u64,
    pub(super) damaged: bool,
}

fn mix(order: u64, publisher: u64, sequence: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    (order.rotate_left(5) ^ (publisher << 42 | sequence)).wrapping_mul(ODD)
}

/// How far all of a thread's steady connections are, per publisher.
pub(super) struct Progress {
    streams: Vec<Stream>,
    /// Publishers with news that their threads have not been told.
    advanced: Vec<u32>,
}

struct Stream {
    /// Connections that are waited for.
    needed: u32,
    /// Messages that all of them have heard.
    done: u64,
    /// How many have heard the messages after those.
    heard: VecDeque<u32>,
    told: bool,
}

impl Progress {
    pub(super) fn new(shared: &Shared, me: usize, members: &[Member]) -> Progress {
        let plan = &shared.plan;
        let mut needed = vec![0u32; plan.publisher_topics.len()];
        for member in members {
            for (publisher, _) in shared.heard_from(member.topic) {
                if is_waited_for(member, publisher, plan) {
                    needed[publisher as usize] += 1;
                }
            }
        }
        let streams = needed.into_iter().enumerate().map(|(publisher, needed)| {
            if needed == 0 {
                shared.done[me][publisher].store(u64::MAX, Ordering::Release);
            }
            Stream {
                needed,
                done: if needed == 0 { u64::MAX } else { 0 },
                heard: VecDeque::new(),
                told: true,
            }
        });
        Progress {
            streams: streams.collect(),
            advanced: Vec::new(),
        }
    }

    /// One connection has heard the messages `from..to`, or never will. True if it was the last
    /// one to be waited for.
    fn heard(&mut self, publisher: usize, from: u64, to: u64) -> bool {
        let stream = &mut self.streams[publisher];
        if stream.needed == 0 {
            return false;
        }
        for sequence in from.max(stream.done)..to {
            let at = (sequence - stream.done) as usize;
            if at >= stream.heard.len() {
                stream.heard.resize(at + 1, 0);
            }
            stream.heard[at] += 1;
        }
        self.settle(publisher);
        self.streams[publisher].done >= to
    }

    /// A connection that had heard all before `next` is not waited for any more.
    pub(super) fn leave(&mut self, publisher: usize, next: u64) {
        let stream = &mut self.streams[publisher];
        let heard = next.saturating_sub(stream.done) as usize;
        for count in stream.heard.iter_mut().take(heard) {
            *count -= 1;
        }
        stream.needed -= 1;
        if stream.needed == 0 {
            stream.done = u64::MAX;
            stream.heard.clear();
        }
        self.settle(publisher);
        let stream = &mut self.streams[publisher];
        if std::mem::take(&mut stream.told) {
            self.advanced.push(publisher as u32);
        }
    }

    fn settle(&mut self, publisher: usize) {
        let stream = &mut self.streams[publisher];
        let before = stream.done;
        while stream
            .heard
            .front()
            .is_some_and(|count| *count >= stream.needed)
        {
            stream.heard.pop_front();
            stream.done += 1;
        }
        if stream.done != before && std::mem::take(&mut stream.told) {
            self.advanced.push(publisher as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(needed: u32) -> Progress {
        let stream = Stream {
            needed,
            done: 0,
            heard: VecDeque::new(),
            told: true,
        };
        Progress {
            streams: vec![stream],
            advanced: vec![],
        }
    }

    #[test]
    fn a_message_is_done_when_the_last_connection_has_heard_it() {
        let mut progress = progress(2);
        assert!(!progress.heard(0, 0, 3));
        assert_eq!(progress.streams[0].done, 0);
        assert!(progress.heard(0, 0, 1));
        assert_eq!(
            (progress.streams[0].done, &progress.advanced[..]),
            (1, &[0][..])
        );
        progress.heard(0, 1, 3);
        assert_eq!(progress.streams[0].done, 3);
        assert_eq!(progress.advanced, [0], "told once per turn");
    }

    #[test]
    fn who_leaves_is_neither_waited_for_nor_counted() {
        let mut progress = progress(3);
        progress.heard(0, 0, 2); // leaves after two
        progress.heard(0, 0, 1);
        progress.leave(0, 2);
        assert_eq!(progress.streams[0].done, 0, "the third has heard nothing");
        progress.heard(0, 0, 1);
        assert_eq!(progress.streams[0].done, 1);
        progress.leave(0, 1);
        progress.leave(0, 1);
        assert_eq!(
            progress.streams[0].done,
            u64::MAX,
            "nobody is left to wait for"
        );
    }

    #[test]
    fn the_order_of_two_publishers_shows_in_the_hash() {
        let a = mix(mix(0, 1, 0), 2, 0);
        let b = mix(mix(0, 2, 0), 1, 0);
        assert_ne!(a, b);
    }
}
