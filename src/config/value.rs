//! How one value is read, be it from the file or from the command line.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::thread;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

/// What a setting accepts.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number from, to.
    Count(u64, u64),
    /// A number of bytes from, to; `64KiB`, `8MiB` and `1GiB` are understood.
    Bytes(u64, u64),
    /// A power of two from, to.
    PowerOfTwo(u64, u64),
    /// A number of threads, or `auto` for the processors there are.
    Cores,
    Choice(&'static [&'static str]),
    Addresses,
    AdminAddress,
    File,
    LogFilter,
    Origins,
    Networks,
}

/// More cores than this gain nothing and cost two rings each.
const CORES_MAX: u64 = 256;

impl Kind {
    /// Whether the setting takes several values.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::Addresses | Kind::Origins | Kind::Networks)
    }

    /// Whether an integer of the file can be a value.
    pub fn is_number(self) -> bool {
        use Kind::*;
        matches!(self, Count(..) | Bytes(..) | PowerOfTwo(..) | Cores)
    }

    /// The placeholder in `--help`.
    pub fn value_name(self) -> &'static str {
        match self {
            Kind::Count(..) | Kind::PowerOfTwo(..) | Kind::Cores => "N",
            Kind::Bytes(..) => "BYTES",
            Kind::Choice(_) => "CHOICE",
            Kind::Addresses | Kind::AdminAddress => "ADDR:PORT",
            Kind::File => "FILE",
            Kind::LogFilter => "LEVELS",
            Kind::Origins => "ORIGIN",
            Kind::Networks => "NETWORK",
        }
    }

    fn range(self) -> Option<(u64, u64)> {
        match self {
            Kind::Count(min, max) | Kind::Bytes(min, max) | Kind::PowerOfTwo(min, max) => {
                Some((min, max))
            }
            Kind::Cores => Some((1, CORES_MAX)),
            _ => None,
        }
    }
}

/// The allowed values, in words that fit after "allowed:".
impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match *self {
            Kind::Count(min, max) => write!(out, "{min} to {max}"),
            Kind::Bytes(min, max) => write!(out, "{} to {}", Size(min), Size(max)),
            Kind::PowerOfTwo(min, max) => write!(out, "a power of two, {min} to {max}"),
            Kind::Cores => write!(out, "1 to {CORES_MAX}, or auto for one per processor"),
            Kind::Choice(names) => out.write_str(&names.join(", ")),
            Kind::Addresses => out.write_str("IP:PORT, as 127.0.0.1:8000 or [::]:8000"),
            Kind::AdminAddress => out.write_str("IP:PORT, unix:/PATH, or off"),
            Kind::File => out.write_str("a path"),
            Kind::LogFilter => out.write_str(
                "error, warn, info, debug, trace, off, or a list as info,fanfare::core=debug",
            ),
            Kind::Origins => out.write_str(
                "scheme://host[:port], as https://example.com or https://*.example.com; * for any",
            ),
            Kind::Networks => {
                out.write_str("an IP address or IP/BITS, as 127.0.0.1, 10.0.0.0/8 or fd00::/8")
            }
        }
    }
}

/// A number of bytes as people write it: `8 MiB`, or plain if it is no round figure.
#[derive(Clone, Copy)]
pub(super) struct Size(pub u64);

const SUFFIXES: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        for (suffix, shift) in SUFFIXES {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return write!(out, "{} {suffix}", self.0 >> shift);
            }
        }
        write!(out, "{}", self.0)
    }
}

/// The words that were given for one setting, one or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given(pub Vec<String>);

impl From<&str> for Given {
    fn from(text: &str) -> Self {
        Given(vec![text.to_owned()])
    }
}

impl Given {
    fn one(&self, kind: &Kind) -> Result<&str, String> {
        match self.0.as_slice() {
            [one] => Ok(one.trim()),
            _ => Err(format!("takes one value, allowed: {kind}")),
        }
    }

    /// Lists may be repeated or separated by commas.
    fn all(&self) -> impl Iterator<Item = &str> {
        let words = self.0.iter().flat_map(|text| text.split(','));
        words.map(str::trim).filter(|word| !word.is_empty())
    }
}

/// Reads a field's type from the words given for it.
pub(super) trait Value: Sized {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String>;
}

