//! The sockets that a core accepts from.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::setsockopt;
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};
use socket2::Socket;

sockopt_impl!(
    /// For how many seconds the kernel keeps who connects and says nothing (tcp(7)).
    DeferAccept,
    Both,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    u32
);

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

impl Listener {
    /// Has the kernel keep who connects over TCP until the first bytes are there, though no longer
    /// than a second, or not.
    ///
    /// # Errors
    /// Those of setting a socket option.
    pub(super) fn defer_accept(&self, defers: bool) -> io::Result<()> {
        Ok(setsockopt(&self.socket, DeferAccept, &u32::from(defers))?)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One for each address.
pub type Listeners = Vec<Listener>;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use nix::sys::socket::getsockopt;

    use super::*;

    #[test]
    fn who_says_nothing_is_kept_by_the_kernel_or_not() {
        let socket = Socket::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let listener = Listener {
            socket,
            shared: false,
            tls: false,
            activated: false,
        };
        for defers in [true, false, true] {
            listener.defer_accept(defers).unwrap();
            let seconds = getsockopt(&listener.socket, DeferAccept).unwrap();
            assert_eq!(seconds, u32::from(defers));
        }
    }
}
