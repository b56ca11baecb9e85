//! The thread of the listeners beside the public ones: it accepts connections, takes visitors
//! from the public ones, and has limits of time and number so that a slow or hostile client
//! holds up nobody.
//!
//! Requests are answered by `routes`. Started by `server`, stopped by `service`.

use std::future::poll_fn;
use std::io::{self, Cursor};
use std::net;
use std::os::unix;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, join};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::body::BODY_TIME;
use super::cork::{Uncork, cork};
use super::guard::{Guard, Watch};
use super::routes::{self, Watchers};
use super::sealed::Sealed;
use super::wish::WITHIN_MS_MAX;
use crate::bind::SocketFile;
use crate::config::PUBLISH_WAIT_MS_MAX;
use crate::hub::{Hub, Tls, TlsFailure, Visitor};

/// Connections served at a time on one address; the next ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// A request head that is not whole by then ends the connection, and so does
/// silence between two requests.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Hyper's buffer for a head, and for what is read of a body at a time.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A connection that has lived for so long is asked to end after its request.
const LIFE: Duration = Duration::from_secs(60);
/// How long that request may take. When it has not ended by then, its peer does not read,
/// and is cut.
const LAST_REQUEST: Duration = Duration::from_secs(185);
/// The same when the daemon stops.
const FAREWELL: Duration = Duration::from_secs(1);
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

// A request may be read for so long, wait for cores, for room, and for subscribers.
const _: () = assert!(
    BODY_TIME.as_millis() as u64 + PUBLISH_WAIT_MS_MAX + 2 * WITHIN_MS_MAX
        < LAST_REQUEST.as_millis() as u64
);