fn refuse<T>(word: &str, kind: &Kind) -> Result<T, String> {
    Err(format!("{word:?} is not allowed, allowed: {kind}"))
}

fn read_number(given: &Given, kind: &Kind) -> Result<u64, String> {
    let word = given.one(kind)?;
    if matches!(kind, Kind::Cores) && word == "auto" {
        return Ok(thread::available_parallelism().map_or(1, |n| (n.get() as u64).min(CORES_MAX)));
    }
    let bytes = matches!(kind, Kind::Bytes(..));
    let (digits, shift) = SUFFIXES
        .iter()
        .filter(|_| bytes)
        .find_map(|(suffix, shift)| Some((word.strip_suffix(suffix)?.trim_end(), *shift)))
        .unwrap_or((word, 0));
    // A leading sign or underscore is no number, `1_000` is.
    let plain = digits.starts_with(|c: char| c.is_ascii_digit());
    let number = digits.replace('_', "").parse::<u64>();
    let (Ok(number), true) = (number, plain) else {
        return refuse(word, kind);
    };
    let (min, max) = kind.range().expect("numbers have a range");
    let number = number.saturating_mul(1 << shift);
    let fits = (min..=max).contains(&number);
    if !fits || matches!(kind, Kind::PowerOfTwo(..)) && !number.is_power_of_two() {
        return Err(format!("{word} is not allowed, allowed: {kind}"));
    }
    Ok(number)
}

macro_rules! numbers {
    ($($type:ty)*) => { $(
        impl Value for $type {
            fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
                let number = read_number(given, kind)?;
                Self::try_from(number).map_err(|_| format!("{number} is too large for this machine"))
            }
        }
    )* };
}
numbers!(u16 u64 usize);

impl Value for String {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let word = given.one(kind)?;
        if matches!(kind, Kind::LogFilter) && EnvFilter::try_new(word).is_err() {
            return refuse(word, kind);
        }
        Ok(word.to_owned())
    }
}

impl Value for Option<PathBuf> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let word = given.one(kind)?;
        Ok((!word.is_empty()).then(|| word.into()))
    }
}

impl Value for Vec<SocketAddr> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let words = given.all();
        let addresses = words
            .map(|word| word.parse().or_else(|_| refuse(word, kind)))
            .collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(format!("needs at least one address: {kind}"));
        }
        Ok(addresses)
    }
}

impl Value for Vec<IpNet> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let network = |word: &str| match word.parse::<IpAddr>() {
            Ok(ip) => Ok(IpNet::from(ip)),
            Err(_) => word.parse().or_else(|_| refuse(word, kind)),
        };
        given.all().map(network).collect()
    }
}

impl Value for Vec<String> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let words = given.all().map(str::to_ascii_lowercase);
        words
            .map(|word| {
                if is_origin(&word) {
                    Ok(word)
                } else {
                    refuse(&word, kind)
                }
            })
            .collect()
    }
}

/// RFC 6454 section 6.2: a scheme, a host, perhaps a port; here with `*` as a
/// whole, or as the first label of the host.
fn is_origin(word: &str) -> bool {
    if word == "*" {
        return true;
    }
    let Some((scheme, authority)) = word.split_once("://") else {
        return false;
    };
    let host = authority.strip_prefix("*.").unwrap_or(authority);
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let host_fits = host
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
    scheme_fits && host_fits && !host.is_empty()
}

/// Where the admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    Tcp(SocketAddr),
    Unix(PathBuf),
    Off,
}

impl Value for Admin {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let word = given.one(kind)?;
        if word == "off" {
            return Ok(Admin::Off);
        }
        match word.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Admin::Unix(path.into())),
            _ => word.parse().map(Admin::Tcp).or_else(|_| refuse(word, kind)),
        }
    }
}

macro_rules! choices {
    ($( $(#[doc = $doc:literal])* $type:ident { $( $name:literal => $variant:ident ),* } )*) => { $(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($variant),* }

        impl Value for $type {
            fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
                match given.one(kind)? {
                    $( $name => Ok($type::$variant), )*
                    other => refuse(other, kind),
                }
            }
        }
    )* };
}

