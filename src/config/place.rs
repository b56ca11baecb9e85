//! Where a listener is: an IP address with port, or the path of a Unix socket; and
//! which of two contain each other.
//!
//! Opens nothing: the sockets are made by `service` and `admin`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::kind::Kind;
use super::value::{Given, Value};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Canonical: never an IPv4 address in the clothes of IPv6.
    Tcp(SocketAddr),
    /// A whole path.
    Unix(PathBuf),
}

/// As one writes it in the settings.
impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => write!(out, "{address}"),
            Place::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        // An IPv6 address may have a scope, which a rebuilt one would lose.
        Place::Tcp(match address.ip().to_canonical() {
            ip if ip == address.ip() => address,
            ip => SocketAddr::new(ip, address.port()),
        })
    }
}

impl Place {
    /// Reads `IP:PORT` or `unix:/PATH`.
    ///
    /// # Errors
    /// How to write it instead, as far as that can be guessed.
    pub fn parse(word: &str) -> Result<Place, String> {
        if let Some(path) = word.strip_prefix("unix:") {
            return match path.starts_with('/') {
                true => Ok(Place::Unix(path.into())),
                false => {
                    Err("a socket's path begins at the root, as unix:/run/fanfare.sock".into())
                }
            };
        }
        word.parse::<SocketAddr>()
            .map(Place::from)
            .map_err(|_| advice(word))
    }

    /// The address, where it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Place::Tcp(address) => Some(*address),
            Place::Unix(_) => None,
        }
    }

    /// Only this machine gets there.
    pub fn is_local(&self) -> bool {
        match self {
            Place::Tcp(address) => address.ip().is_loopback(),
            Place::Unix(_) => true,
        }
    }

    /// Whether this place, with port 0, may become `bound`.
    pub fn admits(&self, bound: &Place) -> bool {
        match (self, bound) {
            (Place::Tcp(wanted), Place::Tcp(bound)) => {
                wanted.port() == 0 && wanted.ip() == bound.ip()
            }
            _ => false,
        }
    }

    /// Whether one of the two would be in the other's way.
    pub fn overlaps(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Tcp(a), Place::Tcp(b)) => {
                // Each family has its own wildcard: a socket of [::] takes no IPv4.
                let (a_ip, b_ip) = (a.ip(), b.ip());
                let wild = a_ip.is_unspecified() || b_ip.is_unspecified();
                // Port 0 becomes a free one.
                a.port() != 0
                    && a.port() == b.port()
                    && (a_ip == b_ip || wild && a_ip.is_ipv4() == b_ip.is_ipv4())
            }
            (Place::Unix(a), Place::Unix(b)) => a == b,
            _ => false,
        }
    }
}

/// What somebody meant who wrote `word`.
fn advice(word: &str) -> String {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    if let Some(port) = word.strip_prefix("localhost:").filter(|port| is_port(port)) {
        return format!("write 127.0.0.1:{port} or [::1]:{port}");
    }
    if let Some(port) = word.strip_prefix("*:").or_else(|| word.strip_prefix(':'))
        && is_port(port)
    {
        return format!("for every address of this machine write 0.0.0.0:{port} and [::]:{port}");
    }
    if is_port(word) {
        return format!("a port alone: write 127.0.0.1:{word}, or 0.0.0.0:{word} for all");
    }
    if word.starts_with('/') {
        return format!("for a Unix socket write unix:{word}");
    }
    match word.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        Ok(ip) => format!("the port is missing: write {}", SocketAddr::new(ip, 8000)),
        Err(_) => "write IP:PORT, as 127.0.0.1:8000 or [::]:8000, or unix:/PATH".into(),
    }
}

impl Value for Vec<Place> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let words: Vec<&str> = given.all().collect();
        if words == ["off"] {
            return Ok(Vec::new());
        }
        let places = words.iter().map(|word| {
            Place::parse(word).map_err(|advice| format!("{word:?} is no address: {advice}"))
        });
        let places = places.collect::<Result<Vec<_>, _>>()?;
        match places.is_empty() {
            false => Ok(places),
            true => Err(format!("needs an address, or off: {kind}")),
        }
    }
}

/// What may be asked for on a listener beside the public ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Topics, publishing and counts.
    pub api: bool,
    /// The figures for Prometheus, which anybody may read who gets there.
    pub metrics: bool,
    /// Everything, upgrades too.
    pub admin: bool,
}

impl Roles {
    /// Somebody who gets there may change something, or read what is in topics.
    pub fn needs_trust(self) -> bool {
        self.api || self.admin
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = [
            (self.admin, "admin"),
            (self.api, "api"),
            (self.metrics, "metrics"),
        ];
        let names = roles
            .into_iter()
            .filter_map(|(has, name)| has.then_some(name));
        out.write_str(&names.collect::<Vec<_>>().join("+"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(word: &str) -> Place {
        Place::parse(word).unwrap()
    }

    #[test]
    fn a_place_is_an_address_or_a_socket_and_is_shown_as_it_was_written() {
        for word in ["127.0.0.1:8000", "[::1]:9", "unix:/run/f.sock"] {
            assert_eq!(place(word).to_string(), word);
        }
        assert_eq!(place("[::ffff:127.0.0.1]:1"), place("127.0.0.1:1"));
    }

    #[test]
    fn what_is_no_place_is_told_how_to_write_it() {
        for (word, advice) in [
            ("localhost:8000", "127.0.0.1:8000"),
            (":8000", "0.0.0.0:8000"),
            ("*:8000", "[::]:8000"),
            ("8000", "127.0.0.1:8000"),
            ("127.0.0.1", "127.0.0.1:8000"),
            ("::1", "[::1]:8000"),
            ("/run/f.sock", "unix:/run/f.sock"),
            ("unix:f.sock", "unix:/"),
            ("example.com:80", "IP:PORT"),
            ("127.0.0.1:99999", "IP:PORT"),
        ] {
            let sentence = Place::parse(word).unwrap_err();
            assert!(sentence.contains(advice), "{word}: {sentence}");
        }
    }

    #[test]
    fn only_off_means_no_place() {
        let read = |word: &str| Vec::<Place>::read(&word.into(), &Kind::AddressesOrOff);
        assert_eq!(read("off"), Ok(Vec::new()));
        assert!(read("").is_err());
        let two = read("127.0.0.1:1, unix:/a");
        assert_eq!(two, Ok(vec![place("127.0.0.1:1"), place("unix:/a")]));
    }

    #[test]
    fn places_that_would_be_in_each_others_way_are_known() {
        let overlap = |a: &str, b: &str| place(a).overlaps(&place(b));
        assert!(overlap("0.0.0.0:1", "127.0.0.1:1"));
        assert!(overlap("[::1]:1", "[::]:1"));
        assert!(overlap("127.0.0.1:1", "127.0.0.1:1"));
        assert!(overlap("unix:/a", "unix:/a"));
        assert!(!overlap("0.0.0.0:1", "[::]:1"));
        assert!(!overlap("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!overlap("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!overlap("unix:/a", "unix:/b"));
    }
}
