//! The TLS side of connections that have one: their keys, and what is begun of a record.
//!
//! A record is sealed when it is sent, from the log. Where the socket takes only a part of one that
//! is a pure run of a log, nothing of it is kept but how far it went: it is sealed again, with the
//! same number and from the same bytes, and goes on there. Of any other the rest is kept.

mod flight;
mod owes;

use std::ops::Range;
use std::rc::Rc;

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use self::flight::{Flight, tag};
use self::owes::{KeyUpdate, Owes};
use super::scratch::Scratch;
use crate::protocol::tls::{Alert, ContentType, Incoming, PLAIN_BYTES_MAX, Sealer, Traffic};

pub(super) use self::flight::{Begun, Sent};

/// Content that is sealed for one send: whole records, and not so much that much was sealed in vain
/// where the socket takes less. Where it has just done so, one record is offered.
const SEND_BYTES_MAX: usize = 8 * PLAIN_BYTES_MAX;
/// New keys are taken, or the connection is ended, when so few records are left for the old ones.
const RECORDS_LEFT_MIN: u64 = 1 << 16;

/// One connection's.
pub(super) struct Link {
    send: Traffic,
    /// Away while what came is being read, and where no more is to be.
    receive: Option<Incoming>,
    /// What most connections have none of.
    ongoing: Option<Box<Ongoing>>,
    owes: Owes,
    /// It has been told that no more comes.
    has_said_last: bool,
    /// What has begun is not gone on with: the connection is being shut down.
    is_abandoned: bool,
}

/// A connection's link on its way to another process: its keys, and ciphertext that goes first.
/// Only as bytes, as keys are not to be copied about; zeroized at the end.
#[derive(Serialize, Deserialize)]
pub struct SavedLink(Vec<u8>);

impl SavedLink {
    /// # Errors
    /// A sentence, if it is none.
    pub(super) fn restore(&self) -> Result<Link, String> {
        let read = postcard::from_bytes::<Read>(&self.0);
        let read = read.map_err(|error| format!("its keys are damaged: {error}"))?;
        Ok(Link {
            has_said_last: read.has_said_last,
            ..Link::new(read.send, read.receive, read.kept)
        })
    }
}

impl Drop for SavedLink {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[derive(Serialize)]
struct Written<'a> {
    send: &'a Traffic,
    receive: Option<&'a Incoming>,
    kept: &'a [u8],
    has_said_last: bool,
}

#[derive(Deserialize)]
struct Read {
    send: Traffic,
    receive: Option<Incoming>,
    kept: Vec<u8>,
    has_said_last: bool,
}

/// What is under way.
#[derive(Default)]
struct Ongoing {
    /// Ciphertext that goes first: the rest of a record, and short records behind it.
    kept: Vec<u8>,
    begun: Option<Begun>,
    flight: Option<Flight>,
    /// The last send was short.
    is_slow: bool,
}

impl Link {
    /// `kept` are records that go first.
    pub(super) fn new(send: Traffic, receive: Option<Incoming>, kept: Vec<u8>) -> Link {
        let keeping = |kept| {
            Box::new(Ongoing {
                kept,
                ..Ongoing::default()
            })
        };
        Link {
            send,
            receive,
            ongoing: Some(kept).filter(|kept| !kept.is_empty()).map(keeping),
            owes: Owes::default(),
            has_said_last: false,
            is_abandoned: false,
        }
    }

    /// Writes it down. What is begun has been settled, and nothing is under way.
    pub(super) fn save(&mut self) -> SavedLink {
        assert!(self.begun().is_none(), "it goes first");
        self.seal_owed();
        let ongoing = self.ongoing.as_deref();
        let kept = ongoing.map_or(&[][..], |ongoing| &ongoing.kept);
        let held = self.buffered_bytes() + kept.len();
        let written = Written {
            send: &self.send,
            receive: self.receive.as_ref(),
            kept,
            has_said_last: self.has_said_last,
        };
        // With room for all, as each growth would leave keys behind.
        let bytes = Vec::with_capacity(2 * size_of::<Link>() + held);
        let written = postcard::to_extend(&written, bytes);
        SavedLink(written.expect("memory takes all bytes"))
    }

    pub(super) fn take_incoming(&mut self) -> Option<Incoming> {
        self.receive.take()
    }

    /// The connection is being shut down: nothing more is read, nor gone on with.
    pub(super) fn abandon(&mut self) {
        self.is_abandoned = true;
        self.receive = None;
    }

    pub(super) fn put_incoming(&mut self, incoming: Incoming) {
        self.receive = Some(incoming);
    }

