//! The index: a record of each topic, and where each page lies.
//!
//! It is an embedded key-value store with two spaces of keys:
//!
//! | space | key | value |
//! |---|---|---|
//! | `topics` | `s` | [`State`] |
//! | `topics` | `t` and the topic's name | [`TopicRecord`] |
//! | `pages` | topic's number, first offset (big-endian, so that they sort) | [`PageRecord`] |
//!
//! The state has a **digest** of all other records: the sum of their checksums. What the
//! engine's own checksums do not notice, such as a journal that ends too early, shows there.

use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use xxhash_rust::xxh3::Xxh3;

use super::error::{OpenError, StoreError};
use super::record::{PageRecord, State, TopicRecord};
use super::verify::verify;

const CACHE_BYTES: u64 = 8 << 20;
const MEMTABLE_BYTES: u64 = 8 << 20;
/// The smallest that the engine allows.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;

const STATE: &[u8] = b"s";
const TOPIC_PREFIX: u8 = b't';

pub(super) struct Index {
    path: PathBuf,
    // Fields are dropped in this order: the spaces before the whole.
    topics: Keyspace,
    pages: Keyspace,
    database: Database,
}

/// Something the index holds, told by [`Index::scan`]. The last is the record's checksum.
pub(super) enum Entry<'a> {
    Topic(&'a str, TopicRecord, u64),
    Page(u64, u64, PageRecord),
}

impl Index {
    /// Opens the index in the folder `path`, which is made there if it was never `used`.
    pub(super) fn open(path: &Path, used: bool) -> Result<Index, OpenError> {
        verify(path, used)?;
        let opening = || StoreError::index("open the index", path);
        let database = Database::builder(path)
            .worker_threads(1)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .open()
            .map_err(opening())?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        Ok(Index {
            path: path.to_owned(),
            topics: database.keyspace("topics", options).map_err(opening())?,
            pages: database.keyspace("pages", options).map_err(opening())?,
            database,
        })
    }

    /// Goes through all records, topics first, pages of a topic in the order of their offsets.
    /// Returns the state, which is the default one if nothing was ever written.
    pub(super) fn scan(&self, mut each: impl FnMut(Entry<'_>)) -> Result<State, OpenError> {
        let damaged = |cause: &str| OpenError::Damaged {
            path: self.path.clone(),
            cause: cause.to_owned(),
        };
        let (mut state, mut digest, mut records) = (None, 0u64, 0u64);
        for guard in self.topics.iter() {
            let (key, value) = guard.into_inner().map_err(self.reading())?;
            if *key == *STATE {
                let found = State::read(&value);
                state = Some(found.ok_or_else(|| damaged("the record of the whole is broken"))?);
                continue;
            }
            let name = match key.split_first() {
                Some((&TOPIC_PREFIX, name)) => std::str::from_utf8(name).ok(),
                _ => None,
            };
            let (Some(name), Some(record)) = (name, TopicRecord::read(&value)) else {
                return Err(damaged("the record of a topic is broken"));
            };
            let checksum = checksum(&key, &value);
            digest = digest.wrapping_add(checksum);
            records += 1;
            each(Entry::Topic(name, record, checksum));
        }
        for guard in self.pages.iter() {
            let (key, value) = guard.into_inner().map_err(self.reading())?;
            let (Some((id, first)), Some(record)) = (page_of(&key), PageRecord::read(&value))
            else {
                return Err(damaged("the record of a page is broken"));
            };
            digest = digest.wrapping_add(checksum(&key, &value));
            records += 1;
            each(Entry::Page(id, first, record));
        }
        match state {
            None if records == 0 => Ok(State::default()),
            Some(state) if state.digest == digest => Ok(state),
            _ => Err(damaged("some of its records are lost or changed")),
        }
    }

    pub(super) fn topic(&self, name: &str) -> Result<Option<TopicRecord>, StoreError> {
        let found = self.topics.get(topic_key(name)).map_err(self.reading())?;
        found.map_or(Ok(None), |value| {
            self.known(TopicRecord::read(&value)).map(Some)
        })
    }

    /// The page of a topic that begins at `first`.
    pub(super) fn page(&self, id: u64, first: u64) -> Result<Option<PageRecord>, StoreError> {
        let found = self
            .pages
            .get(page_key(id, first))
            .map_err(self.reading())?;
        found.map_or(Ok(None), |value| {
            self.known(PageRecord::read(&value)).map(Some)
        })
    }

    /// The first page of a topic that begins at or behind `offset`.
    pub(super) fn page_from(
        &self,
        id: u64,
        offset: u64,
    ) -> Result<Option<(u64, PageRecord)>, StoreError> {
        let range = page_key(id, offset)..=page_key(id, u64::MAX);
        self.found(self.pages.range(range).next())
    }

    /// The last page of a topic that begins at or before `offset`.
    pub(super) fn page_until(
        &self,
        id: u64,
        offset: u64,
    ) -> Result<Option<(u64, PageRecord)>, StoreError> {
        let range = page_key(id, 0)..=page_key(id, offset);
        self.found(self.pages.range(range).next_back())
    }

    fn found(&self, found: Option<fjall::Guard>) -> Result<Option<(u64, PageRecord)>, StoreError> {
        let Some(guard) = found else {
            return Ok(None);
        };
        let (key, value) = guard.into_inner().map_err(self.reading())?;
        let (_, first) = self.known(page_of(&key))?;
        Ok(Some((first, self.known(PageRecord::read(&value))?)))
    }

    /// Changes that are made all at once.
    pub(super) fn changes(&self) -> Changes<'_> {
        Changes {
            index: self,
            batch: self.database.batch().durability(Some(PersistMode::SyncAll)),
            digest: 0,
        }
    }

