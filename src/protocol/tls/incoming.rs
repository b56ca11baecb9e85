//! What a peer sends: a state machine over bytes.

use std::fmt;
use std::mem;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::alert::{self, Alert};
use super::content::ContentType;
use super::fault::Fault;
use super::messages::{Message, Messages};
use super::record::HEADER_BYTES;
use super::traffic::Traffic;

/// The receiving direction. Its only buffer is a record that has come in part; the buffer
/// grows with what has come, not with what was announced, and is freed once the record has been used.
#[derive(Serialize, Deserialize)]
pub struct Incoming {
    traffic: Traffic,
    partial: Vec<u8>,
    /// `partial` has been opened and its content handed out: it goes with the next call.
    is_used: bool,
    has_ended: bool,
    was_refused: bool,
    peer_alert: Option<u8>,
    empty_records: u8,
    key_updates: u8,
    warnings: u8,
    messages: Messages,
}

/// Something to act on. Skipped without one are empty records, a peer's user_canceled, and in
/// TLS 1.2 its warnings, all bounded.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Never empty.
    Data(&'a mut [u8]),
    /// The peer has new keys, which are already in use here. If `requested`, one of our own
    /// must go out before any more data.
    KeyUpdate { requested: bool },
    /// Nothing more will come. What comes nevertheless is ignored.
    CloseNotify,
    /// To be answered with this warning; the connection goes on.
    Refused(Alert),
}

/// What one record holds, by its place in it.
enum Content {
    Data(Range<usize>),
    Event(Event<'static>),
    Nothing,
}

/// What a call has found.
enum Found<'b> {
    InPlace(&'b mut [u8]),
    InPartial(Range<usize>),
    Event(Event<'static>),
    Nothing,
}

impl Incoming {
    pub fn new(traffic: Traffic) -> Incoming {
        Incoming {
            traffic,
            partial: Vec::new(),
            is_used: false,
            has_ended: false,
            was_refused: false,
            peer_alert: None,
            empty_records: 0,
            key_updates: 0,
            warnings: 0,
            messages: Messages::default(),
        }
    }

    /// The next thing in `bytes`, which moves on behind it. A record that is whole in `bytes` is
    /// opened in place. `None`: all bytes are used, and more are needed.
    ///
    /// # Errors
    /// The peer has broken the protocol. Nothing more is read then.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b mut [u8],
    ) -> Result<Option<Event<'a>>, Fault> {
        if self.is_used {
            self.partial = Vec::new();
            self.is_used = false;
        }
        let found = self.find(bytes);
        if found.is_err() {
            self.end();
        }
        if self.has_ended {
            *bytes = &mut [];
        }
        Ok(match found? {
            Found::InPlace(data) => Some(Event::Data(data)),
            Found::InPartial(range) => Some(Event::Data(&mut self.partial[range])),
            Found::Event(event) => Some(event),
            Found::Nothing => None,
        })
    }

    /// Bytes that the partial record holds of memory.
    pub fn buffered_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Whether a close_notify has come, or a fault: whatever else comes is ignored. A connection
    /// that is closed before that was cut short.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// How many records of data the peer's keys may still seal (RFC 8446 section 5.5). At 0 it is
    /// to be asked for new ones; far above, a record of the old ones is a fault.
    pub fn records_left(&self) -> u64 {
        self.traffic.records_left()
    }

    /// Whether bytes of a record, or of a message, have come that is not whole.
    pub fn is_inside(&self) -> bool {
        let has_partial = !self.partial.is_empty() && !self.is_used;
        has_partial || self.messages.is_inside()
    }

    /// The number of the alert with which the peer has ended the connection
    /// ([`Fault::PeerAlert`]).
    pub fn peer_alert(&self) -> Option<u8> {
        self.peer_alert
    }

