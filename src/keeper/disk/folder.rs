//! The store's folder: who may enter it, who has it open, which format it has, and how many
//! syncs there were.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::error::{OpenError, StoreError};

/// The format that is written. An older one would be converted in [`Folder::open`], once all
/// below the folder is locked and before anything of it is read.
const FORMAT: u32 = 1;
const FORMAT_PREFIX: &str = "fanfare-store ";

const LOCK: &str = "owner.lock";
const FORMAT_FILE: &str = "format";
const FORMAT_DRAFT: &str = "format.new";
const SYNCED: &str = "synced";
const INDEX: &str = "index";

/// A folder that this process alone has open.
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
    synced: File,
}

impl Folder {
    /// Opens the folder at `path`, which is made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Folder, OpenError> {
        make_private(path).map_err(StoreError::io("make the folder", path))?;
        check_owner(path)?;
        let lock = lock(path)?;
        check_format(path)?;
        let index = path.join(INDEX);
        make_private(&index).map_err(StoreError::io("make the folder", &index))?;
        let synced_path = path.join(SYNCED);
        let synced = open_private(&synced_path, OpenOptions::new().read(true).write(true))
            .map_err(StoreError::io("open", &synced_path))?;
        let folder = Folder {
            path: path.to_owned(),
            lock,
            synced,
        };
        folder.sync()?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn index(&self) -> PathBuf {
        self.path.join(INDEX)
    }

    /// Names of files that were made are safe when this returns.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
        synced.map_err(StoreError::io("sync the folder", &self.path))
    }

    /// How many syncs there were, as far as that is known.
    pub(super) fn syncs(&self) -> Option<u64> {
        let mut bytes = [0; 16];
        self.synced.read_exact_at(&mut bytes, 0).ok()?;
        let (number, sum) = bytes.split_at(8);
        (xxh3_64(number).to_le_bytes() == *sum)
            .then(|| u64::from_le_bytes(number.try_into().expect("eight bytes")))
    }

    /// Writes down that the index was synced for the `number`th time. This is not synced
    /// itself: after a power loss it may name an earlier sync, but never a later one.
    pub(super) fn set_syncs(&self, number: u64) -> Result<(), StoreError> {
        let number = number.to_le_bytes();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number);
        bytes[8..].copy_from_slice(&xxh3_64(&number).to_le_bytes());
        let written = self.synced.write_all_at(&bytes, 0);
        written.map_err(StoreError::io("write", &self.path.join(SYNCED)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A process that is just being started may have the file open as well for a moment,
        // and would hold the lock.
        let _ = self.lock.unlock();
    }
}

/// Opens or makes a file that its owner alone may read, whatever the process's umask is.
pub(super) fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.mode() & 0o777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Makes a folder for its owner alone, whatever the process's umask is. One that is there
/// stays as it is.
fn make_private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o700)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn check_owner(path: &Path) -> Result<(), OpenError> {
    let found = fs::metadata(path).map_err(StoreError::io("look at", path))?;
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
            owner: found.uid(),
            own,
        });
    }
    match found.mode() & 0o7777 {
        mode if mode & 0o077 != 0 => Err(OpenError::Wide {
            path: path.to_owned(),
            mode,
        }),
        _ => Ok(()),
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = path.join(LOCK);
    let lock = open_private(&lock_path, OpenOptions::new().read(true).write(true))
        .map_err(StoreError::io("open", &lock_path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &lock_path)(error).into()),
    }
}

fn check_format(path: &Path) -> Result<(), OpenError> {
    let damaged = |cause: String| OpenError::Damaged {
        path: path.to_owned(),
        cause,
    };
    let format_path = path.join(FORMAT_FILE);
    match fs::read_to_string(&format_path) {
        Ok(text) => {
            let number = text.trim_end().strip_prefix(FORMAT_PREFIX);
            match number.and_then(|number| number.parse().ok()) {
                Some(FORMAT) => Ok(()),
                Some(found) if found > FORMAT => Err(OpenError::Newer {
                    path: path.to_owned(),
                    found,
                    known: FORMAT,
                }),
                _ => Err(damaged(format!(
                    "its file {FORMAT_FILE} does not say which format it has"
                ))),
            }
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(damaged(format!("its file {FORMAT_FILE} is not text")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if path.join(INDEX).exists() {
                return Err(damaged(format!("its file {FORMAT_FILE} is missing")));
            }
            let written = write_format(path);
            Ok(written.map_err(StoreError::io("write", &format_path))?)
        }
        Err(error) => Err(StoreError::io("read", &format_path)(error).into()),
    }
}

/// The file appears whole or not at all.
fn write_format(path: &Path) -> io::Result<()> {
    let draft = path.join(FORMAT_DRAFT);
    let mut file = open_private(&draft, OpenOptions::new().write(true))?;
    file.set_len(0)?;
    writeln!(file, "{FORMAT_PREFIX}{FORMAT}")?;
    file.sync_all()?;
    fs::rename(&draft, path.join(FORMAT_FILE))
}
