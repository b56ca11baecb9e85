//! Where a daemon is, as people write it: a URL, or the path of a Unix socket.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;
use percent_encoding::percent_decode_str;

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    Tcp {
        /// A name or an IP address, that of IPv6 without brackets.
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
}

/// What is wrong with an address, which is told as far as it holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    #[error(
        "{0:?} is no address: write ws://HOST:PORT, wss://HOST, http://…, https://… or unix:/PATH"
    )]
    Form(String),
    #[error("{0:?}: the scheme is ws, wss, http or https")]
    Scheme(String),
    #[error("{0:?}: who asks is said by --token-file, never in an address")]
    User(String),
    #[error("{0:?}: there is nothing behind the host in an address of a server")]
    Path(String),
    #[error("{0:?}: a query says nothing here, use the options")]
    Query(String),
    #[error("{0:?} names no topic behind the host")]
    NoTopic(String),
    #[error("{0:?}: the topic is not percent-encoded UTF-8")]
    Encoding(String),
}

impl Server {
    /// Reads the address of a server.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn parse(text: &str) -> Result<Server, PlaceError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.starts_with('/') {
                true => Ok(Server::Unix(path.into())),
                false => Err(PlaceError::Form(shown(text))),
            };
        }
        let (server, path) = split(text)?;
        match path.as_str() {
            "" | "/" => Ok(server),
            _ => Err(PlaceError::Path(shown(text))),
        }
    }

    /// Reads a topic that is named by a URL, as pages do: `ws://HOST/TOPIC`. `None` where the
    /// text is no URL, but a topic's name alone.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn with_topic(text: &str) -> Option<Result<(Server, String), PlaceError>> {
        let schemes = ["ws://", "wss://", "http://", "https://"];
        if !schemes.iter().any(|scheme| text.starts_with(scheme)) {
            return None;
        }
        Some(split(text).and_then(|(server, path)| {
            let name = path.strip_prefix('/').unwrap_or_default();
            let name = percent_decode_str(name).decode_utf8();
            let name = name.map_err(|_| PlaceError::Encoding(shown(text)))?;
            match name.is_empty() {
                true => Err(PlaceError::NoTopic(shown(text))),
                false => Ok((server, name.into_owned())),
            }
        }))
    }

    /// What stands in `Host`.
    pub fn authority(&self) -> String {
        match self {
            Server::Tcp { host, port, tls } => {
                let host = match host.contains(':') {
                    true => format!("[{host}]"),
                    false => host.clone(),
                };
                match (port, tls) {
                    (80, false) | (443, true) => host,
                    _ => format!("{host}:{port}"),
                }
            }
            Server::Unix(_) => "localhost".into(),
        }
    }

    pub fn is_over_tls(&self) -> bool {
        matches!(self, Server::Tcp { tls: true, .. })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Tcp { .. } => out.write_str(&self.authority()),
            Server::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// An address as it may be told: without a query, where others put tokens, and without a password.
fn shown(text: &str) -> String {
    let (text, rest) = match text.find(['?', '#']) {
        Some(at) => (&text[..=at], "…"),
        None => (text, ""),
    };
    match text.rsplit_once('@') {
        Some((_, text)) => format!("…@{text}{rest}"),
        None => format!("{text}{rest}"),
    }
}

/// The server of a URL, and the path behind it.
fn split(text: &str) -> Result<(Server, String), PlaceError> {
    let bad = || PlaceError::Form(shown(text));
    let uri: Uri = text.parse().map_err(|_| bad())?;
    let tls = match uri.scheme_str() {
        Some("ws" | "http") => false,
        Some("wss" | "https") => true,
        Some(_) => return Err(PlaceError::Scheme(shown(text))),
        None => return Err(bad()),
    };
    let authority = uri.authority().ok_or_else(bad)?;
    if authority.as_str().contains('@') {
        return Err(PlaceError::User(
            text.split("://").next().unwrap_or_default().into(),
        ));
    }
    if uri.query().is_some() {
        return Err(PlaceError::Query(shown(text)));
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    if host.is_empty() {
        return Err(bad());
    }
    let server = Server::Tcp {
        host: host.to_owned(),
        port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        tls,
    };
    Ok((server, uri.path().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, tls: bool) -> Server {
        Server::Tcp {
            host: host.into(),
            port,
            tls,
        }
    }

    #[test]
    fn servers_are_named_by_urls_and_sockets() {
        for (text, server, authority) in [
            (
                "ws://127.0.0.1:8000",
                tcp("127.0.0.1", 8000, false),
                "127.0.0.1:8000",
            ),
            (
                "http://live.example/",
                tcp("live.example", 80, false),
                "live.example",
            ),
            (
                "wss://live.example",
                tcp("live.example", 443, true),
                "live.example",
            ),
            ("https://[::1]:8443", tcp("::1", 8443, true), "[::1]:8443"),
            ("unix:/run/a", Server::Unix("/run/a".into()), "localhost"),
        ] {
            let read = Server::parse(text).unwrap();
            assert_eq!(read, server);
            assert_eq!(read.authority(), authority);
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_told() {
        for (text, part) in [
            ("127.0.0.1:8000", "is no address"),
            ("unix:run/a", "is no address"),
            ("ftp://a", "the scheme is"),
            ("ws://u:secret@a", "--token-file"),
            ("ws://a/b", "nothing behind the host"),
            ("ws://a/?token=x", "the options"),
            ("ws://", "is no address"),
        ] {
            let error = Server::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_a_query_or_a_name() {
        for text in [
            "wss://h/t?token=secret",
            "wss://h/%ff?token=secret",
            "wss://h?token=secret",
            "wss://h h/t?token=secret",
            "ws://h/t#secret",
            "ws://h h/#secret",
            "ftp://h?secret",
            "ftp://u:secret@h/",
            "ws://u:sec ret@h/",
            "u:secret@h",
            "unix:h?secret",
        ] {
            let error = Server::parse(text).unwrap_err().to_string();
            assert!(!error.contains("sec"), "{error}");
            if let Some(Err(error)) = Server::with_topic(text) {
                assert!(!error.to_string().contains("sec"), "{error}");
            }
        }
        let error = Server::parse("wss://h/t?token=secret").unwrap_err();
        assert!(error.to_string().contains("\"wss://h/t?…\""), "{error}");
    }

    #[test]
    fn a_topic_may_be_named_by_its_url() {
        assert!(Server::with_topic("news/sport").is_none());
        let (server, topic) = Server::with_topic("wss://a/news%2Fsport/b")
            .unwrap()
            .unwrap();
        assert_eq!(
            (server, topic.as_str()),
            (tcp("a", 443, true), "news/sport/b")
        );
        for bad in ["ws://a", "ws://a/", "ws://a/%ff", "ws://a/b?since=1"] {
            assert!(Server::with_topic(bad).unwrap().is_err(), "{bad}");
        }
    }
}
