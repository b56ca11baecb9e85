//! The acceptor: from a new connection to an answered request. Rich in
//! protocol and short in life, so each connection is an async task.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

use super::metrics::Metrics;
use super::reactor::{Arrival, Reactor};
use crate::config::Deflate;
use crate::hub::{Hub, Refusal};
use crate::page;
use crate::protocol::http::{
    HeadReader, Reject, Request, Upgrade, get_response, is_upgrade, negotiate, response,
};
use crate::protocol::topic::TopicName;
use crate::protocol::ws::deflate;
use crate::ring::{Source, Uring};

/// How long a peer that has been refused may go on sending: closing on unread
/// bytes would make the kernel take the answer back.
const LINGER: Duration = Duration::from_millis(1000);
/// Refused peers that are waited for at a time. Beyond: they are just closed.
const LINGERING_MAX: usize = 512;
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The first read of a head; nearly all heads fit.
const READ_BYTES: usize = 1024;

/// What the tasks of one core's acceptor share.
pub(super) struct Acceptor {
    pub(super) core: usize,
    pub(super) hub: Arc<Hub>,
    pub(super) reactor: Rc<RefCell<Reactor<Uring>>>,
    /// Makes the reactor take a turn.
    pub(super) nudge: Rc<Notify>,
    pub(super) lingering: std::cell::Cell<usize>,
}

/// Counts a connection while it is in its handshake.
struct Admitted {
    hub: Arc<Hub>,
    ip: IpAddr,
    /// The reactor has it now, and lets it go in the end.
    adopted: bool,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.hub.admission().shake();
        if !self.adopted {
            self.hub.admission().leave(self.ip);
        }
    }
}

/// What a request head asks for.
enum Wanted {
    Upgrade(Upgrade),
    Answer(Bytes),
}

