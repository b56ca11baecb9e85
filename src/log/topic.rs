//! A topic: the order of its messages, their log, and which cores listen.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::head::Told;
use super::segment::{Budget, Segment};
use super::view::{AppendError, Bounds, View};
use crate::protocol::ws::deflate::WINDOW_BITS_MAX;
use crate::protocol::ws::frame::{self, Opcode};

/// What a topic keeps for subscribers that return, and how much it may hold.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub messages_max: u64,
    pub bytes_max: u64,
    pub age_ms_max: u64,
    pub bounds: Bounds,
}

/// Ages are noted this finely: a share of the retained age.
const AGE_STEPS: u64 = 128;

/// What a view is encoded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewKind {
    /// WebSocket frames as they are; every topic has this view.
    Raw,
    /// The same with compressed payloads, for who negotiated
    /// permessage-deflate. It exists while it has a reader.
    Deflated,
}

impl ViewKind {
    pub const ALL: [ViewKind; 2] = [ViewKind::Raw, ViewKind::Deflated];
}

/// A payload that has been compressed ahead of its publication.
#[derive(Debug, Clone, Copy)]
pub struct Compressed<'a> {
    pub payload: &'a [u8],
    /// It refers back at most 2 to the power of this many bytes.
    pub window_bits: u8,
}

/// A message as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its number in the topic, from 1.
    pub offset: u64,
    /// Where its frame lies in the raw view.
    pub raw: Range<u64>,
    /// Where its frame lies in the deflated view, if there is one.
    pub deflated: Option<Range<u64>>,
}

impl Published {
    /// Where its frame lies in a view that has a reader.
    pub fn range(&self, kind: ViewKind) -> Range<u64> {
        match kind {
            ViewKind::Raw => self.raw.clone(),
            ViewKind::Deflated => self.deflated.clone().expect("the view has a reader"),
        }
    }
}

/// Where a subscriber begins.
#[derive(Debug)]
pub struct Start {
    /// Position in its view of the first byte it gets.
    pub position: u64,
    /// Offset of the first message it gets.
    pub offset: u64,
    /// The segments from there on; keeps them alive.
    pub segments: Vec<Arc<Segment>>,
}

/// The state of a topic for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Offset of the newest message, 0 before the first.
    pub offset: u64,
    /// Offset of the oldest message that a returning subscriber can have.
    pub first_offset: u64,
    pub log_bytes: u64,
    pub subscribers: u64,
}

/// A topic and all that cores share of it.
#[derive(Debug)]
pub struct Topic {
    name: Arc<str>,
    epoch: u64,
    sequencer: Mutex<Sequencer>,
    /// The window that compressed payloads must keep to; 0 without readers.
    window_bits: AtomicU8,
    /// Some publisher is to be woken when cores have caught up.
    pub publisher_waits: AtomicBool,
    listeners: Box<[[Listener; ViewKind::ALL.len()]]>,
}

#[derive(Debug)]
pub(super) struct Sequencer {
    pub(super) next_offset: u64,
    /// Offset of the oldest message that a returning subscriber can have.
    pub(super) floor: u64,
    pub(super) ages: VecDeque<Age>,
    /// When the newest message was published; 0 before the first.
    pub(super) newest_ms: u64,
    pub(super) raw: View,
    pub(super) deflated: Option<Deflated>,
}

/// The deflated view, and how many readers it has for each window size.
#[derive(Debug)]
pub(super) struct Deflated {
    pub(super) view: View,
    readers: [u32; WINDOW_BITS_MAX as usize + 1],
}

/// "Everything from `offset` on is not older than this."
#[derive(Debug)]
pub(super) struct Age {
    pub(super) at_ms: u64,
    pub(super) offset: u64,
}

/// One core's interest in a view of a topic.
#[derive(Debug, Default)]
pub struct Listener {
    /// Subscribers on that core.
    pub subscribers: AtomicU32,
    /// The core's own number for the view, while it has subscribers.
    pub place: AtomicU32,
    pub told: Told,
    /// Up to here the core has offered the view to all its subscribers.
    pub passed: AtomicU64,
}

