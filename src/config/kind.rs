//! What settings accept, and how that is told.

use std::fmt;

use super::log_filter;
use super::memory::Memory;
use super::names::STREAM_NAME_BYTES_MAX;

/// What a setting accepts.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number from, to.
    Count(u64, u64),
    /// A number of microseconds from, to.
    Micros(u64, u64),
    /// A number of milliseconds from, to.
    Millis(u64, u64),
    /// A number of seconds from, to.
    Seconds(u64, u64),
    /// A number of bytes from, to; `64KiB`, `8MiB` and `1GiB` are understood.
    Bytes(u64, u64),
    /// A number of bytes, or `auto` for a part of the memory there is.
    MemoryShare(MemoryShare),
    /// A part of all, from 0 to 1.
    Ratio,
    /// A power of two from, to.
    PowerOfTwo(u64, u64),
    /// A number of threads, or `auto` for the processors there are.
    Cores,
    Choice(&'static [&'static str]),
    AddressesOrOff,
    File,
    LogFilter,
    Origins,
    Hosts,
    Networks,
    /// Inline tables, each the rule of some topics.
    Rules,
    /// Inline tables, each what is granted without a token.
    Grants,
    /// Inline tables, each an app of the Pusher Channels protocol.
    Apps,
    /// Inline tables, each a certificate with its key.
    Certificates,
    Keys,
    Words,
    /// One word, or none.
    Word,
    CookieName,
    /// Addresses of NATS servers.
    Servers,
    /// The address of a collector of traces.
    Collector,
    StreamName,
    SubjectPrefix,
}

/// How much memory something may take.
#[derive(Clone, Copy, Debug)]
pub struct MemoryShare {
    pub min: u64,
    pub max: u64,
    /// `auto` is one such part of the memory there is,
    pub part: u64,
    /// but no less than this, which other defaults rely on,
    pub least: u64,
    /// nor more than this.
    pub most: u64,
}

impl MemoryShare {
    /// What `auto` means where there is so much memory, or nobody knows.
    pub(super) fn auto(self, memory: Option<Memory>) -> u64 {
        let share = memory.map_or(self.most, |memory| memory.bytes / self.part);
        share.clamp(self.least, self.most)
    }
}

/// More cores than this gain nothing and cost two rings each.
pub(super) const CORES_MAX: u64 = 256;

impl Kind {
    /// Whether the setting takes several values.
    pub fn is_list(self) -> bool {
        use Kind::*;
        matches!(
            self,
            AddressesOrOff
                | Origins
                | Hosts
                | Networks
                | Rules
                | Grants
                | Apps
                | Certificates
                | Keys
                | Words
                | Servers
        )
    }

    /// Whether each value is a table.
    pub fn is_table(self) -> bool {
        matches!(
            self,
            Kind::Rules | Kind::Grants | Kind::Apps | Kind::Certificates
        )
    }

    /// Whether an integer of the file can be a value.
    pub fn is_number(self) -> bool {
        use Kind::*;
        matches!(
            self,
            Count(..)
                | Micros(..)
                | Millis(..)
                | Seconds(..)
                | Bytes(..)
                | MemoryShare(..)
                | PowerOfTwo(..)
                | Ratio
                | Cores
        )
    }

