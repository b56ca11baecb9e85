//! The acceptor: from a new connection to an answered request. Rich in
//! protocol and short in life, so each connection is an async task.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_uring::net::TcpStream;

use super::arriving::{self, ACCEPT_PAUSE, is_about_the_peer};
use super::asker::via;
use super::asking::Asks;
use super::complaints;
use super::judging::head_limits;
use super::leading::{STEP_BACK, leads};
use super::listener::Listener;
use super::newcomers::HandedOn;
use super::reactor::Reactor;
use super::share::Share;
use super::stream::{READ_BYTES, Shaken, Stream};
use super::traced::Traced;
use crate::config::ProxyHeader;
use crate::hub::metrics::Metrics;
use crate::hub::{Hub, NoVisit, TlsFailure};
use crate::protocol::event_stream::head;
use crate::protocol::http::hosts::Via;
use crate::protocol::http::{HeadReader, Reject, Terms};
use crate::protocol::opening::Opening;
use crate::protocol::proxy;
use crate::ring::{Source, Uring};

/// How long new connections wait while those there hold all descriptors that they may.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// How long somebody may take to ask who comes while the daemon stops.
const STOPPING_TIME: Duration = Duration::from_millis(1000);

/// What the tasks of one core's acceptor share.
pub(super) struct Acceptor {
    pub(super) core: usize,
    pub(super) hub: Arc<Hub>,
    pub(super) reactor: Rc<RefCell<Reactor<Uring>>>,
    /// Makes the reactor take a turn.
    pub(super) nudge: Rc<Notify>,
    /// What its tasks may take between two turns of the reactor.
    pub(super) share: Share,
    pub(super) lingering: Cell<usize>,
    /// Connections that the acceptor still has to answer; each holds a descriptor.
    pub(super) guests: Cell<usize>,
    /// As many as this core's share of the descriptors allows.
    pub(super) guests_max: usize,
    /// The kernel keeps alive who is accepted now.
    pub(super) kept_alive: Cell<bool>,
}

/// What has been done for a connection before the acceptor has had it.
#[derive(Default)]
struct Before {
    /// The kernel sees whether it lives.
    kept_alive: bool,
    /// It is counted, and named, as one in its handshake.
    counted: bool,
    /// Of the time for its handshake.
    spent: Duration,
    /// What it has sent.
    begun: Vec<u8>,
    traced: Traced,
}

/// How connections come in at a listener.
#[derive(Clone, Copy)]
pub(super) struct Door {
    /// TLS is spoken there.
    pub(super) tls: bool,
    /// The server API is served there.
    pub(super) api: bool,
}

/// A connection in its handshake, and its place in the counts.
pub(super) struct Guest {
    hub: Arc<Hub>,
    /// Whose it is; until it is named, the peer as the kernel knows it.
    pub(super) peer: SocketAddr,
    pub(super) named: bool,
    pub(super) via: Via,
    /// Where it has come in.
    pub(super) door: Door,
    /// How it asks, as far as is known.
    pub(super) asks: Asks,
    /// Somebody else has it now, and lets it go in the end.
    adopted: bool,
}

impl Guest {
    /// Settles whose connection it is.
    fn name(&mut self, peer: SocketAddr) -> Result<(), Reject> {
        self.peer = peer;
        let admission = self.hub.admission();
        let named = admission.name(peer.ip(), self.hub.settings());
        self.named = named.is_ok();
        named.inspect_err(|refusal| complaints::of_address(&self.hub, peer, *refusal))?;
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let admission = self.hub.admission();
        match (self.adopted, self.named) {
            (true, _) => {}
            (false, true) => admission.give_up(self.peer.ip()),
            (false, false) => admission.give_up_unnamed(),
        }
    }
}

