//! Where the clients go, and from which addresses.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::ring::port_at_connect;

/// A `ws://` address whose path may have `{topic}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub host: String,
    path: String,
    pub address: SocketAddr,
}

impl Url {
    /// The path of one topic's connections.
    pub fn target(&self, topic: u32) -> String {
        self.path.replace("{topic}", &topic.to_string())
    }

    /// Whether topics have paths of their own.
    pub fn has_topic(&self) -> bool {
        self.path.contains("{topic}")
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("ws://").ok_or_else(|| {
            if text.starts_with("wss://") {
                "this tool speaks no TLS; give a ws:// address".to_string()
            } else {
                "the address must begin with ws://, as ws://127.0.0.1:8000/bench-{topic}".into()
            }
        })?;
        let (host, path) = match rest.find(['/', '?']) {
            Some(at) if rest.as_bytes()[at] == b'/' => (&rest[..at], rest[at..].to_string()),
            Some(at) => (&rest[..at], format!("/{}", &rest[at..])),
            None => (rest, "/".to_string()),
        };
        if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err("the path must not contain spaces or control characters".into());
        }
        let bare = host.is_empty() || host.starts_with(':');
        let with_port = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
            host.to_string()
        } else {
            format!("{host}:80")
        };
        let found = with_port.to_socket_addrs().ok().filter(|_| !bare);
        let address = found
            .and_then(|mut found| found.next())
            .ok_or_else(|| format!("{host:?} is not a host and port that can be found"))?;
        Ok(Url {
            host: host.to_string(),
            path,
            address,
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.host, self.path)
    }
}

/// Hands out source addresses. One address has some 28,000 ports, and servers
/// bound the connections of one; on the loopback network there are 16 million
/// addresses to choose from.
#[derive(Debug)]
pub struct Sources {
    to: SocketAddr,
    per_address: u32,
    /// Addresses skipped because their ports had run out.
    skipped: AtomicU32,
}

impl Sources {
    pub fn new(to: SocketAddr, per_address: u32) -> Self {
        Sources {
            to,
            per_address,
            skipped: AtomicU32::new(0),
        }
    }

    /// The source of the client with this number; `None` leaves it to the
    /// kernel.
    pub fn of(&self, client: u32) -> Option<Ipv4Addr> {
        let loopback = matches!(self.to.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let place = client / self.per_address + self.skipped.load(Ordering::Relaxed);
        if !loopback || place == 0 {
            return None;
        }
        // 127.0.1.1 to 127.0.1.250, then 127.0.2.1 and so on.
        let place = place - 1;
        let [third, fourth] = [1 + place / 250, 1 + place % 250];
        Some(Ipv4Addr::new(
            127,
            (third >> 8) as u8,
            third as u8,
            fourth as u8,
        ))
    }

    /// The ports of the addresses in use have run out; whether there are
    /// others to try.
    pub fn skip(&self) -> bool {
        let before = self.skipped.fetch_add(1, Ordering::Relaxed);
        before < 1000 && self.of(u32::MAX / 2).is_some()
    }

    /// A socket for one client, not yet connected.
    ///
    /// # Errors
    /// Those of `socket`, `setsockopt` and `bind`.
    pub fn socket(&self, client: u32) -> io::Result<Socket> {
        let kind = Type::STREAM.cloexec();
        let socket = Socket::new(Domain::for_address(self.to), kind, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        // Thousands that leave at once would else keep their ports for a
        // minute.
        socket.set_linger(Some(std::time::Duration::ZERO))?;
        if let Some(source) = self.of(client) {
            port_at_connect(&socket)?;
            socket.bind(&SockAddr::from(SocketAddr::from((source, 0))))?;
        }
        Ok(socket)
    }

    pub fn to(&self) -> SockAddr {
        SockAddr::from(self.to)
    }
}
