//! A daemon with a key for tokens and a settings file of its own.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::common::{Daemon, command};
use crate::tokens::SECRET;

pub(crate) struct World {
    pub(crate) daemon: Daemon,
    pub(crate) folder: TempDir,
}

impl World {
    /// With these settings beside the key.
    pub(crate) fn new(settings: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), SECRET).unwrap();
        let path = write(&folder, settings);
        let mut start = command(&[]);
        start.arg("--config").arg(path);
        World {
            daemon: Daemon::start_as(start),
            folder,
        }
    }

    pub(crate) fn reload(&self, settings: &str) {
        self.rewrite(settings);
        self.daemon.signal(Signal::SIGHUP);
    }

    /// Changes the settings of the next process alone.
    pub(crate) fn rewrite(&self, settings: &str) {
        write(&self.folder, settings);
    }
}

fn write(folder: &TempDir, settings: &str) -> PathBuf {
    let path = folder.path().join("fanfare.toml");
    let key = folder.path().join("secret");
    let text = format!("token_keys = \"HS256:{}\"\n{settings}", key.display());
    fs::write(&path, text).unwrap();
    path
}
