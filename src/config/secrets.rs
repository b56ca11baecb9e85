//! The files of secrets that requests bear. Those of the keys for tokens are in `keys`.

use std::fs;
use std::path::Path;

use super::Settings;
use super::fault::{ConfigError, Fault};

impl Settings {
    /// The token that admin requests must bear, read from `admin_token_file`.
    pub fn admin_token(&self) -> Result<Option<String>, ConfigError> {
        self.admin_token_file.as_deref().map(token_in).transpose()
    }

    /// The files of secrets that are named, each with its key.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("admin_token_file", &self.admin_token_file),
            ("api_key_file", &self.api_key_file),
        ];
        files
            .into_iter()
            .filter_map(|(key, file)| Some((key, file.as_deref()?)))
    }
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
