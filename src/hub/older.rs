//! History that memory does not hold any more, read from the store for those who come back:
//! by threads of its own, a page at a time, each written once for all who read it in the
//! same format, and bounded by `store_read_bytes_max` over all of them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::codec::{Codec, Encoder};
use super::helpers::{Busy, Helpers};
use super::keeping::{At, Unreadable};
use super::{Archive, HistoryError, Hub, Past};
use crate::log::Topic;
use crate::protocol::dialect::centrifugo::Page;
use crate::protocol::encoding::{Encoding, Format, HEADER_BYTES_MAX, Message};
use crate::protocol::topic::TopicName;

/// Reads that wait for a thread. Who finds as many asks again a little later.
const WAITING_MAX: usize = 1024;
/// What a read is taken to need before it is known.
const PAGE_BYTES: u64 = 128 << 10;

/// A page of stored history as its subscribers are sent it.
#[derive(Debug)]
pub struct Part {
    bytes: Vec<u8>,
    /// Where each message begins: its offset, and its place in the bytes.
    marks: Vec<(u64, u32)>,
    /// The offset behind the last one.
    next: u64,
    counted: Counted,
}

/// Bytes of parts that somebody holds.
#[derive(Debug)]
struct Counted {
    bytes: u64,
    held: Arc<AtomicU64>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Owner(Arc<Part>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Part {
    /// One with these marks, of so many bytes.
    #[cfg(test)]
    pub(crate) fn sample(marks: &[(u64, u32)], len: usize) -> Part {
        let last = marks.last().map_or(0, |(offset, _)| *offset);
        Part {
            bytes: vec![0; len],
            marks: marks.to_vec(),
            next: last + 1,
            counted: Counted {
                bytes: 0,
                held: Arc::default(),
            },
        }
    }

    /// Offset of the first message at or behind `since`.
    pub fn first_since(&self, since: u64) -> Option<u64> {
        let number = self.marks.partition_point(|(offset, _)| *offset < since);
        self.marks.get(number).map(|(offset, _)| *offset)
    }

    /// The messages from `since` on, but for those of `own`, which are in order: runs of
    /// bytes that keep the part, and where each ends in it.
    pub fn runs(self: &Arc<Self>, since: u64, own: &[Range<u64>]) -> Vec<(Bytes, u32)> {
        let whole = Bytes::from_owner(Owner(self.clone()));
        let (mut runs, mut from) = (Vec::new(), since);
        let last = self.next..self.next;
        for own in own.iter().chain([&last]) {
            let (begin, end) = (self.start_of(from), self.start_of(own.start.max(from)));
            if begin < end {
                runs.push((whole.slice(begin as usize..end as usize), end));
            }
            from = from.max(own.end);
        }
        runs
    }

    /// Where the first message at or behind an offset begins.
    fn start_of(&self, offset: u64) -> u32 {
        let number = self.marks.partition_point(|(of, _)| *of < offset);
        let mark = self.marks.get(number);
        mark.map_or(self.bytes.len() as u32, |(_, start)| *start)
    }

    /// The first boundary between messages at or behind a place in the bytes, and the offset
    /// that comes next there.
    pub fn boundary(&self, at: u32) -> (u32, u64) {
        let number = self.marks.partition_point(|(_, start)| *start < at);
        let mark = self.marks.get(number);
        mark.map_or((self.bytes.len() as u32, self.next), |(offset, start)| {
            (*start, *offset)
        })
    }

    /// The offset behind its last message.
    pub fn next(&self) -> u64 {
        self.next
    }

    fn first(&self) -> u64 {
        self.marks.first().map_or(self.next, |(offset, _)| *offset)
    }
}

/// Why nothing is read at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Postponed {
    /// As many reads wait as may.
    Busy,
    /// Those who are sent history hold as much as may be.
    NoRoom,
}

/// What a read has found.
#[derive(Debug)]
pub enum Found {
    Part(Arc<Part>),
    /// There is nothing from that offset on, up to this one, which memory held then.
    Nothing(u64),
    /// Messages from the first offset up to the second, and without it, are lost.
    Damaged(u64, u64),
    /// The store is not to be had at present.
    Later,
}

/// The answer to a core that has asked.
#[derive(Debug)]
pub struct OlderAnswer {
    pub slot: u32,
    /// The core's number for what it has asked.
    pub number: u64,
    pub found: Found,
}

/// A page of history for a core that has asked.
#[derive(Debug)]
pub struct PastAnswer {
    pub slot: u32,
    /// The core's number for what it has asked.
    pub number: u64,
    pub past: Result<Past, HistoryError>,
}

/// By topic, format and first offset.
type Key = (u64, u8, u64);

/// Parts that are kept for the next who wants them.
#[derive(Debug, Default)]
struct Cache {
    parts: BTreeMap<Key, Arc<Part>>,
    /// Their keys, the first one to go first.
    order: VecDeque<Key>,
    bytes: u64,
}

impl Cache {
    fn find(&self, topic: u64, format: Format, since: u64) -> Option<Arc<Part>> {
        let key = (topic, format.index(), since);
        let ((of, in_format, _), part) = self.parts.range(..=key).next_back()?;
        let fits = (*of, *in_format) == (topic, format.index()) && since < part.next;
        fits.then(|| part.clone())
    }

