//! The acceptor: from a new connection to an answered request. Rich in
//! protocol and short in life, so each connection is an async task.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use socket2::Socket;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

use super::arriving;
use super::reactor::{Arrival, Reactor};
use crate::config::{Deflate, ProxyHeader};
use crate::hub::metrics::Metrics;
use crate::hub::{Hub, Mailbox};
use crate::page;
use crate::protocol::http::{
    HeadReader, Reject, Request, Upgrade, get_response, is_upgrade, negotiate, response,
};
use crate::protocol::proxy;
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
/// How long new connections wait while those there hold all descriptors that they may.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// Connections that a core may have over its even share before it leaves those
/// that wait in a shared listener to others; an eighth of the share besides.
const LEAD_MAX: u64 = 16;
/// How long it leaves them to others. Then it takes one: the others may be busy.
const STEP_BACK: Duration = Duration::from_millis(2);
/// The first read of a head; nearly all heads fit.
const READ_BYTES: usize = 1024;

/// What the tasks of one core's acceptor share.
pub(super) struct Acceptor {
    pub(super) core: usize,
    pub(super) hub: Arc<Hub>,
    pub(super) reactor: Rc<RefCell<Reactor<Uring>>>,
    /// Makes the reactor take a turn.
    pub(super) nudge: Rc<Notify>,
    pub(super) lingering: Cell<usize>,
    /// Connections that the acceptor still has to answer; each holds a descriptor.
    pub(super) guests: Cell<usize>,
    /// As many as this core's share of the descriptors allows.
    pub(super) guests_max: usize,
}

/// A connection in its handshake, and its place in the counts.
struct Guest {
    hub: Arc<Hub>,
    /// Whose it is; until it is named, the peer as the kernel knows it.
    peer: SocketAddr,
    named: bool,
    /// The reactor has it now, and lets it go in the end.
    adopted: bool,
}

impl Guest {
    /// Settles whose connection it is.
    fn name(&mut self, peer: SocketAddr) -> Result<(), Reject> {
        self.peer = peer;
        let admission = self.hub.admission();
        admission.name(peer.ip(), self.hub.settings())?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let admission = self.hub.admission();
        admission.shake();
        match (self.adopted, self.named) {
            (true, _) => {}
            (false, true) => admission.leave(self.peer.ip()),
            (false, false) => admission.leave_unnamed(),
        }
    }
}

/// What a request head asks for.
enum Wanted {
    Upgrade(Upgrade),
    Answer(Bytes),
}

impl Acceptor {
    /// Accepts until the task is aborted. Other cores accept from a `shared`
    /// listener as well.
    pub(super) async fn accept(self: Rc<Self>, listener: Source<Socket>, shared: bool) {
        loop {
            while self.guests.get() >= self.guests_max {
                self.metrics().accept_pauses.add(1);
                sleep(FULL_PAUSE).await;
            }
            if shared && self.leads() {
                sleep(STEP_BACK).await;
            }
            let accept = |listener: &Socket| {
                let unsent_bytes_max = self.hub.settings().unsent_bytes_max;
                arriving::accept(listener, unsent_bytes_max)
            };
            match listener.next(accept).await {
                Ok((stream, peer)) => {
                    let stream = TcpStream::from_std(stream);
                    let acceptor = self.clone();
                    acceptor.guests.set(acceptor.guests.get() + 1);
                    tokio_uring::spawn(async move {
                        acceptor.clone().receive(stream, peer).await;
                        acceptor.guests.set(acceptor.guests.get() - 1);
                        acceptor.nudge.notify_one();
                    });
                    // A way through the ring, so that a burst holds up neither
                    // the requests of those before nor the other cores.
                    tokio_uring::no_op().await.ok();
                }
                Err(error) if is_about_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections at the moment");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Whether this core has clearly more connections than the others on average.
    fn leads(&self) -> bool {
        let cores = self.hub.mailboxes();
        let held = |core: &Mailbox| core.metrics.connections.get();
        let share = cores.iter().map(held).sum::<u64>() / cores.len() as u64;
        held(&cores[self.core]) > share + share / 8 + LEAD_MAX
    }

    async fn receive(self: Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let admission = self.hub.admission();
        if let Err(refusal) = admission.enter(self.hub.settings()) {
            return self.refuse(stream, peer, refusal.into()).await;
        }
        let mut guest = Guest {
            hub: self.hub.clone(),
            peer,
            named: false,
            adopted: false,
        };
        let time = Duration::from_millis(self.hub.settings().handshake_ms_max);
        let read = timeout(time, self.read_request(&stream, &mut guest)).await;
        let peer = guest.peer;
        match read.unwrap_or(Err(Reject::Timeout)) {
            // The peer left before it had asked for anything.
            Ok(None) => {}
            Err(reject) => self.refuse(stream, peer, reject).await,
            Ok(Some((Wanted::Answer(answer), _))) => {
                self.metrics().pages.add(1);
                self.answer(stream, answer).await;
            }
            Ok(Some((Wanted::Upgrade(upgrade), rest))) => {
                match self.adopt(&stream, peer, upgrade, rest) {
                    Ok(()) => guest.adopted = true,
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

    /// Reads one request head, behind a proxy's header if the peer is one that
    /// sends it, and names the guest. Returns what is asked for and the bytes
    /// behind it, or `None` if the peer left.
    async fn read_request(
        &self,
        stream: &TcpStream,
        guest: &mut Guest,
    ) -> Result<Option<(Wanted, Vec<u8>)>, Reject> {
        let settings = self.hub.settings();
        let proxy_header = settings.proxy_header_of(guest.peer.ip());
        if proxy_header == ProxyHeader::None {
            guest.name(guest.peer)?;
        }
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
                return Ok(None);
            }
            if proxy_header == ProxyHeader::ProxyProtocol && !guest.named {
                let Some((source, len)) = proxy::parse(&bytes).map_err(|_| Reject::ProxyHeader)?
                else {
                    continue;
                };
                guest.name(source.unwrap_or(guest.peer))?;
                bytes.drain(..len);
            }
            let Some((request, len)) = head.parse(&bytes, settings.head_bytes_max)? else {
                continue;
            };
            if !guest.named {
                let elements = request.elements("x-forwarded-for");
                let trusted = |ip| settings.is_trusted_proxy(ip);
                guest.name(proxy::forwarded_for(elements, guest.peer, trusted))?;
            }
            let wanted = self.route(&request)?;
            return Ok(Some((wanted, bytes.split_off(len))));
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
