//! One connection out of a listening socket, be that TCP or a Unix socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::Socket;

/// Accepts one connection and bounds what the kernel holds unsent for it: else a
/// reader that stalls would have megabytes to itself in the kernel, and the
/// others would wait while they are copied.
///
/// From here on a Unix socket is a stream like another one, whose peer is called
/// 127.0.0.1.
///
/// # Errors
/// Those of accepting and of setting socket options.
pub(super) fn accept(
    listener: &Socket,
    unsent_bytes_max: usize,
) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, address) = listener.accept()?;
    let peer = match address.as_socket() {
        Some(peer) => {
            stream.set_tcp_notsent_lowat(unsent_bytes_max as u32)?;
            SocketAddr::new(peer.ip().to_canonical(), peer.port())
        }
        None => {
            // The kernel doubles it, for its own records of the bytes.
            stream.set_send_buffer_size(unsent_bytes_max / 2)?;
            local_peer()
        }
    };
    Ok((TcpStream::from(stream), peer))
}

/// Who comes over a Unix socket has no address: it counts as this machine's, and
/// a running number tells it from the others.
pub(super) fn local_peer() -> SocketAddr {
    static COME: AtomicU16 = AtomicU16::new(0);
    let number = COME.fetch_add(1, Ordering::Relaxed);
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), number.max(1))
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
