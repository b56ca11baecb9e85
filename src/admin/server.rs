//! The listeners beside the public ones: their sockets, roles and secrets, before anybody is
//! served on them.
//!
//! The sockets are made in `bind`; `serving` accepts from them. Called by `service`.

use std::io;
use std::net;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use socket2::SockRef;
use tokio::sync::mpsc::UnboundedReceiver;

use super::guard::Guard;
use super::serving::{self, Bound, Server};
use super::token::Token;
use crate::bind::{self, BindError};
use crate::config::{self, Place, Roles, Settings, Switch};
use crate::hub::{Hub, Visitor};

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
    /// For who asks the server API on the public listeners, and does so over TLS.
    visitors: [Guard; 2],
    /// Those of these that have that role.
    public: Vec<Place>,
}

#[derive(Debug)]
struct Listener {
    socket: Bound,
    /// As bound: a port 0 has become a real one.
    place: Place,
    roles: Roles,
    guard: Guard,
}

impl Listeners {
    /// Takes the addresses that the settings name, from among the `inherited`
    /// sockets of another process where they are there; the others end when these
    /// are started. All sockets that the other process has, of any kind, are at
    /// `others`. The public listeners are bound at `public`.
    ///
    /// # Errors
    /// A sentence about the file of a secret or an address.
    pub fn bind(
        settings: &Settings,
        mut inherited: Vec<OwnedFd>,
        others: &[Place],
        public: &[Place],
    ) -> Result<Self, String> {
        let secret = |name, file: &Option<PathBuf>| {
            let file = file.clone()?;
            let read = config::token_in(&file).map_err(|error| error.to_string());
            Some(read.map(|text| Arc::new(Token::new(name, file, text))))
        };
        let token = secret("admin token", &settings.admin_token_file).transpose()?;
        let key = secret("API key", &settings.api_key_file).transpose()?;
        let places = settings.back_places(public).into_iter();
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
            let guard = match (settings.admin_tls, &place) {
                (Switch::On, Place::Tcp(_)) => guard.over_tls(),
                _ => guard,
            };
            Ok(Listener {
                socket,
                place,
                roles,
                guard,
            })
        });
        let all = listeners.collect::<Result<_, String>>()?;
        Ok(Listeners {
            all,
            left: inherited,
            visitors: [
                Guard::public(token.clone(), key.clone()),
                Guard::public(token, key).over_tls(),
            ],
            public: public
                .iter()
                .filter(|place| settings.serves_api_at(place))
                .cloned()
                .collect(),
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

    /// Serves from now on, `visitors` too; `None` if there is nothing to serve.
    ///
    /// # Errors
    /// A sentence, when the thread cannot be had.
    pub fn start(
        self,
        hub: Arc<Hub>,
        visitors: UnboundedReceiver<Visitor>,
    ) -> Result<Option<Server>, String> {
        bind::end(self.left);
        if self.all.is_empty() && self.public.is_empty() {
            return Ok(None);
        }
        for place in &self.public {
            tracing::info!("the server API is on {place} as well");
        }
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
                Place::Tcp(address) if listener.guard.is_over_tls() => {
                    format!("https://{address}/")
                }
                Place::Tcp(address) => format!("http://{address}/"),
                Place::Unix(_) => place.to_string(),
            };
            tracing::info!(%roles, "admin listener on {shown}");
            served.push((listener.socket, listener.guard));
        }
        serving::start(hub, served, (visitors, self.visitors)).map(Some)
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
