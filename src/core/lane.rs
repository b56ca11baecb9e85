//! The lane: what belongs to one peer alone. It goes out between messages of the
//! logs, and ahead of them, unless an entry names a position that it must not
//! overtake.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use super::subs::SubId;
use crate::hub::Part;

/// Bytes of their own that the lane of one peer may hold. Beyond: the peer asks
/// faster than it reads, and is closed as a control flood. No setting: that is more than 500 of
/// the longest pongs, and answers to commands are counted by `answers_bytes_max`.
pub(super) const LANE_BYTES_MAX: usize = 64 << 10;

/// So many bytes that others hold too are not copied to be sent.
pub(super) const LONG_BYTES: usize = 16 << 10;

/// A position of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct After {
    pub(super) sub: SubId,
    pub(super) position: u64,
}

#[derive(Debug)]
enum Data {
    /// Counted against [`LANE_BYTES_MAX`].
    Own(Vec<u8>),
    /// Many lanes may refer to the same bytes.
    Shared(Bytes),
}

/// A run of stored history that a subscription is sent.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) sub: SubId,
    pub(super) part: Arc<Part>,
    /// Where the run ends in the part.
    pub(super) end: u32,
}

#[derive(Debug)]
struct Entry {
    data: Data,
    after: Option<After>,
    history: Option<History>,
    /// It is history that a subscription has left while it was on its way: the part that it is
    /// of, and where it ends there.
    left: Option<(Arc<Part>, u32)>,
    /// It tells this subscription what it misses behind all that comes before.
    notice_of: Option<SubId>,
}

impl Entry {
    fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Own(bytes) => bytes,
            Data::Shared(bytes) => bytes,
        }
    }

    fn long(&self) -> Option<&Bytes> {
        match &self.data {
            Data::Shared(bytes) if bytes.len() >= LONG_BYTES => Some(bytes),
            _ => None,
        }
    }

    /// Where it is history that a subscription is sent, of which `under_way` bytes are on their
    /// way: how many bytes belong to messages that are begun, and the offset that comes behind.
    fn begun_history(&self, sub: SubId, under_way: usize) -> Option<(usize, u64)> {
        let history = self.history.as_ref().filter(|of| of.sub == sub)?;
        let taken = under_way.min(self.bytes().len()) as u32;
        let at = history.end - self.bytes().len() as u32;
        let (boundary, next) = history.part.boundary(at + taken);
        Some((boundary.min(history.end) as usize - at as usize, next))
    }
}

