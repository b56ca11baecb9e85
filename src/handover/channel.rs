//! The socket between a daemon and its successor: short messages, some with
//! files.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

use crate::ring::passing;

/// A message and the files that came along.
pub(super) type Received = (Message, Vec<OwnedFd>);

/// Longer than any message; state goes in a file.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// From the predecessor; so many listening sockets follow.
    Hello {
        version: u32,
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
    /// A file with keys comes along, last.
    Secrets,
    /// From the successor: it has everything.
    Done,
    /// From the successor: it cannot, and why.
    Failed(String),
    /// The predecessor has let go.
    Go,
    /// From the predecessor, behind the sockets of `Hello`: so many listening sockets follow
    /// on which TLS is spoken.
    Tls {
        listeners: u32,
        /// The service manager opened them.
        activated: bool,
    },
}

/// How often somebody who waits looks whether the whole is called off.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

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
    pub(super) fn receive(&self, time: Duration) -> Result<Option<Received>, String> {
        self.receive_unless(time, &|| false)
    }

    /// The same, unless `called_off` says meanwhile that nobody wants it any more.
    pub(super) fn receive_unless(
        &self,
        time: Duration,
        called_off: &dyn Fn() -> bool,
    ) -> Result<Option<Received>, String> {
        let end = Instant::now() + time;
        let slice = LOOK_INTERVAL.min(time);
        let limit = TimeVal::new(slice.as_secs() as i64, i64::from(slice.subsec_micros()));
        setsockopt(&self.0, ReceiveTimeout, &limit).map_err(|error| error.to_string())?;
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let (len, files) = loop {
            if called_off() {
                return Err("the handover is called off".into());
            }
            match passing::receive(self.0.as_fd(), &mut bytes) {
                Ok(received) => break received,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(format!("cannot receive: {error}"));
                }
                Err(_) if Instant::now() >= end => {
                    return Err("the other process takes too long".into());
                }
                Err(_) => {}
            }
        };
        if len == 0 {
            return Ok(None);
        }
        let message = postcard::from_bytes(&bytes[..len])
            .map_err(|error| format!("a message is damaged: {error}"))?;
        Ok(Some((message, files)))
    }
}
