//! The public listening sockets on their way from one process to the next.

use std::os::fd::OwnedFd;

/// Public listening sockets of one kind.
#[derive(Default)]
pub struct Sockets {
    pub files: Vec<OwnedFd>,
    /// The service manager opened them.
    pub activated: bool,
}

/// All public listening sockets.
#[derive(Default)]
pub struct Public {
    pub plain: Sockets,
    /// Those on which TLS is spoken.
    pub tls: Sockets,
}

impl Sockets {
    /// Those that the service manager does not keep by itself.
    pub(super) fn own(&self) -> &[OwnedFd] {
        match self.activated {
            true => &[],
            false => &self.files,
        }
    }
}
