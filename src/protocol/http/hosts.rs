//! By which names in `Host` a server is called (RFC 9110 section 7.2).
//!
//! A page from anywhere can point a name of its own at an address inside, 127.0.0.1 above
//! all, and then passes for a page of that server (DNS rebinding): `Origin` and `Host` agree.
//! But its requests carry that name. So where only programs of the same machine come, only
//! names that nobody can point elsewhere are answered to, and those that a list adds.

use std::net::IpAddr;

use super::origin::split_port;

/// The list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Any,
    Exact(String),
    /// `*.name`: names below that one, not itself. Kept with its dot.
    Below(String),
}

/// How a request has come, as far as `Host` is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// From a program of this machine.
    Loopback,
    /// From a proxy that is trusted: it passes on whatever name its clients use.
    Proxy,
    /// From another machine.
    Network,
}

/// An entry of the list that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a host name: write a name, as live.example.com, *.example.com for all names below, or * for any"
)]
pub struct HostError(String);

impl Hosts {
    /// Reads a list of names, `*.name` and `*`, without ports.
    ///
    /// # Errors
    /// The entry that is none of these.
    pub fn from_list<S: AsRef<str>>(entries: &[S]) -> Result<Self, HostError> {
        let rules = entries.iter().map(|entry| parse_rule(entry.as_ref()));
        Ok(Hosts {
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// No name is listed.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// A name is listed that is more than this machine's own.
    pub fn are_foreign(&self) -> bool {
        self.rules.iter().any(|rule| match rule {
            Rule::Exact(name) => !is_local_name(name),
            Rule::Any | Rule::Below(_) => true,
        })
    }

    /// Whether a request that has come so and has this `Host` is answered. Where the list is
    /// empty, any name will do from other machines; the rest is judged strictly.
    pub fn allow(&self, host: &str, via: Via) -> bool {
        (via == Via::Network && self.rules.is_empty()) || is_local_name(host) || self.name(host)
    }

    fn name(&self, host: &str) -> bool {
        let Some((name, _)) = split_port(host) else {
            return self.rules.contains(&Rule::Any);
        };
        // A name may end in the dot of the root.
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        self.rules.iter().any(|rule| match rule {
            Rule::Any => true,
            Rule::Exact(known) => *known == name,
            Rule::Below(parent) => name
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| !rest.is_empty()),
        })
    }
}

/// Whether the value of `Host` is an address or `localhost`, names that nobody else can point
/// elsewhere (RFC 6761 section 6.3).
pub fn is_local_name(host: &str) -> bool {
    let Some((name, _)) = split_port(host) else {
        return false;
    };
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    match bare {
        Some(address) => address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()),
        None => {
            let name = name.to_ascii_lowercase();
            let local = name == "localhost" || name.ends_with(".localhost");
            local || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4())
        }
    }
}

fn parse_rule(entry: &str) -> Result<Rule, HostError> {
    let bad = || HostError(entry.to_owned());
    if entry == "*" {
        return Ok(Rule::Any);
    }
    let name = entry.strip_prefix("*.").unwrap_or(entry);
    let label_fits = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.bytes().all(fits)
    };
    if !name.split('.').all(label_fits) {
        return Err(bad());
    }
    let name = name.to_ascii_lowercase();
    Ok(match entry.len() == name.len() {
        true => Rule::Exact(name),
        false => Rule::Below(format!(".{name}")),
    })
}

/// Names to try what asks [`is_local_name`] with.
#[cfg(test)]
pub(crate) mod samples {
    /// Nobody can point them elsewhere.
    pub(crate) const LOCAL: [&str; 7] = [
        "127.0.0.1:8001",
        "127.0.0.1",
        "[::1]:8001",
        "[::1]",
        "localhost:8001",
        "LocalHost",
        "fanfare.localhost:1",
    ];
    pub(crate) const FOREIGN: [&str; 12] = [
        "evil.example:8001",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        ":8001",
        "localhost:",
        "localhost:99999",
        "[evil]:1",
        "[127.0.0.1]:1",
        "::1",
        "evil.example, localhost",
    ];
}

#[cfg(test)]
mod tests {
    use super::samples::{FOREIGN, LOCAL};
    use super::*;

    fn hosts(list: &[&str]) -> Hosts {
        Hosts::from_list(list).unwrap()
    }

    #[test]
    fn nobody_can_point_a_local_name_elsewhere() {
        for via in [Via::Loopback, Via::Proxy, Via::Network] {
            for list in [&[][..], &["example.com"]] {
                for host in LOCAL {
                    assert!(hosts(list).allow(host, via), "{host} {via:?}");
                }
            }
        }
    }

    #[test]
    fn a_rebound_name_is_refused_unless_it_comes_from_elsewhere_and_there_is_no_list() {
        let none = Hosts::default();
        for host in FOREIGN {
            assert!(!none.allow(host, Via::Loopback), "{host}");
            assert!(!none.allow(host, Via::Proxy), "{host}");
            assert!(none.allow(host, Via::Network), "{host}");
            let some = hosts(&["example.com"]);
            assert!(!some.allow(host, Via::Network), "{host}");
        }
    }

    #[test]
    fn a_list_adds_names_whatever_their_port() {
        let list = hosts(&["live.example.com", "*.Example.org", "node_1"]);
        for host in [
            "live.example.com",
            "Live.Example.com:8443",
            "live.example.com.",
            "a.example.org",
            "a.b.example.org:80",
            "node_1",
        ] {
            assert!(list.allow(host, Via::Proxy), "{host}");
        }
        for host in [
            "example.com",
            "example.org",
            ".example.org",
            "evilexample.org",
            "xlive.example.com",
        ] {
            assert!(!list.allow(host, Via::Proxy), "{host}");
        }
        for host in FOREIGN {
            assert!(hosts(&["*"]).allow(host, Via::Loopback), "{host}");
        }
    }

    #[test]
    fn an_entry_that_means_nothing_is_named() {
        for entry in [
            "", "a b", "http://a", "a:80", "a..b", ".a", "*a", "a.*", "*.", "[::1]",
        ] {
            let error = Hosts::from_list(&[entry]).unwrap_err();
            assert!(error.to_string().contains(&format!("`{entry}`")));
        }
    }
}
