//! A listening socket as one core has it: its own (`SO_REUSEPORT`), or one that
//! all cores share because the service manager has passed it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::Socket;
use tokio::time::sleep;

use crate::hub::Hub;
use crate::ring::Wake;

/// Connections that a core may have over its even share of a shared socket's
/// before it leaves the next ones to others; an eighth of the share besides.
const LEAD_MAX: u64 = 16;
/// How long it leaves them to others. Then it takes one: the others may be busy.
const STEP_BACK: Duration = Duration::from_millis(2);

/// One listening socket for each address.
pub type Listeners = Vec<Listener>;

/// A listening socket, for one core to accept from.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// Other cores accept from it as well.
    shared: bool,
}

impl Listener {
    /// # Errors
    /// When the socket cannot be told not to block.
    pub fn new(socket: Socket, shared: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Listener { socket, shared })
    }

    /// Other cores accept from it as well.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Starts to wait for connections, in the runtime of the calling thread.
    pub(super) fn open(self) -> io::Result<Door> {
        let wake = Wake::watch(self.socket.as_fd())?;
        Ok(Door {
            listener: self,
            wake,
        })
    }
}

/// A listener that is waited at.
///
/// It waits for readiness and then accepts, rather than leaving an accept with
/// the kernel: so to stop accepting needs no word to the socket, which lives on
/// where it was passed, and who comes then waits in it for the next process.
pub(super) struct Door {
    listener: Listener,
    wake: Wake,
}

impl Door {
    /// The next connection. Nothing is lost when this is dropped.
    ///
    /// # Errors
    /// Those of accept(2) but for having to wait.
    pub(super) async fn accept(
        &mut self,
        core: usize,
        hub: &Hub,
    ) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            if self.listener.shared && leads(core, hub) {
                sleep(STEP_BACK).await;
            }
            match self.listener.socket.accept() {
                Ok((socket, peer)) => {
                    let peer = peer.as_socket().ok_or(io::ErrorKind::Unsupported)?;
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    return Ok((socket.into(), peer));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake.wait().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a core has clearly more connections than the others on average.
fn leads(core: usize, hub: &Hub) -> bool {
    let held = |core: usize| hub.mailbox(core).metrics.connections.get();
    let cores = hub.mailboxes().len();
    let share = (0..cores).map(held).sum::<u64>() / cores as u64;
    held(core) > share + share / 8 + LEAD_MAX
}