impl Acceptor {
    /// Accepts until the task is aborted. Other cores accept from a `shared`
    /// listener as well.
    pub(super) async fn accept(
        self: Rc<Self>,
        listener: Source<Rc<Listener>>,
        shared: bool,
        door: Door,
    ) {
        loop {
            while self.guests.get() >= self.guests_max {
                self.metrics().accept_pauses.add(1);
                sleep(FULL_PAUSE).await;
            }
            if shared && leads(&self.hub, self.core, 0) {
                sleep(STEP_BACK).await;
            }
            let accept = |listener: &Rc<Listener>| self.accept_one(&listener.socket);
            match listener.next(accept).await {
                Ok((stream, peer)) => {
                    self.welcome(stream, peer, door);
                    // A way through the ring, so that a burst holds up neither
                    // the requests of those before nor the other cores.
                    tokio_uring::no_op().await.ok();
                }
                Err(error) if is_about_the_peer(&error) => {}
                Err(error) => {
                    complaints::of_accepting(&self.hub, &error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn accept_one(&self, listener: &Socket) -> io::Result<(net::TcpStream, SocketAddr)> {
        arriving::accept(listener, self.hub.settings().unsent_bytes_max)
    }

    /// Answers a connection that has just been accepted, in a task of its own.
    fn welcome(self: &Rc<Self>, stream: net::TcpStream, peer: SocketAddr, door: Door) {
        let before = Before {
            kept_alive: self.kept_alive.get(),
            traced: Traced::begin(&self.hub, self.core, door.tls),
            ..Before::default()
        };
        self.attend_to(stream, peer, door, before);
    }

    /// Answers a connection that has come in through the ring.
    pub(super) fn go_on_with(self: &Rc<Self>, handed_on: HandedOn<OwnedFd>, door: Door) {
        let stream = net::TcpStream::from(handed_on.socket);
        let before = Before {
            kept_alive: handed_on.kept_alive,
            counted: handed_on.counted,
            spent: Duration::from_millis(handed_on.spent_ms),
            begun: handed_on.begun,
            traced: handed_on.traced,
        };
        self.attend_to(stream, handed_on.peer, door, before);
    }

    fn attend_to(
        self: &Rc<Self>,
        stream: net::TcpStream,
        peer: SocketAddr,
        door: Door,
        before: Before,
    ) {
        let stream = Stream::new(TcpStream::from_std(stream), door.tls, before.kept_alive);
        let acceptor = self.clone();
        acceptor.guests.set(acceptor.guests.get() + 1);
        tokio_uring::spawn(async move {
            let work = acceptor.clone().receive(&stream, peer, door, before);
            let wake = || acceptor.hub.mailbox(acceptor.core).wake();
            acceptor.share.of(wake, work).await;
            if let Some(fault) = stream.fault() {
                acceptor.metrics().tls.note_fault(fault);
                tracing::debug!(%peer, reason = fault.name(), "TLS connection ended");
            }
            if stream.is_truncated() {
                acceptor.metrics().tls.truncated.add(1);
            }
            drop(stream);
            acceptor.guests.set(acceptor.guests.get() - 1);
            acceptor.nudge.notify_one();
        });
    }

    /// Accepts all who wait in a listener: closing it would break their connections off, and what
    /// it is told now holds for who comes later. As many as `guests_max` may be there then.
    pub(super) fn take_waiting(self: &Rc<Self>, listener: &Listener, guests_max: usize) {
        let door = self.door_of(listener);
        while self.guests.get() < guests_max {
            match self.accept_one(&listener.socket) {
                Ok((stream, peer)) => self.welcome(stream, peer, door),
                Err(error) if is_about_the_peer(&error) => {}
                // Nobody waits, or nobody more can be had.
                Err(_) => return,
            }
        }
    }

    pub(super) fn door_of(&self, listener: &Listener) -> Door {
        Door {
            tls: listener.tls,
            api: self.serves_api(&listener.socket),
        }
    }

    async fn receive(
        self: Rc<Self>,
        socket: &Stream,
        peer: SocketAddr,
        door: Door,
        before: Before,
    ) {
        let admission = self.hub.admission();
        let traced = before.traced;
        if !before.counted
            && let Err(refusal) = admission.enter(self.hub.settings())
        {
            let asks = Asks::default();
            return self
                .refuse(socket, peer, refusal.into(), asks, traced)
                .await;
        }
        let via = via(self.hub.settings(), peer.ip());
        let mut guest = Guest {
            hub: self.hub.clone(),
            peer,
            named: before.counted,
            via,
            door,
            asks: Asks::default(),
            adopted: false,
        };
        let time = Duration::from_millis(self.hub.settings().handshake_ms_max);
        let mut time = time.saturating_sub(before.spent);
        if self.hub.is_stopping() {
            time = time.min(STOPPING_TIME);
        }
        let read = timeout(time, self.read_request(socket, &mut guest, before.begun)).await;
        let (peer, asks) = (guest.peer, std::mem::take(&mut guest.asks));
        match read.unwrap_or(Err(Reject::Timeout)) {
            // Nothing can be said: hands were not shaken in time.
            Err(Reject::Timeout) if socket.is_mute() => {
                traced.refused(TlsFailure::Timeout.name());
                self.note_tls_failure(peer, TlsFailure::Timeout);
                // Ends a read or write that the time limit has left behind.
                socket.cut();
            }
            // Nor if that has failed; but the alert that told why is to arrive.
            Ok(None) if socket.is_mute() || socket.is_sealed() => {
                traced.refused("tls_failed");
                self.see_off(socket).await;
            }
            // The peer left before it had asked for anything.
            Ok(None) => {}
            // It has had its time to say how it asks.
            Err(Reject::Timeout) => {
                self.refuse(socket, peer, Reject::Timeout, asks.settled(), traced)
                    .await;
            }
            Err(reject) => self.refuse(socket, peer, reject, asks, traced).await,
            // Whatever it is: there is another server by then, or a next one here.
            Ok(Some(_)) if self.hub.is_stopping() => {
                self.refuse(socket, peer, Reject::Draining, asks, traced)
                    .await;
            }
            Ok(Some((Opening::Answer(answer), _))) => {
                traced.answered("page");
                self.metrics().pages.add(1);
                self.answer(socket, answer).await;
            }
            Ok(Some((Opening::WebSocket(upgrade), rest))) => {
                match self.adopt(socket, peer, upgrade, rest).await {
                    Ok(()) => {
                        traced.answered("websocket");
                        guest.adopted = true;
                        admission.shake(peer.ip());
                    }
                    Err(reject) => self.refuse(socket, peer, reject, asks, traced).await,
                }
            }
            Ok(Some((Opening::EventStream(stream), _))) if stream.head_only => {
                traced.answered("page");
                self.metrics().pages.add(1);
                let terms = Terms {
                    head_only: true,
                    now_s: self.hub.unix_s(),
                };
                self.answer(socket, head(&stream, &[], terms).into()).await;
            }
            Ok(Some((Opening::EventStream(stream), rest))) => {
                match self.adopt_stream(socket, peer, stream, rest.len()).await {
                    Ok(()) => {
                        traced.answered("event_stream");
                        guest.adopted = true;
                        admission.shake(peer.ip());
                    }
                    Err(reject) => self.refuse(socket, peer, reject, asks, traced).await,
                }
            }
            Ok(Some((Opening::Api, begun))) => match self.hub.seat_visitor(peer) {
                Ok(seat) => {
                    traced.answered("api");
                    guest.adopted = true;
                    self.hand_on(socket, via, begun, seat);
                }
                Err(NoVisit) => {
                    let reject = Reject::ApiConnectionsMax;
                    self.refuse(socket, peer, reject, asks, traced).await;
                }
            },
        }
    }

    /// Reads one request head that begins with `bytes`, behind a proxy's header if the peer is one that
    /// sends it, and behind the handshake of TLS if there is to be one, and names the guest.
    /// Returns what becomes of it and the bytes behind it (for the server API with it), or
    /// `None` if the peer left.
    async fn read_request(
        &self,
        stream: &Stream,
        guest: &mut Guest,
        mut bytes: Vec<u8>,
    ) -> Result<Option<(Opening, Vec<u8>)>, Reject> {
        let settings = self.hub.settings();
        // Who has been named comes from no proxy that is to name somebody.
        let proxy_header = match guest.named {
            true => ProxyHeader::None,
            false => settings.proxy_header_of(guest.peer.ip()),
        };
        if proxy_header == ProxyHeader::None && !guest.named {
            guest.name(guest.peer)?;
        }
        let mut has_begun = !bytes.is_empty();
        bytes.reserve(READ_BYTES);
        let mut head = HeadReader::default();
        let limits = head_limits(settings);
        // A trusted proxy has begun without the header that it must send. Load balancers
        // check health so.
        let mut bare = false;
        loop {
            let needs_shaking = stream.is_unshaken()
                && (bare || guest.named || proxy_header == ProxyHeader::XForwardedFor);
            if needs_shaking {
                // On the heap, as tasks of handshakes are as large as what they may ever wait
                // for.
                let shake = Box::pin(self.shake(stream, guest.peer, std::mem::take(&mut bytes)));
                match shake.await {
                    Shaken::Over => {}
                    Shaken::Failed => return Ok(None),
                    Shaken::Plain(begun) => {
                        guest.asks = Asks::of(&begun);
                        return Err(Reject::PlainHttp);
                    }
                }
            }
            if !std::mem::take(&mut has_begun) {
                let read;
                (read, bytes) = stream.read(bytes).await;
                if !matches!(read, Ok(1..)) {
                    return Ok(None);
                }
            }
            if proxy_header == ProxyHeader::ProxyProtocol && !guest.named && !bare {
                match proxy::parse(&bytes) {
                    Ok(None) => continue,
                    Ok(Some((source, len))) => {
                        bytes.drain(..len);
                        guest.asks = match stream.is_unshaken() {
                            true => Asks::Unread(bytes.clone()),
                            false => Asks::of(&bytes),
                        };
                        guest.name(source.unwrap_or(guest.peer))?;
                    }
                    Err(proxy::NoHeader) => bare = true,
                }
            }
            if stream.is_unshaken() {
                continue;
            }
            guest.asks = Asks::of(&bytes);
            let parsed = head.parse(&bytes, limits);
            let Some((request, len)) = parsed.map_err(|reject| match bare {
                true => Reject::ProxyHeader,
                false => reject,
            })?
            else {
                continue;
            };
            if proxy_header == ProxyHeader::XForwardedFor {
                let elements = request.elements("x-forwarded-for");
                let trusted = |ip| settings.is_trusted_proxy(ip);
                guest.name(proxy::forwarded_for(elements, guest.peer, trusted))?;
            }
            let opening = self.decide(&request, guest).await?;
            let rest = match opening {
                // It is read again there, from its beginning.
                Opening::Api => bytes,
                _ => bytes.split_off(len),
            };
            return Ok(Some((opening, rest)));
        }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.hub.mailbox(self.core).metrics
    }
}