    /// Bytes of a record that has come in part.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.receive.as_ref().map_or(0, Incoming::buffered_bytes)
    }

    /// Memory of ciphertext that is kept, as the socket has not taken it.
    pub(super) fn kept_bytes(&self) -> usize {
        let ongoing = self.ongoing.as_deref();
        ongoing.map_or(0, |ongoing| ongoing.kept.capacity())
    }

    /// The peer has said that it sends no more, or what it sent was wrong.
    pub(super) fn has_ended(&self) -> bool {
        self.receive.as_ref().is_none_or(Incoming::has_ended)
    }

    /// New keys are to be used for what the peer is sent, unless no more comes anyway.
    pub(super) fn owe_key_update(&mut self) {
        self.owe_update(KeyUpdate::Alone);
    }

    /// The peer has sealed as many records as one key should (RFC 8446 section 5.5), and is to be
    /// asked for new keys. In TLS 1.2 there are none: see [`Link::is_used_up`]. A peer that does not
    /// heed it is read on for some millions of records, until one is refused.
    pub(super) fn owe_key_request(&mut self) {
        if self.send.can_update() {
            self.owe_update(KeyUpdate::Requesting);
        }
    }

    fn owe_update(&mut self, update: KeyUpdate) {
        if !self.has_said_last {
            self.owes.key_update = self.owes.key_update.max(Some(update));
        }
    }

    pub(super) fn owe_warning(&mut self, alert: Alert) {
        if !self.has_said_last {
            self.owes.warning = Some(alert);
        }
    }

    /// The peer is to be told, as the last it hears, why no more comes. False if it has been, or
    /// is to be.
    pub(super) fn owe_last(&mut self, alert: Alert) -> bool {
        let is_new = !self.has_said_last && self.owes.last.is_none();
        if is_new {
            self.owes.last = Some(alert);
        }
        is_new
    }

    /// No more can be said: the peer has a part of a record that it will not get the rest of.
    pub(super) fn is_inside_record(&self) -> bool {
        let ongoing = self.ongoing.as_deref();
        ongoing.is_some_and(|ongoing| ongoing.begun.is_some() || !ongoing.kept.is_empty())
    }

    pub(super) fn has_said_last(&self) -> bool {
        self.has_said_last
    }

    /// The keys of one direction have been used as often as they should be, and there are no others.
    pub(super) fn is_used_up(&self) -> bool {
        let is_read_up = |receive: &Incoming| receive.records_left() == 0;
        !self.send.can_update()
            && (self.send.records_left() < RECORDS_LEFT_MIN
                || self.receive.as_ref().is_some_and(is_read_up))
    }

    #[inline]
    pub(super) fn begun(&self) -> Option<Begun> {
        let begun = self.ongoing.as_ref()?.begun;
        begun.filter(|_| !self.is_abandoned)
    }

    /// Something else goes before what is in logs and lanes.
    #[inline]
    pub(super) fn owes(&self) -> bool {
        self.owes != Owes::default()
            || (self.ongoing.as_ref()).is_some_and(|ongoing| !ongoing.kept.is_empty())
    }

    /// It is to be looked at before a log is sent from.
    #[inline]
    pub(super) fn wants_look(&self) -> bool {
        self.owes() || self.is_used_up()
    }

    /// What goes first, to be sent alone. A record that is begun is to be settled before.
    pub(super) fn send_owed(&mut self) -> Rc<Bytes> {
        self.seal_owed();
        let ongoing = self.ongoing.get_or_insert_default();
        let bytes = Rc::new(Bytes::from(ongoing.kept.clone()));
        ongoing.flight = Some(Flight {
            bytes: bytes.clone(),
            content: 0,
            from: None,
            is_cut: false,
        });
        bytes
    }

    /// Seals something to go out in one send with what is kept, behind it.
    pub(super) fn follow_kept(&mut self, content: &[u8]) {
        let ongoing = self.ongoing.get_or_insert_default();
        assert!(ongoing.flight.is_none(), "nothing is under way");
        (self.send).seal(ContentType::ApplicationData, content, &mut ongoing.kept);
    }

    fn seal_owed(&mut self) {
        let owes = std::mem::take(&mut self.owes);
        if owes == Owes::default() {
            return;
        }
        let ongoing = self.ongoing.get_or_insert_default();
        assert!(ongoing.begun.is_none(), "it goes first");
        self.has_said_last |= owes.seal(&mut self.send, &mut ongoing.kept);
    }

    /// Seals the beginning of a run of a log for one send: the rest of the record that is begun, and
    /// what follows. `copy` appends so many bytes of the log from a position on.
    pub(super) fn seal_run(
        &mut self,
        scratch: &mut Scratch,
        run: Range<u64>,
        mut copy: impl FnMut(u64, u64, &mut Vec<u8>),
    ) -> Rc<Bytes> {
        self.look_at_limit();
        let begun = self.begun();
        let first = begun.map_or(0, |begun| u64::from(begun.len));
        let (from, len) = (run.start, run.end - run.start);
        assert!(first <= len, "a log does not shrink");
        let is_slow = (self.ongoing.as_ref()).is_some_and(|ongoing| ongoing.is_slow);
        let content = len.min(match (is_slow, first) {
            (true, 0) => PLAIN_BYTES_MAX as u64,
            (true, first) => first,
            (false, _) => SEND_BYTES_MAX as u64,
        });
        assert!(first <= content);
        let mut out = scratch.take(self.sealed_len(first, content));
        let sealer = self.send.sealer();
        let (mut number, mut at) = (self.send.next(), from);
        let mut skip = 0;
        if let Some(begun) = begun {
            assert_eq!(begun.from, from, "a cursor does not move inside a record");
            seal(&sealer, number, &mut out, |out| copy(at, first, out));
            assert_eq!(tag(&out), begun.tag, "sealed again a record is the same");
            skip = begun.sent as usize;
            (number, at) = (number + 1, at + first);
        }
        let end = from + content;
        while at < end {
            let len = (end - at).min(PLAIN_BYTES_MAX as u64);
            seal(&sealer, number, &mut out, |out| copy(at, len, out));
            (number, at) = (number + 1, at + len);
        }
        let mut bytes = Bytes::from(out);
        bytes.advance(skip);
        let bytes = Rc::new(bytes);
        self.ongoing.get_or_insert_default().flight = Some(Flight {
            bytes: bytes.clone(),
            content: content as u32,
            from: Some(from),
            is_cut: content < len,
        });
        bytes
    }

    /// Seals what has been gathered for one send.
    pub(super) fn seal_gathered(&mut self, scratch: &mut Scratch, content: &[u8]) -> Rc<Bytes> {
        self.look_at_limit();
        assert!(self.begun().is_none(), "it goes first");
        let mut out = scratch.take(self.sealed_len(0, content.len() as u64));
        let sealer = self.send.sealer();
        for (number, chunk) in (self.send.next()..).zip(content.chunks(PLAIN_BYTES_MAX)) {
            seal(&sealer, number, &mut out, |out| {
                out.extend_from_slice(chunk);
            });
        }
        let bytes = Rc::new(Bytes::from(out));
        self.ongoing.get_or_insert_default().flight = Some(Flight {
            bytes: bytes.clone(),
            content: content.len() as u32,
            from: None,
            is_cut: false,
        });
        bytes
    }

    fn look_at_limit(&mut self) {
        if self.send.records_left() < RECORDS_LEFT_MIN && self.send.can_update() {
            self.owe_key_update();
        }
    }

    /// How long records are that hold so much content, the first one of them `first` if that is
    /// not 0.
    fn sealed_len(&self, first: u64, content: u64) -> usize {
        let records = u64::from(first > 0) + (content - first).div_ceil(PLAIN_BYTES_MAX as u64);
        (content + records * self.send.overhead() as u64) as usize
    }

    /// The socket has taken `taken` bytes of the send under way. Gives back what those were.
    pub(super) fn settle_sent(&mut self, taken: u32) -> (Sent, Rc<Bytes>) {
        let overhead = self.send.overhead() as u32;
        let ongoing = self.ongoing.as_deref_mut().expect("a send is under way");
        let flight = ongoing.flight.take().expect("a send is under way");
        let is_short = taken < flight.bytes.len() as u32;
        ongoing.is_slow = is_short;
        if flight.content == 0 {
            ongoing.kept.drain(..taken as usize);
            self.tidy();
            let sent = Sent {
                content: 0,
                is_short,
                is_inside: false,
            };
            return (sent, flight.bytes);
        }
        let begun = ongoing.begun.take();
        let settled = flight.settle(begun, taken, overhead, &mut ongoing.kept);
        ongoing.begun = settled.begun;
        self.send.advance(settled.records);
        self.tidy();
        let sent = Sent {
            content: settled.content,
            is_short,
            is_inside: is_short || flight.is_cut,
        };
        (sent, flight.bytes)
    }

    /// A send has failed in passing, and nothing of it went out.
    pub(super) fn forget_flight(&mut self) {
        if let Some(ongoing) = &mut self.ongoing {
            ongoing.flight = None;
        }
        self.tidy();
    }

    /// Keeps the rest of the record that is begun, as its content is about to be moved away from.
    pub(super) fn settle_begun(&mut self, begun: Begun, copy: impl FnOnce(u64, u64, &mut Vec<u8>)) {
        let ongoing = self.ongoing.as_deref_mut().expect("a record is begun");
        assert_eq!(ongoing.begun.take(), Some(begun));
        assert!(ongoing.flight.is_none(), "nothing is under way");
        assert!(ongoing.kept.is_empty(), "a record is begun or kept");
        let mut out = Vec::with_capacity(begun.len as usize + self.send.overhead());
        let number = self.send.next();
        seal(&self.send.sealer(), number, &mut out, |out| {
            copy(begun.from, u64::from(begun.len), out);
        });
        assert_eq!(tag(&out), begun.tag, "sealed again a record is the same");
        out.drain(..begun.sent as usize);
        ongoing.kept = out;
        self.send.advance(1);
    }

    /// Lets go of what is used up.
    fn tidy(&mut self) {
        let is_idle = |ongoing: &Ongoing| {
            ongoing.kept.is_empty()
                && ongoing.begun.is_none()
                && ongoing.flight.is_none()
                && !ongoing.is_slow
        };
        if self.ongoing.as_deref().is_some_and(is_idle) {
            self.ongoing = None;
        }
    }
}

fn seal(sealer: &Sealer, number: u64, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    sealer.seal(number, ContentType::ApplicationData, out, fill);
}

#[cfg(test)]
mod tests;
