//! The side of the store that writes.

use std::path::Path;
use std::sync::Arc;

use super::archive::{Archive, Shared};
use super::error::{OpenError, StoreError};
use super::folder::Folder;
use super::index::{Changes, Index};
use super::page;
use super::part::PageIn;
use super::record::{PageRecord, State};
use super::shelf::Shelves;
use super::tidy::Tidying;
use super::topic::{Stored, Topic};
use super::topics::{Loaded, StoredTopic, Topics};

/// A shelf has at most so many bytes, but for one with a single longer page.
const SHELF_BYTES: u64 = 64 << 20;

/// Topics' history on disk, for one writer.
///
/// After any error but [`StoreError::Order`] and [`StoreError::Page`] it does nothing any
/// more: it is to be dropped and opened anew, and what was not synced is to be appended again.
/// Dropping it without [`Store::close`] is an unclean end.
pub struct Store {
    shared: Arc<Shared>,
    shelves: Shelves,
    topics: Topics,
    state: State,
    unsynced: u64,
    tidying: Tidying,
    /// Heads and slots are written here.
    head: Vec<u8>,
    fault: Fault,
    // Dropped last: it holds the lock.
    folder: Folder,
}

enum Fault {
    None,
    /// Not told yet.
    Untold(StoreError),
    Told,
}

/// A store that was opened, and what lies in it.
pub struct Opened {
    pub store: Store,
    pub topics: Vec<StoredTopic>,
}

impl Store {
    /// Opens the store in `folder`, which is made if it is not there.
    pub fn open(folder: &Path) -> Result<Opened, OpenError> {
        Store::open_sized(folder, SHELF_BYTES)
    }

    pub(super) fn open_sized(folder: &Path, shelf_bytes: u64) -> Result<Opened, OpenError> {
        let folder = Folder::open(folder)?;
        let index_path = folder.index();
        let syncs = folder.syncs();
        let index = Index::open(&index_path, syncs.is_some())?;
        let mut loaded = Loaded::from_index(&index)?;
        if syncs.is_some_and(|syncs| syncs > loaded.state.syncs) {
            return Err(OpenError::Damaged {
                path: index_path,
                cause: "its newest records are lost, as the file `synced` beside it tells"
                    .to_owned(),
            });
        }
        let topics = loaded.leap();
        let shelves = Shelves::open(folder.path(), &loaded.shelves, shelf_bytes)?;
        let mut store = Store {
            shared: Arc::new(Shared::new(folder.path(), index)),
            shelves,
            topics: loaded.topics,
            state: loaded.state,
            unsynced: 0,
            tidying: Tidying::default(),
            head: Vec::new(),
            fault: Fault::None,
            folder,
        };
        // From here on messages may be seen that are not stored: the end is not clean until
        // it is recorded. This makes the leap durable as well.
        store.state.clean = false;
        store.commit(|_, _, _| Ok(()))?;
        Ok(Opened { store, topics })
    }

    /// Appends one page, or several if it is long or spans too much time. It is written now,
    /// and safe and to be read after the next [`Store::sync`].
    ///
    /// The topic's next offset is then the one behind the page. Another `epoch` than the
    /// topic's one begins a new history, and the old one is forgotten.
    ///
    /// # Errors
    /// [`StoreError::Order`] if a message at or behind the first offset is stored already.
    pub fn append(&mut self, name: &str, epoch: u64, page: &PageIn<'_>) -> Result<(), StoreError> {
        let wrong = |cause| StoreError::Page {
            topic: name.to_owned(),
            cause,
        };
        page.check().map_err(wrong)?;
        let Some(first) = page.slots.first() else {
            return Ok(());
        };
        if let Some(topic) = self.topics.get(name)
            && let Some(newest) = topic.newest
            && topic.epoch == epoch
            && first.offset <= newest
        {
            return Err(StoreError::Order {
                topic: name.to_owned(),
                first: first.offset,
                newest,
            });
        }
        self.attempt(|store| store.write(name, epoch, page))
    }

    fn write(&mut self, name: &str, epoch: u64, page: &PageIn<'_>) -> Result<(), StoreError> {
        let index = self.shared.index();
        let index = index.as_ref().ok_or(StoreError::Spent)?;
        let topic = self.topics.enter(name, epoch, index)?;
        for part in page.parts() {
            let head = page::encode(topic.id, &part, &mut self.head);
            let parts = [&self.head[..], part.frames, part.rare];
            let (shelf, at) = self.shelves.append(parts)?;
            let record = PageRecord {
                shelf,
                at,
                len: head.page_len() as u32,
                count: head.count,
                bytes: head.frames_len,
                last: head.last,
                oldest_ms: head.oldest_ms,
                newest_ms: head.newest_ms,
            };
            self.unsynced += head.page_len();
            topic.add_pending(head.first, record);
            topic.next_offset = head.last.saturating_add(1);
            topic.time_ms = topic.time_ms.max(head.newest_ms);
        }
        self.topics.touch(name);
        Ok(())
    }

    /// Makes a topic known that has no messages (yet), or says where it goes on. The caller
    /// knows better than the store: `next_offset` may be lower than what the store said after
    /// an unclean end, if the caller's own history goes on.
    pub fn note(&mut self, name: &str, epoch: u64, next_offset: u64, time_ms: u64) {
        self.attempt_silently(|store| {
            let index = store.shared.index();
            let index = index.as_ref().ok_or(StoreError::Spent)?;
            let topic = store.topics.enter(name, epoch, index)?;
            let newest = topic.newest.map_or(0, |newest| newest.saturating_add(1));
            let next_offset = next_offset.max(newest);
            let time_ms = time_ms.max(topic.time_ms);
            if (topic.next_offset, topic.time_ms) != (next_offset, time_ms) {
                (topic.next_offset, topic.time_ms) = (next_offset, time_ms);
                store.topics.touch(name);
            }
            Ok(())
        });
    }

