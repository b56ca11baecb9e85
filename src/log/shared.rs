//! A topic on whose messages others decide: their order, offsets and epoch come with them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Arenas;
use super::kept::Kept;
use super::retention::{AppendError, Retention};
use super::sequencer::{Committed, Draft};
use super::topic::Topic;
use crate::protocol::encoding::Encoding;

impl Topic {
    /// A topic of which nothing is known yet but its name.
    pub fn shared(name: Arc<str>, cores: usize, arenas: Arc<Arenas>) -> Self {
        let mut topic = Topic::new(name, 0, cores, arenas);
        topic.set_identity(fastrand::u64(1..));
        topic.share();
        topic
    }

    pub(super) fn share(&self) {
        let kept = self.kept.get_or_init(|| Arc::new(Kept::shared()));
        self.lock().kept = Some(kept.clone());
    }

    /// What is known of it, if others decide on its messages.
    #[inline]
    pub fn is_shared(&self) -> bool {
        self.kept.get().is_some_and(|kept| kept.is_shared())
    }

    /// All of its history is known that readers need, or it is its own.
    pub fn is_known(&self) -> bool {
        let is_open = |kept: &Arc<Kept>| !kept.is_shared() || kept.is_open.load(Ordering::Acquire);
        self.kept.get().is_none_or(is_open)
    }

    /// It is known which message comes next.
    pub fn has_begun(&self) -> bool {
        self.epoch() != 0
    }

    /// It becomes known which history it is, and which message comes next.
    ///
    /// # Panics
    /// If that is known already.
    pub fn begin(&self, epoch: u64, offset: u64) {
        assert!(self.is_shared() && !self.has_begun() && epoch != 0);
        self.lock().begin_at(offset, 0);
        self.set_epoch(epoch);
    }

    /// It becomes known that no message before `oldest` is to be had: readers may come.
    pub fn open(&self, oldest: u64) {
        let kept = self.kept.get().expect("it is shared");
        kept.note_oldest(oldest);
        kept.is_open.store(true, Ordering::Release);
    }

    /// The same as [`Topic::publish`] of a message that has been decided on, or that somebody is
    /// to know of: `seen` is shown where it lies before any reader can find it there.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn commit<E>(
        &self,
        draft: &Draft<'_>,
        retention: &Retention,
        encoder: &mut impl Encoding,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
        seen: impl FnOnce(&Committed),
    ) -> Result<Committed, AppendError<E>> {
        let named = (&**self.name(), self.epoch());
        let mut sequencer = self.lock();
        sequencer.publish(named, draft, retention, encoder, write, seen)
    }

    /// Where the log ends, in the raw view.
    pub fn end(&self) -> u64 {
        self.lock().raw.head()
    }
}
