//! What has become of a proposal.

/// Why a proposal was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was larger than the cluster takes.
    #[error("{0}")]
    TooBig(String),
    /// It was not stored, and another try may do.
    #[error("{0}")]
    NotStored(String),
    /// Nobody knows whether it was stored.
    #[error("{0}")]
    Unknown(String),
}

/// Where the cluster has put a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub offset: u64,
    pub epoch: u64,
    /// It is there since an earlier try.
    pub duplicate: bool,
}

pub type Outcome = Result<Accepted, Failure>;