impl Listener {
    fn behind(&self, head: u64) -> u64 {
        let listens = self.subscribers.load(Ordering::Acquire) > 0;
        let passed = self.passed.load(Ordering::SeqCst);
        if listens {
            head.saturating_sub(passed)
        } else {
            0
        }
    }
}

impl Topic {
    /// An empty topic. `epoch` is random and names this history.
    pub fn new(name: Arc<str>, epoch: u64, cores: usize, total_bytes: Arc<AtomicU64>) -> Self {
        Topic {
            name,
            epoch,
            sequencer: Mutex::new(Sequencer {
                next_offset: 1,
                floor: 1,
                ages: VecDeque::new(),
                newest_ms: 0,
                raw: View::new(1, Budget::new(total_bytes)),
                deflated: None,
            }),
            window_bits: AtomicU8::new(0),
            publisher_waits: AtomicBool::new(false),
            listeners: (0..cores).map(|_| Default::default()).collect(),
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Changes when the history is lost.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The core's interest in a view of the topic.
    #[inline]
    pub fn listener(&self, core: usize, kind: ViewKind) -> &Listener {
        &self.listeners[core][kind as usize]
    }

    /// Each core's interest in each view of the topic.
    pub fn listeners(&self) -> &[[Listener; ViewKind::ALL.len()]] {
        &self.listeners
    }

    /// How far a compressed payload may refer back, in bits; `None` while
    /// nobody reads compressed ones.
    #[inline]
    pub fn window_bits(&self) -> Option<u8> {
        Some(self.window_bits.load(Ordering::Relaxed)).filter(|bits| *bits > 0)
    }

    /// Subscribers of a view on all cores.
    pub fn subscribers(&self, kind: ViewKind) -> u64 {
        let count = |core: &[Listener; 2]| core[kind as usize].subscribers.load(Ordering::Relaxed);
        self.listeners
            .iter()
            .map(|core| u64::from(count(core)))
            .sum()
    }

    /// How far the latest core is behind in offering what is published to its
    /// subscribers, in bytes of the log.
    pub fn ahead_bytes(&self) -> u64 {
        let sequencer = self.lock();
        let deflated = sequencer.deflated.as_ref();
        let heads = [
            sequencer.raw.head(),
            deflated.map_or(0, |deflated| deflated.view.head()),
        ];
        drop(sequencer);
        let behind = |core: &[Listener; 2]| {
            let views = core.iter().zip(heads);
            let behind = views.map(|(listener, head)| listener.behind(head));
            behind.max().unwrap_or(0)
        };
        self.listeners.iter().map(behind).max().unwrap_or(0)
    }

    /// A reader comes that inflates with a window of `bits`. Compressed
    /// payloads keep to the smallest window there is among the readers, so
    /// that one view serves them all.
    pub fn add_inflating_reader(&self, bits: u8) {
        let mut sequencer = self.lock();
        let (next, budget) = (sequencer.next_offset, sequencer.raw.budget().clone());
        let deflated = sequencer
            .deflated
            .get_or_insert_with(|| Deflated::new(View::new(next, budget)));
        deflated.readers[bits as usize] += 1;
        self.window_bits
            .store(deflated.window_bits(), Ordering::Relaxed);
    }

    /// A reader goes that inflated with a window of `bits`. The view goes with
    /// the last one.
    pub fn remove_inflating_reader(&self, bits: u8) {
        let mut sequencer = self.lock();
        let deflated = sequencer.deflated.as_mut().expect("it has a reader");
        deflated.readers[bits as usize] -= 1;
        let bits = deflated.window_bits();
        if bits == 0 {
            sequencer.deflated = None;
        }
        self.window_bits.store(bits, Ordering::Relaxed);
    }

    /// Appends one message whose payload of `len` bytes is filled in by
    /// `write`. If that fails, nobody ever sees any of it. The deflated view,
    /// if there is one, gets the `compressed` payload, or the same as the raw
    /// one where there is none.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn publish<E>(
        &self,
        opcode: Opcode,
        len: usize,
        now_ms: u64,
        retention: &Retention,
        compressed: Option<Compressed<'_>>,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Published, AppendError<E>> {
        let mut sequencer = self.lock();
        let offset = sequencer.next_offset;
        let mut header = [0; 10];
        let header_len = frame::encode(&mut header, opcode, false, len);
        let frame_len = header_len + len;
        let bounds = retention.bounds;
        let Sequencer { raw, deflated, .. } = &mut *sequencer;
        let mut deflated = deflated.as_mut().map(|deflated| {
            // A reader with a smaller window may have come since.
            let bits = deflated.window_bits();
            (
                &mut deflated.view,
                compressed.filter(|c| c.window_bits <= bits),
            )
        });
        raw.reserve(offset, frame_len, bounds)?;
        if let Some((view, compressed)) = &mut deflated {
            let payload_len = compressed.map_or(len, |c| c.payload.len());
            view.reserve(offset, frame::encoded_len(payload_len), bounds)?;
        }
        let in_raw = raw
            .append(frame_len, |room| {
                let (head, payload) = room.split_at_mut(header_len);
                head.copy_from_slice(&header[..header_len]);
                write(payload)
            })
            .map_err(AppendError::Payload)?;
        let deflated = deflated.map(|(view, compressed)| {
            let (header_len, payload) = match compressed {
                Some(Compressed { payload, .. }) => {
                    let header_len = frame::encode(&mut header, opcode, true, payload.len());
                    (header_len, payload)
                }
                None => (header_len, &raw.newest(frame_len)[header_len..]),
            };
            view.append_frame(&header[..header_len], payload)
        });
        sequencer.next_offset = offset + 1;
        sequencer.note_age(offset, now_ms, retention.age_ms_max);
        sequencer.trim(retention);
        Ok(Published {
            offset,
            raw: in_raw,
            deflated,
        })
    }

    /// Where a subscriber begins that wants all from offset `since` on, or all
    /// that comes from now on. What is not retained any more is left out, and
    /// who asks for what has not been published yet begins at the oldest: the start
    /// names the first offset there is.
    ///
    /// # Panics
    /// If the view has no reader.
    pub fn start(&self, kind: ViewKind, since: Option<u64>, retention: &Retention) -> Start {
        let sequencer = self.lock();
        let view = match kind {
            ViewKind::Raw => &sequencer.raw,
            ViewKind::Deflated => &sequencer.deflated.as_ref().expect("it has a reader").view,
        };
        let next = sequencer.next_offset;
        let offset = match since {
            Some(since) => {
                let floor = sequencer.floor(retention).max(view.first_offset());
                // An offset still to come is one of another history.
                if since > next {
                    floor
                } else {
                    since.max(floor)
                }
            }
            None => next,
        };
        let (position, segments) = view.locate(offset);
        Start {
            position,
            offset,
            segments,
        }
    }

    /// Lets go of what has grown too old. True when no history is left.
    pub fn expire(&self, now_ms: u64, retention: &Retention) -> bool {
        let mut sequencer = self.lock();
        let oldest_ms = now_ms.saturating_sub(retention.age_ms_max);
        // A note covers all messages up to the next one, so it goes when the
        // next one is too old as well, or when its own span has passed.
        let step = retention.age_ms_max / AGE_STEPS;
        while sequencer
            .ages
            .front()
            .is_some_and(|age| age.at_ms + step < oldest_ms)
        {
            sequencer.ages.pop_front();
            let next = sequencer.next_offset;
            let floor = sequencer.ages.front().map_or(next, |age| age.offset);
            sequencer.floor = sequencer.floor.max(floor);
        }
        sequencer.trim_views();
        sequencer.floor == sequencer.next_offset
    }

    /// When the newest message was published; 0 if there has been none.
    pub fn newest_ms(&self) -> u64 {
        self.lock().newest_ms
    }

    /// Gives up the older half of the history to make room. False if there was
    /// none left.
    pub fn shed(&self) -> bool {
        let mut sequencer = self.lock();
        let next = sequencer.next_offset;
        let first = sequencer.floor.max(sequencer.raw.first_offset());
        sequencer.floor = first + (next - first).div_ceil(2);
        sequencer.trim_views();
        first < next
    }

    /// Where a subscriber goes on that stood at `position` of a view; `None` if
    /// nobody can stand there.
    pub fn resume(&self, kind: ViewKind, position: u64) -> Option<Start> {
        let sequencer = self.lock();
        let view = match kind {
            ViewKind::Raw => &sequencer.raw,
            ViewKind::Deflated => &sequencer.deflated.as_ref()?.view,
        };
        Some(Start {
            position,
            offset: view.offset_at(position),
            segments: view.segments_from(position)?,
        })
    }

    /// The state for people.
    pub fn summary(&self, retention: &Retention) -> Summary {
        let subscribers = ViewKind::ALL
            .map(|kind| self.subscribers(kind))
            .iter()
            .sum();
        let sequencer = self.lock();
        Summary {
            offset: sequencer.next_offset - 1,
            first_offset: sequencer.floor(retention),
            log_bytes: sequencer.raw.budget().log_bytes(),
            subscribers,
        }
    }

    pub(super) fn sequencer_mut(&mut self) -> &mut Sequencer {
        let sequencer = self.sequencer.get_mut();
        sequencer.expect("no publisher panics inside the lock")
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Sequencer> {
        self.sequencer
            .lock()
            .expect("no publisher panics inside the lock")
    }
}

impl Deflated {
    /// Without a reader yet.
    pub(super) fn new(view: View) -> Self {
        Deflated {
            view,
            readers: Default::default(),
        }
    }

    /// The smallest window among the readers, 0 without any.
    fn window_bits(&self) -> u8 {
        let smallest = self.readers.iter().position(|readers| *readers > 0);
        smallest.unwrap_or(0) as u8
    }
}

impl Sequencer {
    /// Offset of the oldest message that may still be had, exact to the
    /// message. Memory is let go by whole segments, so more may lie there.
    fn floor(&self, retention: &Retention) -> u64 {
        let oldest = self.raw.head().saturating_sub(retention.bytes_max);
        let by_bytes = if oldest > 0 {
            self.raw.offset_at(oldest)
        } else {
            1
        };
        self.floor.max(by_bytes).max(self.raw.first_offset())
    }

    fn note_age(&mut self, offset: u64, now_ms: u64, age_ms_max: u64) {
        self.newest_ms = now_ms;
        let step = age_ms_max / AGE_STEPS;
        if self.ages.back().is_none_or(|age| age.at_ms + step < now_ms) {
            self.ages.push_back(Age {
                at_ms: now_ms,
                offset,
            });
        }
    }

    fn trim(&mut self, retention: &Retention) {
        let by_messages = self.next_offset.saturating_sub(retention.messages_max);
        self.floor = self.floor.max(by_messages);
        while self.ages.len() > 1 && self.ages[1].offset <= self.floor {
            self.ages.pop_front();
        }
        let oldest = self.raw.head().saturating_sub(retention.bytes_max);
        self.raw.trim(self.floor, oldest);
        if let Some(deflated) = &mut self.deflated {
            // Who returns begins in the raw view, so what that has let go is of
            // no use here.
            let floor = self.floor.max(self.raw.first_offset());
            deflated.view.trim(floor, 0);
        }
    }

    /// Gives up all segments before the floor, and the memory of a view that
    /// has no history left.
    fn trim_views(&mut self) {
        let (floor, next) = (self.floor, self.next_offset);
        let deflated = self.deflated.as_mut().map(|deflated| &mut deflated.view);
        for view in [Some(&mut self.raw), deflated].into_iter().flatten() {
            view.trim(floor, 0);
            if floor == next {
                view.shrink(next);
            }
        }
    }
}
