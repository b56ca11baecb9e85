//! Listening sockets that the service manager has opened and passed
//! (sd_listen_fds(3)): they are used in place of the setting `listen`, and those that are
//! called `tls` in place of `listen_tls`.
//!
//! The cores do not bind further sockets beside them: with `SO_REUSEPORT` the
//! kernel demands that all sockets of an address belong to one user, and the
//! manager's belong to root. Besides, a client that connects while the daemon is
//! down waits in the manager's socket and must be served from there. So the cores
//! accept from what is passed: where an address has as many sockets as there are
//! cores (`ReusePort=yes` and its `ListenStream=` that many times), each core has
//! its own; else they share.
//!
//! Called by `service` at the start.

use std::io;
use std::os::fd::OwnedFd;

use socket2::{SockRef, Socket};

use super::listen::Bound;
use crate::bind;
use crate::config::Place;
use crate::core::Listener;

/// Deals the sockets out so that each has a core and each core has every place. TLS may be
/// spoken there.
///
/// # Errors
/// A sentence about a socket that cannot be served.
pub(super) fn deal(bound: &mut Bound, sockets: Vec<OwnedFd>, tls: bool) -> Result<(), String> {
    let cores = bound.listeners.len();
    let mut places: Vec<(Place, Vec<OwnedFd>)> = Vec::new();
    for socket in sockets {
        let place = bind::place_of(&socket)
            .map_err(|error| format!("a socket that was passed is bad: {error}"))?
            .ok_or("a socket was passed that is neither TCP nor at a path")?;
        if !SockRef::from(&socket).is_listener().unwrap_or(false) {
            return Err(format!(
                "the socket passed for {place} does not listen (Accept=yes is not for fanfare)"
            ));
        }
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, sockets)) => sockets.push(socket),
            None => places.push((place, vec![socket])),
        }
    }
    for (place, sockets) in &places {
        let refused = |error| format!("cannot accept on the passed socket for {place}: {error}");
        let turns = 0..sockets.len().max(cores);
        // A process before this one passes a handle for each core, be it of the same socket.
        let cookie = |turn: usize| SockRef::from(&sockets[turn % sockets.len()]).cookie();
        let cookies: io::Result<Vec<_>> = turns.clone().map(cookie).collect();
        let cookies = cookies.map_err(refused)?;
        let is_shared = |turn: usize| {
            let is_elsewhere = |other: &usize| other % cores != turn % cores;
            let mut others = turns.clone().filter(is_elsewhere);
            others.any(|other| cookies[other] == cookies[turn])
        };
        for turn in turns.clone() {
            let socket = sockets[turn % sockets.len()].try_clone().map_err(refused)?;
            let socket = Socket::from(socket);
            if matches!(place, Place::Tcp(_)) {
                // Accepted connections inherit it, as from a socket of our own.
                socket.set_tcp_nodelay(true).map_err(refused)?;
            }
            bound.listeners[turn % cores].push(Listener {
                socket,
                shared: is_shared(turn),
                tls,
                activated: true,
            });
        }
    }
    for (place, _) in places {
        bound.note(place, tls);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn deal(sockets: Vec<OwnedFd>, cores: usize) -> Result<Bound, String> {
        let mut bound = Bound::new(cores);
        super::deal(&mut bound, sockets, false)?;
        Ok(bound)
    }

    fn listening(address: &str) -> OwnedFd {
        TcpListener::bind(address).unwrap().into()
    }

    #[test]
    fn every_core_accepts_from_a_single_socket() {
        let socket = listening("127.0.0.1:0");
        let place = bind::place_of(&socket).unwrap().unwrap();
        // It may be one of several that ReusePort=yes is said of.
        SockRef::from(&socket).set_reuse_port(true).unwrap();
        let bound = deal(vec![socket], 3).unwrap();
        assert_eq!(bound.places, [place]);
        assert!(bound.listeners.iter().flatten().all(|of| of.shared));
        assert_eq!(
            bound.listeners.iter().map(Vec::len).collect::<Vec<_>>(),
            [1, 1, 1]
        );
    }

    #[test]
    fn two_handles_of_a_socket_are_one_that_is_shared() {
        let socket = listening("127.0.0.1:0");
        let other = socket.try_clone().unwrap();
        let bound = deal(vec![socket, other], 2).unwrap();
        let shared = bound.listeners.iter().flatten().map(|of| of.shared);
        assert_eq!(shared.collect::<Vec<_>>(), [true, true]);
    }

    #[test]
    fn where_there_are_not_enough_some_are_shared() {
        let address = "127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap();
        let first = bind::tcp(address, true).unwrap();
        let second = bind::tcp(first.local_addr().unwrap().as_socket().unwrap(), true).unwrap();
        for socket in [&first, &second] {
            socket.listen(8).unwrap();
        }
        let bound = deal(vec![first.into(), second.into()], 3).unwrap();
        let shared = bound.listeners.iter().flatten().map(|of| of.shared);
        assert_eq!(shared.collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn with_a_socket_for_each_core_none_is_shared() {
        let first = Socket::from(listening("127.0.0.1:0"));
        let address = first.local_addr().unwrap();
        drop(first);
        let sockets = (0..4).map(|_| {
            let kind = socket2::Type::STREAM;
            let socket = Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(&address).unwrap();
            socket.listen(8).unwrap();
            OwnedFd::from(socket)
        });
        let bound = deal(sockets.collect(), 3).unwrap();
        assert_eq!(bound.places.len(), 1);
        assert_eq!(
            bound.listeners.iter().map(Vec::len).collect::<Vec<_>>(),
            [2, 1, 1]
        );
        assert!(!bound.listeners.iter().flatten().any(|of| of.shared));
    }

    #[test]
    fn every_core_has_every_address() {
        let sockets = vec![listening("127.0.0.1:0"), listening("127.0.0.2:0")];
        let bound = deal(sockets, 2).unwrap();
        assert_eq!(bound.places.len(), 2);
        assert_eq!(
            bound.listeners.iter().map(Vec::len).collect::<Vec<_>>(),
            [2, 2]
        );
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let kind = socket2::Type::STREAM;
        let idle = Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
        let sentence = deal(vec![idle.into()], 1).err().unwrap();
        assert!(sentence.contains("does not listen"), "{sentence}");
    }
}
