//! The address of a server that is told something over HTTP.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest address.
const URL_BYTES_MAX: usize = 2048;

/// An `https` address, or an `http` one, which is this machine's unless others are meant too.
///
/// It may hold a secret: shown is no more than the server's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerUrl {
    is_secure: bool,
    /// Without TLS it leads to this machine alone.
    is_near: bool,
    host: Box<str>,
    port: u16,
    /// Path and query.
    target: Box<str>,
}

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    #[error("it must begin with https:// or http://")]
    Scheme,
    #[error("http:// is for this machine alone (localhost, 127.0.0.1, [::1]): write https://")]
    Plain,
    #[error("no user and password are allowed in it: what it has of a secret stands in the path")]
    User,
    #[error("it must not have a part behind #")]
    Fragment,
    #[error("it must name a server, as https://example.com does")]
    Host,
    #[error("the port is a number from 1 to 65535")]
    Port,
    #[error("other characters must be written as % and two digits")]
    Character,
    #[error("it has at most {URL_BYTES_MAX} bytes")]
    TooLong,
}

impl ServerUrl {
    /// One whose `http` leads to this machine alone: what is told there is nobody else's matter.
    ///
    /// # Errors
    /// See [`UrlFault`].
    pub fn parse(text: &str) -> Result<ServerUrl, UrlFault> {
        let url = ServerUrl::parse_any(text)?;
        if !url.is_secure && !is_this_machine(&url.host) {
            return Err(UrlFault::Plain);
        }
        let is_near = true;
        Ok(ServerUrl { is_near, ..url })
    }

