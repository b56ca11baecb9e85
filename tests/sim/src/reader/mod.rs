//! Simulated clients of Server-Sent Events and Mercure: each reads one topic, or many as one
//! stream, and comes back with the id that it had last. What it checks of all that it reads is in
//! `judging`, how it lives in the world in `living`.

mod judging;
mod living;

use std::collections::VecDeque;

use crate::client::{Fate, Nature, View};
use crate::socket::Socket;

pub(crate) use self::living::Readers;

/// A topic of a stream.
pub(crate) struct Heard {
    pub(crate) truth: usize,
    name: String,
    epoch: u64,
    /// Offset of the next message that it is to hear.
    next: u64,
    /// Offset of the newest message that the last id names.
    told: u64,
    /// What it is to be told at first: that these are missing, or that its history is lost.
    missed: Option<(u64, u64, bool)>,
}

/// Fields of an event that has come in part.
#[derive(Default)]
struct Block {
    id: Option<String>,
    event: Option<String>,
    data: Option<String>,
}

/// What all readers have seen.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) gaps: u64,
    pub(crate) beats: u64,
    pub(crate) returns: u64,
}

pub(crate) struct Reader {
    id: u32,
    pub(crate) core: usize,
    pub(crate) socket: usize,
    many: bool,
    /// It is one of Mercure: events of many topics do not say of which they are.
    plain: bool,
    pub(crate) heard: Vec<Heard>,
    nature: Nature,
    pub(crate) fate: Fate,
    pub(crate) asleep_until: usize,
    outbox: VecDeque<u8>,
    inbox: Vec<u8>,
    block: Block,
    greeted: bool,
    /// The first event, which has the id alone, has come.
    begun: bool,
    /// The last words of its stream.
    words: Option<String>,
    pub(crate) over: bool,
}

impl Reader {
    /// Writes at most `max` bytes. True if anything has happened.
    fn write(&mut self, socket: &mut Socket, max: usize) -> bool {
        self.fate
            .write(socket, &mut self.outbox, &mut self.over, max)
    }

    /// Reads at most `max` bytes and checks them. True if anything has happened.
    fn read(
        &mut self,
        socket: &mut Socket,
        max: usize,
        view: &View<'_>,
        counts: &mut Counts,
    ) -> bool {
        if self.over {
            return false;
        }
        let len = max.min(socket.outbound.len());
        self.inbox.extend(socket.outbound.drain(..len));
        socket.taken += len as u64;
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        loop {
            if !self.greeted {
                let Some(end) = rest.windows(4).position(|w| w == b"\r\n\r\n") else {
                    break;
                };
                self.check_greeting(&rest[..end + 2]);
                rest = &rest[end + 4..];
            } else {
                let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                    break;
                };
                let line = std::str::from_utf8(&rest[..end]).expect("a stream is text");
                self.take(line, socket, view, counts);
                rest = &rest[end + 1..];
            }
        }
        self.inbox = rest.to_vec();
        if socket.outbound.is_empty() && (socket.server_fin || socket.reset) {
            self.over = true;
            socket.client_fin = true;
            self.check_end(socket, view);
        }
        len > 0 || self.over
    }

    /// Takes one line.
    fn take(&mut self, line: &str, socket: &Socket, view: &View<'_>, counts: &mut Counts) {
        if line.is_empty() {
            let block = std::mem::take(&mut self.block);
            return self.check_block(block, socket, view, counts);
        }
        let (field, value) = line.split_once(':').expect("each line is a field");
        let value = value.strip_prefix(' ').unwrap_or(value);
        let again = match field {
            "" if value.is_empty() => {
                assert!(self.is_between(), "{}: a comment in an event", self.name());
                counts.beats += 1;
                false
            }
            "" => {
                let is_last = self.is_between() || self.block.id.is_some();
                assert!(is_last, "{}: a comment in an event", self.name());
                self.words.replace(value.to_owned()).is_some()
            }
            "retry" => {
                assert!(value.parse::<u64>().is_ok_and(|ms| ms > 0), "{line}");
                false
            }
            "id" => self.block.id.replace(value.to_owned()).is_some(),
            "event" => self.block.event.replace(value.to_owned()).is_some(),
            "data" => {
                let data = self.block.data.get_or_insert_default();
                *data += value;
                *data += "\n";
                false
            }
            _ => panic!("{}: {line:?} is no field", self.name()),
        };
        assert!(!again, "{}: {line:?} comes twice", self.name());
    }

    fn is_between(&self) -> bool {
        let Block { id, event, data } = &self.block;
        id.is_none() && event.is_none() && data.is_none()
    }

    /// Who reads slowly reads no more.
    pub(crate) fn oversleep(&mut self) {
        self.asleep_until = match self.nature.sluggard {
            true => usize::MAX,
            false => 0,
        };
    }

    /// For people.
    pub(crate) fn name(&self) -> String {
        let at: Vec<_> = self.heard.iter().map(|h| (h.truth, h.next)).collect();
        let kind = match (self.many, self.plain) {
            (false, _) => "one",
            (true, false) => "many",
            (true, true) => "many, plain",
        };
        format!(
            "reader {} ({kind}, core {}, {:?}, at {at:?}, {:?})",
            self.id, self.core, self.fate, self.words
        )
    }
}
