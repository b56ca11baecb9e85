//! How a command ends, and what the shell is told of it.

use std::process::ExitCode;

/// Why a command has ended. The words are for people, the code for scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As it was asked for: so many messages, all that was to be published, a signal, or nobody
    /// reads any more.
    Done,
    /// The server has refused it for good.
    Refused(String),
    /// What was given makes no sense.
    Usage(String),
    /// The server is not reached, or not any more.
    Unreachable(String),
    /// Standard input cannot be read, or standard output not be written to.
    Broken(String),
}

impl End {
    /// As documented in `docs/shell.md`.
    pub fn code(&self) -> u8 {
        match self {
            End::Done => 0,
            End::Refused(_) => 1,
            End::Usage(_) => 2,
            End::Unreachable(_) => 3,
            End::Broken(_) => 4,
        }
    }

    /// What went wrong.
    pub fn sentence(&self) -> Option<&str> {
        match self {
            End::Done => None,
            End::Refused(sentence)
            | End::Usage(sentence)
            | End::Unreachable(sentence)
            | End::Broken(sentence) => Some(sentence),
        }
    }
}

impl From<End> for ExitCode {
    fn from(end: End) -> ExitCode {
        ExitCode::from(end.code())
    }
}
