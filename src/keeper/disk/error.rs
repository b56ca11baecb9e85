//! What may go wrong with a store, in sentences for the person who can act.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the store's folder {} is open to other users (its mode is {mode:04o}): `chmod 700 {}` \
         closes it",
        path.display(), path.display()
    )]
    Wide { path: PathBuf, mode: u32 },
    #[error(
        "the store's folder {} belongs to the user with number {owner}, not to this process's \
         ({own}): `chown` it or name another folder",
        path.display()
    )]
    Foreign { path: PathBuf, owner: u32, own: u32 },
    #[error("the store {} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error(
        "the store {} has format {found}, and this version reads formats up to {known}: it was \
         written by a newer version",
        path.display()
    )]
    Newer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    #[error("the store {} is damaged: {cause}", path.display())]
    Damaged { path: PathBuf, cause: String },
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// Why the store did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the store's index {} failed: {cause}", path.display())]
    Index { path: PathBuf, cause: String },
    #[error("the store failed before and has to be opened anew")]
    Spent,
    #[error(
        "a page of topic {topic:?} begins at offset {first}, but offset {newest} is stored already"
    )]
    Order {
        topic: String,
        first: u64,
        newest: u64,
    },
    #[error("a page of topic {topic:?} cannot be stored: {cause}")]
    Page { topic: String, cause: &'static str },
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The page is lost; those behind it can be read.
    #[error(
        "offsets {from} to {to} of topic {topic:?} are lost: their page in shelf {shelf} at byte \
         {at} is damaged"
    )]
    Damaged {
        topic: String,
        shelf: u32,
        at: u32,
        from: u64,
        to: u64,
    },
    #[error("the store was closed")]
    Closed,
    #[error(transparent)]
    Failed(#[from] StoreError),
}

impl StoreError {
    pub(super) fn io(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> StoreError + use<> {
        let path = path.to_owned();
        move |source| StoreError::Io {
            doing,
            path,
            source,
        }
    }

    /// An error of the index. One that comes from the system is told as that.
    pub(super) fn index(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(fjall::Error) -> StoreError + use<> {
        let path = path.to_owned();
        move |error| {
            let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
            while let Some(link) = cause {
                if let Some(found) = link.downcast_ref::<io::Error>() {
                    let source = match found.raw_os_error() {
                        Some(number) => io::Error::from_raw_os_error(number),
                        None => io::Error::new(found.kind(), found.to_string()),
                    };
                    return StoreError::Io {
                        doing,
                        path,
                        source,
                    };
                }
                cause = link.source();
            }
            let cause = match error {
                fjall::Error::Poisoned => "it could not be written to before".to_owned(),
                error => error.to_string(),
            };
            StoreError::Index { path, cause }
        }
    }

    /// There is no room on the disk, or no quota for more.
    pub fn is_full(&self) -> bool {
        matches!(self.kind(), Some(kind) if matches!(
            kind,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ))
    }

    /// The file system takes no writes.
    pub fn is_read_only(&self) -> bool {
        self.kind() == Some(io::ErrorKind::ReadOnlyFilesystem)
    }

    fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            StoreError::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}