    fn add(&mut self, topic: u64, format: Format, part: &Arc<Part>, bytes_max: u64) {
        let key = (topic, format.index(), part.first());
        if self.parts.insert(key, part.clone()).is_none() {
            self.order.push_back(key);
            self.bytes += part.counted.bytes;
        }
        while self.bytes > bytes_max && self.evict() {}
    }

    fn evict(&mut self) -> bool {
        let Some(key) = self.order.pop_front() else {
            return false;
        };
        let part = self.parts.remove(&key).expect("its key is known");
        self.bytes -= part.counted.bytes;
        true
    }
}

/// Reads from the store.
#[derive(Default)]
pub(super) struct Older {
    helpers: OnceLock<Helpers>,
    /// Nothing is left to helpers.
    at_once: AtomicBool,
    cache: Mutex<Cache>,
    held: Arc<AtomicU64>,
}

impl Older {
    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Has the history of a topic from `since` on read for a core, a page of it.
    ///
    /// # Errors
    /// See [`Postponed`].
    pub fn read_older(
        self: &Arc<Self>,
        (core, slot, number): (usize, u32, u64),
        topic: &Arc<Topic>,
        format: Format,
        since: u64,
    ) -> Result<(), Postponed> {
        let older = &self.older;
        let bytes_max = self.settings().store_read_bytes_max as u64;
        while older.held.load(Ordering::Relaxed) + PAGE_BYTES > bytes_max {
            if !older.lock().evict() {
                return Err(Postponed::NoRoom);
            }
        }
        let (hub, topic) = (self.clone(), topic.clone());
        let run = self.read(move || {
            let found = hub.find_part(&topic, format, since);
            hub.mailbox(core).older(OlderAnswer {
                slot,
                number,
                found,
            });
        });
        run.map_err(|Busy| Postponed::Busy)
    }

    /// Has a page of history read for a core.
    ///
    /// # Errors
    /// See [`Busy`].
    pub fn read_history(
        self: &Arc<Self>,
        (core, slot, number): (usize, u32, u64),
        topic: &TopicName,
        page: &Page,
    ) -> Result<(), Busy> {
        let (hub, topic, page) = (self.clone(), topic.clone(), page.clone());
        self.read(move || {
            let past = hub.history_stored(&topic, &page);
            hub.mailbox(core).past(PastAnswer { slot, number, past });
        })
    }

    /// Reads are not left to other threads, for who plays all cores on one.
    pub fn read_at_once(&self) {
        self.older.at_once.store(true, Ordering::Relaxed);
    }

    pub(super) fn read(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        if self.older.at_once.load(Ordering::Relaxed) {
            job();
            return Ok(());
        }
        let helpers = &self.older.helpers;
        let helpers = helpers.get_or_init(|| Helpers::new(self.mailboxes().len()));
        helpers.run(WAITING_MAX, job)
    }

    /// Bytes of stored history that are held for those who come back.
    pub fn older_bytes(&self) -> u64 {
        self.older.held.load(Ordering::Relaxed)
    }

