//! The thread of the admin listener: it accepts connections, and has limits of time
//! and number so that a slow or hostile client holds up nobody.
//!
//! The sockets are made in `bind`, requests are answered by `routes`. Started and
//! stopped by `service`.

use std::io;
use std::net;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use super::guard::Guard;
use super::metrics::Exposition;
use super::routes;
use super::token::Token;
use crate::bind::{self, BindError, SocketFile};
use crate::config::{self, Place, Roles, Settings};
use crate::hub::Hub;

/// Connections served at a time on one address; the next ones wait to be accepted.
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

/// Connections that may wait until one of those being served has ended.
const BACKLOG: i32 = 128;
/// Who may connect to a Unix socket: the user that the daemon runs as.
const SOCKET_MODE: u32 = 0o600;

/// The bound listeners beside the public ones, which do not serve yet.
#[derive(Debug)]
pub struct Listeners {
    all: Vec<Listener>,
    /// Those of another process that are not served any more.
    left: Vec<OwnedFd>,
}

#[derive(Debug)]
struct Listener {
    socket: Bound,
    /// As bound: a port 0 has become a real one.
    place: Place,
    roles: Roles,
    guard: Guard,
}

#[derive(Debug)]
enum Bound {
    Tcp(net::TcpListener),
    Unix(unix::net::UnixListener, SocketFile),
}

impl Listeners {
    /// Takes the addresses that the settings name, from among the `inherited`
    /// sockets of another process where they are there; the others end when these
    /// are started. All sockets that the other process has, of any kind, are at
    /// `others`.
    ///
    /// # Errors
    /// A sentence about the file of a secret or an address.
    pub fn bind(
        settings: &Settings,
        mut inherited: Vec<OwnedFd>,
        others: &[Place],
    ) -> Result<Self, String> {
        let secret = |name, file: &Option<PathBuf>| {
            let file = file.clone()?;
            let read = config::token_in(&file).map_err(|error| error.to_string());
            Some(read.map(|text| Arc::new(Token::new(name, file, text))))
        };
        let token = secret("admin token", &settings.admin_token_file).transpose()?;
        let key = secret("API key", &settings.api_key_file).transpose()?;
        let places = settings.back_places().into_iter();
        let wanted: Vec<_> = places
            .map(|(place, roles)| {
                let socket = bind::take_inherited(&mut inherited, &place);
                (place, roles, socket)
            })
            .collect();
        let listeners = wanted.into_iter().map(|(place, roles, socket)| {
            let (socket, place) = match socket {
                Some(socket) => inherit(socket, &place, others),
                None => bound(&place, others),
            }
            .map_err(|error| error.to_string())?;
            let guard = Guard::new(token.clone(), key.clone(), &place, roles);
            Ok(Listener {
                socket,
                place,
                roles,
                guard,
            })
        });
        Ok(Listeners {
            all: listeners.collect::<Result<_, String>>()?,
            left: inherited,
        })
    }

    /// Further handles on the sockets, for another process.
    ///
    /// # Errors
    /// Those of duplicating a descriptor.
    pub fn sockets(&self) -> io::Result<Vec<OwnedFd>> {
        let share = |listener: &Listener| match &listener.socket {
            Bound::Tcp(socket) => socket.as_fd().try_clone_to_owned(),
            Bound::Unix(socket, _) => socket.as_fd().try_clone_to_owned(),
        };
        self.all.iter().map(share).collect()
    }

    /// Serves from now on; `None` if there is nothing to serve.
    ///
    /// # Errors
    /// A sentence, when the thread cannot be had.
    pub fn start(self, hub: Arc<Hub>) -> Result<Option<Server>, String> {
        bind::end(self.left);
        if self.all.is_empty() {
            return Ok(None);
        }
        let (alive, stopping) = watch::channel(());
        let mut served = Vec::new();
        for mut listener in self.all {
            let (place, roles) = (listener.place, listener.roles);
            match &mut listener.socket {
                // Where another process listened, it does not do so yet.
                Bound::Tcp(socket) => SockRef::from(&*socket)
                    .listen(BACKLOG)
                    .map_err(|error| format!("cannot listen on {place}: {error}"))?,
                Bound::Unix(_, file) => file.take(),
            }
            let shown = match place {
                Place::Tcp(address) => format!("http://{address}/"),
                Place::Unix(_) => place.to_string(),
            };
            tracing::info!(%roles, "admin listener on {shown}");
            served.push((listener.socket, listener.guard));
        }
        let thread = thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                if let Err(error) = run(served, &hub, &stopping) {
                    tracing::error!(%error, "the admin listener has failed");
                }
            })
            .map_err(|error| format!("cannot start the thread of the admin listener: {error}"))?;
        Ok(Some(Server { alive, thread }))
    }
}

fn bound(place: &Place, others: &[Place]) -> Result<(Bound, Place), BindError> {
    match place {
        Place::Tcp(address) => {
            let listen = || {
                let address = bind::claim(*address, others)?;
                let socket = bind::tcp(address, true)?;
                if !others.iter().any(|other| other.overlaps(&address.into())) {
                    socket.listen(BACKLOG)?;
                }
                tcp(socket.into())
            };
            listen().map_err(|error| {
                BindError::tcp(
                    *address,
                    &error,
                    "--admin, --api or --metrics with another port",
                )
            })
        }
        Place::Unix(path) => {
            let (socket, file) = bind::unix(path, SOCKET_MODE, BACKLOG)?;
            let bound = Bound::Unix(OwnedFd::from(socket).into(), file);
            Ok((bound, place.clone()))
        }
    }
}

/// The same listener, as another process had it.
fn inherit(socket: OwnedFd, place: &Place, others: &[Place]) -> Result<(Bound, Place), BindError> {
    match place {
        Place::Tcp(address) => {
            tcp(socket).map_err(|error| BindError::tcp(*address, &error, "a restart"))
        }
        Place::Unix(path) => match bind::inherit(path) {
            Ok(file) => Ok((Bound::Unix(socket.into(), file), place.clone())),
            // Nobody gets to a socket whose file is gone.
            Err(_) => bound(place, others),
        },
    }
}

fn tcp(socket: OwnedFd) -> io::Result<(Bound, Place)> {
    let listener = net::TcpListener::from(socket);
    let place = Place::from(listener.local_addr()?);
    Ok((Bound::Tcp(listener), place))
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

fn run(
    served: Vec<(Bound, Guard)>,
    hub: &Arc<Hub>,
    stopping: &watch::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let exposition = Arc::new(Exposition::new(hub.clone()));
    LocalSet::new().block_on(&runtime, async {
        let mut serving = JoinSet::new();
        for (socket, guard) in served {
            let routes = routes::router(hub.clone(), exposition.clone(), guard);
            let (hub, stopping) = (hub.clone(), stopping.clone());
            match socket {
                Bound::Tcp(listener) => {
                    listener.set_nonblocking(true)?;
                    let listener = TcpListener::from_std(listener)?;
                    serving.spawn_local(async move {
                        let accept = async || listener.accept().await.map(|(stream, _)| stream);
                        serve(accept, hub, routes, stopping).await;
                    });
                }
                Bound::Unix(listener, file) => {
                    listener.set_nonblocking(true)?;
                    let listener = UnixListener::from_std(listener)?;
                    serving.spawn_local(async move {
                        let accept = async || listener.accept().await.map(|(stream, _)| stream);
                        serve(accept, hub, routes, stopping).await;
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