    fn reading(&self) -> impl FnOnce(fjall::Error) -> StoreError + use<> {
        StoreError::index("read the index", &self.path)
    }

    fn known<T>(&self, record: Option<T>) -> Result<T, StoreError> {
        record.ok_or_else(|| StoreError::Index {
            path: self.path.clone(),
            cause: "a record is broken".to_owned(),
        })
    }
}

pub(super) struct Changes<'a> {
    index: &'a Index,
    batch: OwnedWriteBatch,
    /// What is to be added to the index's digest.
    digest: u64,
}

impl Changes<'_> {
    /// Names a page. What was `before` under the same topic and offset is named no more.
    pub(super) fn put_page(
        &mut self,
        id: u64,
        first: u64,
        record: &PageRecord,
        before: Option<&PageRecord>,
    ) {
        let (key, value) = (page_key(id, first), record.write());
        if let Some(before) = before {
            self.forget(checksum(&key, &before.write()));
        }
        self.digest = self.digest.wrapping_add(checksum(&key, &value));
        self.batch.insert(&self.index.pages, &key[..], &value[..]);
    }

    pub(super) fn remove_page(&mut self, id: u64, first: u64, record: &PageRecord) {
        let key = page_key(id, first);
        self.forget(checksum(&key, &record.write()));
        self.batch.remove(&self.index.pages, &key[..]);
    }

    /// Writes a topic's record, in place of the one whose checksum was `before`. Returns the
    /// checksum.
    pub(super) fn put_topic(
        &mut self,
        name: &str,
        record: &TopicRecord,
        before: Option<u64>,
    ) -> u64 {
        let (key, value) = (topic_key(name), record.write());
        self.forget(before.unwrap_or(0));
        let checksum = checksum(&key, &value);
        self.digest = self.digest.wrapping_add(checksum);
        self.batch.insert(&self.index.topics, key, &value[..]);
        checksum
    }

    pub(super) fn remove_topic(&mut self, name: &str, before: u64) {
        self.forget(before);
        self.batch.remove(&self.index.topics, topic_key(name));
    }

    /// Makes the changes, which are safe when this returns, and brings `state` up to date.
    pub(super) fn commit(mut self, state: &mut State) -> Result<(), StoreError> {
        let next = State {
            syncs: state.syncs + 1,
            digest: state.digest.wrapping_add(self.digest),
            ..*state
        };
        self.batch
            .insert(&self.index.topics, STATE, &next.write()[..]);
        let committed = self.batch.commit();
        committed.map_err(StoreError::index("write the index", &self.index.path))?;
        *state = next;
        Ok(())
    }

    fn forget(&mut self, checksum: u64) {
        self.digest = self.digest.wrapping_sub(checksum);
    }
}

/// Of one record. Keys of the two spaces differ in length or in their first byte often, and
/// their values in length always.
fn checksum(key: &[u8], value: &[u8]) -> u64 {
    let mut sum = Xxh3::new();
    sum.update(&(key.len() as u64).to_le_bytes());
    sum.update(key);
    sum.update(value);
    sum.digest()
}

fn topic_key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(TOPIC_PREFIX);
    key.extend_from_slice(name.as_bytes());
    key
}

fn page_key(id: u64, first: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&id.to_be_bytes());
    key[8..].copy_from_slice(&first.to_be_bytes());
    key
}

fn page_of(key: &[u8]) -> Option<(u64, u64)> {
    let (id, first) = key.split_first_chunk()?;
    Some((
        u64::from_be_bytes(*id),
        u64::from_be_bytes(first.try_into().ok()?),
    ))
}

#[cfg(test)]
impl Index {
    /// Has the engine write tables of what is only in its journal yet.
    pub(super) fn settle(&self) {
        for space in [&self.topics, &self.pages] {
            space.rotate_memtable_and_wait().expect("there is room");
        }
    }
}
