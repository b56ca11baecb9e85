//! A topic: its name, the order of its messages, its views, and who waits.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::arena::Arenas;
use super::budget::Budget;
use super::interest::Waiting;
use super::kept::Kept;
use super::retention::{AppendError, Bounds, Lack, Retention};
use super::segment::Segment;
use super::sequencer::{Committed, Draft, Sequencer};
use super::view::{Interest, View};
use crate::protocol::encoding::{Encoding, Format, Formats};

/// Views of one topic.
pub(super) const VIEWS_MAX: usize = 14;
/// Those of them with compressed payloads. There is room for one of each other format that a
/// topic is read in.
const DEFLATED_VIEWS_MAX: usize = VIEWS_MAX - 9;
/// Those that differ in nothing but the window: each window costs a compression.
const WINDOWS_MAX: usize = 2;

/// Where a subscriber begins.
#[derive(Debug)]
pub struct Start {
    /// Position in its view of the first byte it gets.
    pub position: u64,
    /// Offset of the first message it gets, or of the next one.
    pub offset: u64,
    /// The segments from there on; keeps them alive.
    pub segments: Vec<Arc<Segment>>,
}

/// The view does not hold what is wanted, but it can be had.
#[derive(Debug)]
pub enum OutOfReach {
    /// The raw view holds it, there. See [`Topic::reach`].
    Raw(Start),
    /// Memory does not hold it: the store does, from this offset on.
    Stored(u64),
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
    /// Messages that this process has had, and their bytes as frames. They begin anew where
    /// the history does.
    pub messages: u64,
    pub frame_bytes: u64,
}

impl OutOfReach {
    /// The offset that is to be had.
    pub fn offset(&self) -> u64 {
        match self {
            OutOfReach::Raw(start) => start.offset,
            OutOfReach::Stored(offset) => *offset,
        }
    }
}

/// A topic and all that cores share of it.
#[derive(Debug)]
pub struct Topic {
    name: Arc<str>,
    /// Random, and no other topic's, not of any name.
    id: u64,
    epoch: AtomicU64,
    /// Names what holds for the topic; given and understood by who keeps the topics.
    policy: AtomicU32,
    cores: u16,
    /// Some publisher is to be woken when cores have caught up.
    pub waiting: Waiting,
    /// The formats that there are views in beside the raw one.
    formats: AtomicU64,
    /// When it was last of use to somebody, by the clock of who keeps the topics.
    used_ms: AtomicU64,
    /// What is known of it in a store, since it was there for the first time.
    pub(super) kept: OnceLock<Arc<Kept>>,
    sequencer: Mutex<Sequencer>,
}

const _: () = assert!(size_of::<Topic>() <= 368, "an empty topic stays small");

