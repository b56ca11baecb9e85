//! How a peer asks, as its refusal is to be: some are refused before their head was read.

use crate::protocol::event_stream::Page;
use crate::protocol::http::wants_head_only;

/// How a request asks, as far as it has been read.
#[derive(Debug)]
pub(super) enum Asks {
    Read {
        /// With `HEAD`: its answer has no body.
        head_only: bool,
        /// By a script of this page, which may read the answer.
        page: Option<Page>,
    },
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
            Some(head_only) => Asks::read(head_only),
            None => Asks::Unread(bytes.to_vec()),
        }
    }

    fn read(head_only: bool) -> Self {
        Asks::Read {
            head_only,
            page: None,
        }
    }

    /// Its head has been read, which names the page.
    pub(super) fn asked_by(&mut self, asking: Option<Page>) {
        if let Asks::Read { page, .. } = self {
            *page = asking;
        }
    }

    /// Nothing more is read to find out.
    pub(super) fn settled(self) -> Self {
        match self {
            Asks::Unread(_) => Asks::read(false),
            known => known,
        }
    }
}
