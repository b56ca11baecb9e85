//! What is on its way into a shelf. It is gathered in whole blocks and written past the page
//! cache (`O_DIRECT`), which takes a fraction of the processor time that the cache would:
//! nobody reads soon what is written here. What does not fill a block is written in the
//! ordinary way with each sync, and again with what follows it; so is everything where the file
//! system knows no other way.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What is written past the cache begins and ends at multiples of this, and so does its memory.
const BLOCK_BYTES: usize = 4096;
/// What is written at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Less than this takes the ordinary way: it is not worth two writes.
const DIRECT_BYTES_MIN: usize = 64 << 10;

const _: () = assert!(CHUNK_BYTES.is_multiple_of(BLOCK_BYTES));

pub(super) struct Staging {
    file: File,
    /// The same file, to be written past the cache.
    direct: Option<File>,
    memory: Vec<u8>,
    /// Where the first block begins in the memory.
    aligned: usize,
    /// Where that is in the file.
    base: u64,
    /// Bytes from there on, the first of which may be written already.
    len: usize,
    dirty: bool,
}

impl Staging {
    /// Appends to a file behind its first `end` bytes.
    pub(super) fn new(file: File, path: &Path, end: u64) -> io::Result<Staging> {
        let memory = vec![0; CHUNK_BYTES + BLOCK_BYTES];
        let aligned = memory.as_ptr().align_offset(BLOCK_BYTES);
        let direct = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(path);
        let len = (end % BLOCK_BYTES as u64) as usize;
        let mut staging = Staging {
            file,
            // Some file systems in memory have no other way.
            direct: direct.ok().filter(|_| aligned < BLOCK_BYTES),
            memory,
            aligned: aligned.min(BLOCK_BYTES),
            base: end - len as u64,
            len,
            dirty: false,
        };
        let begun = staging.aligned..staging.aligned + len;
        let base = staging.base;
        staging
            .file
            .read_exact_at(&mut staging.memory[begun], base)?;
        Ok(staging)
    }

    pub(super) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = bytes.len().min(CHUNK_BYTES - self.len);
            let at = self.aligned + self.len;
            self.memory[at..at + taken].copy_from_slice(&bytes[..taken]);
            self.len += taken;
            self.dirty = true;
            bytes = &bytes[taken..];
            if self.len == CHUNK_BYTES {
                self.write_blocks()?;
            }
        }
        Ok(())
    }

    /// All that was appended is safe when this returns.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        if self.len >= DIRECT_BYTES_MIN {
            self.write_blocks()?;
        }
        let rest = &self.memory[self.aligned..self.aligned + self.len];
        self.file.write_all_at(rest, self.base)?;
        self.file.sync_data()?;
        self.begin_at_last_block();
        self.dirty = false;
        Ok(())
    }

    /// Writes all that fills blocks.
    fn write_blocks(&mut self) -> io::Result<()> {
        let whole = self.len - self.len % BLOCK_BYTES;
        let bytes = &self.memory[self.aligned..self.aligned + whole];
        if let Some(direct) = &self.direct {
            match direct.write_all_at(bytes, self.base) {
                // The file system may have said so only now, as the disk has larger blocks.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.direct = None,
                written => {
                    written?;
                    self.begin_at_last_block();
                    return Ok(());
                }
            }
        }
        self.file.write_all_at(bytes, self.base)?;
        self.begin_at_last_block();
        Ok(())
    }

    /// What is left of a block stays, and is written again with what follows.
    fn begin_at_last_block(&mut self) {
        let whole = self.len - self.len % BLOCK_BYTES;
        let rest = self.aligned + whole..self.aligned + self.len;
        self.memory.copy_within(rest, self.aligned);
        self.base += whole as u64;
        self.len -= whole;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_appended_in_pieces_of_any_size_stands_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut rng = fastrand::Rng::with_seed(7);
        let mut all = Vec::new();
        for _ in 0..20 {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false);
            let file = file.open(&path).unwrap();
            let mut staging = Staging::new(file, &path, all.len() as u64).unwrap();
            for _ in 0..rng.usize(1..8) {
                let most = [10, 5_000, 200_000, 2 << 20][rng.usize(..4)];
                let bytes: Vec<u8> = (0..rng.usize(..most)).map(|_| rng.u8(..)).collect();
                staging.append(&bytes).unwrap();
                all.extend(bytes);
                if rng.bool() {
                    staging.sync().unwrap();
                    assert!(fs::read(&path).unwrap() == all);
                }
            }
            staging.sync().unwrap();
            assert!(fs::read(&path).unwrap() == all);
        }
    }
}
