//! Listening sockets that the service manager has opened and passed
//! (sd_listen_fds(3)): they come in place of the setting `listen`.
//!
//! The cores do not bind further sockets beside them: with `SO_REUSEPORT` the
//! kernel asks that all of an address belong to one user, and the manager's
//! belong to root. Besides, who connects while the daemon is down waits in the
//! manager's socket, and must be served from there. So the cores accept from
//! what is passed: where an address has as many sockets as there are cores
//! (`ReusePort=yes` and its `ListenStream=` that many times), each core has its
//! own; else they share.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{SockRef, Socket};

use super::listen::{Bound, listen};
use crate::core::Listeners;

/// The addresses that `sockets` listen on, and each core's listeners. Unless
/// the service manager opened them, `addresses` that are not among them are
/// opened too.
///
/// # Errors
/// A sentence about a socket that cannot be served, or an address that cannot
/// be had.
pub(super) fn adopt(
    sockets: Vec<OwnedFd>,
    activated: bool,
    addresses: &[SocketAddr],
    cores: usize,
) -> Result<Bound, String> {
    let sockets = sockets.into_iter().map(TcpListener::from).collect();
    let (mut bound, mut listeners) = deal(sockets, cores)?;
    if !activated {
        let is_new = |address: &&SocketAddr| address.port() != 0 && !bound.contains(address);
        let fresh: Vec<SocketAddr> = addresses.iter().filter(is_new).copied().collect();
        let (more, sockets) = listen(&fresh, cores).map_err(|error| error.to_string())?;
        bound.extend(more);
        for (core, sockets) in listeners.iter_mut().zip(sockets) {
            core.extend(sockets);
        }
    }
    Ok((bound, listeners))
}

/// Deals the sockets out so that each has a core and each core has every address.
fn deal(sockets: Vec<TcpListener>, cores: usize) -> Result<Bound, String> {
    let mut addresses: Vec<(SocketAddr, Vec<TcpListener>)> = Vec::new();
    for socket in sockets {
        let address = socket
            .local_addr()
            .map_err(|error| format!("a socket passed by the service manager is bad: {error}"))?;
        if !SockRef::from(&socket).is_listener().unwrap_or(false) {
            return Err(format!(
                "the socket passed for {address} does not listen (Accept=yes is not for fanfare)"
            ));
        }
        match addresses.iter_mut().find(|(known, _)| *known == address) {
            Some((_, sockets)) => sockets.push(socket),
            None => addresses.push((address, vec![socket])),
        }
    }
    let mut listeners: Vec<Listeners> = (0..cores).map(|_| Vec::new()).collect();
    for (address, sockets) in &addresses {
        let refused = |error| format!("cannot accept on the passed socket for {address}: {error}");
        for turn in 0..sockets.len().max(cores) {
            let socket = sockets[turn % sockets.len()].try_clone().map_err(refused)?;
            let socket = Socket::from(socket);
            // Accepted connections inherit it, as from a socket of our own.
            socket.set_tcp_nodelay(true).map_err(refused)?;
            listeners[turn % cores].push(socket);
        }
    }
    let addresses = addresses.into_iter().map(|(address, _)| address);
    Ok((addresses.collect(), listeners))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(address: &str) -> TcpListener {
        TcpListener::bind(address).unwrap()
    }

    #[test]
    fn every_core_accepts_from_a_single_socket() {
        let socket = listening("127.0.0.1:0");
        let address = socket.local_addr().unwrap();
        let (addresses, listeners) = deal(vec![socket], 3).unwrap();
        assert_eq!(addresses, [address]);
        assert_eq!(
            listeners.iter().map(Vec::len).collect::<Vec<_>>(),
            [1, 1, 1]
        );
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
            TcpListener::from(socket)
        });
        let (addresses, listeners) = deal(sockets.collect(), 3).unwrap();
        assert_eq!(addresses.len(), 1);
        assert_eq!(
            listeners.iter().map(Vec::len).collect::<Vec<_>>(),
            [2, 1, 1]
        );
    }

    #[test]
    fn every_core_has_every_address() {
        let sockets = vec![listening("127.0.0.1:0"), listening("127.0.0.2:0")];
        let (addresses, listeners) = deal(sockets, 2).unwrap();
        assert_eq!(addresses.len(), 2);
        assert_eq!(listeners.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let kind = socket2::Type::STREAM;
        let idle = Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
        let sentence = deal(vec![idle.into()], 1).unwrap_err();
        assert!(sentence.contains("does not listen"), "{sentence}");
    }
}
