//! The order of a topic's messages: what happens under its lock.

use std::ops::Range;
use std::sync::Arc;

use super::arena;
use super::budget::Budget;
use super::kept::Kept;
use super::retention::{AppendError, Bounds, Lack, Retention};
use super::segment::{Entry, SEGMENT_BYTES_MIN, Segment};
use super::slots::SLOT_BYTES;
use super::view::View;
use crate::protocol::encoding::{
    EXTRAS_BYTES_MAX, Encoding, Extras, Format, HEADER_BYTES_MAX, Message,
};

/// A message that is to be published; its payload is written in place.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    pub text: bool,
    /// Bytes of payload.
    pub len: usize,
    /// Unix time in milliseconds.
    pub now_ms: u64,
    /// Its offset, where somebody else has decided on it; else the next one.
    pub offset: Option<u64>,
    pub extras: Option<Extras<'a>>,
}

/// A message in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its number in the topic, from 1.
    pub offset: u64,
    /// When it was published: Unix time in milliseconds.
    pub time_ms: u64,
    /// Where it lies in the raw view.
    pub raw: Range<u64>,
    /// Where it lies in the other views there are.
    pub others: Vec<(Format, Range<u64>)>,
}

impl Committed {
    /// Where it lies in a view; `None` if there was no such view.
    pub fn range(&self, format: Format) -> Option<Range<u64>> {
        if format == Format::Raw {
            return Some(self.raw.clone());
        }
        let mut others = self.others.iter();
        others.find_map(|(of, range)| (*of == format).then(|| range.clone()))
    }
}

/// What a topic's lock protects.
#[derive(Debug)]
pub(super) struct Sequencer {
    pub(super) next_offset: u64,
    /// Time of the newest message.
    pub(super) time_ms: u64,
    /// Older messages have grown too old, or had to make room.
    pub(super) floor: u64,
    /// Its messages are stored outside of memory.
    pub(super) kept: Option<Arc<Kept>>,
    pub(super) raw: View,
    /// The views in other formats.
    pub(super) others: Vec<View>,
    pub(super) budget: Arc<Budget>,
}

