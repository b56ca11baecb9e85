//! How a peer asks that is refused before its head was read.

use crate::protocol::http::wants_head_only;

/// How a request asks, as far as it has been read: an answer to `HEAD` has no body.
#[derive(Debug)]
pub(super) enum Asks {
    WithHead(bool),
    /// What has come does not tell yet.
    Unread(Vec<u8>),
}

impl Default for Asks {
    fn default() -> Self {
        Asks::Unread(Vec::new())
    }
}

impl Asks {
    /// What the first bytes of a request tell.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match wants_head_only(bytes) {
            Some(head_only) => Asks::WithHead(head_only),
            None => Asks::Unread(bytes.to_vec()),
        }
    }

    /// Nothing more is read to find out.
    pub(super) fn settled(self) -> Self {
        match self {
            Asks::Unread(_) => Asks::WithHead(false),
            known => known,
        }
    }
}
