//! The sockets that a core accepts from.

use std::os::fd::{AsFd, BorrowedFd};

use socket2::Socket;

/// A listening socket.
pub struct Listener {
    pub socket: Socket,
    /// Other cores accept from it as well.
    pub shared: bool,
    /// TLS is spoken there.
    pub tls: bool,
    /// The service manager has passed it and keeps it.
    pub activated: bool,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One for each address.
pub type Listeners = Vec<Listener>;