    /// One that may lead to any machine.
    ///
    /// # Errors
    /// See [`UrlFault`].
    pub fn parse_any(text: &str) -> Result<ServerUrl, UrlFault> {
        if text.len() > URL_BYTES_MAX {
            return Err(UrlFault::TooLong);
        }
        let (is_secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://"))
        {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(UrlFault::Scheme),
        };
        if rest.contains('#') {
            return Err(UrlFault::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (server, target) = rest.split_at(end);
        if server.contains('@') {
            return Err(UrlFault::User);
        }
        if !target.bytes().all(is_of_targets) {
            return Err(UrlFault::Character);
        }
        let (host, port) = split_port(server)?;
        if !is_host(host) {
            return Err(UrlFault::Host);
        }
        let port = match port {
            None if is_secure => 443,
            None => 80,
            Some(port) => number(port).ok_or(UrlFault::Port)?,
        };
        Ok(ServerUrl {
            is_secure,
            is_near: false,
            host: host.to_ascii_lowercase().into(),
            port,
            target: match target.starts_with('/') {
                true => target.into(),
                false => format!("/{target}").into(),
            },
        })
    }

    /// Whether it is spoken to by TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Whether the server may be at this address, as its name says.
    pub fn may_be_at(&self, ip: IpAddr) -> bool {
        self.is_secure || !self.is_near || ip.is_loopback()
    }

    /// What is at `path`, which begins with a slash, below this address; `None` if that has a
    /// query.
    pub fn below(&self, path: &str) -> Option<ServerUrl> {
        let folder = self.target.trim_end_matches('/');
        (!folder.contains('?')).then(|| ServerUrl {
            target: format!("{folder}{path}").into(),
            ..self.clone()
        })
    }

    /// The server's name, or its address without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as a request has them.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// All of it, which is for no log.
    pub fn text(&self) -> String {
        format!("{self}{}", self.target)
    }

    /// As the header `Host` has it.
    pub fn authority(&self) -> String {
        match (self.is_secure, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

/// The server alone: the rest may be a secret.
impl fmt::Display for ServerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(out, "{scheme}://{}", self.authority())
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}/…")
    }
}

fn split_port(server: &str) -> Result<(&str, Option<&str>), UrlFault> {
    let behind_host = match server.starts_with('[') {
        true => server.find(']').ok_or(UrlFault::Host)? + 1,
        false => server.find(':').unwrap_or(server.len()),
    };
    let (host, port) = server.split_at(behind_host);
    match port.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if port.is_empty() => Ok((host, None)),
        None => Err(UrlFault::Host),
    }
}

fn is_host(host: &str) -> bool {
    let of_names = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    match host.strip_prefix('[') {
        Some(address) => address.trim_end_matches(']').parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(of_names),
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
        || address.parse().is_ok_and(|ip: Ipv6Addr| ip.is_loopback())
}

fn number(port: &str) -> Option<u16> {
    let is_plain = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| is_plain && *port > 0)
}

fn is_of_targets(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_of_this_machine() {
        for (text, shown, target) in [
            ("https://a.example", "https://a.example", "/"),
            (
                "https://A.example:8443/x?y=1",
                "https://a.example:8443",
                "/x?y=1",
            ),
            ("https://10.0.0.1?y", "https://10.0.0.1", "/?y"),
            (
                "https://[2001:db8::1]:444/",
                "https://[2001:db8::1]:444",
                "/",
            ),
            ("http://localhost:80/a%20b", "http://localhost", "/a%20b"),
            ("http://127.0.0.2:8080/", "http://127.0.0.2:8080", "/"),
            ("http://[::1]:81", "http://[::1]:81", "/"),
        ] {
            let url = ServerUrl::parse(text).expect(text);
            assert_eq!((&*url.to_string(), url.target()), (shown, target));
            assert_eq!(url.is_secure(), text.starts_with("https"));
            assert_eq!(ServerUrl::parse(&url.text()), Ok(url));
        }
        let six = ServerUrl::parse("https://[2001:db8::1]/").unwrap();
        assert_eq!((six.host(), six.port()), ("2001:db8::1", 443));
    }

    #[test]
    fn what_is_no_such_address_is_told_why() {
        let long = format!("https://a/{}", "x".repeat(2048));
        for (text, fault) in [
            ("", UrlFault::Scheme),
            ("ftp://a", UrlFault::Scheme),
            ("HTTPS://a", UrlFault::Scheme),
            ("//a", UrlFault::Scheme),
            ("http://a.example/", UrlFault::Plain),
            ("http://10.0.0.1/", UrlFault::Plain),
            ("http://localhost.example/", UrlFault::Plain),
            ("http://[2001:db8::1]/", UrlFault::Plain),
            ("https://ann:secret@a/", UrlFault::User),
            ("https://ann@a", UrlFault::User),
            ("https://a/#b", UrlFault::Fragment),
            ("https://", UrlFault::Host),
            ("https:///x", UrlFault::Host),
            ("https://:443", UrlFault::Host),
            ("https://a b/", UrlFault::Host),
            ("https://é.example/", UrlFault::Host),
            ("https://[::1", UrlFault::Host),
            ("https://[x]/", UrlFault::Host),
            ("https://[::1]x/", UrlFault::Host),
            ("https://a:/", UrlFault::Port),
            ("https://a:0/", UrlFault::Port),
            ("https://a:65536/", UrlFault::Port),
            ("https://a:+1/", UrlFault::Port),
            ("https://a/é", UrlFault::Character),
            ("https://a/ b", UrlFault::Character),
            ("https://a/\r\nX: y", UrlFault::Character),
            (&long, UrlFault::TooLong),
        ] {
            assert_eq!(ServerUrl::parse(text), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn where_others_are_meant_too_http_leads_there() {
        let any = ServerUrl::parse_any("http://collector:4318").unwrap();
        let near = ServerUrl::parse("http://localhost").unwrap();
        let secure = ServerUrl::parse("https://a.example").unwrap();
        let (here, there) = ([127, 0, 0, 1].into(), [10, 0, 0, 1].into());
        assert!(any.may_be_at(here) && any.may_be_at(there));
        assert!(near.may_be_at(here) && !near.may_be_at(there));
        assert!(secure.may_be_at(there));
    }

    #[test]
    fn what_is_below_has_the_path_before_it() {
        let below = |text| {
            let url = ServerUrl::parse_any(text).unwrap();
            url.below("/v1/traces").map(|url| url.target().to_owned())
        };
        assert_eq!(below("http://a").as_deref(), Some("/v1/traces"));
        assert_eq!(below("http://a/b/").as_deref(), Some("/b/v1/traces"));
        assert_eq!(below("http://a/?b"), None);
    }

    #[test]
    fn no_more_than_the_server_is_shown() {
        let url = ServerUrl::parse("https://a.example/secret?token=secret").unwrap();
        assert!(!format!("{url} {url:?}").contains("secret"));
    }
}