/// The lane is full: nothing was added.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// What has not been sent.
    entries: VecDeque<Entry>,
    /// The first entry begins inside a frame: nothing may come before it.
    begun: bool,
    own_bytes: usize,
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of its own that have not been sent.
    pub(super) fn own_bytes(&self) -> usize {
        self.own_bytes
    }

    /// All bytes that have not been sent.
    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes().len()).sum()
    }

    /// Adds bytes that may go at once.
    ///
    /// # Errors
    /// There would be more than [`LANE_BYTES_MAX`].
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.push_after(bytes, None)
    }

    /// Adds bytes that go once a subscription has come to a position.
    ///
    /// # Errors
    /// As [`Lane::push`].
    pub(super) fn push_after(&mut self, bytes: &[u8], after: Option<After>) -> Result<(), Full> {
        if self.own_bytes + bytes.len() > LANE_BYTES_MAX {
            return Err(Full);
        }
        if !self.extend(bytes, after) {
            self.add(bytes.to_vec(), after);
        }
        Ok(())
    }

    /// Adds what must be said whatever else waits: the last words of a connection.
    pub(super) fn push_last(&mut self, bytes: Vec<u8>) {
        if !self.extend(&bytes, None) {
            self.add(bytes, None);
        }
    }

    /// Adds what tells a subscription that it misses messages, behind all that it is sent.
    pub(super) fn push_notice(&mut self, sub: SubId, bytes: Vec<u8>) {
        self.add(bytes, None);
        let last = self.entries.back_mut().expect("just added");
        last.notice_of = Some(sub);
    }

    /// The same, behind what it is sent up to a position.
    pub(super) fn push_notice_after(&mut self, sub: SubId, bytes: Vec<u8>, after: After) {
        self.add(bytes, Some(after));
        let last = self.entries.back_mut().expect("just added");
        last.notice_of = Some(sub);
    }

    /// Adds bytes that other lanes may hold as well.
    pub(super) fn push_shared(&mut self, bytes: Bytes, after: Option<After>) {
        if !bytes.is_empty() {
            let data = Data::Shared(bytes);
            self.entries.push_back(Entry {
                data,
                after,
                history: None,
                left: None,
                notice_of: None,
            });
        }
    }

    /// Adds a run of stored history.
    pub(super) fn push_history(&mut self, bytes: Bytes, history: History) {
        self.entries.push_back(Entry {
            data: Data::Shared(bytes),
            after: None,
            history: Some(history),
            left: None,
            notice_of: None,
        });
    }

    /// Where a subscription goes on with stored history that has not been sent: the offset of
    /// the first message of it that is not begun.
    pub(super) fn unsent_history(&self, sub: SubId) -> Option<u64> {
        let mut entries = self.entries.iter();
        entries.find_map(|entry| {
            let (rest, next) = entry.begun_history(sub, 0)?;
            (rest < entry.bytes().len()).then_some(next)
        })
    }

    /// Lets go of the stored history that a subscription has not been sent, but for the rest
    /// of a message that is begun, and of what it is told behind that. The first `under_way` bytes of the lane are on their way.
    pub(super) fn drop_history(&mut self, sub: SubId, mut under_way: usize) {
        let mut dropped = false;
        for entry in &mut self.entries {
            let len = entry.bytes().len();
            if let (Some((rest, _)), Data::Shared(bytes)) =
                (entry.begun_history(sub, under_way), &entry.data)
            {
                dropped |= rest < len;
                let cut = (len - rest) as u32;
                entry.data = Data::Shared(bytes.slice(..rest));
                let left = entry.history.take();
                entry.left = left.map(|history| (history.part, history.end - cut));
            } else if dropped && entry.notice_of == Some(sub) {
                self.own_bytes -= len;
                entry.data = Data::Own(Vec::new());
            }
            under_way = under_way.saturating_sub(len);
        }
        self.entries.retain(|entry| !entry.bytes().is_empty());
    }

    /// Nothing is on its way any more: of the history that was, and that its subscription has
    /// left, what has not gone stays but for the rest of a message that is begun.
    pub(super) fn settle_left(&mut self) {
        if self.entries.iter().all(|entry| entry.left.is_none()) {
            return;
        }
        for entry in &mut self.entries {
            if let (Some((part, end)), Data::Shared(bytes)) = (entry.left.take(), &entry.data) {
                let at = end - bytes.len() as u32;
                let rest = part.boundary(at).0.min(end) - at;
                entry.data = Data::Shared(bytes.slice(..rest as usize));
            }
        }
        // Nothing of it was begun: it is gone, and what comes first now is not either.
        let is_gone = |entry: &Entry| entry.bytes().is_empty();
        self.begun &= !self.entries.front().is_some_and(is_gone);
        self.entries.retain(|entry| !is_gone(entry));
    }

    /// Puts the rest of a frame that has been begun before everything else.
    pub(super) fn push_front(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            assert!(!self.begun, "one thing is begun at a time");
            self.begun = true;
            self.own_bytes += bytes.len();
            let data = Data::Own(bytes);
            self.entries.push_front(Entry {
                data,
                after: None,
                history: None,
                left: None,
                notice_of: None,
            });
        }
    }

    /// Adds bytes to the last entry, if that is its own and waits for as much.
    fn extend(&mut self, bytes: &[u8], after: Option<After>) -> bool {
        if let Some(last) = self.entries.back_mut()
            && last.after == after
            && last.notice_of.is_none()
            && let Data::Own(held) = &mut last.data
        {
            held.extend_from_slice(bytes);
            self.own_bytes += bytes.len();
            return true;
        }
        bytes.is_empty()
    }

    fn add(&mut self, bytes: Vec<u8>, after: Option<After>) {
        self.own_bytes += bytes.len();
        if self.entries.capacity() == 0 {
            // The answer to the handshake is all that most peers ever get here.
            self.entries.reserve_exact(1);
        }
        let data = Data::Own(bytes);
        self.entries.push_back(Entry {
            data,
            after,
            history: None,
            left: None,
            notice_of: None,
        });
    }

    /// What waits for a position of a subscription waits for another one.
    pub(super) fn move_positions(&mut self, id: SubId, there: impl Fn(u64) -> u64) {
        let waiting = self.entries.iter_mut().filter_map(|e| e.after.as_mut());
        for after in waiting.filter(|after| after.sub == id) {
            after.position = there(after.position);
        }
    }

    /// Moves all entries that may go to the front, in their order, and says how
    /// many bytes they are from where the first one goes on. `passed` says
    /// whether a position has been reached.
    pub(super) fn release(&mut self, passed: impl Fn(After) -> bool) -> usize {
        let (mut ready, mut bytes) = (0, 0);
        for at in 0..self.entries.len() {
            let entry = &self.entries[at];
            let begun = at == 0 && self.begun;
            if begun || entry.after.is_none_or(&passed) {
                bytes += entry.bytes().len();
                if ready < at {
                    let entry = self.entries.remove(at).expect("it is there");
                    self.entries.insert(ready, entry);
                }
                ready += 1;
            }
        }
        bytes
    }

    /// The first `len` bytes that have not been sent.
    pub(super) fn copy(&self, mut len: usize, into: &mut Vec<u8>) {
        for entry in &self.entries {
            let bytes = entry.bytes();
            let taken = bytes.len().min(len);
            into.extend_from_slice(&bytes[..taken]);
            len -= taken;
            if len == 0 {
                return;
            }
        }
        assert_eq!(len, 0, "the lane holds what it is asked for");
    }

    /// How much of the first `ready` bytes is sent in one go: [long](Self::long) bytes alone,
    /// others together until they are some `bytes_max`.
    pub(super) fn portion(&self, ready: usize, bytes_max: usize) -> usize {
        let mut portion = 0;
        for entry in &self.entries {
            if portion >= ready.min(bytes_max) {
                break;
            }
            if entry.long().is_some() {
                if portion == 0 {
                    portion = entry.bytes().len();
                }
                break;
            }
            portion += entry.bytes().len();
        }
        portion.min(ready)
    }

    /// Bytes of it that others hold too.
    pub(super) fn shared_bytes(&self) -> usize {
        let shared = |entry: &Entry| match &entry.data {
            Data::Own(_) => 0,
            Data::Shared(bytes) => bytes.len(),
        };
        self.entries.iter().map(shared).sum()
    }

    /// The first bytes, where others hold them too and they are many: these are sent from where
    /// they lie, as a copy for each of those who wait for them would take too much memory.
    pub(super) fn long(&self) -> Option<&Bytes> {
        self.entries.front()?.long()
    }

    /// So many bytes have been sent, the last of them `inside` a frame or not; where bytes that
    /// others hold too have gone in part they are.
    pub(super) fn consume(&mut self, mut len: usize, inside: bool) {
        if len > 0 {
            self.begun = inside;
        }
        while len > 0 {
            let first = self.entries.front_mut();
            let first = first.expect("what was sent was there");
            let taken = len.min(first.bytes().len());
            match &mut first.data {
                Data::Own(bytes) => {
                    bytes.drain(..taken);
                    self.own_bytes -= taken;
                }
                Data::Shared(bytes) => {
                    bytes.advance(taken);
                    self.begun |= !bytes.is_empty();
                }
            }
            if first.bytes().is_empty() {
                self.entries.pop_front();
            }
            len -= taken;
        }
    }

    /// The first position at which an entry waits for a subscription.
    pub(super) fn awaited(&self, sub: SubId) -> Option<u64> {
        let waits = self.entries.iter().filter_map(|entry| entry.after);
        let mine = waits.filter(|after| after.sub == sub);
        mine.map(|after| after.position).min()
    }

    /// A subscription is no more: nothing waits for it.
    pub(super) fn forget(&mut self, sub: SubId) {
        for entry in &mut self.entries {
            if entry.after.is_some_and(|after| after.sub == sub) {
                entry.after = None;
            }
        }
    }

    /// All that has not been sent, with what each part waits for. Of stored history that is
    /// the rest of a message that is begun: the others are read again.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Bytes, Option<After>)> {
        let mut read_again: SmallVec<[SubId; 2]> = SmallVec::new();
        self.entries.iter().enumerate().map(move |(at, entry)| {
            let begun = at == 0 && self.begun;
            let of = entry.history.as_ref().map(|history| history.sub);
            let len = match of.and_then(|sub| entry.begun_history(sub, 0)) {
                Some((rest, _)) => {
                    read_again.extend(of.filter(|_| rest < entry.bytes().len()));
                    rest
                }
                // It will be found out anew.
                None if entry.notice_of.is_some_and(|sub| read_again.contains(&sub)) => 0,
                None => entry.bytes().len(),
            };
            let bytes = match &entry.data {
                Data::Own(bytes) => Bytes::copy_from_slice(&bytes[..len]),
                Data::Shared(bytes) => bytes.slice(..len),
            };
            (bytes, entry.after.filter(|_| !begun))
        })
    }

    /// Its first entry begins inside a frame.
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    /// A lane that was written down with its first entry begun.
    pub(super) fn set_begun(&mut self) {
        self.begun = !self.entries.is_empty();
    }
}

#[cfg(test)]
mod tests;