impl Sequencer {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Sequencer {
            next_offset: 1,
            time_ms: 0,
            floor: 1,
            kept: None,
            raw: View::new(Format::Raw, 1, 0),
            others: Vec::new(),
            budget,
        }
    }

    /// Begins an empty topic with this offset rather than with the first.
    pub(super) fn begin_at(&mut self, offset: u64, time_ms: u64) {
        assert!(self.raw.segments().is_empty() && self.others.is_empty());
        (self.next_offset, self.time_ms) = (offset, time_ms);
        self.raw = View::new(Format::Raw, offset, time_ms);
    }

    /// The offset of the oldest message that memory holds, or of the next one.
    pub(super) fn raw_first_offset(&self) -> u64 {
        self.raw.first_offset().min(self.next_offset)
    }

    /// Where the first message at or behind `offset` lies in the raw view, or its end.
    pub(super) fn position_of(&self, offset: u64) -> u64 {
        match offset < self.next_offset && self.raw.tail().is_some() {
            true => self.raw.locate(offset).0,
            false => self.raw.head(),
        }
    }

    /// All messages before this offset may be given up.
    fn safe(&self) -> u64 {
        self.kept.as_ref().map_or(u64::MAX, |kept| kept.stored())
    }

    /// All views, raw first.
    pub(super) fn views(&self) -> impl Iterator<Item = &View> {
        std::iter::once(&self.raw).chain(&self.others)
    }

    pub(super) fn views_mut(&mut self) -> impl Iterator<Item = &mut View> {
        std::iter::once(&mut self.raw).chain(&mut self.others)
    }

    pub(super) fn view(&self, format: Format) -> Option<&View> {
        self.views().find(|view| view.format == format)
    }

    pub(super) fn view_mut(&mut self, format: Format) -> Option<&mut View> {
        self.views_mut().find(|view| view.format == format)
    }

    /// Appends one message to all views. `topic` and `epoch` are for encodings. `seen` is
    /// shown where the message lies before any reader can find it there.
    pub(super) fn publish<E>(
        &mut self,
        (topic, epoch): (&str, u64),
        draft: &Draft<'_>,
        retention: &Retention,
        encoder: &mut impl Encoding,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
        seen: impl FnOnce(&Committed),
    ) -> Result<Committed, AppendError<E>> {
        let bounds = &retention.bounds;
        let offset = draft.offset.unwrap_or(self.next_offset);
        assert!(offset >= self.next_offset, "offsets only ever grow");
        let mut header = [0; HEADER_BYTES_MAX];
        let header_len = encoder.header(draft.text, draft.len, &mut header);
        let rare = encode_extras(draft.extras.as_ref())?;
        let entry = Entry {
            len: header_len + draft.len,
            header_len,
            text: draft.text,
            offset,
            // The clock may have been set back.
            time_ms: draft.now_ms.max(self.time_ms),
            rare: &rare,
        };
        self.reserve(None, &entry, bounds)?;
        let (head, payload) = self.raw.unpublished(entry.len).split_at_mut(header_len);
        head.copy_from_slice(&header[..header_len]);
        write(payload).map_err(AppendError::Payload)?;
        let others = if self.others.is_empty() {
            Vec::new()
        } else {
            self.write_others(topic, epoch, draft.extras, &entry, bounds, encoder)?
        };
        // Nothing can fail from here on.
        let start = self.raw.head();
        let committed = Committed {
            offset,
            time_ms: entry.time_ms,
            raw: start..start + entry.len as u64,
            others: self.ranges(&others),
        };
        seen(&committed);
        for (view, len) in self.others.iter_mut().zip(others) {
            view.publish(&plain(&entry, len));
        }
        self.raw.publish(&entry);
        self.next_offset = offset + 1;
        self.time_ms = entry.time_ms;
        self.trim(retention);
        Ok(committed)
    }

    /// Has a message that is filled in but not published in the raw view
    /// written for the other views too. Returns how long it is in each.
    fn write_others<E>(
        &mut self,
        topic: &str,
        epoch: u64,
        extras: Option<Extras<'_>>,
        entry: &Entry<'_>,
        bounds: &Bounds,
        encoder: &mut impl Encoding,
    ) -> Result<Vec<usize>, AppendError<E>> {
        let tail = self.raw.tail().expect("room was made").clone();
        let mut lens = Vec::with_capacity(self.others.len());
        for place in 0..self.others.len() {
            let format = self.others[place].format;
            let message = Message {
                topic,
                epoch,
                offset: entry.offset,
                time_ms: entry.time_ms,
                text: entry.text,
                payload: &[],
                extras,
            };
            let payload = &tail.filled(&self.raw.lock, entry.len)[entry.header_len..];
            let bound = encoder.bound(format, &Message { payload, ..message });
            self.reserve(Some(place), &plain(entry, bound), bounds)?;
            let Sequencer { raw, others, .. } = self;
            let payload = &tail.filled(&raw.lock, entry.len)[entry.header_len..];
            let room = others[place].unpublished(bound);
            let len = encoder.write(format, &Message { payload, ..message }, room);
            assert!(len <= bound, "an encoding keeps its bound");
            lens.push(len);
        }
        Ok(lens)
    }

    /// Where what comes next lies in the other views.
    fn ranges(&self, lens: &[usize]) -> Vec<(Format, Range<u64>)> {
        let views = self.others.iter().zip(lens);
        let range = |view: &View, len: usize| view.head()..view.head() + len as u64;
        views
            .map(|(view, len)| (view.format, range(view, *len)))
            .collect()
    }

    /// Makes room for what a message lacked in one view; nothing is lacking where the
    /// view has gone.
    pub(super) fn reserve_for<E>(
        &mut self,
        lack: &Lack,
        bounds: &Bounds,
    ) -> Result<(), AppendError<E>> {
        let other = match lack.format {
            Format::Raw => None,
            format => match self.others.iter().position(|view| view.format == format) {
                None => return Ok(()),
                place => place,
            },
        };
        let rare = vec![0; lack.rare_len];
        let entry = Entry {
            len: lack.len,
            header_len: 0,
            text: false,
            offset: self.next_offset,
            time_ms: self.time_ms,
            rare: &rare,
        };
        self.reserve(other, &entry, bounds)
    }

    /// Makes room for `entry` in the raw view, or in another one.
    fn reserve<E>(
        &mut self,
        other: Option<usize>,
        entry: &Entry<'_>,
        bounds: &Bounds,
    ) -> Result<(), AppendError<E>> {
        let lack = Lack {
            format: self.place(other).format,
            len: entry.len,
            rare_len: entry.rare.len(),
        };
        let tail = self.place(other).tail();
        if !tail.is_some_and(|tail| tail.fits(entry)) {
            let capacity = tail.map_or(0, |tail| tail.capacity());
            let least = arena::round(entry.len + SLOT_BYTES);
            let grown = bounds.grown(capacity, self.budget.total_bytes());
            let grown = arena::round(grown.max(least).max(SEGMENT_BYTES_MIN));
            let len = match self.make_room(grown, bounds) {
                Ok(()) => grown,
                // There may be room for this message, if not for many.
                Err(_) => {
                    let made = self.make_room(least, bounds);
                    made.map_err(|full| full.without(lack))?;
                    least
                }
            };
            let piece = self.budget.take(len).ok_or(AppendError::NoMemory(lack))?;
            let view = self.place(other);
            let base = view.next_base(entry.offset, entry.time_ms);
            let segment = Segment::new(base, piece, self.budget.clone());
            self.place_mut(other).push(segment);
            // Though this message should fail, none behind it comes before what
            // the segment begins with.
            self.next_offset = entry.offset;
            self.time_ms = entry.time_ms;
        }
        if entry.rare.is_empty() {
            return Ok(());
        }
        let tail = self.place(other).tail().expect("there is one now");
        if let Some(len) = tail.side_wanted(entry.rare.len()) {
            let made = self.make_room(len, bounds);
            made.map_err(|full| full.without(lack))?;
            let piece = self.budget.take(len).ok_or(AppendError::NoMemory(lack))?;
            self.place_mut(other).add_side(piece);
        }
        Ok(())
    }

    /// The raw view or another one.
    fn place(&self, other: Option<usize>) -> &View {
        other.map_or(&self.raw, |place| &self.others[place])
    }

    fn place_mut(&mut self, other: Option<usize>) -> &mut View {
        match other {
            None => &mut self.raw,
            Some(place) => &mut self.others[place],
        }
    }

    /// Gives up history, only as much as it takes, until `len` more bytes fit.
    fn make_room(&mut self, len: usize, bounds: &Bounds) -> Result<(), Full> {
        let len = len as u64;
        while self.budget.log_bytes() + len > bounds.log_bytes_max {
            if !self.give_up_oldest() {
                return Err(Full::Log);
            }
        }
        while self.budget.total_bytes() + len > bounds.log_bytes_total_max {
            if !self.give_up_oldest() {
                return Err(Full::Total);
            }
        }
        Ok(())
    }

    /// Gives up the oldest segment of history that is not written to any more,
    /// of the raw view only when no other has one: the others can be had from
    /// it again.
    fn give_up_oldest(&mut self) -> bool {
        let with_history = |view: &&mut View| view.segments().len() > 1;
        let others = self.others.iter_mut().filter(with_history);
        match others.min_by_key(|view| view.first_offset()) {
            Some(view) => view.give_up_oldest(),
            None => self.give_up_oldest_raw(),
        }
    }

    /// The same of the raw view; what is to be stored stays until it is.
    fn give_up_oldest_raw(&mut self) -> bool {
        let second = self.raw.segments().get(1);
        let is_safe = second.is_some_and(|second| second.first_offset() <= self.safe());
        is_safe && self.raw.give_up_oldest()
    }

    /// Gives up history until the topic holds at most `bytes`, or only what
    /// readers hold. True if any was given up.
    pub(super) fn shed(&mut self, bytes: u64) -> bool {
        let before = self.budget.log_bytes();
        while self.budget.log_bytes() > bytes {
            if !self.give_up_oldest() {
                // What is left of history lies in segments that are written to.
                if self.kept.is_none() {
                    self.floor = self.next_offset;
                }
                self.empty();
                break;
            }
        }
        self.budget.log_bytes() < before
    }

    /// Has all views hold nothing any more, if all of it may go.
    fn empty(&mut self) {
        let (next, time_ms, budget) = (self.next_offset, self.time_ms, self.budget.clone());
        if self.safe() >= next {
            self.views_mut()
                .for_each(|view| view.empty(next, time_ms, &budget));
        }
    }

    /// Offset of the oldest message that may still be had, exact to the
    /// message. Memory is let go by whole segments, so more may lie there; a store
    /// lets go by whole pages.
    pub(super) fn floor(&self, retention: &Retention) -> u64 {
        let (raw, next) = (&self.raw, self.next_offset);
        let held = self.raw_first_offset();
        let stored = self.kept.as_ref().map_or(held, |kept| kept.oldest());
        let mut floor = self.floor.max(stored.min(held)).min(next);
        let Some(first_held) = raw.segments().front() else {
            return floor;
        };
        let first = raw.count().saturating_sub(retention.messages_max);
        if first > first_held.base().before {
            floor = floor.max(raw.offset_behind(first).unwrap_or(next));
        }
        let oldest = raw.head().saturating_sub(retention.bytes_max);
        if oldest > raw.start() {
            floor = floor.max(raw.offset_at(oldest).unwrap_or(next));
        }
        floor
    }

    /// Gives up the segments in which nothing is to be kept.
    fn trim(&mut self, retention: &Retention) {
        let safe = self.safe();
        let raw = &mut self.raw;
        let (head, count) = (raw.head(), raw.count());
        while let Some(second) = raw.segments().get(1) {
            let base = second.base();
            let kept = base.first_offset > self.floor
                && count - base.before < retention.messages_max
                && head - base.start < retention.bytes_max;
            if kept || base.first_offset > safe {
                break;
            }
            raw.give_up_oldest();
        }
        if !self.others.is_empty() {
            // What the raw view has let go is not to be had here either.
            let floor = self.floor.max(raw.first_offset());
            self.others.iter_mut().for_each(|view| view.trim(floor));
        }
    }

    /// Lets go of what has grown too old. True when no history is left.
    pub(super) fn expire(&mut self, now_ms: u64, retention: &Retention) -> bool {
        let oldest_ms = now_ms.saturating_sub(retention.age_ms_max);
        if oldest_ms > 0 {
            let young = self.raw.offset_since(oldest_ms).unwrap_or(self.next_offset);
            // Where the oldest message of memory is young, older ones may be stored that are.
            if self.kept.is_none() || young > self.raw_first_offset() {
                self.floor = self.floor.max(young);
            }
        }
        self.trim(retention);
        let empty = self.floor(retention) == self.next_offset;
        if empty {
            self.empty();
        }
        empty
    }
}

/// Which limit leaves no room.
enum Full {
    Log,
    Total,
}

impl Full {
    fn without<E>(self, lack: Lack) -> AppendError<E> {
        match self {
            Full::Log => AppendError::LogFull(lack),
            Full::Total => AppendError::TotalFull(lack),
        }
    }
}

/// A raw message's entry in another view.
fn plain<'a>(entry: &Entry<'_>, len: usize) -> Entry<'a> {
    Entry {
        len,
        header_len: 0,
        text: entry.text,
        offset: entry.offset,
        time_ms: entry.time_ms,
        rare: &[],
    }
}

fn encode_extras<E>(extras: Option<&Extras<'_>>) -> Result<Vec<u8>, AppendError<E>> {
    let mut bytes = Vec::new();
    if let Some(extras) = extras {
        if extras.encoded_len() > EXTRAS_BYTES_MAX {
            return Err(AppendError::ExtrasTooBig);
        }
        extras.encode(&mut bytes);
    }
    Ok(bytes)
}