impl Topic {
    /// An empty topic. `epoch` is random and names this history.
    pub fn new(name: Arc<str>, epoch: u64, cores: usize, arenas: Arc<Arenas>) -> Self {
        Topic {
            name,
            id: epoch,
            epoch: AtomicU64::new(epoch),
            policy: AtomicU32::new(0),
            cores: u16::try_from(cores).expect("there are not that many cores"),
            waiting: Waiting::new(),
            formats: AtomicU64::new(0),
            used_ms: AtomicU64::new(0),
            kept: OnceLock::new(),
            sequencer: Mutex::new(Sequencer::new(Budget::new(arenas))),
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Distinguishes it from all other topics there are or have been.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Changes when the history is lost. 0 where others decide on the history, and have not
    /// said yet which one it is.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn set_identity(&mut self, id: u64) {
        self.id = id;
    }

    pub(super) fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Names what holds for the topic: what [`Topic::set_policy`] was given last.
    #[inline]
    pub fn policy(&self) -> u32 {
        // What it names was made before.
        self.policy.load(Ordering::Acquire)
    }

    pub fn set_policy(&self, policy: u32) {
        self.policy.store(policy, Ordering::Release);
    }

    /// When the topic was last of use to somebody: what [`Topic::note_use`] was given last.
    pub fn used_ms(&self) -> u64 {
        self.used_ms.load(Ordering::Relaxed)
    }

    pub fn note_use(&self, now_ms: u64) {
        self.used_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The formats that there are views in beside the raw one. What is prepared
    /// for them before [`Topic::publish`] need not be done under its lock.
    #[inline]
    pub fn formats(&self) -> Formats {
        Formats::from_bits(self.formats.load(Ordering::Relaxed))
    }

    /// Gives a reader that wants `format` its view, made if there is none:
    /// which one it is, and the interest in it. Who holds the interest keeps
    /// the view. `None` if the topic has as many views as it may, and none of
    /// them is one that the reader understands.
    pub fn attach(&self, format: Format) -> Option<(Format, Interest)> {
        let cores = usize::from(self.cores);
        let mut sequencer = self.lock();
        let found = sequencer.admit(format)?;
        self.note_formats(&sequencer);
        let view = sequencer.view_mut(found).expect("it is there");
        Some((found, view.interest(cores)))
    }

    /// The interests in all views that have readers, for the publisher to tell
    /// cores that the topic has grown.
    pub fn interests(&self) -> impl Iterator<Item = Interest> + use<> {
        let sequencer = self.lock();
        let mut views = sequencer.views();
        let interests: [Option<Interest>; VIEWS_MAX] =
            std::array::from_fn(|_| views.next()?.interest.clone());
        interests.into_iter().flatten()
    }

    /// Subscribers of all views that `counted` says yes to, on all cores.
    pub fn subscribers(&self, counted: impl Fn(Format) -> bool) -> u64 {
        let sequencer = self.lock();
        let views = sequencer.views().filter(|view| counted(view.format));
        views.map(View::subscribers).sum()
    }

    /// Appends one message, whose payload is filled in by `write`, to all
    /// views. If that fails, nobody ever sees any of it.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn publish<E>(
        &self,
        draft: &Draft<'_>,
        retention: &Retention,
        encoder: &mut impl Encoding,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Committed, AppendError<E>> {
        let mut sequencer = self.lock();
        let named = (&*self.name, self.epoch());
        sequencer.publish(named, draft, retention, encoder, write, |_| ())
    }

    /// Makes room for what a message lacked, as the message itself would, but has
    /// nothing encoded. Who publishes that message at once finds the room.
    ///
    /// # Errors
    /// There is no room yet.
    pub fn reserve<E>(&self, lack: &Lack, bounds: &Bounds) -> Result<(), AppendError<E>> {
        self.lock().reserve_for(lack, bounds)
    }

    /// Where a subscriber begins that wants all from offset `since` on, or all
    /// that comes from now on. What is not retained any more is left out, and
    /// who asks for what has not been published yet begins at the oldest: the start
    /// names the first offset there is.
    ///
    /// # Errors
    /// [`OutOfReach`] where more can be had than the view holds.
    ///
    /// # Panics
    /// If nobody is attached to the view.
    pub fn start(
        &self,
        format: Format,
        since: Option<u64>,
        retention: &Retention,
    ) -> Result<Start, OutOfReach> {
        let mut sequencer = self.lock();
        let next = sequencer.next_offset;
        let offset = match since {
            // An offset still to come is one of another history.
            Some(since) if since > next => sequencer.floor(retention),
            Some(since) => since.max(sequencer.floor(retention)),
            None => next,
        };
        let view = sequencer.view(format).expect("somebody is attached");
        if offset < view.first_offset().min(next) {
            return Err(match offset < sequencer.raw_first_offset() {
                true => OutOfReach::Stored(offset),
                false => OutOfReach::Raw(sequencer.start_at(Format::Raw, offset)),
            });
        }
        Ok(sequencer.start_at(format, offset))
    }

    /// The start in a view at `offset` or the first behind it that the view holds, though
    /// it may be older than what is to be retained.
    ///
    /// # Panics
    /// If nobody is attached to the view.
    pub fn start_held(&self, format: Format, offset: u64) -> Start {
        let mut sequencer = self.lock();
        let view = sequencer.view(format).expect("somebody is attached");
        let offset = offset.max(view.first_offset()).min(sequencer.next_offset);
        sequencer.start_at(format, offset)
    }

    /// The place in the view `to` of what lies at a position of the view `from`.
    pub fn translate(&self, from: Format, position: u64, to: Format) -> u64 {
        let sequencer = self.lock();
        let (Some(from), Some(to)) = (sequencer.view(from), sequencer.view(to)) else {
            return position;
        };
        match from.offset_at(position) {
            Some(offset) if to.tail().is_some() => to.locate(offset).0,
            _ => to.head(),
        }
    }

    /// Where a subscriber goes on that stood at `position` of a view; `None` if
    /// nobody can stand there.
    pub fn resume(&self, format: Format, position: u64) -> Option<Start> {
        let mut sequencer = self.lock();
        let Sequencer {
            next_offset,
            time_ms,
            ..
        } = *sequencer;
        let budget = sequencer.budget.clone();
        let view = sequencer.view_mut(format)?;
        view.mark(next_offset, time_ms, &budget);
        let segments = view.segments_from(position)?;
        let at = (position - segments[0].start()) as u32;
        let slots = segments[0].slots();
        Some(Start {
            position,
            offset: slots.next_offset(slots.ended_by(at)),
            segments,
        })
    }

    /// Lets go of what has grown too old, and of views that nobody reads. True
    /// when no history is left. `now_ms` is Unix time.
    pub fn expire(&self, now_ms: u64, retention: &Retention) -> bool {
        let mut sequencer = self.lock();
        sequencer
            .others
            .retain_mut(|view| !view.is_idle(now_ms) || view.reaching);
        sequencer.raw.is_idle(now_ms);
        self.note_formats(&sequencer);
        sequencer.expire(now_ms, retention)
    }

    /// Gives up history until the topic holds at most `bytes`, or only what
    /// readers hold. True if any memory came free.
    pub fn shed(&self, bytes: u64) -> bool {
        self.lock().shed(bytes)
    }

    /// Offset of the oldest message that may still be had.
    pub fn floor(&self, retention: &Retention) -> u64 {
        self.lock().floor(retention)
    }

    /// Offset of the newest message, 0 before the first.
    pub fn newest(&self) -> u64 {
        self.lock().next_offset - 1
    }

    /// When the newest message was published, in Unix milliseconds; 0 if there
    /// has been none.
    pub fn newest_ms(&self) -> u64 {
        self.lock().time_ms
    }

    /// Bytes that the topic holds, in its history or for its readers.
    pub fn log_bytes(&self) -> u64 {
        self.lock().budget.log_bytes()
    }

    /// The state for people.
    pub fn summary(&self, retention: &Retention) -> Summary {
        let sequencer = self.lock();
        Summary {
            offset: sequencer.next_offset - 1,
            first_offset: sequencer.floor(retention),
            log_bytes: sequencer.budget.log_bytes(),
            subscribers: sequencer.views().map(View::subscribers).sum(),
            messages: sequencer.raw.count(),
            frame_bytes: sequencer.raw.head(),
        }
    }

    pub(super) fn note_formats(&self, sequencer: &Sequencer) {
        let mut formats = Formats::default();
        for view in &sequencer.others {
            formats.insert(view.format);
        }
        self.formats.store(formats.bits(), Ordering::Relaxed);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Sequencer> {
        self.sequencer
            .lock()
            .expect("no publisher panics inside the lock")
    }
}

impl Sequencer {
    /// The format of the view that a reader of `format` is to read, which is
    /// there then.
    fn admit(&mut self, format: Format) -> Option<Format> {
        if self.view(format).is_some() {
            return Some(format);
        }
        let deflated = self.others.iter().map(|view| view.format);
        let deflated = deflated.filter(|other| other.is_deflated());
        let alike = deflated.clone().filter(|o| o.plain() == format.plain());
        let full = self.others.len() + 1 >= VIEWS_MAX
            || (format.is_deflated()
                && (deflated.count() >= DEFLATED_VIEWS_MAX || alike.count() >= WINDOWS_MAX));
        if full {
            // The one that is most alike: a larger window compresses better.
            let understood = self.views().map(|view| view.format);
            let understood = understood.filter(|other| format.understands(*other));
            let alike = understood.max_by_key(|other| other.index());
            return match format.plain() {
                _ if alike.is_some() => alike,
                plain if plain != format => self.admit(plain),
                _ => None,
            };
        }
        let view = View::new(format, self.next_offset, self.time_ms);
        self.others.reserve_exact(1);
        self.others.push(view);
        Some(format)
    }

    /// The start of a subscriber that begins with `offset`, which the view
    /// holds or which is the next one.
    pub(super) fn start_at(&mut self, format: Format, offset: u64) -> Start {
        let (next, time_ms, budget) = (self.next_offset, self.time_ms, self.budget.clone());
        let view = self.view_mut(format).expect("somebody is attached");
        view.mark(next, time_ms, &budget);
        let (position, segments) = view.locate(offset);
        Start {
            position,
            offset,
            segments,
        }
    }
}