choices! {
    /// Whether large sends go out with SEND_ZC.
    Zerocopy { "auto" => Auto, "always" => Always, "never" => Never }
    /// What happens to a subscriber further behind than `lag_bytes_max`.
    LagPolicy { "close" => Close, "skip" => Skip }
    /// Whether permessage-deflate is spoken, and how.
    Deflate { "on" => On, "takeover" => Takeover, "off" => Off }
    /// How a trusted proxy tells a client's address.
    ProxyHeader { "none" => None, "proxy-protocol" => ProxyProtocol, "x-forwarded-for" => XForwardedFor }
    /// The form of the log lines.
    LogFormat { "auto" => Auto, "text" => Text, "json" => Json, "journal" => Journal }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(word: &str) -> Result<usize, String> {
        usize::read(&word.into(), &Kind::Bytes(1, 64 << 20))
    }

    #[test]
    fn sizes_are_plain_grouped_or_with_a_suffix() {
        assert_eq!(bytes("65536"), Ok(65536));
        assert_eq!(bytes("1_048_576"), Ok(1 << 20));
        assert_eq!(bytes("8MiB"), Ok(8 << 20));
        assert_eq!(bytes("64 KiB"), Ok(64 << 10));
    }

    #[test]
    fn a_refused_number_names_what_is_allowed() {
        for word in ["0", "65MiB", "99999999999TiB", "18446744073709551616"] {
            let sentence = bytes(word).unwrap_err();
            assert!(sentence.ends_with("allowed: 1 to 64 MiB"), "{sentence}");
        }
        for word in ["", "x", "-1", "+1", "_1", "8MB", "1.5MiB", "MiB"] {
            assert!(bytes(word).is_err(), "{word}");
        }
        let sentence = u64::read(&"8KiB".into(), &Kind::Count(1, 9)).unwrap_err();
        assert_eq!(sentence, "\"8KiB\" is not allowed, allowed: 1 to 9");
        let sentence = u16::read(&"500".into(), &Kind::PowerOfTwo(16, 1024)).unwrap_err();
        assert_eq!(
            sentence,
            "500 is not allowed, allowed: a power of two, 16 to 1024"
        );
    }

    #[test]
    fn the_admin_listener_is_an_address_a_socket_or_off() {
        let read = |word: &str| Admin::read(&word.into(), &Kind::AdminAddress);
        assert_eq!(read("off"), Ok(Admin::Off));
        assert_eq!(read("[::1]:9"), Ok(Admin::Tcp("[::1]:9".parse().unwrap())));
        assert_eq!(
            read("unix:/run/f.sock"),
            Ok(Admin::Unix("/run/f.sock".into()))
        );
        for word in ["", "localhost", "127.0.0.1", "unix:f.sock", "8001"] {
            assert!(read(word).is_err(), "{word}");
        }
    }

    #[test]
    fn an_origin_is_scheme_and_host_and_no_more() {
        for word in [
            "*",
            "https://example.com",
            "http://*.example.com:8080",
            "http://[::1]:80",
        ] {
            assert!(is_origin(word), "{word}");
        }
        for word in [
            "",
            "example.com",
            "https://",
            "https://a/b",
            "https://a.*.b",
            "://a",
            "*://a",
        ] {
            assert!(!is_origin(word), "{word}");
        }
    }

    #[test]
    fn a_network_is_an_address_or_a_prefix() {
        let read = |word: &str| Vec::<IpNet>::read(&word.into(), &Kind::Networks);
        let networks = read("127.0.0.1, 10.0.0.0/8, fd00::/8").unwrap();
        let holds = |ip: &str| {
            let ip: IpAddr = ip.parse().unwrap();
            networks.iter().any(|network| network.contains(&ip))
        };
        assert!(holds("127.0.0.1") && holds("10.9.9.9") && holds("fd00::1"));
        assert!(!holds("127.0.0.2") && !holds("11.0.0.0") && !holds("::1"));
        assert_eq!(read(""), Ok(Vec::new()));
        for word in ["localhost", "10.0.0.0/33", "10.0.0/8", "*"] {
            assert!(read(word).is_err(), "{word}");
        }
    }

    #[test]
    fn lists_are_repeated_or_separated_by_commas() {
        let given = Given(vec!["127.0.0.1:1, [::1]:2".into(), "127.0.0.1:3".into()]);
        assert_eq!(
            Vec::<SocketAddr>::read(&given, &Kind::Addresses)
                .unwrap()
                .len(),
            3
        );
        assert!(Vec::<SocketAddr>::read(&"".into(), &Kind::Addresses).is_err());
    }
}
