//! What a connection says and hears in a dialect with commands: it asks for its topics,
//! answers pings, and keeps where it is in each topic.
//!
//! Messages themselves are checked in `hear`. Called by `connection` and `hear`.

use std::io;

use super::Client;
use super::connection::State;
use super::hear::{Message, PONGS_BYTES_MAX};
use crate::codec::append_frame;
use crate::dialect::{Ask, Position, Publication, Word};
use crate::stamp::{Stamp, padding_is_whole};
use crate::target::resumed_at;

const CONNECT_ID: u32 = 1;
/// The topics' commands are numbered from here on, by their places.
const TOPICS_ID: u32 = 2;
/// Beyond, a server's message is given up.
const WORDS_BYTES_MAX: usize = 64 << 20;

impl Client {
    /// Asks for the connection's topics.
    pub(super) fn join(&mut self, slot: u32) -> io::Result<()> {
        let shared = self.shared.clone();
        let plan = &shared.plan;
        let conn = &mut self.conns[slot as usize];
        if plan.dialect.is_greeted() {
            conn.state = State::Joining;
            conn.unanswered = 1 + plan.topics_from(conn.topic).count() as u32;
            return Ok(());
        }
        let mut words = Vec::new();
        plan.dialect.ask(CONNECT_ID, &Ask::Connect, &mut words);
        let mut id = CONNECT_ID;
        for (place, topic) in plan.topics_from(conn.topic).enumerate() {
            id = TOPICS_ID + place as u32;
            let ask = Ask::Subscribe {
                channel: &plan.channel(topic),
                since: conn.positions.get(place),
            };
            plan.dialect.ask(id, &ask, &mut words);
        }
        conn.state = State::Joining;
        conn.last_id = id;
        conn.unanswered = id;
        let key = fastrand::u32(..).to_ne_bytes();
        append_frame(&mut conn.out, plan.dialect.opcode(), &words, key);
        self.flush(slot)
    }

    /// Asks for the connection's topics once the server has greeted.
    fn enter(&mut self, slot: u32) -> io::Result<()> {
        let shared = self.shared.clone();
        let plan = &shared.plan;
        let conn = &mut self.conns[slot as usize];
        for topic in plan.topics_from(conn.topic) {
            let ask = Ask::Subscribe {
                channel: &plan.channel(topic),
                since: None,
            };
            let mut words = Vec::new();
            plan.dialect.ask(0, &ask, &mut words);
            let key = fastrand::u32(..).to_ne_bytes();
            append_frame(&mut conn.out, plan.dialect.opcode(), &words, key);
        }
        self.flush(slot)
    }