/// A serving admin listener.
#[derive(Debug)]
pub struct Server {
    /// Dropped, it ends the thread.
    alive: watch::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Lets the requests under way be answered and ends.
    pub fn stop(self) {
        drop(self.alive);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the admin listener has panicked");
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(net::TcpListener),
    Unix(unix::net::UnixListener, SocketFile),
}

/// Who asks the server API on public listeners, and who may: in the clear and over TLS.
type Visiting = (UnboundedReceiver<Visitor>, [Guard; 2]);

/// Serves from now on.
///
/// # Errors
/// A sentence, when the thread cannot be had.
pub(super) fn start(
    hub: Arc<Hub>,
    served: Vec<(Bound, Guard)>,
    visiting: Visiting,
) -> Result<Server, String> {
    let (alive, stopping) = watch::channel(());
    let thread = thread::Builder::new()
        .name("admin".into())
        .spawn(move || {
            if let Err(error) = run(served, visiting, &hub, &stopping) {
                tracing::error!(%error, "the admin listener has failed");
            }
        })
        .map_err(|error| format!("cannot start the thread of the admin listener: {error}"))?;
    Ok(Server { alive, thread })
}

fn run(
    served: Vec<(Bound, Guard)>,
    (visitors, guards): Visiting,
    hub: &Arc<Hub>,
    stopping: &watch::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let watchers = Watchers::new(hub);
    LocalSet::new().block_on(&runtime, async {
        let mut serving = JoinSet::new();
        let routes = |guard| {
            let hub = hub.clone();
            routes::router(watchers.clone(), Watch { guard, hub })
        };
        let (all, guards) = (hub.clone(), guards.map(routes));
        serving.spawn_local(serve_visitors(all, visitors, guards, stopping.clone()));
        for (socket, guard) in served {
            let over_tls = guard.is_over_tls();
            let routes = routes(guard);
            let (hub, stopping) = (hub.clone(), stopping.clone());
            match socket {
                Bound::Tcp(listener) => {
                    listener.set_nonblocking(true)?;
                    let listener = TcpListener::from_std(listener)?;
                    serving.spawn_local(async move {
                        let accept = async || listener.accept().await.map(|(stream, _)| stream);
                        serve(accept, hub, routes, stopping, over_tls).await;
                    });
                }
                Bound::Unix(listener, file) => {
                    listener.set_nonblocking(true)?;
                    let listener = UnixListener::from_std(listener)?;
                    serving.spawn_local(async move {
                        let accept = async || listener.accept().await.map(|(stream, _)| stream);
                        serve(accept, hub, routes, stopping, false).await;
                        drop(file);
                    });
                }
            }
        }
        serving.join_all().await;
        Ok(())
    })
}

async fn serve<S>(
    accept: impl AsyncFn() -> io::Result<S>,
    hub: Arc<Hub>,
    routes: Router,
    mut stopping: watch::Receiver<()>,
    over_tls: bool,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut parted = hub.parted();
    loop {
        // The socket is a successor's too: it serves those who come now.
        tokio::select! {
            _ = parted.wait_for(|parted| !parted) => {}
            _ = stopping.changed() => break,
        }
        let Ok(seat) = room.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            biased;
            _ = parted.changed() => continue,
            accepted = accept() => accepted,
            _ = stopping.changed() => break,
        };
        match accepted {
            Ok(stream) => {
                let (routes, stopping) = (routes.clone(), stopping.clone());
                let hub = hub.clone();
                tokio::spawn(async move {
                    if !over_tls {
                        serve_connection(stream, false, routes, stopping).await;
                    } else if let Some(stream) = shake(stream, hub.tls()).await {
                        serve_connection(stream, false, routes, stopping).await;
                    }
                    drop(seat);
                });
            }
            Err(error) => {
                let line = &hub.complaints().admin_accepting;
                if let Some(held_back) = line.admit(hub.now_ms()) {
                    tracing::warn!(%error, held_back, "cannot accept admin connections at the moment");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Those still being answered have been asked to end as well.
    let _ = timeout(2 * FAREWELL, room.acquire_many(CONNECTIONS_MAX as u32)).await;
}

/// The handshake of TLS, by rustls alone: nobody waits for these, and they are few.
async fn shake<S>(stream: S, tls: &Tls) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let shaken = match tls.served() {
        None => Err(TlsFailure::Internal),
        Some(served) => {
            let acceptor = TlsAcceptor::from(served.config());
            let shaken = timeout(HEAD_TIME, acceptor.accept(stream)).await;
            let shaken = shaken.map(|shaken| shaken.map_err(|error| TlsFailure::from(&error)));
            shaken.unwrap_or(Err(TlsFailure::Timeout))
        }
    };
    match shaken {
        Ok(stream) => {
            let (_, conn) = stream.get_ref();
            let (version, kind) = (conn.protocol_version(), conn.handshake_kind());
            tls.counts().note_handshake(version, kind);
            Some(stream)
        }
        Err(failure) => {
            tls.counts().note_failure(failure);
            let reason = failure.name();
            tracing::debug!(reason, "TLS handshake of an admin connection failed");
            None
        }
    }
}

/// Visitors are bounded where they are seated. Those that come over TLS have routes of their
/// own.
async fn serve_visitors(
    hub: Arc<Hub>,
    mut visitors: UnboundedReceiver<Visitor>,
    [routes, tls_routes]: [Router; 2],
    mut stopping: watch::Receiver<()>,
) {
    let mut all = JoinSet::new();
    loop {
        let visitor = tokio::select! {
            visitor = visitors.recv() => visitor,
            // Keeps the set from growing with those who have left.
            Some(_) = all.join_next() => continue,
            _ = stopping.changed() => break,
        };
        let Some(Visitor {
            stream,
            tls,
            begun,
            once,
            seat,
        }) = visitor
        else {
            break;
        };
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                let stopping = stopping.clone();
                match tls {
                    None => {
                        let routes = routes.clone();
                        all.spawn(async move {
                            let (rest, answers) = stream.into_split();
                            let stream = join(Cursor::new(begun).chain(rest), answers);
                            serve_connection(stream, once, routes, stopping).await;
                            drop(seat);
                        });
                    }
                    Some(session) => {
                        let (routes, hub) = (tls_routes.clone(), hub.clone());
                        all.spawn(async move {
                            let stream = Sealed::new(stream, session, hub).behind(begun);
                            serve_connection(stream, once, routes, stopping).await;
                            drop(seat);
                        });
                    }
                }
            }
            Err(error) => tracing::error!(%error, "cannot serve a connection to the server API"),
        }
    }
    let _ = timeout(2 * FAREWELL, all.join_all()).await;
}

/// With `once` the connection ends with the first answer.
async fn serve_connection<S>(
    stream: S,
    once: bool,
    routes: Router,
    mut stopping: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, uncork) = cork(stream);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(!once)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    tokio::select! {
        () = poll_fn(|context| work(connection.as_mut(), &uncork, context)) => return,
        _ = stopping.changed() => {}
        () = sleep(LIFE) => {
            connection.as_mut().graceful_shutdown();
            let last = poll_fn(|context| work(connection.as_mut(), &uncork, context));
            tokio::select! {
                _ = timeout(LAST_REQUEST, last) => return,
                _ = stopping.changed() => {}
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    let last = poll_fn(|context| work(connection.as_mut(), &uncork, context));
    let _ = timeout(FAREWELL, last).await;
}

/// Ready once a connection has ended. What a peer does to its own connection is its own affair,
/// and so is how that ends.
fn work<S: AsyncWrite + Unpin>(
    connection: Pin<&mut impl Future>,
    uncork: &Uncork<S>,
    context: &mut Context<'_>,
) -> Poll<()> {
    let ended = connection.poll(context).is_ready();
    let broken = matches!(uncork.poll(context), Poll::Ready(Err(_)));
    match ended || broken {
        true => Poll::Ready(()),
        false => Poll::Pending,
    }
}
