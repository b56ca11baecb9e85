//! A secret that requests must bear, as its file has it at the time.

use std::fs;
use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::config;

/// A secret that is read again when its file has changed, so that it can be
/// replaced without a restart.
#[derive(Debug)]
pub(super) struct Token {
    /// As people call it.
    name: &'static str,
    path: PathBuf,
    known: Mutex<Known>,
}

struct Known {
    token: String,
    /// Of the file when it was read last.
    version: Option<Version>,
}

/// Device, inode, size, and the time of the last change in whole seconds and beyond.
type Version = (u64, u64, u64, i64, i64);

impl std::fmt::Debug for Known {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a token")
    }
}

impl Token {
    /// `token` has been read from the file at `path`, and people call it `name`.
    pub(super) fn new(name: &'static str, path: PathBuf, token: String) -> Self {
        let version = version(&path);
        Token {
            name,
            path,
            known: Mutex::new(Known { token, version }),
        }
    }

    /// Whether `given` is the token.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        let mut known = self.known.lock().expect("nothing panics inside the lock");
        let now = version(&self.path);
        if now.is_some() && now != known.version {
            known.version = now;
            match config::token_in(&self.path) {
                Ok(token) => known.token = token,
                Err(error) => tracing::warn!("the {} stays what it was: {error}", self.name),
            }
        }
        same(given, known.token.as_bytes())
    }
}

/// `None` while the file is not there, as when it is just being replaced.
fn version(path: &PathBuf) -> Option<Version> {
    let found = fs::metadata(path).ok()?;
    let (seconds, rest) = (found.mtime(), found.mtime_nsec());
    Some((found.dev(), found.ino(), found.size(), seconds, rest))
}

/// Compares in a time that depends on the lengths only, so that answers tell
/// nothing about how much of a guess was right.
fn same(given: &[u8], token: &[u8]) -> bool {
    let differ = |sum: u8, (a, b): (&u8, &u8)| black_box(sum | (a ^ b));
    given.len() == token.len() && given.iter().zip(token).fold(0, differ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_changes_the_token_and_a_broken_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        // As secrets are replaced: by another file of the name.
        let replace = |text: &str| {
            let new = folder.path().join("new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, &path).unwrap();
        };
        replace("first\n");
        let token = Token::new("admin token", path.clone(), "first".into());
        assert!(token.is(b"first") && !token.is(b"second"));
        replace(" second \n");
        assert!(token.is(b"second") && !token.is(b"first"));
        replace("\n");
        assert!(token.is(b"second") && !token.is(b""));
        fs::remove_file(&path).unwrap();
        assert!(token.is(b"second"));
        replace("third");
        assert!(token.is(b"third"));
    }
}
