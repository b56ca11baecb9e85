//! One connection out of a listening socket, be that TCP or a Unix socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use socket2::Socket;

/// How long nobody is accepted after an accept that failed for want of descriptors or memory.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts one connection and bounds what the kernel holds unsent for it: else a
/// reader that stalls would have megabytes to itself in the kernel, and the
/// others would wait while they are copied.
///
/// From here on a Unix socket is a stream like another one.
///
/// # Errors
/// Those of accepting and of setting socket options.
pub(super) fn accept(
    listener: &Socket,
    unsent_bytes_max: usize,
) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, address) = listener.accept()?;
    let address = address.as_socket();
    match address {
        Some(_) => stream.set_tcp_notsent_lowat(unsent_bytes_max as u32)?,
        None => stream.set_send_buffer_size(send_buffer_bytes(unsent_bytes_max))?,
    }
    Ok((TcpStream::from(stream), peer(address)))
}

/// What a connection over a Unix socket is told that it may hold, for so many bytes unsent: the
/// kernel doubles it, for its own records of the bytes.
pub(super) fn send_buffer_bytes(unsent_bytes_max: usize) -> usize {
    unsent_bytes_max / 2
}

/// Who comes from that address. Who comes over a Unix socket has none: it counts as this
/// machine's, 127.0.0.1, and a running number tells it from the others.
pub(super) fn peer(address: Option<SocketAddr>) -> SocketAddr {
    static COME: AtomicU16 = AtomicU16::new(0);
    match address {
        Some(address) => SocketAddr::new(address.ip().to_canonical(), address.port()),
        None => {
            let number = COME.fetch_add(1, Ordering::Relaxed);
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), number.max(1))
        }
    }
}

/// A connection that failed before it was accepted (accept(2), "Error
/// handling"); the listener is none the worse.
pub(super) fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::Interrupted
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::TimedOut
    )
}
