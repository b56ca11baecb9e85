//! The files with the keys that tokens are checked with.
//!
//! What a key is is the matter of `protocol::rights`. Called by `load`, which names a file that
//! is not right, and by `service` at the start and with each reload.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Settings;
use super::fault::{ConfigError, Fault};
use super::kind::Kind;
use super::value::{Given, Value, refuse};
use crate::protocol::rights::{Algorithm, Keys};

/// A longer file is none of keys.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file with one or more keys, and the algorithm that it is for where that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    pub algorithm: Option<Algorithm>,
    pub path: PathBuf,
}

impl KeyFile {
    /// Reads `[ALGORITHM:]PATH`.
    pub(super) fn parse(word: &str) -> Option<KeyFile> {
        let named = word
            .split_once(':')
            .and_then(|(name, path)| Some((Algorithm::from_name(name)?, path)));
        let (algorithm, path) = match named {
            Some((algorithm, path)) => (Some(algorithm), path),
            None => (None, word),
        };
        (!path.is_empty()).then(|| KeyFile {
            algorithm,
            path: path.into(),
        })
    }
}

impl Value for Vec<KeyFile> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let file = |word: &str| KeyFile::parse(word).map_or_else(|| refuse(word, kind), Ok);
        given.all().map(file).collect()
    }
}

/// As one writes it in the settings.
impl fmt::Display for KeyFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(algorithm) = self.algorithm {
            write!(out, "{}:", algorithm.name())?;
        }
        write!(out, "{}", self.path.display())
    }
}

impl Settings {
    /// The keys that tokens are checked with, read from `token_keys`.
    ///
    /// # Errors
    /// A sentence for each file that is not right.
    pub fn keys(&self) -> Result<Keys, ConfigError> {
        let (audience, issuer) = (self.token_audience.clone(), self.token_issuer.clone());
        let mut keys = Keys::new(audience, issuer);
        let mut faults = Vec::new();
        for file in &self.token_keys {
            let path = file.path.clone();
            match read(&path) {
                Err(cause) => faults.push(Fault::Unreadable { path, cause }),
                Ok(bytes) => {
                    if let Err(problem) = keys.add(&bytes, file.algorithm) {
                        faults.push(Fault::Key { path, problem });
                    }
                }
            }
        }
        match faults.is_empty() {
            true => Ok(keys),
            false => Err(ConfigError(faults)),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is too long for keys"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_a_path_with_or_without_its_algorithm() {
        for word in ["/a/b.pem", "HS256:/a", "EdDSA:rel/x", "C:/x"] {
            assert_eq!(KeyFile::parse(word).unwrap().to_string(), word);
        }
        let file = KeyFile::parse("HS256:/a").unwrap();
        assert_eq!(file.algorithm, Some(Algorithm::Hs256));
        assert!(KeyFile::parse("HS256:").is_none());
    }

    #[test]
    fn every_key_file_that_is_not_right_is_told_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "only known here").unwrap();
        let file = |algorithm, path: &Path| KeyFile {
            algorithm,
            path: path.into(),
        };
        let mut settings = Settings {
            token_keys: vec![file(None, &secret), file(None, Path::new("/no/such/key"))],
            ..Settings::default()
        };
        let told = settings.keys().unwrap_err().to_string();
        let lines: Vec<_> = told.lines().collect();
        assert!(lines[0].contains("holds a secret, for which the algorithm must be said"));
        assert!(lines[1].starts_with("cannot read /no/such/key"), "{told}");
        assert!(!told.contains("only known"));
        settings.token_keys = vec![file(Some(Algorithm::Hs256), &secret)];
        assert!(!settings.keys().unwrap().is_empty());
    }
}
