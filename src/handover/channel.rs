//! The socket between a daemon and its successor: short messages, some with
//! files.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

use crate::ring::passing;

/// Longer than any message; state goes in a file.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// From the predecessor; so many listening sockets follow.
    Hello {
        version: u32,
        addresses: Vec<SocketAddr>,
        listeners: u32,
        /// The service manager opened them.
        activated: bool,
    },
    /// The sockets beside the public ones come along.
    Admin,
    /// From the successor: its process id.
    Here(i32),
    /// From the successor: it could serve.
    Ready,
    /// So many files with the memory of the logs come along.
    Logs(u32),
    /// A file with the state comes along, after all of the former.
    State,
    /// So many sockets come along.
    Sockets(u32),
    /// From the successor: it has everything.
    Done,
    /// From the successor: it cannot, and why.
    Failed(String),
    /// The predecessor has let go.
    Go,
}

/// One end.
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// Both ends; neither is inherited as it is.
    pub(super) fn pair() -> io::Result<(Channel, OwnedFd)> {
        let (family, flags) = (AddressFamily::Unix, SockFlag::SOCK_CLOEXEC);
        let (here, there) = socketpair(family, SockType::SeqPacket, None, flags)?;
        Ok((Channel(here), there))
    }

    pub(super) fn new(socket: OwnedFd) -> Channel {
        Channel(socket)
    }

    pub(super) fn send(&self, message: &Message, files: &[OwnedFd]) -> Result<(), String> {
        let bytes = postcard::to_stdvec(message).map_err(|error| error.to_string())?;
        passing::send(self.0.as_fd(), &bytes, files)
            .map_err(|error| format!("the other process is gone: {error}"))
    }

    /// The next message, `None` at the end, within `time`.
    pub(super) fn receive(
        &self,
        time: Duration,
    ) -> Result<Option<(Message, Vec<OwnedFd>)>, String> {
        let limit = TimeVal::new(time.as_secs() as i64, i64::from(time.subsec_micros()));
        setsockopt(&self.0, ReceiveTimeout, &limit).map_err(|error| error.to_string())?;
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let received = passing::receive(self.0.as_fd(), &mut bytes);
        let (len, files) = received.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => "the other process takes too long".to_owned(),
            _ => format!("cannot receive: {error}"),
        })?;
        if len == 0 {
            return Ok(None);
        }
        let message = postcard::from_bytes(&bytes[..len])
            .map_err(|error| format!("a message is damaged: {error}"))?;
        Ok(Some((message, files)))
    }
}
