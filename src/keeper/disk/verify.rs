//! Looks at the files of the index before its engine does.
//!
//! The engine has checksums, but trusts what it reads of its own files in places: a damaged
//! table may make it ask for any amount of memory, and a damaged journal may end early without
//! a word. So each file is compared with its checksum here first:
//!
//! - In the folder of a space, `current` names the newest list of tables and has its checksum,
//!   and the list has those of the tables.
//! - A journal is a row of batches, each with a checksum. A power loss leaves at most one
//!   batch half written, at the end of the newest journal: it is cut off. Where another batch
//!   lies behind a broken one, the journal is damaged.
//!
//! This knows the engine's format 3, which the file `version` names.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::error::{OpenError, StoreError};

const VERSION_FILE: &str = "version";
const VERSION: &[u8] = b"FJL\x03";
const SPACES: &str = "keyspaces";
const TABLES: &str = "tables";
const CURRENT: &str = "current";
const JOURNAL_EXTENSION: &str = "jnl";

/// Checks the index in `folder`. If it was never `used`, there may be none, or one whose making
/// was cut short; what is left of that is removed.
pub(super) fn verify(folder: &Path, used: bool) -> Result<(), OpenError> {
    let version = folder.join(VERSION_FILE);
    // The engine writes this file when all others are there, and makes none of them again.
    match fs::read(&version) {
        Ok(found) if found == VERSION => {}
        Ok(found) if used || !VERSION.starts_with(&found) => {
            return Err(damaged(&version, "it names another version of the engine"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound && used => {
            return Err(damaged(&version, "it is missing"));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(StoreError::io("read", &version)(error).into());
        }
        _ => {
            let cleared = clear(folder);
            return Ok(cleared.map_err(StoreError::io("empty the folder", folder))?);
        }
    }
    let spaces = folder.join(SPACES);
    for space in list(&spaces)? {
        verify_space(&space)?;
    }
    let mut journals: Vec<(u64, PathBuf)> = list(folder)?
        .into_iter()
        .filter(|path| {
            path.extension()
                .is_some_and(|found| found == JOURNAL_EXTENSION)
        })
        .filter_map(|path| Some((path.file_stem()?.to_str()?.parse().ok()?, path)))
        .collect();
    journals.sort();
    let newest = journals.pop();
    for (_, path) in journals {
        let found = follow(&path).map_err(StoreError::io("read", &path))?;
        if !found.rest_is_empty {
            return Err(damaged(&path, "a batch in it is broken"));
        }
    }
    let Some((_, path)) = newest else {
        return Ok(());
    };
    let found = follow(&path).map_err(StoreError::io("read", &path))?;
    if found.batch_behind {
        return Err(damaged(&path, "a batch in it is broken"));
    }
    let cut = || {
        let file = File::options().write(true).open(&path)?;
        file.set_len(found.end)?;
        file.sync_all()
    };
    Ok(cut().map_err(StoreError::io("cut", &path))?)
}

fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

fn damaged(path: &Path, cause: &str) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        cause: cause.to_owned(),
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    Ok(list().map_err(StoreError::io("read the folder", folder))?)
}

fn verify_space(space: &Path) -> Result<(), OpenError> {
    let current = space.join(CURRENT);
    let named = match fs::read(&current) {
        Ok(named) => named,
        // The space was being made. The engine begins again.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("read", &current)(error).into()),
    };
    let mut fields = &named[..];
    let (Some(number), Some(sum), [0]) = (u64(&mut fields), u128(&mut fields), fields) else {
        return Err(damaged(&current, "it is not as the engine writes it"));
    };
    let path = space.join(format!("v{number}"));
    let version = read_whole(&path)?;
    if xxh3_128(&version) != sum {
        return Err(damaged(&path, "it differs from its checksum"));
    }
    for (table, sum) in tables(&version).ok_or_else(|| damaged(&path, "it lists no tables"))? {
        let path = space.join(TABLES).join(table.to_string());
        if xxh3_128(&read_whole(&path)?) != sum {
            return Err(damaged(&path, "it differs from its checksum"));
        }
    }
    Ok(())
}

/// A file that has to be there.
fn read_whole(path: &Path) -> Result<Vec<u8>, OpenError> {
    fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => damaged(path, "it is missing"),
        _ => StoreError::io("read", path)(error).into(),
    })
}