impl Acceptor {
    /// Accepts until the listener is shut down.
    pub(super) async fn accept(self: Rc<Self>, listener: Source<TcpListener>) {
        loop {
            match listener.next(TcpListener::accept).await {
                Ok((stream, peer)) => {
                    let stream = TcpStream::from_std(stream);
                    tokio_uring::spawn(self.clone().receive(stream, peer));
                }
                Err(_) if self.hub.is_stopping() => return,
                Err(error) if is_about_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections at the moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn receive(self: Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        if let Err(refusal) = self.hub.admission().enter(peer.ip()) {
            let reject = match refusal {
                Refusal::Connections => Reject::ConnectionsMax,
                Refusal::Address => Reject::AddressConnectionsMax,
                Refusal::Handshakes => Reject::HandshakesMax,
            };
            return self.refuse(stream, peer, reject).await;
        }
        let mut admitted = Admitted {
            hub: self.hub.clone(),
            ip: peer.ip(),
            adopted: false,
        };
        let time = Duration::from_millis(self.hub.settings().handshake_ms_max);
        let read = timeout(time, self.read_request(&stream)).await;
        match read.unwrap_or(Some(Err(Reject::Timeout))) {
            // The peer left before it had asked for anything.
            None => {}
            Some(Err(reject)) => self.refuse(stream, peer, reject).await,
            Some(Ok((Wanted::Answer(answer), _))) => {
                self.metrics().pages.add(1);
                self.answer(stream, answer).await;
            }
            Some(Ok((Wanted::Upgrade(upgrade), rest))) => {
                match self.adopt(&stream, peer, upgrade, rest) {
                    Ok(()) => admitted.adopted = true,
                    Err(reject) => self.refuse(stream, peer, reject).await,
                }
            }
        }
    }

    fn adopt(
        &self,
        stream: &TcpStream,
        peer: SocketAddr,
        upgrade: Upgrade,
        rest: Vec<u8>,
    ) -> Result<(), Reject> {
        if self.hub.is_stopping() {
            return Err(Reject::Draining);
        }
        let topic = self.hub.topic(&upgrade.topic);
        let arrival = Arrival {
            peer,
            topic: topic.map_err(|_| Reject::TopicsMax)?,
            upgrade,
            rest,
        };
        self.reactor.borrow_mut().adopt(stream, arrival)?;
        self.nudge.notify_one();
        Ok(())
    }

    /// Reads one request head. Returns what it asks for and the bytes behind
    /// it, or `None` if the peer left.
    async fn read_request(&self, stream: &TcpStream) -> Option<Result<(Wanted, Vec<u8>), Reject>> {
        let head_bytes_max = self.hub.settings().head_bytes_max;
        let mut bytes = Vec::with_capacity(READ_BYTES);
        let mut head = HeadReader::default();
        loop {
            if bytes.len() == bytes.capacity() {
                bytes.reserve(bytes.len());
            }
            let had = bytes.len();
            let (read, slice) = stream.read(bytes.slice(had..)).await;
            bytes = slice.into_inner();
            if !matches!(read, Ok(1..)) {
                return None;
            }
            let routed = match head.parse(&bytes, head_bytes_max) {
                Ok(None) => continue,
                Ok(Some((request, len))) => self.route(&request).map(|wanted| (wanted, len)),
                Err(reject) => Err(reject),
            };
            return Some(routed.map(|(wanted, len)| (wanted, bytes.split_off(len))));
        }
    }

    fn route(&self, request: &Request<'_>) -> Result<Wanted, Reject> {
        if is_upgrade(request) {
            let spoken = self.hub.settings().deflate;
            let deflate = (spoken != Deflate::Off).then_some(deflate::Policy {
                client_takeover: spoken == Deflate::Takeover,
            });
            return negotiate(request, self.hub.origins(), deflate).map(Wanted::Upgrade);
        }
        let head_only = request.is_head();
        if let Some(asset) = page::find(request.path()) {
            let mut headers = page::HEADERS.to_vec();
            headers.push(("ETag", asset.etag.as_str()));
            let answer = get_response(asset.content_type, asset.body, &headers, head_only);
            return Ok(Wanted::Answer(answer));
        }
        if request.path() == "/healthz" {
            let headers = [("Cache-Control", "no-store")];
            let answer = get_response("text/plain; charset=utf-8", b"ok\n", &headers, head_only);
            return Ok(Wanted::Answer(answer));
        }
        match TopicName::from_path(request.path()) {
            // A topic is there for WebSocket only.
            Ok(_) => Err(Reject::NoUpgrade),
            Err(_) => Err(Reject::NotFound),
        }
    }

    async fn refuse(&self, stream: TcpStream, peer: SocketAddr, reject: Reject) {
        self.metrics().note_reject(reject);
        tracing::debug!(%peer, reason = reject.name(), "request refused");
        let retry_after_s = self.hub.settings().retry_after_s as u32;
        self.answer(stream, response(reject, retry_after_s)).await;
    }

    /// Sends a whole answer and parts from the peer so that it arrives.
    async fn answer(&self, stream: TcpStream, answer: Bytes) {
        if self.lingering.get() < LINGERING_MAX {
            self.lingering.set(self.lingering.get() + 1);
            // A peer that takes neither the answer nor the hint is cut off.
            let _ = timeout(LINGER, send_and_linger(&stream, answer)).await;
            self.lingering.set(self.lingering.get() - 1);
        }
        // Ends a read or write that the time limit has left behind.
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn metrics(&self) -> &Metrics {
        &self.hub.mailbox(self.core).metrics
    }
}

async fn send_and_linger(stream: &TcpStream, answer: Bytes) -> io::Result<()> {
    let (sent, _) = stream.write_all(answer).await;
    sent?;
    stream.shutdown(Shutdown::Write)?;
    let mut scrap = Vec::with_capacity(READ_BYTES);
    loop {
        let (read, buffer) = stream.read(scrap).await;
        scrap = buffer;
        if read? == 0 {
            return Ok(());
        }
    }
}

/// A connection that failed before it was accepted (accept(2), "Error
/// handling"); the listener is none the worse.
fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::Interrupted
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
    )
}
