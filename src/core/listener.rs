//! The sockets that a core accepts from.

use socket2::Socket;

/// A listening socket.
pub struct Listener {
    pub socket: Socket,
    /// TLS is spoken there.
    pub tls: bool,
    /// The service manager has passed it and keeps it.
    pub activated: bool,
}

/// One for each address.
pub type Listeners = Vec<Listener>;
