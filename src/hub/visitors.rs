//! Connections that ask the server API on a public listener: a core reads the first head
//! of each, and hands it on to the thread that serves the API everywhere.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Hub;
use crate::protocol::tls::Session;

/// A connection on its way to the server API, or there.
pub struct Visitor {
    /// It may be a Unix socket.
    pub stream: TcpStream,
    /// What records are opened and sealed with, where it has come over TLS.
    pub tls: Option<Box<Session>>,
    /// What has been read of it, from its first head on.
    pub begun: Vec<u8>,
    /// It ends with the first answer: a proxy may have it for many clients, and send the next
    /// one's WebSocket over it.
    pub once: bool,
    pub seat: VisitorSeat,
}

/// A visitor's place in the counts, for as long as it is connected.
pub struct VisitorSeat {
    hub: Arc<Hub>,
    ip: IpAddr,
}

impl Drop for VisitorSeat {
    fn drop(&mut self) {
        self.hub.admission().leave(self.ip);
        self.hub.visitors.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way to the server API. Bounded by the count of those who are on it or there.
#[derive(Default)]
pub(super) struct Visitors {
    way: OnceLock<UnboundedSender<Visitor>>,
    count: AtomicUsize,
}

/// As many connections ask the server API as may, or nobody answers there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoVisit;

impl Hub {
    /// Where the visitors come out, for the one who serves them.
    pub fn await_visitors(&self) -> UnboundedReceiver<Visitor> {
        let (way, end) = unbounded_channel();
        let set = self.visitors.way.set(way).is_ok();
        assert!(set, "one thread serves the API");
        end
    }

    /// Counts one more that asks the server API: a connection whose handshake is over, of `peer`.
    ///
    /// # Errors
    /// When there are `api_connections_max`; nothing is counted then.
    pub fn seat_visitor(self: &Arc<Self>, peer: SocketAddr) -> Result<VisitorSeat, NoVisit> {
        let max = self.settings().api_connections_max;
        let more = |count: usize| (count < max).then_some(count + 1);
        let count = &self.visitors.count;
        let taken = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|_| NoVisit)?;
        self.admission().shake(peer.ip());
        Ok(VisitorSeat {
            hub: self.clone(),
            ip: peer.ip(),
        })
    }

    /// Sends a visitor on its way. Where nobody serves the API any more, it is let go.
    pub fn send_visitor(&self, visitor: Visitor) {
        if let Some(way) = self.visitors.way.get() {
            // It fails only while the daemon ends.
            let _ = way.send(visitor);
        }
    }

    /// How many ask the server API on public listeners.
    pub fn visitors(&self) -> usize {
        self.visitors.count.load(Ordering::Relaxed)
    }
}