    /// Takes a piece of a message; its words are heard once it is whole.
    pub(super) fn hear_words(
        &mut self,
        slot: u32,
        bytes: &[u8],
        last: bool,
        now: u64,
    ) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        if last && conn.words.is_empty() {
            return self.hear_whole(slot, bytes, now);
        }
        if conn.words.len() + bytes.len() > WORDS_BYTES_MAX {
            let fault = format!("the server's message is longer than {WORDS_BYTES_MAX} bytes");
            return self.give_up(slot, fault, now);
        }
        conn.words.extend_from_slice(bytes);
        if !last {
            return Ok(());
        }
        let mut words = std::mem::take(&mut conn.words);
        self.hear_whole(slot, &words, now)?;
        // Its room serves the next one that comes in pieces.
        words.clear();
        self.conns[slot as usize].words = words;
        Ok(())
    }

    fn hear_whole(&mut self, slot: u32, message: &[u8], now: u64) -> io::Result<()> {
        let dialect = self.shared.plan.dialect;
        let mut heard = Ok(());
        let read = dialect.read(message, &mut |word| {
            if heard.is_ok() {
                heard = self.hear_word(slot, word, now);
            }
        });
        heard?;
        match read {
            Ok(()) => Ok(()),
            Err(fault) => {
                let fault = format!("the server's message cannot be read: {fault}");
                self.give_up(slot, fault, now)
            }
        }
    }

    fn hear_word(&mut self, slot: u32, word: Word<'_>, now: u64) -> io::Result<()> {
        let state = self.conns[slot as usize].state;
        if !matches!(state, State::Joining | State::Open) {
            // What else stands in a message that has ended the connection.
            return Ok(());
        }
        match word {
            Word::Publication {
                channel,
                publication,
            } => {
                let topic = self.shared.plan.topic_of(&channel);
                self.hear_publication(slot, topic, &publication, now);
            }
            Word::Connected => {
                if self.shared.plan.dialect.is_greeted() {
                    self.enter(slot)?;
                }
                return self.on_answered(slot, now);
            }
            Word::Entered { channel } => {
                if self.shared.plan.topic_of(&channel).is_some() {
                    return self.on_answered(slot, now);
                }
            }
            Word::Subscribed {
                id,
                position,
                recovered,
                publications,
            } => {
                let place = id.wrapping_sub(TOPICS_ID);
                self.take_place(slot, place as usize, position, recovered);
                let first = self.conns[slot as usize].topic;
                let topic = self.shared.plan.topics_from(first).nth(place as usize);
                for publication in &publications {
                    self.hear_publication(slot, topic, publication, now);
                }
                return self.on_answered(slot, now);
            }
            Word::Ping => {
                let dialect = self.shared.plan.dialect;
                let conn = &mut self.conns[slot as usize];
                if conn.out.len() < PONGS_BYTES_MAX {
                    let key = fastrand::u32(..).to_ne_bytes();
                    append_frame(&mut conn.out, dialect.opcode(), dialect.pong(), key);
                }
                return self.flush(slot);
            }
            Word::Refused { code, message, .. } => {
                self.problem(format!("the server refused a command: {code} {message}"));
                if state == State::Joining {
                    return self.fail_opening(slot, now);
                }
            }
            Word::Unsubscribed { code } => {
                self.problem(format!("the server ended a subscription with code {code}"));
            }
            Word::Other => {
                let group = self.conns[slot as usize].group;
                self.report.tallies[group as usize].foreign += 1;
            }
            Word::Done => {}
        }
        Ok(())
    }

    /// Once all that was asked for has been answered the connection is open.
    fn on_answered(&mut self, slot: u32, now: u64) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        conn.unanswered = conn.unanswered.saturating_sub(1);
        if conn.unanswered == 0 && conn.state == State::Joining {
            return self.on_open(slot, now);
        }
        Ok(())
    }

    fn hear_publication(
        &mut self,
        slot: u32,
        topic: Option<u32>,
        publication: &Publication<'_>,
        now: u64,
    ) {
        let conn = &mut self.conns[slot as usize];
        let Some(topic) = topic else {
            self.report.tallies[conn.group as usize].foreign += 1;
            return;
        };
        let place = self.shared.plan.place_of(conn.topic, topic);
        if let Some(position) = place.and_then(|place| conn.positions.get_mut(place)) {
            position.offset = publication.offset;
        }
        let payload = publication.payload;
        let message = Message {
            topic,
            stamp: Stamp::read(payload),
            length: payload.len() as u64,
            damaged: self.shared.plan.verify && !padding_is_whole(0, payload),
        };
        self.hear_message(slot, &message, now);
    }

    /// Notes where a connection begins in a topic.
    fn take_place(&mut self, slot: u32, place: usize, position: Position, recovered: bool) {
        let plan = &self.shared.plan;
        if !plan.recover || place >= plan.topics_per_connection.max(1) as usize {
            return;
        }
        let conn = &mut self.conns[slot as usize];
        let places = plan.topics_per_connection.max(1) as usize;
        conn.positions.resize_with(places, Position::default);
        let known = &mut conn.positions[place];
        let was_away = !known.epoch.is_empty();
        // What was missed comes behind the place that it asked from.
        if !(was_away && recovered) {
            *known = position;
        }
        if was_away && !recovered {
            self.note_unrecovered();
        }
    }

    /// The same where the answer's head tells it.
    pub(super) fn take_up(&mut self, slot: u32, head: &[u8]) {
        let conn = &mut self.conns[slot as usize];
        let was_away = !conn.positions.is_empty();
        match resumed_at(head) {
            Some((_, true)) if was_away => {}
            Some((position, _)) => {
                conn.positions = vec![position];
                if was_away {
                    self.note_unrecovered();
                }
            }
            None => self.problem("the server does not tell where a client begins".into()),
        }
    }

    fn note_unrecovered(&mut self) {
        self.report.unrecovered += 1;
        self.problem("the server could not give what a client had missed".into());
    }
}
