//! Which pages may connect (RFC 6455 section 10.2, RFC 6454), and the grammar in
//! which settings name them: what a setting may say and what a request is held
//! against are read by the same code.
//!
//! Called for each opening with an `Origin`, and by `config` for the setting.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use super::head::Request;
use super::reject::Reject;

/// The origins that are let in. Requests without `Origin` come from no browser and always are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    rules: Vec<Rule>,
    /// Requests come over TLS, so that their host's own pages do too.
    over_tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// Any origin.
    Any,
    /// The page came from the host and port that it connects to.
    SameHost,
    /// Sandboxed pages, local files and some devices.
    Null,
    /// `file://`: local files, as the web views of apps say it.
    File,
    /// `scheme://host[:port]`.
    Exact(Origin),
    /// `scheme://*.host[:port]`: hosts below that one, not itself.
    Below(Origin),
}

/// An origin in lower case; the port is there unless the scheme's default is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// An entry of the allow-list that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an origin: write scheme://host or scheme://host:port (as https://example.com), \
     scheme://*.host for all hosts below, same-host, null, file://, or * for any"
)]
pub struct OriginError(String);

impl Default for Origins {
    fn default() -> Self {
        Self::same_host()
    }
}

impl Origins {
    /// Only pages from the host and port that they connect to; the default.
    pub fn same_host() -> Self {
        Self {
            rules: vec![Rule::SameHost],
            over_tls: false,
        }
    }

    /// All pages.
    pub fn any() -> Self {
        Self {
            rules: vec![Rule::Any],
            over_tls: false,
        }
    }

    /// Reads an allow-list. Its entries are `scheme://host[:port]`, `scheme://*.host[:port]`,
    /// `same-host`, `null`, `file://` and `*`; an empty list lets no page in.
    ///
    /// # Errors
    /// The entry that is none of these.
    pub fn from_list<S: AsRef<str>>(entries: &[S]) -> Result<Self, OriginError> {
        let rules = entries.iter().map(|entry| parse_rule(entry.as_ref()));
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
            over_tls: false,
        })
    }

    /// The same for requests that come over TLS: a page that did not is none of the host's own
    /// there, as anybody on the way may have changed it.
    pub fn over_tls(&self) -> Self {
        Self {
            over_tls: true,
            ..self.clone()
        }
    }

    /// Whether a page of `origin` may connect to `host`, both as in the headers.
    pub fn allow(&self, origin: &[u8], host: &str) -> bool {
        let Ok(text) = std::str::from_utf8(origin) else {
            return self.rules.contains(&Rule::Any);
        };
        let origin = Origin::parse(text);
        self.rules.iter().any(|rule| match (rule, &origin) {
            (Rule::Any, _) => true,
            (Rule::Null, _) => text == "null",
            (Rule::File, _) => text == "file://",
            (Rule::SameHost, Some(origin)) => origin.is_host(host, self.over_tls),
            (Rule::Exact(allowed), Some(origin)) => origin == allowed,
            (Rule::Below(allowed), Some(origin)) => origin.is_below(allowed),
            (_, None) => false,
        })
    }
}

impl Origins {
    /// Pages are let in that this machine does not serve itself.
    pub fn are_foreign(&self) -> bool {
        self.rules.iter().any(|rule| match rule {
            Rule::SameHost => false,
            Rule::Exact(origin) => !is_loopback(&origin.host),
            Rule::Any | Rule::Null | Rule::File | Rule::Below(_) => true,
        })
    }

    /// Whether `origin` is one that the list names, or the host itself: not one that anybody's
    /// page can have, as `null`, nor one that `*` lets in.
    pub fn name(&self, origin: &[u8], host: &str) -> bool {
        let text = std::str::from_utf8(origin).ok();
        let parsed = text.and_then(Origin::parse);
        let is_host = parsed.is_some_and(|origin| origin.is_host(host, self.over_tls));
        is_host && self.rules.contains(&Rule::SameHost) || self.list(origin)
    }

    /// Whether `origin` is one that the list names by its host, or by one above that.
    pub fn list(&self, origin: &[u8]) -> bool {
        let text = std::str::from_utf8(origin).ok();
        let Some(origin) = text.and_then(Origin::parse) else {
            return false;
        };
        self.rules.iter().any(|rule| match rule {
            Rule::Any | Rule::Null | Rule::File | Rule::SameHost => false,
            Rule::Exact(allowed) => origin == *allowed,
            Rule::Below(allowed) => origin.is_below(allowed),
        })
    }
}