    /// All that was appended, noted, trimmed and forgotten is safe when this returns.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.attempt(Store::sync_pending)
    }

    /// Bytes that were appended since the last sync.
    pub fn unsynced_bytes(&self) -> u64 {
        self.unsynced
    }

    /// Gives up the messages below `floor`. Disk space is let go of by whole pages.
    pub fn trim(&mut self, name: &str, floor: u64) {
        self.give_up(name, |topic, index, removed| {
            topic.trim(floor, index, removed)
        });
    }

    /// Gives up the oldest pages as long as those left hold `messages_max` messages or
    /// `bytes_max` bytes, and those whose newest message is older than `oldest_ms`. The number
    /// of messages that may still be had is exact, where their offsets have no gaps; bytes and
    /// age are not cut within a page. Returns the oldest offset that may still be had.
    pub fn retain(
        &mut self,
        name: &str,
        messages_max: u64,
        bytes_max: u64,
        oldest_ms: u64,
    ) -> Option<u64> {
        self.give_up(name, |topic, index, removed| {
            topic.retain(messages_max, bytes_max, oldest_ms, index, removed)
        });
        self.stored(name).map(|stored| stored.oldest)
    }

    /// Gives up a topic and all that is stored of it.
    pub fn forget(&mut self, name: &str) {
        self.attempt_silently(|store| {
            let index = store.shared.index();
            let index = index.as_ref().ok_or(StoreError::Spent)?;
            store.topics.forget(name, index)
        });
    }

    /// What is stored of a topic, appended messages included; `None` if nothing is.
    pub fn stored(&self, name: &str) -> Option<Stored> {
        self.topics.stored(name)
    }

    /// Bytes of all shelves.
    pub fn bytes(&self) -> u64 {
        self.shelves.bytes()
    }

    /// Gives disk space back: deletes shelves of which nothing is wanted, and copies a bounded
    /// part of what is still wanted out of one that is nearly empty. Syncs.
    pub fn tidy(&mut self) -> Result<(), StoreError> {
        self.attempt(|store| {
            store.sync_pending()?;
            store.shelves.delete_empty()?;
            let moves = {
                let index = store.shared.index();
                let index = index.as_ref().ok_or(StoreError::Spent)?;
                store
                    .tidying
                    .copy(store.folder.path(), &mut store.shelves, index)?
            };
            if moves.is_empty() {
                return Ok(());
            }
            store.sync_shelves()?;
            store.commit(|_, _, changes| {
                for one in &moves {
                    changes.put_page(one.id, one.first, &one.to, Some(&one.from));
                }
                Ok(())
            })?;
            for one in &moves {
                store.shelves.add_live(one.to.shelf, one.to.len);
                store.shelves.sub_live(one.from.shelf, one.from.len);
            }
            store.shelves.delete_empty()
        })
    }

    /// Reads what was synced. It may be used after the store's end, and then says so.
    pub fn archive(&self) -> Archive {
        Archive::new(self.shared.clone())
    }

    /// Syncs, records a clean end and lets go of the folder.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.attempt(|store| {
            store.sync_pending()?;
            store.state.clean = true;
            store.commit(|_, _, _| Ok(()))
        })
    }

    /// Does what may fail. After a failure nothing is done any more.
    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match std::mem::replace(&mut self.fault, Fault::Told) {
            Fault::None => {}
            Fault::Untold(error) => return Err(error),
            Fault::Told => return Err(StoreError::Spent),
        }
        let done = work(self)?;
        self.fault = Fault::None;
        Ok(done)
    }

    /// The same, and a failure is told by the next call that can.
    fn attempt_silently(&mut self, work: impl FnOnce(&mut Store) -> Result<(), StoreError>) {
        if matches!(self.fault, Fault::None)
            && let Err(error) = self.attempt(work)
        {
            self.fault = Fault::Untold(error);
        }
    }

    fn give_up(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Topic, &Index, &mut Vec<(u64, u64)>) -> Result<(), StoreError>,
    ) {
        self.attempt_silently(|store| {
            let index = store.shared.index();
            let index = index.as_ref().ok_or(StoreError::Spent)?;
            let work = |topic: &mut Topic, removed: &mut _| work(topic, index, removed);
            store.topics.give_up(name, work)
        });
    }

    fn sync_pending(&mut self) -> Result<(), StoreError> {
        if self.topics.are_settled() {
            return Ok(());
        }
        self.sync_shelves()?;
        let leaps = self.state.leaps;
        let lost = self.commit(|topics, index, changes| topics.tell(index, changes, leaps))?;
        self.topics.settle(lost, &mut self.shelves);
        self.unsynced = 0;
        Ok(())
    }

    fn sync_shelves(&mut self) -> Result<(), StoreError> {
        match self.shelves.sync()? {
            true => self.folder.sync(),
            false => Ok(()),
        }
    }

    /// Changes the index in one step that is safe when this returns.
    fn commit<T>(
        &mut self,
        change: impl FnOnce(&mut Topics, &Index, &mut Changes<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let index = self.shared.index();
        let index = index.as_ref().ok_or(StoreError::Spent)?;
        let mut changes = index.changes();
        let changed = change(&mut self.topics, index, &mut changes)?;
        changes.commit(&mut self.state)?;
        self.folder.set_syncs(self.state.syncs)?;
        Ok(changed)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Archives may outlive the store, and must not keep the index's files locked.
        self.shared.close();
    }
}

#[cfg(test)]
impl Store {
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}