    /// The words that a shell can offer, if there are such.
    pub fn values(self) -> &'static [&'static str] {
        match self {
            Kind::Choice(names) => names,
            Kind::Cores | Kind::MemoryShare(_) => &["auto"],
            Kind::AddressesOrOff => &["off"],
            Kind::LogFilter => &log_filter::LEVELS,
            _ => &[],
        }
    }

    /// The placeholder in `--help`.
    pub fn value_name(self) -> &'static str {
        match self {
            Kind::Count(..) | Kind::PowerOfTwo(..) | Kind::Cores => "N",
            Kind::Ratio => "RATIO",
            Kind::Micros(..) => "US",
            Kind::Millis(..) => "MS",
            Kind::Seconds(..) => "SECONDS",
            Kind::Bytes(..) | Kind::MemoryShare(..) => "BYTES",
            Kind::Choice(_) => "CHOICE",
            Kind::AddressesOrOff => "ADDRESS",
            Kind::File => "FILE",
            Kind::LogFilter => "LEVELS",
            Kind::Origins => "ORIGIN",
            Kind::Hosts => "NAME",
            Kind::Networks => "NETWORK",
            Kind::Rules | Kind::Grants | Kind::Apps | Kind::Certificates => "TABLE",
            Kind::Keys => "[ALG:]FILE",
            Kind::Words | Kind::Word => "WORD",
            Kind::Servers | Kind::Collector => "URL",
            Kind::StreamName => "NAME",
            Kind::SubjectPrefix => "PREFIX",
            Kind::CookieName => "NAME",
        }
    }

    pub(super) fn range(self) -> Option<(u64, u64)> {
        match self {
            Kind::Count(min, max)
            | Kind::Micros(min, max)
            | Kind::Millis(min, max)
            | Kind::Seconds(min, max)
            | Kind::Bytes(min, max)
            | Kind::PowerOfTwo(min, max) => Some((min, max)),
            Kind::MemoryShare(share) => Some((share.min, share.max)),
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
            Kind::Micros(min, max) => write!(out, "{min} to {max} microseconds"),
            Kind::Millis(min, max) => write!(out, "{min} to {max} milliseconds"),
            Kind::Seconds(min, max) => write!(out, "{min} to {max} seconds"),
            Kind::Bytes(min, max) => write!(out, "{} to {}", Size(min), Size(max)),
            Kind::MemoryShare(share) => write!(
                out,
                "{} to {}, or auto for {}, but at most 1/{} of the memory that the process may use",
                Size(share.min),
                Size(share.max),
                Size(share.most),
                share.part
            ),
            Kind::Ratio => out.write_str("0 to 1, as 0.01"),
            Kind::PowerOfTwo(min, max) => write!(out, "a power of two, {min} to {max}"),
            Kind::Cores => write!(out, "1 to {CORES_MAX}, or auto for one per processor"),
            Kind::Choice(names) => out.write_str(&names.join(", ")),
            Kind::AddressesOrOff => {
                out.write_str("IP:PORT, as 127.0.0.1:8000 or [::]:8000, unix:/PATH, or off")
            }
            Kind::File => out.write_str("a path"),
            Kind::LogFilter => out.write_str(
                "error, warn, info, debug, trace, off, or a list as info,fanfare::core=debug",
            ),
            Kind::Origins => out.write_str(
                "scheme://host[:port], as https://example.com or https://*.example.com; same-host; \
                 null or file:// for what sends that; * for any",
            ),
            Kind::Hosts => {
                out.write_str("names without port, as live.example.com or *.example.com; * for any")
            }
            Kind::Networks => {
                out.write_str("an IP address or IP/BITS, as 127.0.0.1, 10.0.0.0/8 or fd00::/8")
            }
            Kind::Rules => out.write_str(
                "tables with match, a pattern; subscribe, publish, presence, history, each anyone, token or \
                 nobody; retain_messages_max, retain_bytes_max, retain_ms_max, keep, pace_ms and lag_policy as \
                 the settings; latest, presence_list, joins, deflate, chat, page, each true or false",
            ),
            Kind::Grants => out.write_str(
                "tables with match, a pattern, and subscribe, history (true if not given), publish, \
                 presence (false if not given)",
            ),
            Kind::Apps => out.write_str(
                "tables with id, key, and secret_files, one or two; prefix (none if not given), \
                 client_events (false), client_events_per_s_max (10), connections_max (0, no limit), \
                 event_bytes_max (10KiB), event_channels_max (100), batch_events_max (10), \
                 presence_members_max (100), presence_user_bytes_max (1KiB), webhooks (none), tables with url \
                 and events (all)",
            ),
            Kind::Certificates => out.write_str(
                "tables with chain_file, a certificate and those that vouch for it (PEM), and key_file, its key",
            ),
            Kind::Keys => out.write_str(
                "a path, as /etc/fanfare/issuer.pem, or behind an algorithm, as HS256:/etc/fanfare/secret",
            ),
            Kind::Words => out.write_str("words"),
            Kind::Word => out.write_str("a word"),
            Kind::Servers => out.write_str(
                "nats://HOST:PORT or tls://HOST:PORT, without user and password",
            ),
            Kind::Collector => out.write_str(
                "http://HOST:PORT or https://HOST:PORT, with the path before /v1/traces if there is one",
            ),
            Kind::StreamName => write!(
                out,
                "letters, digits, - and _, {STREAM_NAME_BYTES_MAX} at most"
            ),
            Kind::SubjectPrefix => out.write_str(
                "words of letters, digits, - and _ with dots between them",
            ),
            Kind::CookieName => out.write_str("the name of a cookie"),
        }
    }
}

/// A number of bytes as people write it: `8 MiB`, or plain if it is no round figure.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

pub(super) const SUFFIXES: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

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
