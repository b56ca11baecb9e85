//! How one value is read and checked against its range, be it from the file or from
//! the command line.
//!
//! A refusal is the end of a sentence that `load` begins with the setting's name.
//! Rules about several settings are in `check`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::kind::{CORES_MAX, Kind, SUFFIXES};
use super::memory::memory;
use super::nearest::nearest;
use super::{log_filter, names, units};
use crate::protocol::http::{Hosts, Origins};
use crate::protocol::rights::Grant;

/// The words that were given for one setting, one or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given(pub Vec<String>);

impl From<&str> for Given {
    fn from(text: &str) -> Self {
        Given(vec![text.to_owned()])
    }
}

impl Given {
    pub(super) fn one(&self, kind: &Kind) -> Result<&str, String> {
        match self.0.as_slice() {
            [one] => Ok(one.trim()),
            _ => Err(format!("takes one value, allowed: {kind}")),
        }
    }

    /// Lists may be repeated or separated by commas.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        let words = self.0.iter().flat_map(|text| text.split(','));
        words.map(str::trim).filter(|word| !word.is_empty())
    }
}

/// Reads a field's type from the words given for it.
pub(super) trait Value: Sized {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String>;
}

/// Refuses `word`, with what was probably meant.
pub(super) fn refuse<T>(word: &str, kind: &Kind) -> Result<T, String> {
    let hint = units::advice(word, *kind).or_else(|| match kind {
        Kind::Choice(names) => {
            nearest(word, names.iter().copied()).map(|name| format!("did you mean {name:?}?"))
        }
        _ => None,
    });
    let hint = hint.map_or(String::new(), |hint| format!(" ({hint})"));
    Err(format!("{word:?} is not allowed{hint}, allowed: {kind}"))
}

fn read_number(given: &Given, kind: &Kind) -> Result<u64, String> {
    let word = given.one(kind)?;
    if matches!(kind, Kind::Cores) && word == "auto" {
        return Ok(thread::available_parallelism().map_or(1, |n| (n.get() as u64).min(CORES_MAX)));
    }
    if let Kind::MemoryShare(share) = kind
        && word == "auto"
    {
        return Ok(share.auto(memory()));
    }
    let bytes = matches!(kind, Kind::Bytes(..) | Kind::MemoryShare(..));
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
        let fits = match kind {
            Kind::StreamName => names::is_stream(word),
            Kind::SubjectPrefix => names::is_subject_prefix(word),
            _ => {
                return log_filter::read(word)
                    .map_err(|problem| format!("{problem}, allowed: {kind}"));
            }
        };
        match fits {
            true => Ok(word.to_owned()),
            false => refuse(word, kind),
        }
    }
}

impl Value for Vec<Grant> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        tables(given, kind)
    }
}

/// Inline tables of TOML, one in each word. A command line may give the table's pairs alone.
pub(super) fn tables<T: DeserializeOwned>(given: &Given, kind: &Kind) -> Result<Vec<T>, String> {
    #[derive(Deserialize)]
    struct Whole<T> {
        value: T,
    }
    let words = given.0.iter().filter(|word| !word.trim().is_empty());
    let numbered = words.enumerate().map(|(at, word)| {
        let whole = match word.trim_start().starts_with('{') {
            true => format!("value = {word}"),
            false => format!("value = {{ {word} }}"),
        };
        let table = toml::from_str::<Whole<T>>(&whole).map(|whole| whole.value);
        table.map_err(|error| {
            let problem = error.message().lines().collect::<Vec<_>>().join(", ");
            format!("number {}: {problem}, allowed: {kind}", at + 1)
        })
    });
    numbered.collect()
}

impl Value for Vec<String> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let read = |word: &str| match kind {
            Kind::Servers => names::server(word).or_else(|shown| refuse(shown, kind)),
            _ => Ok(word.to_owned()),
        };
        given.all().map(read).collect()
    }
}

impl Value for Option<String> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let word = given.one(kind)?;
        // RFC 6265 section 4.1.1: a token of RFC 9110.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let fits = match kind {
            Kind::Word => !word.contains(|c: char| c.is_whitespace() || c.is_control()),
            _ => word.bytes().all(allowed),
        };
        if !fits {
            return refuse(word, kind);
        }
        Ok((!word.is_empty()).then(|| word.to_owned()))
    }
}

impl Value for Option<PathBuf> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let word = given.one(kind)?;
        Ok((!word.is_empty()).then(|| word.into()))
    }
}

impl Value for Vec<IpNet> {
    fn read(given: &Given, kind: &Kind) -> Result<Self, String> {
        let network = |word: &str| match word.parse::<IpAddr>() {
            Ok(ip) => Ok(canonical(IpNet::from(ip))),
            Err(_) => word.parse().map(canonical).or_else(|_| refuse(word, kind)),
        };
        given.all().map(network).collect()
    }
}

/// Peers are compared as what they are: an IPv4 address in the clothes of IPv6
/// is one of IPv4, and so is a network of such. Bits behind the prefix are nothing.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network.addr().to_canonical() {
        IpAddr::V4(v4) if !network.addr().is_ipv4() => {
            let bits = network.prefix_len().checked_sub(128 - 32);
            bits.and_then(|bits| IpNet::new(v4.into(), bits).ok())
        }
        _ => None,
    };
    mapped.unwrap_or(network).trunc()
}

impl Value for Origins {
    fn read(given: &Given, _: &Kind) -> Result<Self, String> {
        let words: Vec<_> = given.all().collect();
        if words.is_empty() {
            return Ok(Origins::same_host());
        }
        Origins::from_list(&words).map_err(|error| error.to_string())
    }
}

