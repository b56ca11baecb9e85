//! A token or a key: from a file or the environment, never from the command line, where every
//! user of the machine can read it.

use std::path::PathBuf;
use std::{env, fs};

/// Where a secret is to be had. It is read anew for each connection, as tokens expire and files
/// are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    File(PathBuf),
    /// The name of the variable.
    Variable(&'static str),
}

impl Secret {
    /// The one that the options name, else the environment's, if there is one.
    pub fn find(file: Option<PathBuf>, variable: &'static str) -> Option<Secret> {
        let in_variable = || env::var_os(variable).is_some_and(|value| !value.is_empty());
        match file {
            Some(path) => Some(Secret::File(path)),
            None => in_variable().then_some(Secret::Variable(variable)),
        }
    }

    /// Its trimmed text.
    ///
    /// # Errors
    /// A sentence, which never shows any of it.
    pub fn read(&self) -> Result<String, String> {
        let (text, place) = match self {
            Secret::File(path) => {
                let place = path.display().to_string();
                let text = fs::read_to_string(path)
                    .map_err(|error| format!("cannot read {place}: {error}"))?;
                (text, place)
            }
            Secret::Variable(name) => {
                let text = env::var(name);
                let text = text.map_err(|_| format!("{name} holds no text"))?;
                (text, (*name).to_owned())
            }
        };
        let text = text.trim();
        let is_sendable = |byte: u8| (b'!'..=b'~').contains(&byte);
        match text.bytes().all(is_sendable) && !text.is_empty() {
            true => Ok(text.to_owned()),
            false => Err(format!("{place} holds no secret: one word of ASCII")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_trimmed_text_of_its_file_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let secret = Secret::find(Some(path.clone()), "NO_SUCH_VARIABLE").unwrap();
        assert!(secret.read().unwrap_err().starts_with("cannot read "));
        fs::write(&path, " abc.def\n").unwrap();
        assert_eq!(secret.read().unwrap(), "abc.def");
        for bad in ["", "\n", "hidden words"] {
            fs::write(&path, bad).unwrap();
            let error = secret.read().unwrap_err();
            assert!(error.contains("holds no secret") && !error.contains("hidden"));
        }
    }

    #[test]
    fn without_a_file_the_environment_is_asked() {
        assert_eq!(Secret::find(None, "NO_SUCH_VARIABLE"), None);
        // Every test is run with one.
        assert_eq!(Secret::find(None, "PATH"), Some(Secret::Variable("PATH")));
    }
}
