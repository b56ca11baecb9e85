//! Shelves: flat files that pages are appended to, each written once, past the page cache
//! where the file system lets one: see [`super::staging`].

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::folder::open_private;
use super::staging::Staging;

const PREFIX: &str = "shelf-";

/// What the index names of a shelf.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Named {
    /// Where the last named page ends.
    pub(super) end: u64,
    /// Bytes of named pages.
    pub(super) live: u64,
}

/// All shelves of a store.
pub(super) struct Shelves {
    folder: PathBuf,
    /// Another shelf is begun before one grows longer, but for a single longer page.
    bytes_max: u64,
    all: BTreeMap<u32, Shelf>,
    current: Option<Current>,
    /// The number of the next shelf that is begun.
    next: u32,
    /// The folder does not yet safely name all shelves.
    begun: bool,
}

struct Shelf {
    len: u64,
    live: u64,
}

/// The shelf that is written to.
struct Current {
    number: u32,
    staging: Staging,
}

impl Shelves {
    /// Cuts the shelves in `folder` back to what is `named`, and deletes those of which
    /// nothing is.
    pub(super) fn open(
        folder: &Path,
        named: &BTreeMap<u32, Named>,
        bytes_max: u64,
    ) -> Result<Shelves, StoreError> {
        let mut shelves = Shelves {
            folder: folder.to_owned(),
            bytes_max,
            all: BTreeMap::new(),
            current: None,
            next: named.keys().next_back().map_or(1, |last| last + 1),
            begun: false,
        };
        let reading = StoreError::io("read the folder", folder);
        for (number, len) in list(folder).map_err(reading)? {
            match named.get(&number) {
                Some(named) => {
                    let live = named.live;
                    shelves.all.insert(number, Shelf { len, live });
                }
                None => {
                    let path = path(folder, number);
                    fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
                }
            }
        }
        if let Some((&number, shelf)) = shelves.all.iter_mut().next_back()
            && let Some(named) = named.get(&number)
            // A shelf that misses what is named has lost it, and nothing else may lie there.
            && shelf.len >= named.end
            && named.end < bytes_max
        {
            let path = path(folder, number);
            let staging = reopen(&path, named.end).map_err(StoreError::io("open", &path))?;
            shelf.len = named.end;
            shelves.current = Some(Current { number, staging });
        }
        Ok(shelves)
    }

    /// Appends the `parts` of a page, and tells its shelf and where it begins. They may be
    /// written no earlier than with the next sync.
    pub(super) fn append(&mut self, parts: [&[u8]; 3]) -> Result<(u32, u32), StoreError> {
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if let Some(current) = &self.current
            && self.len(current.number) + len > self.bytes_max
            && self.len(current.number) > 0
        {
            self.sync_current()?;
            self.current = None;
        }
        let folder = &self.folder;
        let current = match &mut self.current {
            Some(current) => current,
            none => {
                let number = self.next;
                let path = path(folder, number);
                let staging = reopen(&path, 0).map_err(StoreError::io("make", &path))?;
                self.next += 1;
                self.begun = true;
                self.all.insert(number, Shelf { len: 0, live: 0 });
                none.insert(Current { number, staging })
            }
        };
        for part in parts {
            let written = current.staging.append(part);
            written.map_err(StoreError::io("write to", &path(folder, current.number)))?;
        }
        let number = current.number;
        let shelf = self
            .all
            .get_mut(&number)
            .expect("the current shelf is known");
        let at = u32::try_from(shelf.len).expect("a page begins within a shelf's bytes");
        shelf.len += len;
        Ok((number, at))
    }

    /// Whether the folder has to be synced too, as a shelf was begun. Asked after all that
    /// was appended has been synced.
    pub(super) fn sync(&mut self) -> Result<bool, StoreError> {
        self.sync_current()?;
        Ok(std::mem::take(&mut self.begun))
    }

    fn sync_current(&mut self) -> Result<(), StoreError> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let synced = current.staging.sync();
        synced.map_err(StoreError::io("sync", &path(&self.folder, current.number)))
    }

    /// The index names a page of so many bytes more.
    pub(super) fn add_live(&mut self, number: u32, bytes: u32) {
        if let Some(shelf) = self.all.get_mut(&number) {
            shelf.live += u64::from(bytes);
        }
    }

    /// The index does not name a page of so many bytes any more.
    pub(super) fn sub_live(&mut self, number: u32, bytes: u32) {
        if let Some(shelf) = self.all.get_mut(&number) {
            shelf.live = shelf.live.saturating_sub(u64::from(bytes));
        }
    }

    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    pub(super) fn len(&self, number: u32) -> u64 {
        self.all.get(&number).map_or(0, |shelf| shelf.len)
    }

    /// Bytes of all shelves.
    pub(super) fn bytes(&self) -> u64 {
        self.all.values().map(|shelf| shelf.len).sum()
    }

    /// Deletes the shelves of which the index names nothing, but for the one written to.
    pub(super) fn delete_empty(&mut self) -> Result<(), StoreError> {
        let current = self.current.as_ref().map(|current| current.number);
        let is_empty = |(number, shelf): (&u32, &Shelf)| {
            (shelf.live == 0 && Some(*number) != current).then_some(*number)
        };
        let empty: Vec<u32> = self.all.iter().filter_map(is_empty).collect();
        for number in empty {
            let path = path(&self.folder, number);
            fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
            self.all.remove(&number);
        }
        Ok(())
    }

    /// A shelf that is not written to and of which less than a quarter is named.
    pub(super) fn sparse(&self, but: &[u32]) -> Option<u32> {
        let current = self.current.as_ref().map(|current| current.number);
        let is_sparse = |(number, shelf): (&u32, &Shelf)| {
            let sparse = shelf.live * 4 < shelf.len;
            (sparse && Some(*number) != current && !but.contains(number)).then_some(*number)
        };
        self.all.iter().find_map(is_sparse)
    }
}

/// Reads `len` bytes of a shelf. An error of kind `NotFound` says that the shelf is gone,
/// and `UnexpectedEof` that it is too short.
pub(super) fn read(folder: &Path, number: u32, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path(folder, number))?;
    // A damaged record may name any length: nothing is allocated for what is not there.
    let end = at.checked_add(len as u64);
    if end.is_none_or(|end| file.metadata().is_ok_and(|found| found.len() < end)) {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

pub(super) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{PREFIX}{number:010}"))
}

fn list(folder: &Path) -> io::Result<Vec<(u32, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, entry.metadata()?.len()));
        }
    }
    Ok(found)
}

/// A shelf to be written from `end` on, which is made if it is not there.
fn reopen(path: &Path, end: u64) -> io::Result<Staging> {
    let file = open_private(path, OpenOptions::new().read(true).write(true))?;
    file.set_len(end)?;
    Staging::new(file, path, end)
}