    fn find<'b>(&mut self, bytes: &mut &'b mut [u8]) -> Result<Found<'b>, Fault> {
        while !self.has_ended && !bytes.is_empty() {
            let content = if self.partial.is_empty() {
                let Some(record) = self.take_whole(bytes)? else {
                    break;
                };
                match self.handle_record(record)? {
                    Content::Data(range) => return Ok(Found::InPlace(&mut record[range])),
                    other => other,
                }
            } else {
                if !self.gather(bytes)? {
                    break;
                }
                let mut record = mem::take(&mut self.partial);
                let content = self.handle_record(&mut record)?;
                if let Content::Data(range) = content {
                    self.partial = record;
                    self.is_used = true;
                    return Ok(Found::InPartial(range));
                }
                content
            };
            if let Content::Event(event) = content {
                return Ok(Found::Event(event));
            }
        }
        Ok(Found::Nothing)
    }

    /// The record that `bytes` begin with, if it is whole; else they are kept.
    fn take_whole<'b>(&mut self, bytes: &mut &'b mut [u8]) -> Result<Option<&'b mut [u8]>, Fault> {
        let len = self.traffic.record_bytes(bytes)?;
        let all = mem::take(bytes);
        let Some(len) = len.filter(|len| *len <= all.len()) else {
            self.partial = all.to_vec();
            return Ok(None);
        };
        let (record, rest) = all.split_at_mut(len);
        *bytes = rest;
        Ok(Some(record))
    }

    /// Moves what belongs to the partial record out of `bytes`: whether the record is whole.
    fn gather(&mut self, bytes: &mut &mut [u8]) -> Result<bool, Fault> {
        loop {
            let wanted = self.traffic.record_bytes(&self.partial)?;
            let missing = wanted.unwrap_or(HEADER_BYTES) - self.partial.len();
            if missing == 0 {
                return Ok(true);
            }
            if bytes.is_empty() {
                return Ok(false);
            }
            let taken = missing.min(bytes.len());
            let (more, rest) = mem::take(bytes).split_at_mut(taken);
            *bytes = rest;
            // At least doubled, so that a trickle is not copied over and over; never beyond
            // the record.
            let room = self.partial.capacity() - self.partial.len();
            if room < more.len() {
                let extra = more.len().max(self.partial.len()).min(missing);
                self.partial.reserve_exact(extra);
            }
            self.partial.extend_from_slice(more);
        }
    }

    fn handle_record(&mut self, record: &mut [u8]) -> Result<Content, Fault> {
        let (kind, range) = self.traffic.open(record)?;
        if self.messages.is_inside() && kind != ContentType::Handshake {
            return Err(Fault::Interleaved);
        }
        if kind == ContentType::ApplicationData {
            return self.handle_data(range);
        }
        let message = &record[range];
        if kind == ContentType::ChangeCipherSpec {
            return Err(Fault::ChangeCipherSpec);
        }
        if message.is_empty() {
            return Err(Fault::Empty);
        }
        match kind {
            ContentType::Alert => self.handle_alert(message),
            _ => self.handle_handshake(message),
        }
    }

    fn handle_data(&mut self, range: Range<usize>) -> Result<Content, Fault> {
        if range.is_empty() {
            self.empty_records += 1;
            if self.empty_records > Fault::EMPTY_RECORDS_MAX {
                return Err(Fault::EmptyFlood);
            }
            return Ok(Content::Nothing);
        }
        self.empty_records = 0;
        self.key_updates = 0;
        Ok(Content::Data(range))
    }

    fn handle_handshake(&mut self, fragment: &[u8]) -> Result<Content, Fault> {
        let message = if self.traffic.can_update() {
            self.messages.tls13(fragment)?
        } else {
            self.messages.tls12(fragment)?
        };
        Ok(match message {
            None => Content::Nothing,
            Some(Message::KeyUpdate { requested }) => {
                self.key_updates += 1;
                if self.key_updates > Fault::KEY_UPDATES_MAX {
                    return Err(Fault::KeyUpdateFlood);
                }
                self.traffic.update();
                Content::Event(Event::KeyUpdate { requested })
            }
            Some(Message::ClientHello) => {
                if mem::replace(&mut self.was_refused, true) {
                    return Err(Fault::Renegotiation);
                }
                Content::Event(Event::Refused(Alert::NoRenegotiation))
            }
        })
    }

    fn handle_alert(&mut self, message: &[u8]) -> Result<Content, Fault> {
        // One alert a record, and whole (RFC 8446 section 5.1). TLS 1.2 allows others; nobody sends them.
        let &[level, number] = message else {
            return Err(Fault::Decode);
        };
        if level != alert::WARNING && level != alert::FATAL {
            return Err(Fault::Illegal);
        }
        if number == Alert::CloseNotify as u8 {
            self.end();
            return Ok(Content::Event(Event::CloseNotify));
        }
        // In TLS 1.3 the level means nothing: all others end the connection but this one.
        let is_warning = if self.traffic.can_update() {
            number == alert::USER_CANCELED
        } else {
            level == alert::WARNING
        };
        if !is_warning {
            self.peer_alert = Some(number);
            return Err(Fault::PeerAlert);
        }
        self.warnings += 1;
        if self.warnings > Fault::WARNINGS_MAX {
            return Err(Fault::AlertFlood);
        }
        Ok(Content::Nothing)
    }

    /// Nothing more is read, so nothing is kept.
    fn end(&mut self) {
        self.has_ended = true;
        self.partial = Vec::new();
    }
}

impl fmt::Debug for Incoming {
    /// Nothing of what the peer has said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("traffic", &self.traffic)
            .field("partial_bytes", &self.partial.len())
            .field("has_ended", &self.has_ended)
            .finish_non_exhaustive()
    }
}
