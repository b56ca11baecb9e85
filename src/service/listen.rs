//! The public listening sockets from the setting `listen`. For every IP address
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
use crate::config::Place;
use crate::core::Listeners;

/// Connections that may wait to be accepted; the kernel takes the smaller of
/// this and `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Who may connect to a public Unix socket: all who get to its folder, as all
/// who get to its port may connect to an address.
const SOCKET_MODE: u32 = 0o666;

/// What is listened on.
#[derive(Default)]
pub(super) struct Bound {
    /// As bound: a port 0 has become a real one.
    pub(super) places: Vec<Place>,
    /// Those of each core.
    pub(super) listeners: Vec<Listeners>,
    /// Of the Unix sockets, removed with this.
    pub(super) files: Vec<SocketFile>,
}

/// Binds all places for all cores.
///
/// # Errors
/// The first place that cannot be had, and why.
pub(super) fn listen(places: &[Place], cores: usize) -> Result<Bound, BindError> {
    let mut bound = Bound {
        listeners: (0..cores).map(|_| Vec::new()).collect(),
        ..Bound::default()
    };
    for place in places {
        match place {
            Place::Tcp(address) => {
                let refused = |error| BindError::tcp(*address, &error, "--listen");
                let address = claim(*address).map_err(refused)?;
                for core in &mut bound.listeners {
                    core.push(bind(address).map_err(refused)?);
                }
                bound.places.push(address.into());
            }
            Place::Unix(path) => {
                let (socket, file) = bind::unix(path, SOCKET_MODE, BACKLOG)?;
                for core in &mut bound.listeners {
                    let shared = socket.try_clone();
                    core.push(shared.map_err(|error| BindError::unix(path, &error))?);
                }
                bound.files.push(file);
                bound.places.push(place.clone());
            }
        }
    }
    Ok(bound)
}

/// Further handles on all sockets, for a successor.
pub(super) fn share(listeners: &[Listeners]) -> io::Result<Vec<OwnedFd>> {
    let share = |socket: &Socket| socket.try_clone().map(OwnedFd::from);
    listeners.iter().flatten().map(share).collect()
}

/// Finds out whether the address is free. With SO_REUSEPORT alone a second
/// daemon would silently share the port with the first.
fn claim(address: SocketAddr) -> io::Result<SocketAddr> {
    let bound = bind::tcp(address, false)?.local_addr()?;
    Ok(bound.as_socket().expect("it is an IP address"))
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = bind::tcp(address, true)?;
    // Accepted connections inherit it: a frame does not wait for the next one.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

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