/// The host of an origin is this machine.
fn is_loopback(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bare.unwrap_or(host).parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

fn parse_rule(entry: &str) -> Result<Rule, OriginError> {
    let bad = || OriginError(entry.to_owned());
    Ok(match entry {
        "*" => Rule::Any,
        "same-host" => Rule::SameHost,
        "null" => Rule::Null,
        "file://" => Rule::File,
        _ => {
            let mut origin = Origin::parse(entry).ok_or_else(bad)?;
            match origin.host.strip_prefix("*.").map(str::to_owned) {
                Some(host) if !host.is_empty() => {
                    origin.host = host;
                    Rule::Below(origin)
                }
                _ => Rule::Exact(origin),
            }
            .checked()
            .ok_or_else(bad)?
        }
    })
}

impl Rule {
    /// A star anywhere but in front would never match: better said at start.
    fn checked(self) -> Option<Self> {
        match &self {
            Self::Exact(origin) | Self::Below(origin) if origin.host.contains('*') => None,
            _ => Some(self),
        }
    }
}

impl Origin {
    /// `scheme://host[:port]` and nothing else (RFC 6454 section 7).
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme_ok = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        if scheme.is_empty() || !scheme.bytes().all(scheme_ok) {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_port(authority)?;
        Some(Self {
            host: canonical(host)?.to_ascii_lowercase(),
            port: port.or_else(|| default_port(&scheme)),
            scheme,
        })
    }

    /// Whether the `Host` header names this origin. It has no scheme, so its default port
    /// is taken from the origin's: a proxy may have ended TLS in front of us. Where that was
    /// done here, the scheme is known.
    fn is_host(&self, host: &str, over_tls: bool) -> bool {
        let default = default_port(&self.scheme);
        let fits = !over_tls || matches!(&*self.scheme, "https" | "wss");
        fits && default.is_some()
            && split_port(host).is_some_and(|(name, port)| {
                canonical(name).is_some_and(|name| name.eq_ignore_ascii_case(&self.host))
                    && port.or(default) == self.port
            })
    }

    fn is_below(&self, parent: &Self) -> bool {
        self.scheme == parent.scheme
            && self.port == parent.port
            && self
                .host
                .strip_suffix(&parent.host)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty())
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// An IPv6 address can be written in many ways; hosts that are none stay as they are.
/// `None` if there is no address between the brackets.
fn canonical(host: &str) -> Option<Cow<'_, str>> {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => {
            let address: Ipv6Addr = address.parse().ok()?;
            Some(format!("[{address}]").into())
        }
        None => Some(host.into()),
    }
}

/// Host and port of an authority without user; an IPv6 address keeps its brackets.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_ok = |host: &str| {
        let forbidden = |b: u8| b <= b' ' || b == 0x7F || b"/?#@\\,".contains(&b);
        !host.is_empty() && !host.bytes().any(forbidden)
    };
    // The last colon starts a port unless it stands inside the brackets of IPv6.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if !host_ok(host) || (host.contains(':') && !bracketed) {
        return None;
    }
    match port {
        None => Some((host, None)),
        Some(port) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            Some((host, Some(port.parse().ok()?)))
        }
        Some(_) => None,
    }
}

