//! The public listening sockets from the settings `listen` and `listen_tls`. For every IP address
//! each core gets a socket of its own, and the kernel deals out connections among
//! them (SO_REUSEPORT, Linux 3.9). A Unix socket is one, from which all cores
//! accept.
//!
//! Sockets that the service manager has opened are in `activation`. Called by
//! `service`; the cores accept.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::Socket;

use crate::bind::{self, BindError, SocketFile};
use crate::config::{Place, Probes};
use crate::core::{Listener, Listeners, keep_alive};
use crate::handover::{Public, Sockets};

/// Connections that may wait to be accepted; the kernel takes the smaller of
/// this and `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// Who may connect to a public Unix socket: all who get to its folder, as all
/// who get to its port may connect to an address.
const SOCKET_MODE: u32 = 0o666;

/// What is listened on.
#[derive(Default)]
pub(super) struct Bound {
    /// As bound: a port 0 has become a real one.
    pub(super) places: Vec<Place>,
    /// Those where TLS is spoken.
    pub(super) tls_places: Vec<Place>,
    /// Those of each core.
    pub(super) listeners: Vec<Listeners>,
    /// Of the Unix sockets, removed with this.
    pub(super) files: Vec<SocketFile>,
    /// Those of `listeners` that do not listen yet, as another process does so there.
    later: Vec<Socket>,
    /// Those of another process that are not listened on any more.
    pub(super) left: Listeners,
    /// Places that could not be had.
    pub(super) lost: usize,
    /// Why the last of them could not.
    pub(super) failed: Option<String>,
    /// What the kernel may hold unsent for who comes in at those that are bound here.
    pub(super) unsent_bytes_max: Option<u32>,
    /// How it keeps them alive, if it does.
    pub(super) probes: Option<Probes>,
}

impl Bound {
    /// Nothing yet.
    pub(super) fn new(cores: usize) -> Self {
        Bound {
            listeners: (0..cores).map(|_| Vec::new()).collect(),
            ..Bound::default()
        }
    }

    /// All places.
    pub(super) fn all_places(&self) -> Vec<Place> {
        let all = self.places.iter().chain(&self.tls_places);
        all.cloned().collect()
    }

    /// The sockets are all there.
    ///
    /// # Errors
    /// There is none, and why.
    pub(super) fn complete(mut self) -> Result<Self, String> {
        let has_none = self.places.is_empty() && self.tls_places.is_empty();
        match self.failed.take().filter(|_| has_none) {
            Some(sentence) => Err(sentence),
            None => Ok(self),
        }
    }

    /// These places are done without.
    pub(super) fn leave(&mut self, sockets: Vec<OwnedFd>, tls: bool) {
        let left = sockets.into_iter().map(|socket| Listener {
            socket: socket.into(),
            shared: false,
            tls,
            activated: false,
        });
        self.left.extend(left);
    }

    pub(super) fn note(&mut self, place: Place, tls: bool) {
        match tls {
            true => self.tls_places.push(place),
            false => self.places.push(place),
        }
    }

    /// Binds a place for all cores, which may speak TLS there. Sockets of the process before
    /// this one, if there is one, are at `others`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(super) fn open(
        &mut self,
        place: &Place,
        tls: bool,
        others: &[Place],
    ) -> Result<(), BindError> {
        match place {
            Place::Tcp(address) => {
                let refused = |error| BindError::tcp(*address, &error, option(tls));
                let address = bind::claim(*address, others).map_err(refused)?;
                let place = Place::from(address);
                let later = others.iter().any(|other| other.overlaps(&place));
                let sockets = self.listeners.iter().map(|_| self.bind(address, later));
                let sockets = sockets.collect::<io::Result<Vec<_>>>().map_err(refused)?;
                self.deal(sockets, later, tls).map_err(refused)?;
                self.note(place, tls);
            }
            Place::Unix(path) => {
                let (socket, file) = bind::unix(path, SOCKET_MODE, BACKLOG)?;
                let refused = |error| BindError::unix(path, &error);
                self.share_out(socket, tls).map_err(refused)?;
                self.files.push(file);
                self.note(place.clone(), tls);
            }
        }
        Ok(())
    }

    /// Keeps the `sockets` of another process of ours, which are bound at `place`.
    ///
    /// # Errors
    /// Why one of them cannot be had.
    pub(super) fn keep(
        &mut self,
        place: Place,
        tls: bool,
        sockets: Vec<OwnedFd>,
    ) -> Result<(), BindError> {
        let mut sockets: Vec<_> = sockets.into_iter().map(Socket::from).collect();
        match &place {
            Place::Tcp(address) => {
                let refused = |error| BindError::tcp(*address, &error, option(tls));
                let more = self.listeners.len().saturating_sub(sockets.len());
                let more = (0..more).map(|_| self.bind(*address, true));
                let more = more.collect::<io::Result<Vec<_>>>().map_err(refused)?;
                self.deal(sockets, false, tls).map_err(refused)?;
                self.deal(more, true, tls).map_err(refused)?;
            }
            Place::Unix(path) => {
                let refused = |error| BindError::unix(path, &error);
                let socket = sockets.pop().expect("a group has a socket");
                self.files.push(bind::inherit(path)?);
                self.share_out(socket, tls).map_err(refused)?;
            }
        }
        self.note(place, tls);
        Ok(())
    }

    /// A core's socket, which may not listen before `later`.
    fn bind(&self, address: SocketAddr, later: bool) -> io::Result<Socket> {
        let socket = bind::tcp(address, true)?;
        // Accepted connections inherit all of it. A frame does not wait for the next one.
        socket.set_tcp_nodelay(true)?;
        // The cores see to the rest too; told by now, the kernel has nobody come before.
        if let Some(bytes) = self.unsent_bytes_max {
            socket.set_tcp_notsent_lowat(bytes)?;
        }
        if self.probes.is_some() {
            keep_alive(&socket, self.probes)?;
        }
        if !later {
            socket.listen(BACKLOG)?;
        }
        Ok(socket)
    }

    /// Deals sockets out, first to those cores that have fewest.
    fn deal(&mut self, sockets: Vec<Socket>, later: bool, tls: bool) -> io::Result<()> {
        for socket in sockets {
            if later {
                self.later.push(socket.try_clone()?);
            }
            let core = self.listeners.iter_mut().min_by_key(|core| core.len());
            let core = core.expect("there is a core");
            core.push(own(socket, false, tls));
        }
        Ok(())
    }

    /// All cores accept from one socket.
    fn share_out(&mut self, socket: Socket, tls: bool) -> io::Result<()> {
        for core in &mut self.listeners {
            core.push(own(socket.try_clone()?, true, tls));
        }
        Ok(())
    }

    /// Everything is this process's now: all that is bound listens from here on, and
    /// the files of Unix sockets are its own to remove. To be called before anybody
    /// accepts.
    pub(super) fn take(&mut self) {
        for socket in self.later.drain(..) {
            if let Err(error) = socket.listen(BACKLOG) {
                tracing::error!(%error, "cannot listen where another process did before");
                self.lost += 1;
            }
        }
        self.files.iter_mut().for_each(SocketFile::take);
        bind::remove_files(self.left.iter().map(|left| &left.socket));
    }
}

