//! What nobody but the next process may read: the keys of connections over TLS, and those of
//! session tickets. They travel in a file of their own that lives in memory alone, which is overwritten as soon as it has been read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;

use nix::sys::memfd::{MFdFlags, memfd_create};
use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::core::{SavedCore, SavedLink};
use crate::hub::{Hub, SavedTickets, keep_memory_to_itself};

/// Secrets of a daemon.
#[derive(Default, Serialize, Deserialize)]
pub struct Secrets {
    /// Of the connections that have TLS, in the order in which the state names those.
    pub links: Vec<SavedLink>,
    /// The keys of session tickets.
    pub(super) tickets: SavedTickets,
}

impl Secrets {
    /// Those of a daemon whose cores are frozen, in their order.
    pub fn of(hub: &Hub, cores: &mut [SavedCore]) -> Secrets {
        let links = cores
            .iter_mut()
            .flat_map(|core| std::mem::take(&mut core.links));
        Secrets {
            links: links.collect(),
            tickets: hub.tls().tickets().save(),
        }
    }

    /// Writes them into a file that lives in memory alone.
    ///
    /// # Errors
    /// A sentence, when there are no more descriptors or no memory.
    pub(super) fn write(&self) -> Result<SecretFile, String> {
        let size = postcard::serialize_with_flavor(self, Size::default());
        let size = size.map_err(|error| error.to_string())?;
        // With room for all, as each growth would leave keys behind.
        let bytes = postcard::to_extend(self, Vec::with_capacity(size));
        let bytes = Zeroizing::new(bytes.map_err(|error| error.to_string())?);
        let file = memfd_create(c"fanfare-secrets", MFdFlags::MFD_CLOEXEC);
        let mut file = File::from(file.map_err(|error| error.to_string())?);
        let written = file.write_all(&bytes);
        written.map_err(|error| format!("cannot write keys down: {error}"))?;
        Ok(SecretFile::new(file))
    }

    /// Reads them, and overwrites what is in the file.
    ///
    /// # Errors
    /// A sentence on what is wrong with it.
    pub(super) fn take(file: OwnedFd) -> Result<Secrets, String> {
        let mut file = SecretFile::new(file.into());
        let unread = |error: io::Error| format!("cannot read keys: {error}");
        let len = file.file.metadata().map_err(unread)?.len();
        // Whatever the settings say of TLS: connections that have it come along all the same.
        if may_hold_keys(len)? {
            keep_memory_to_itself();
        }
        // With room for all, as each growth would leave keys behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(len as usize));
        let read = (file.file.rewind()).and_then(|()| file.file.read_to_end(&mut bytes));
        read.map_err(unread)?;
        postcard::from_bytes(&bytes).map_err(|error| format!("the keys are damaged: {error}"))
    }
}

/// Whether a file of this length may hold keys: without any it is as short as it can be.
fn may_hold_keys(len: u64) -> Result<bool, String> {
    let without = postcard::serialize_with_flavor(&Secrets::default(), Size::default());
    let without = without.map_err(|error| error.to_string())?;
    Ok(len > without as u64)
}

/// A file with secrets, which others may have open as well. Nothing is left in it once this goes.
pub(super) struct SecretFile {
    file: File,
    is_left: bool,
}

impl SecretFile {
    fn new(file: File) -> SecretFile {
        SecretFile {
            file,
            is_left: false,
        }
    }

    /// The file for somebody else.
    ///
    /// # Errors
    /// A sentence, when there are no more descriptors.
    pub(super) fn share(&self) -> Result<OwnedFd, String> {
        let file = self.file.try_clone().map_err(|error| error.to_string())?;
        Ok(file.into())
    }

    /// It is another process's to read and to overwrite.
    pub(super) fn leave(mut self) {
        self.is_left = true;
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        if let Err(error) = overwrite(&mut self.file) {
            tracing::error!(%error, "cannot overwrite a file with keys");
        }
    }
}

fn overwrite(file: &mut File) -> io::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let len = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut left = len as usize;
    while left > 0 {
        let part = left.min(ZEROS.len());
        file.write_all(&ZEROS[..part])?;
        left -= part;
    }
    file.set_len(0)
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

    use super::*;
    use crate::hub::Tickets;

    fn len(secrets: &Secrets) -> u64 {
        secrets.write().unwrap().file.metadata().unwrap().len()
    }

    #[test]
    fn a_process_that_takes_keys_keeps_its_memory_to_itself_whatever_its_settings_are() {
        let tickets = Tickets::default();
        tickets.belong_to([1; 32], 0).unwrap();
        let secrets = Secrets {
            tickets: tickets.save(),
            ..Secrets::default()
        };
        assert!(may_hold_keys(len(&secrets)).unwrap());
        assert!(!may_hold_keys(len(&Secrets::default())).unwrap());
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
        Secrets::take(secrets.write().unwrap().share().unwrap()).unwrap();
        assert!(matches!(
            dumpable_behavior(),
            Ok(DumpableBehavior::NotDumpable)
        ));
    }

    #[test]
    fn who_else_has_the_file_finds_nothing_once_it_has_been_read() {
        let file = Secrets::default().write().unwrap();
        let mut other = File::from(file.share().unwrap());
        assert!(other.metadata().unwrap().len() > 0);
        assert!(
            Secrets::take(file.share().unwrap())
                .unwrap()
                .links
                .is_empty()
        );
        let mut bytes = Vec::new();
        other.rewind().unwrap();
        other.read_to_end(&mut bytes).unwrap();
        assert!(bytes.is_empty());
    }

    #[test]
    fn what_is_no_secret_of_ours_is_refused_and_overwritten_all_the_same() {
        let file = memfd_create(c"other", MFdFlags::MFD_CLOEXEC).unwrap();
        let mut other = File::from(file.try_clone().unwrap());
        other.write_all(&[0xFF; 9000]).unwrap();
        assert!(Secrets::take(file).is_err());
        assert_eq!(other.metadata().unwrap().len(), 0);
    }
}