/// Checks that the page that asks may, if it is a page.
///
/// # Errors
/// It may not.
pub(in crate::protocol) fn check_origin(
    request: &Request<'_>,
    origins: &Origins,
) -> Result<(), Reject> {
    match request.single("origin") {
        Ok(None) => Ok(()),
        Ok(Some(origin)) if origins.allow(origin, request.host()) => Ok(()),
        _ => Err(Reject::Origin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_tls_a_page_that_came_in_the_clear_is_none_of_the_host() {
        let plain = Origins::from_list(&["same-host", "http://a.example"]).unwrap();
        let over_tls = plain.over_tls();
        for origins in [&plain, &over_tls] {
            assert!(allows(origins, "https://b.example", "b.example"));
            assert!(allows(origins, "https://b.example:8443", "b.example:8443"));
            // It is named by its scheme.
            assert!(allows(origins, "http://a.example", "b.example"));
        }
        for (origin, host) in [
            ("http://b.example", "b.example"),
            ("http://b.example:8443", "b.example:8443"),
        ] {
            assert!(allows(&plain, origin, host));
            assert!(!allows(&over_tls, origin, host));
            assert!(!over_tls.name(origin.as_bytes(), host));
        }
    }

    fn allows(origins: &Origins, origin: &str, host: &str) -> bool {
        origins.allow(origin.as_bytes(), host)
    }

    #[test]
    fn by_default_a_page_may_connect_to_where_it_came_from() {
        let origins = Origins::default();
        for (origin, host) in [
            ("http://localhost:8000", "localhost:8000"),
            ("http://LocalHost:8000", "localhost:8000"),
            ("http://example.com", "example.com"),
            ("http://example.com", "example.com:80"),
            ("http://example.com:80", "example.com"),
            ("https://example.com", "example.com"),
            ("https://example.com", "example.com:443"),
            ("http://[::1]:8000", "[::1]:8000"),
            ("http://[::1]", "[::1]"),
            ("http://[::1]", "[0:0:0:0:0:0:0:1]"),
            ("http://[2001:DB8::1]:8000", "[2001:db8:0::1]:8000"),
        ] {
            assert!(allows(&origins, origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://localhost:8001", "localhost:8000"),
            ("http://localhost", "localhost:8000"),
            ("https://example.com", "example.com:80"),
            ("http://evil.example", "example.com"),
            ("http://example.com.evil", "example.com"),
            ("http://example.com@evil", "evil"),
            ("http://example.com/", "example.com"),
            ("null", "example.com"),
            ("", "example.com"),
            ("example.com", "example.com"),
            ("http://", ""),
            ("file://", ""),
            ("http://::1", "::1"),
            ("http://a:99999", "a:99999"),
            ("http://a:", "a:"),
            ("http://[a]", "[a]"),
        ] {
            assert!(!allows(&origins, origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn a_list_lets_in_what_it_names_and_nothing_else() {
        let list = ["https://example.com", "https://*.example.org:8443", "null"];
        let origins = Origins::from_list(&list).unwrap();
        for origin in [
            "https://example.com",
            "https://example.com:443",
            "https://Example.com",
            "https://a.example.org:8443",
            "https://a.b.example.org:8443",
            "null",
        ] {
            assert!(allows(&origins, origin, "h"), "{origin}");
        }
        for origin in [
            "http://example.com",
            "https://example.com:444",
            "https://sub.example.com",
            "https://example.org:8443",
            "https://.example.org:8443",
            "https://evilexample.org:8443",
            "https://a.example.org",
            "http://h",
        ] {
            assert!(!allows(&origins, origin, "h"), "{origin}");
        }
    }

    #[test]
    fn files_and_devices_are_let_in_where_they_are_named() {
        let origins = Origins::from_list(&["file://", "https://[2001:db8::1]"]).unwrap();
        assert!(allows(&origins, "file://", "h"));
        assert!(allows(&origins, "https://[2001:db8:0:0::1]:443", "h"));
        for origin in ["null", "file:///", "file://h", "http://h"] {
            assert!(!allows(&origins, origin, "h"), "{origin}");
        }
        let null = Origins::from_list(&["null"]).unwrap();
        assert!(!allows(&null, "file://", "h") && allows(&null, "null", "h"));
    }

    #[test]
    fn same_host_and_others_can_be_combined() {
        let list = ["same-host", "chrome-extension://abcdef"];
        let origins = Origins::from_list(&list).unwrap();
        assert!(allows(&origins, "http://h:1", "h:1"));
        assert!(allows(&origins, "chrome-extension://abcdef", "h:1"));
        assert!(!allows(&origins, "chrome-extension://other", "other"));
    }

    #[test]
    fn any_lets_in_everything_and_an_empty_list_nothing() {
        let none = Origins::from_list::<&str>(&[]).unwrap();
        for origin in ["null", "http://a", "\u{1}"] {
            assert!(allows(&Origins::any(), origin, "h"));
            assert!(!allows(&none, origin, "h"));
        }
        assert!(Origins::any().allow(b"\xff", "h"));
        assert!(!Origins::default().allow(b"\xff", "h"));
    }

    #[test]
    fn an_entry_that_means_nothing_is_named() {
        for entry in [
            "example.com",
            "https://",
            "https://*",
            "https://*.",
            "https://a.*.b",
            "https://a/path",
            "https://a:x",
            "https://a:99999",
            "https://a:",
            "https://::1",
            "https://[::g]",
            "file:///",
            "",
            "Null",
        ] {
            let error = Origins::from_list(&[entry]).unwrap_err();
            assert!(error.to_string().contains(&format!("`{entry}`")));
        }
    }
}