/// Further handles on all sockets, for a successor.
pub(super) fn share(listeners: &[Listeners]) -> io::Result<Public> {
    let all = || listeners.iter().flatten();
    let of_kind = |tls: bool| -> io::Result<Sockets> {
        let kind = all().filter(|listener| listener.tls == tls);
        let handles = kind.map(|listener| listener.socket.try_clone().map(OwnedFd::from));
        Ok(Sockets {
            files: handles.collect::<Result<_, _>>()?,
            activated: all().any(|listener| listener.tls == tls && listener.activated),
        })
    };
    Ok(Public {
        plain: of_kind(false)?,
        tls: of_kind(true)?,
    })
}

/// A socket that this daemon, or another of ours, has opened.
fn own(socket: Socket, shared: bool, tls: bool) -> Listener {
    Listener {
        socket,
        shared,
        tls,
        activated: false,
    }
}

/// The one that chooses the address.
fn option(tls: bool) -> &'static str {
    match tls {
        true => "--listen-tls",
        false => "--listen",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(places: &[Place], cores: usize) -> Result<Bound, BindError> {
        let mut bound = Bound::new(cores);
        for place in places {
            bound.open(place, false, &[])?;
        }
        Ok(bound)
    }

    #[test]
    fn what_is_held_unsent_is_bounded_before_anybody_comes() {
        let mut bound = Bound::new(2);
        bound.unsent_bytes_max = Some(5000);
        bound
            .open(&places(&["127.0.0.1:0"])[0], false, &[])
            .unwrap();
        for listener in bound.listeners.iter().flatten() {
            assert_eq!(listener.socket.tcp_notsent_lowat().unwrap(), 5000);
        }
    }

    fn places(words: &[&str]) -> Vec<Place> {
        let place = |word: &&str| Place::parse(word).unwrap();
        words.iter().map(place).collect()
    }

    fn port(place: &Place) -> u16 {
        match place {
            Place::Tcp(address) => address.port(),
            Place::Unix(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn a_port_that_is_taken_is_refused_though_it_could_be_shared() {
        let first = listen(&places(&["127.0.0.1:0"]), 2).unwrap();
        assert_eq!(first.listeners.len(), 2);
        let error = listen(&first.places, 1).err().unwrap().to_string();
        assert!(error.contains("already in use"), "{error}");
    }

    #[test]
    fn both_families_can_have_the_same_port_on_every_address() {
        let first = listen(&places(&["0.0.0.0:0"]), 1).unwrap();
        let six = format!("[::]:{}", port(&first.places[0]));
        match listen(&places(&[&six]), 1) {
            Ok(second) => assert_eq!(second.places, places(&[&six])),
            // A machine without IPv6.
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("not supported by protocol"), "{error}");
            }
        }
    }

    #[test]
    fn all_cores_accept_from_the_one_unix_socket() {
        let folder = tempfile::tempdir().unwrap();
        let word = format!("unix:{}/public", folder.path().display());
        let bound = listen(&places(&[&word]), 3).unwrap();
        let of_each: Vec<_> = bound.listeners.iter().map(Vec::len).collect();
        assert_eq!(of_each, [1, 1, 1]);
        drop(bound);
        assert!(!folder.path().join("public").exists());
    }
}
