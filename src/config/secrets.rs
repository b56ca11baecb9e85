//! The files of secrets that requests bear, and those of the cluster. Those of the keys for tokens are in `keys`.

use std::fs;
use std::io;
use std::path::Path;

use super::Settings;
use super::fault::{ConfigError, Fault};

impl Settings {
    /// The token that admin requests must bear, read from `admin_token_file`.
    pub fn admin_token(&self) -> Result<Option<String>, ConfigError> {
        self.admin_token_file.as_deref().map(token_in).transpose()
    }

    /// The other files that must be there, each with its key.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("cluster_credentials_file", &self.cluster_credentials_file),
            ("cluster_nkey_file", &self.cluster_nkey_file),
            ("cluster_ca_file", &self.cluster_ca_file),
            ("cluster_cert_file", &self.cluster_cert_file),
            ("cluster_key_file", &self.cluster_key_file),
        ];
        files
            .into_iter()
            .filter_map(|(key, file)| Some((key, file.as_deref()?)))
    }

    /// The files of secrets that are named, each with its key.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("admin_token_file", &self.admin_token_file),
            ("api_key_file", &self.api_key_file),
            ("cluster_password_file", &self.cluster_password_file),
            ("cluster_token_file", &self.cluster_token_file),
            ("cluster_secret_file", &self.cluster_secret_file),
        ];
        files
            .into_iter()
            .filter_map(|(key, file)| Some((key, file.as_deref()?)))
    }
}

/// Whether the file at `path` can be read and holds something.
pub(super) fn check_readable(path: &Path) -> Result<(), ConfigError> {
    let cause = match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => io::Error::other("it is empty"),
        Ok(_) => return Ok(()),
        Err(cause) => cause,
    };
    let path = path.into();
    Err(ConfigError(vec![Fault::Unreadable { path, cause }]))
}

/// The token, or other secret, in the file at `path`.
pub fn token_in(path: &Path) -> Result<String, ConfigError> {
    let fault = match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Fault::EmptyToken { path: path.into() },
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(cause) => Fault::Unreadable {
            path: path.into(),
            cause,
        },
    };
    Err(ConfigError(vec![fault]))
}
