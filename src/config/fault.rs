//! One thing that is wrong with the settings, said so that it can be mended.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::file_key;
use crate::protocol::rights::KeyError;

/// Everything that is wrong with the settings, one sentence a line.
#[derive(Debug, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub(super) Vec<Fault>);

impl ConfigError {
    /// A value of one of these settings, or a file that it names, has been refused.
    pub fn is_about(&self, keys: &[&str]) -> bool {
        let refused = self.0.iter().filter_map(Fault::key);
        refused.into_iter().any(|key| keys.contains(&key))
    }
}

/// One thing that is wrong.
#[derive(Debug, Error)]
pub(super) enum Fault {
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{}, line {line}: not valid TOML: {problem}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        problem: String,
    },
    #[error("{}, line {line}: there is no setting {key:?}: {advice}", path.display())]
    Unknown {
        path: PathBuf,
        line: usize,
        key: String,
        advice: String,
    },
    #[error("{}, line {line}: {}: {problem}", path.display(), file_key(key))]
    InFile {
        path: PathBuf,
        line: usize,
        key: &'static str,
        problem: String,
    },
    #[error("--{}: {problem}", key.replace('_', "-"))]
    OnCommandLine { key: &'static str, problem: String },
    #[error("{}, line {line}: {sentence}", path.display())]
    ConflictInFile {
        path: PathBuf,
        line: usize,
        sentence: String,
    },
    #[error("{sentence}")]
    Conflict { sentence: String },
    #[error("the key file {} {problem}", path.display())]
    Key { path: PathBuf, problem: KeyError },
    #[error("the file {} {problem}", path.display())]
    Tls { path: PathBuf, problem: String },
    #[error("the file {}, line {line}: it must be a header, as Name: value", path.display())]
    Header { path: PathBuf, line: usize },
    #[error("the file {} is empty: it must hold a secret", path.display())]
    EmptyToken { path: PathBuf },
}

impl Fault {
    /// The setting whose value has been refused.
    pub(super) fn key(&self) -> Option<&'static str> {
        match self {
            Fault::InFile { key, .. } => Some(key),
            Fault::OnCommandLine { key, .. } => Some(key),
            _ => None,
        }
    }

    pub(super) fn line(&self) -> usize {
        match self {
            Fault::Syntax { line, .. }
            | Fault::Unknown { line, .. }
            | Fault::InFile { line, .. }
            | Fault::ConflictInFile { line, .. } => *line,
            _ => 0,
        }
    }
}
