//! The thread of the admin listener, and the time and number limits that keep a
//! slow or hostile client from holding anything.

use std::net;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::bind::{self, BindError, SocketFile};
use super::guard::Guard;
use super::routes;
use crate::config::{Admin, Settings};
use crate::hub::Hub;

/// Connections served at a time; the next ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// A request head that is not whole by then ends the connection, and so does
/// silence between two requests.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Hyper's buffer for a head, and for what is read of a body at a time.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A connection that has lived for so long is asked to end after its request.
const LIFE: Duration = Duration::from_secs(60);
/// And when it has not ended by then, it is cut: its peer does not read.
const FAREWELL: Duration = Duration::from_secs(1);
/// After an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const _: () = assert!(super::publish::BODY_TIME.as_secs() < LIFE.as_secs());

/// A bound admin listener that does not serve yet.
#[derive(Debug)]
pub struct Listener {
    socket: Bound,
    place: Place,
    guard: Guard,
}

#[derive(Debug)]
enum Bound {
    Tcp(net::TcpListener),
    Unix(unix::net::UnixListener, SocketFile),
}

/// Where the listener is, as one would name it to `curl`.
#[derive(Clone, Debug)]
enum Place {
    Tcp(net::SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => write!(out, "http://{address}/"),
            Place::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl Listener {
    /// Takes the address or socket that the settings name; `None` if the admin
    /// listener is off.
    ///
    /// # Errors
    /// A sentence about the token file or the address.
    pub fn bind(settings: &Settings) -> Result<Option<Self>, String> {
        let token = settings.admin_token().map_err(|error| error.to_string())?;
        let bound = match &settings.admin {
            Admin::Off => return Ok(None),
            Admin::Tcp(address) => bind::tcp(*address).map(|(listener, address)| {
                let place = Place::Tcp(address);
                (Bound::Tcp(listener), place)
            }),
            Admin::Unix(path) => bind::unix(path).map(|(listener, file)| {
                let place = Place::Unix(path.clone());
                (Bound::Unix(listener, file), place)
            }),
        };
        let (socket, place) = bound.map_err(|error: BindError| error.to_string())?;
        let reachable_by_browsers = matches!(place, Place::Tcp(_));
        Ok(Some(Listener {
            socket,
            place,
            guard: Guard::new(token, reachable_by_browsers),
        }))
    }

    /// The same listener, as another process had it; `settings` say of what
    /// kind it is.
    ///
    /// # Errors
    /// A sentence about the token file or the socket.
    pub fn inherit(settings: &Settings, socket: OwnedFd) -> Result<Option<Self>, String> {
        let token = settings.admin_token().map_err(|error| error.to_string())?;
        let (socket, place, reachable_by_browsers) = match &settings.admin {
            Admin::Off => return Ok(None),
            Admin::Tcp(_) => {
                let listener = net::TcpListener::from(socket);
                let address = listener.local_addr().map_err(|error| error.to_string())?;
                (Bound::Tcp(listener), Place::Tcp(address), true)
            }
            Admin::Unix(path) => {
                let listener = unix::net::UnixListener::from(socket);
                let file = bind::inherit(path).map_err(|error| error.to_string())?;
                (
                    Bound::Unix(listener, file),
                    Place::Unix(path.clone()),
                    false,
                )
            }
        };
        Ok(Some(Listener {
            socket,
            place,
            guard: Guard::new(token, reachable_by_browsers),
        }))
    }

    /// A further handle on the socket, for another process.
    ///
    /// # Errors
    /// Those of duplicating a descriptor.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        match &self.socket {
            Bound::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Bound::Unix(listener, _) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Serves from now on.
    ///
    /// # Errors
    /// A sentence, when the thread cannot be had.
    pub fn start(self, hub: Arc<Hub>) -> Result<Server, String> {
        let Listener {
            socket,
            place,
            guard,
        } = self;
        let (alive, stopping) = watch::channel(());
        let routes = routes::router(hub, guard);
        let thread = thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                if let Err(error) = run(socket, routes, stopping) {
                    tracing::error!(%error, "the admin listener has failed");
                }
            })
            .map_err(|error| format!("cannot start the thread of the admin listener: {error}"))?;
        tracing::info!("admin listener on {place}");
        Ok(Server { alive, thread })
    }
}

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

fn run(socket: Bound, routes: Router, stopping: watch::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match socket {
            Bound::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                let accept = async || listener.accept().await.map(|(stream, _)| stream);
                serve(accept, routes, stopping).await;
            }
            Bound::Unix(listener, _file) => {
                let listener = UnixListener::from_std(listener)?;
                let accept = async || listener.accept().await.map(|(stream, _)| stream);
                serve(accept, routes, stopping).await;
            }
        }
        Ok(())
    })
}

async fn serve<S>(
    accept: impl AsyncFn() -> io::Result<S>,
    routes: Router,
    mut stopping: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(seat) = room.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            _ = stopping.changed() => break,
        };
        match accepted {
            Ok(stream) => {
                let (routes, stopping) = (routes.clone(), stopping.clone());
                tokio::spawn(async move {
                    serve_connection(stream, routes, stopping).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept admin connections at the moment");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Those still being answered have been asked to end as well.
    let _ = timeout(2 * FAREWELL, room.acquire_many(CONNECTIONS_MAX as u32)).await;
}

async fn serve_connection<S>(stream: S, routes: Router, mut stopping: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    tokio::select! {
        // What a peer does to its own connection is its own affair.
        _ = &mut connection => return,
        _ = stopping.changed() => {}
        () = sleep(LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(FAREWELL, connection).await;
}
