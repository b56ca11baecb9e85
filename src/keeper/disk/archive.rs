//! Reading what is stored, by any thread, while the store is written.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::error::{ReadError, StoreError};
use super::index::Index;
use super::page::Page;
use super::record::PageRecord;
use super::shelf;

/// The index, for as long as its store is open.
pub(super) struct Shared {
    folder: PathBuf,
    index: RwLock<Option<Index>>,
}

impl Shared {
    pub(super) fn new(folder: &Path, index: Index) -> Shared {
        Shared {
            folder: folder.to_owned(),
            index: RwLock::new(Some(index)),
        }
    }

    pub(super) fn index(&self) -> RwLockReadGuard<'_, Option<Index>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for those who just look something up, and then lets go of the index's files.
    pub(super) fn close(&self) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        *index = None;
    }
}

/// Reads pages that were synced. Clones of it read the same store.
#[derive(Clone)]
pub struct Archive(Arc<Shared>);

impl Archive {
    pub(super) fn new(shared: Arc<Shared>) -> Archive {
        Archive(shared)
    }

    /// The page that holds `offset`, or else the first one behind it; `None` if there is
    /// none, or the topic's epoch is another one. What is below the topic's floor is not in
    /// the page.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] says which offsets are lost; reading goes on behind them.
    pub fn page(&self, topic: &str, epoch: u64, offset: u64) -> Result<Option<Page>, ReadError> {
        self.read(topic, epoch, |index, id, floor| {
            let offset = offset.max(floor);
            match index.page_until(id, offset)? {
                Some((first, record)) if record.last >= offset => Ok(Some((first, record))),
                _ => match offset.checked_add(1) {
                    Some(behind) => index.page_from(id, behind),
                    None => Ok(None),
                },
            }
        })
    }

    /// The last page that begins before `offset`, for reading backwards. It may hold `offset`
    /// as well.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] says which offsets are lost; reading goes on before them.
    pub fn page_before(
        &self,
        topic: &str,
        epoch: u64,
        offset: u64,
    ) -> Result<Option<Page>, ReadError> {
        self.read(topic, epoch, |index, id, floor| {
            let Some(before) = offset.checked_sub(1).filter(|before| *before >= floor) else {
                return Ok(None);
            };
            let found = index.page_until(id, before)?;
            Ok(found.filter(|(_, record)| record.last >= floor))
        })
    }

    /// Reads the page that `choose` finds.
    fn read(
        &self,
        topic: &str,
        epoch: u64,
        choose: impl Fn(&Index, u64, u64) -> Result<Option<(u64, PageRecord)>, StoreError>,
    ) -> Result<Option<Page>, ReadError> {
        let mut missed = None;
        loop {
            let (id, floor, first, record) = {
                let index = self.0.index();
                let index = index.as_ref().ok_or(ReadError::Closed)?;
                let Some(topic) = index.topic(topic)?.filter(|topic| topic.epoch == epoch) else {
                    return Ok(None);
                };
                let Some((first, record)) = choose(index, topic.id, topic.floor)? else {
                    return Ok(None);
                };
                (topic.id, topic.floor, first, record)
            };
            let damaged = || ReadError::Damaged {
                topic: topic.to_owned(),
                shelf: record.shelf,
                at: record.at,
                from: first,
                to: record.last,
            };
            let len = record.len as usize;
            let bytes = match shelf::read(&self.0.folder, record.shelf, record.at.into(), len) {
                Ok(bytes) => bytes,
                Err(error) => match error.kind() {
                    // The page was moved to another shelf or given up since it was looked up,
                    // unless the index goes on naming it.
                    ErrorKind::NotFound if missed != Some(record) => {
                        missed = Some(record);
                        continue;
                    }
                    ErrorKind::NotFound | ErrorKind::UnexpectedEof => return Err(damaged()),
                    // The disk itself cannot read it.
                    _ if error.raw_os_error() == Some(libc::EIO) => return Err(damaged()),
                    _ => {
                        let path = shelf::path(&self.0.folder, record.shelf);
                        return Err(StoreError::io("read", &path)(error).into());
                    }
                },
            };
            let mut page = Page::read(bytes)
                .filter(|page| {
                    let head = page.head();
                    (head.topic, head.first, head.last) == (id, first, record.last)
                })
                .ok_or_else(damaged)?;
            // The floor may cut the page's last messages off, where there are gaps.
            return Ok(page.skip_below(floor).then_some(page));
        }
    }
}