/// The tables that a list names, with their checksums.
fn tables(version: &[u8]) -> Option<Vec<(u64, u128)>> {
    let reader = sfa::Reader::from_reader(&mut Cursor::new(version)).ok()?;
    let section = reader.toc().section(b"tables")?;
    let start = usize::try_from(section.pos()).ok()?;
    let len = usize::try_from(section.len()).ok()?;
    let mut fields = version.get(start..)?.get(..len)?;
    let mut tables = Vec::new();
    for _level in 0..u8(&mut fields)? {
        for _run in 0..u8(&mut fields)? {
            for _table in 0..u32(&mut fields)? {
                let number = u64(&mut fields)?;
                let _kind_of_checksum = u8(&mut fields)?;
                tables.push((number, u128(&mut fields)?));
                let _sequence_number = u64(&mut fields)?;
            }
        }
    }
    Some(tables)
}

macro_rules! little_endian {
    ($($name:ident),*) => {$(
        fn $name(bytes: &mut &[u8]) -> Option<$name> {
            let (number, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some($name::from_le_bytes(*number))
        }
    )*};
}

little_endian!(u8, u16, u32, u64, u128);

/// What was found in a journal.
struct Journal {
    /// Where the last batch ends that is whole, as are all before it.
    end: u64,
    /// Nothing was written behind that.
    rest_is_empty: bool,
    /// Something that looks like a whole batch lies behind that.
    batch_behind: bool,
}

const TAG_START: u8 = 1;
const TAG_ITEM: u8 = 2;
const TAG_END: u8 = 3;
const TAG_CLEAR: u8 = 4;
const END_MAGIC: &[u8] = b"FJL\x03";
/// Keys and values of this index are much shorter.
const VALUE_BYTES_MAX: u32 = 1 << 20;
/// The engine has no numbers of batches beyond twice that.
const SEQUENCE_MAX: u64 = 1 << 62;
/// A removal of one kind or the other, or a value. The engine knows more, and does not write
/// it here.
const KIND_MAX: u8 = 2;

fn follow(path: &Path) -> io::Result<Journal> {
    let mut file = BufReader::new(File::open(path)?);
    let mut end = 0;
    while let Some(len) = batch(&mut file)? {
        end += len;
    }
    file.seek(SeekFrom::Start(end))?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    let starts = rest.iter().enumerate().skip(1);
    let mut starts = starts.filter(|(_, byte)| **byte == TAG_START);
    let is_batch = |at: usize| batch(&mut &rest[at..]).is_ok_and(|found| found.is_some());
    Ok(Journal {
        end,
        rest_is_empty: rest.iter().all(|byte| *byte == 0),
        batch_behind: starts.any(|(at, _)| is_batch(at)),
    })
}

/// The length of the batch that `bytes` begins with, if it is whole.
fn batch(bytes: &mut impl Read) -> io::Result<Option<u64>> {
    match batch_len(bytes) {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn batch_len(bytes: &mut impl Read) -> io::Result<Option<u64>> {
    let mut start = [0; 13];
    bytes.read_exact(&mut start)?;
    let mut fields = &start[..];
    let (tag, items, sequence) = (u8(&mut fields), u32(&mut fields), u64(&mut fields));
    let (Some(items), Some(sequence)) = (items, sequence) else {
        return Ok(None);
    };
    if tag != Some(TAG_START) || sequence > SEQUENCE_MAX || items == 0 {
        return Ok(None);
    }
    let (mut len, mut sum, mut item) = (start.len() as u64, Xxh3::new(), Vec::new());
    for _ in 0..items {
        if !read_item(bytes, &mut item)? {
            return Ok(None);
        }
        len += item.len() as u64;
        sum.update(&item);
    }
    let mut end = [0; 13];
    bytes.read_exact(&mut end)?;
    let whole =
        end[0] == TAG_END && end[1..9] == sum.digest().to_le_bytes() && end[9..] == *END_MAGIC;
    Ok(whole.then_some(len + end.len() as u64))
}

/// Reads one item of a batch to `item`. False if there is none.
fn read_item(bytes: &mut impl Read, item: &mut Vec<u8>) -> io::Result<bool> {
    let mut more = |item: &mut Vec<u8>, len: usize| {
        let start = item.len();
        item.resize(start + len, 0);
        bytes.read_exact(&mut item[start..])
    };
    item.clear();
    more(item, 1)?;
    match item[0] {
        TAG_CLEAR => {
            more(item, 8)?;
            return Ok(true);
        }
        TAG_ITEM => more(item, 20)?,
        _ => return Ok(false),
    }
    let mut fields = &item[1..];
    let (kind, compression) = (u8(&mut fields), u8(&mut fields));
    let _space = u64(&mut fields);
    let (Some(key_len), Some(len), Some(stored_len)) =
        (u16(&mut fields), u32(&mut fields), u32(&mut fields))
    else {
        return Ok(false);
    };
    if kind.is_none_or(|kind| kind > KIND_MAX)
        || compression != Some(0)
        || len != stored_len
        || len > VALUE_BYTES_MAX
    {
        return Ok(false);
    }
    more(item, usize::from(key_len) + len as usize)?;
    Ok(true)
}