    fn find_part(&self, topic: &Topic, format: Format, since: u64) -> Found {
        let id = topic.id();
        if let Some(part) = self.older.lock().find(id, format, since) {
            return Found::Part(part);
        }
        let Some(archive) = self.archive_of(topic) else {
            return Found::Later;
        };
        // Before the look: what memory gives up is stored by then.
        let held_first = topic.held_first();
        match self.write_part(&*archive, topic, format, since) {
            Ok(None) => Found::Nothing(held_first),
            Ok(Some(part)) => {
                let part = Arc::new(part);
                let bytes_max = self.settings().store_read_bytes_max as u64 / 2;
                self.older.lock().add(id, format, &part, bytes_max);
                Found::Part(part)
            }
            Err(Unreadable::Damaged(from, until)) => {
                self.note_damage(topic, from, until);
                Found::Damaged(from, until)
            }
            Err(Unreadable::Failed(sentence)) => {
                let line = &self.complaints().store_reading;
                if let Some(held_back) = line.admit(self.now_ms()) {
                    tracing::warn!(%sentence, held_back, "cannot read from the store");
                }
                Found::Later
            }
        }
    }

    fn write_part(
        &self,
        archive: &dyn Archive,
        topic: &Topic,
        format: Format,
        since: u64,
    ) -> Result<Option<Part>, Unreadable> {
        let (mut codec, mut bytes, mut marks) = (Codec::default(), Vec::new(), Vec::new());
        let mut encoder = codec.plain();
        let oldest_ms = self.oldest_ms(topic);
        let mut next = since;
        while marks.is_empty() {
            let at = At::Holding(next);
            let mut too_old = 0;
            let read = archive.page(topic.name(), topic.epoch(), at, &mut |message| {
                if message.time_ms < oldest_ms {
                    too_old = message.offset;
                    return;
                }
                marks.push((message.offset, bytes.len() as u32));
                write(&mut encoder, format, message, &mut bytes);
            })?;
            let Some((_, behind)) = read else {
                return Ok(None);
            };
            next = behind;
            note_too_old(topic, too_old);
        }
        self.keeping()
            .figures
            .pages_read
            .fetch_add(1, Ordering::Relaxed);
        let held = self.older.held.clone();
        let counted = Counted {
            bytes: (bytes.len() + marks.len() * size_of::<(u64, u32)>()) as u64,
            held,
        };
        counted.held.fetch_add(counted.bytes, Ordering::Relaxed);
        Ok(Some(Part {
            bytes,
            marks,
            next,
            counted,
        }))
    }

    /// What is older than this is not to be had of a topic of a cluster, though that has it.
    pub(super) fn oldest_ms(&self, topic: &Topic) -> u64 {
        let age_ms_max = self.retention(topic).age_ms_max;
        match topic.is_shared() {
            true => self.unix_ms(self.now_ms()).saturating_sub(age_ms_max),
            false => 0,
        }
    }

    /// Messages of a topic are damaged in the store. Told and counted once.
    pub(super) fn note_damage(&self, topic: &Topic, from: u64, until: u64) {
        let Some(kept) = topic.kept() else { return };
        if kept.whole_from() < until {
            kept.note_hole(until);
            self.keeping().figures.holes.fetch_add(1, Ordering::Relaxed);
            let (topic, last) = (topic.name(), until - 1);
            tracing::error!(%topic, from, last, "messages of a topic are damaged in the store");
        }
    }
}

/// All up to this offset has been found to be too old.
pub(super) fn note_too_old(topic: &Topic, offset: u64) {
    if let Some(kept) = topic.kept()
        && offset > 0
    {
        kept.note_oldest(offset + 1);
    }
}

/// Appends a message as a plain format has it.
fn write(encoder: &mut Encoder<'_>, format: Format, message: &Message<'_>, out: &mut Vec<u8>) {
    let begins = out.len();
    if format == Format::Raw {
        let mut header = [0; HEADER_BYTES_MAX];
        let len = encoder.header(message.text, message.payload.len(), &mut header);
        out.extend_from_slice(&header[..len]);
        out.extend_from_slice(message.payload);
        return;
    }
    out.resize(begins + encoder.bound(format, message), 0);
    let len = encoder.write(format, message, &mut out[begins..]);
    out.truncate(begins + len);
}