impl Value for Hosts {
    fn read(given: &Given, _: &Kind) -> Result<Self, String> {
        let words: Vec<_> = given.all().collect();
        Hosts::from_list(&words).map_err(|error| error.to_string())
    }
}

macro_rules! choices {
    ($( $(#[doc = $doc:literal])* $type:ident { $( $name:literal => $variant:ident ),* } )*) => { $(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($variant),* }

        impl $type {
            /// As one writes it in the settings.
            pub fn name(self) -> &'static str {
                match self { $( $type::$variant => $name, )* }
            }
        }

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
    /// Whether handshakes happen in the ring.
    RingHandshakes { "auto" => Auto, "never" => Never }
    /// How silent connections are asked whether they live.
    Keepalive { "ping" => Ping, "kernel" => Kernel }
    /// What happens to a subscriber further behind than `lag_bytes_max`.
    LagPolicy { "close" => Close, "skip" => Skip, "latest" => Latest }
    /// What keeps a topic's messages.
    Keep { "memory" => Memory, "disk" => Disk, "cluster" => Cluster }
    /// When the link to the NATS servers is TLS.
    ClusterTls { "auto" => Auto, "on" => On }
    /// Where NATS servers keep messages.
    ClusterStorage { "file" => File, "memory" => Memory }
    /// Whether something is done.
    Switch { "on" => On, "off" => Off }
    /// Where errors of Centrifugo's server API are told.
    ErrorMode { "body" => Body, "transport" => Transport }
    /// Whether permessage-deflate is spoken, and how.
    Deflate { "on" => On, "takeover" => Takeover, "off" => Off }
    /// How a trusted proxy tells a client's address.
    ProxyHeader { "none" => None, "proxy-protocol" => ProxyProtocol, "x-forwarded-for" => XForwardedFor }
    /// Whether clients must show certificates.
    ClientAuth { "required" => Required, "optional" => Optional }
    /// A version of TLS.
    TlsVersion { "1.2" => Tls12, "1.3" => Tls13 }
    /// The form of the log lines.
    LogFormat { "auto" => Auto, "text" => Text, "json" => Json, "journal" => Journal }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::kind::MemoryShare;
    use crate::config::memory::Memory;
    use crate::protocol::http::hosts::Via;

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
    fn auto_follows_the_memory_there_is() {
        let share = MemoryShare {
            min: 1,
            max: 1 << 40,
            part: 4,
            least: 16 << 20,
            most: 1 << 30,
        };
        let auto = |bytes| {
            let is_limited = true;
            share.auto(Some(Memory { bytes, is_limited }))
        };
        assert_eq!(auto(512 << 20), 128 << 20);
        assert_eq!(auto(64 << 30), 1 << 30);
        assert_eq!(auto(1 << 20), 16 << 20);
        assert_eq!(share.auto(None), 1 << 30);
        let kind = Kind::MemoryShare(share);
        assert_eq!(u64::read(&"2MiB".into(), &kind), Ok(2 << 20));
        let refused = u64::read(&"2MB".into(), &kind).unwrap_err();
        assert!(
            refused.contains("\"2MiB\"") && refused.contains("or auto"),
            "{refused}"
        );
    }

    #[test]
    fn what_was_meant_is_said() {
        let choice = |word: &str| LagPolicy::read(&word.into(), &Kind::Choice(&["close", "skip"]));
        assert_eq!(
            choice("skpi").unwrap_err(),
            "\"skpi\" is not allowed (did you mean \"skip\"?), allowed: close, skip"
        );
        assert_eq!(
            choice("drop").unwrap_err(),
            "\"drop\" is not allowed, allowed: close, skip"
        );
        assert_eq!(
            bytes("16KB").unwrap_err(),
            "\"16KB\" is not allowed (did you mean \"16KiB\"?), allowed: 1 to 64 MiB"
        );
        let time = u64::read(&"15m".into(), &Kind::Millis(20, 86_400_000)).unwrap_err();
        assert_eq!(
            time,
            "\"15m\" is not allowed (in milliseconds that is 900000), \
             allowed: 20 to 86400000 milliseconds"
        );
    }

    #[test]
    fn hosts_are_names_and_no_more() {
        let read = |word: &str| Hosts::read(&word.into(), &Kind::Hosts);
        let hosts = read("Live.example.com, *.example.org").unwrap();
        assert!(hosts.allow("live.example.com:8000", Via::Proxy));
        assert!(hosts.allow("a.example.org", Via::Proxy));
        assert_eq!(read(""), Ok(Hosts::default()));
        let sentence = read("live.example.com:8000").unwrap_err();
        assert!(sentence.contains("is not a host name"), "{sentence}");
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
        let given = Given(vec!["127.0.0.1, ::1".into(), "10.0.0.0/8".into()]);
        let networks = Vec::<IpNet>::read(&given, &Kind::Networks);
        assert_eq!(networks.unwrap().len(), 3);
    }

    #[test]
    fn networks_are_canonical() {
        let read = |word: &str| Vec::<IpNet>::read(&word.into(), &Kind::Networks).unwrap();
        assert_eq!(read("10.1.2.3/8"), read("10.0.0.0/8"));
        assert_eq!(read("::ffff:10.0.0.0/104"), read("10.0.0.0/8"));
        assert_eq!(read("::ffff:127.0.0.1"), read("127.0.0.1/32"));
        // All of IPv6 is no network of IPv4.
        assert_eq!(read("::/0")[0].to_string(), "::/0");
    }
}
