//! The listening sockets: for every address one for each core, and the kernel
//! deals out connections among them (SO_REUSEPORT, Linux 3.9).

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::core::Listeners;

/// Connections that may wait to be accepted; the kernel takes the smaller of
/// this and `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why an address cannot be listened on, for the person who chose it.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub(super) struct ListenError {
    address: SocketAddr,
    cause: String,
}

/// The addresses, and the listeners of each core.
pub(super) type Bound = (Vec<SocketAddr>, Vec<Listeners>);

/// Binds all addresses for all cores. Returns the addresses as bound (a port 0
/// has become a real one) and the sockets of each core.
///
/// # Errors
/// The first address that cannot be had, and why.
pub(super) fn listen(addresses: &[SocketAddr], cores: usize) -> Result<Bound, ListenError> {
    let mut bound = Vec::new();
    let mut listeners: Vec<Listeners> = (0..cores).map(|_| Vec::new()).collect();
    for address in addresses {
        let refused = |error| ListenError {
            address: *address,
            cause: explain(&error),
        };
        let address = claim(*address).map_err(refused)?;
        for core in &mut listeners {
            core.push(bind(address).map_err(refused)?);
        }
        bound.push(address);
    }
    Ok((bound, listeners))
}

/// Further handles on all sockets, for a successor.
pub(super) fn share(listeners: &[Listeners]) -> io::Result<Vec<OwnedFd>> {
    let share = |socket: &Socket| socket.try_clone().map(OwnedFd::from);
    listeners.iter().flatten().map(share).collect()
}

/// Finds out whether the address is free. With SO_REUSEPORT alone a second
/// daemon would silently share the port with the first.
fn claim(address: SocketAddr) -> io::Result<SocketAddr> {
    TcpListener::bind(address)?.local_addr()
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that [::] and 0.0.0.0 can both be asked for.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted connections inherit it: a frame does not wait for the next one.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "address already in use (another fanfare? try --listen)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_refused_though_it_could_be_shared() {
        let any = "127.0.0.1:0".parse().unwrap();
        let (bound, first) = listen(&[any], 2).unwrap();
        assert_eq!(first.len(), 2);
        let error = listen(&bound, 1).unwrap_err().to_string();
        assert!(error.contains("already in use"), "{error}");
    }

    #[test]
    fn both_families_can_have_the_same_port() {
        let any = "127.0.0.1:0".parse().unwrap();
        let (bound, _first) = listen(&[any], 1).unwrap();
        let six = SocketAddr::new("::1".parse().unwrap(), bound[0].port());
        if let Err(error) = listen(&[six], 1) {
            let error = error.to_string();
            assert!(error.contains("does not have that address"), "{error}");
        }
    }
}
