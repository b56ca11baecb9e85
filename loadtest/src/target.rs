//! Which server is tested, and how a client asks it for a WebSocket (RFC 6455,
//! section 4.1).
//!
//! Called by the scenarios for the address, and by each connection for its request
//! and to check the answer.

use std::net::{SocketAddr, ToSocketAddrs};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use sha1::{Digest, Sha1};
use thiserror::Error;

use crate::dialect::Position;
use crate::shared::TOPIC;
use crate::tls::{Tls, name_of};

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// The server under test and what to say to it.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    /// Over TLS: whom the server's certificate must be for.
    pub name: Option<ServerName<'static>>,
    host: String,
    path: String,
    subprotocol: Option<String>,
    headers: Vec<(String, String)>,
}

/// The server, and the one that publishers connect to where that is another.
#[derive(Clone, Debug)]
pub struct Targets {
    pub server: Target,
    pub of_publishers: Option<Target>,
    /// Where one of them is reached over TLS.
    pub tls: Option<Tls>,
}

impl Targets {
    pub fn of(&self, publishes: bool) -> &Target {
        self.of_publishers
            .as_ref()
            .filter(|_| publishes)
            .unwrap_or(&self.server)
    }
}

/// Why an URL or a header cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    #[error(
        "--url {0}: it must begin with ws:// or wss:// (or http:// or https://, which mean the same)"
    )]
    Scheme(String),
    #[error(
        "--publish-url {0}: with --app it is the address of the HTTP API, as http://host:port or https://host:port"
    )]
    ApiScheme(String),
    #[error("--url {url}: cannot find the host: {reason}")]
    Host { url: String, reason: String },
    #[error("--url {0}: a path holds no spaces and no control characters")]
    Path(String),
    #[error("--header {0:?}: write it as 'Name: value'")]
    Header(String),
}

/// Why a server's answer is no WebSocket.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HandshakeError {
    #[error("the server answered {0} {1:?} where {2} was expected")]
    Status(u16, String, u16),
    #[error("the server's answer is no HTTP: {0}")]
    NotHttp(String),
    #[error("the server's answer is longer than {HEAD_BYTES_MAX} bytes")]
    TooLong,
    #[error("the server's Sec-WebSocket-Accept does not match the key sent to it")]
    Accept,
    #[error("the server's answer lacks '{0}'")]
    Missing(&'static str),
    #[error("the server chose the subprotocol {0:?}, which was not offered")]
    Subprotocol(String),
    #[error("the server chose the extension {0:?}, although none was offered")]
    Extension(String),
}

impl Target {
    /// `url` as `ws://host:port/path`, or with `wss`, where `{topic}` stands for the topic's
    /// number.
    pub fn new(
        url: &str,
        subprotocol: Option<String>,
        headers: &[String],
    ) -> Result<Target, TargetError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| TargetError::Scheme(url.into()))?;
        let over_tls = match scheme {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(TargetError::Scheme(url.into())),
        };
        Target::of_parts(url, rest, over_tls, subprotocol, headers)
    }

    /// Where an HTTP API is, as `http://host:port` or `https://host:port`.
    pub fn of_api(url: &str, headers: &[String]) -> Result<Target, TargetError> {
        let parts = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => Some((false, rest)),
            (None, Some(rest)) => Some((true, rest)),
            (None, None) => None,
        };
        let parts = parts.map(|(over_tls, rest)| (over_tls, rest.trim_end_matches('/')));
        let parts = parts.filter(|(_, rest)| !rest.contains(['/', '?']));
        let (over_tls, rest) = parts.ok_or_else(|| TargetError::ApiScheme(url.into()))?;
        Target::of_parts(url, rest, over_tls, None, headers)
    }

    fn of_parts(
        url: &str,
        rest: &str,
        over_tls: bool,
        subprotocol: Option<String>,
        headers: &[String],
    ) -> Result<Target, TargetError> {
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(split);
        let path = match path {
            "" => "/".to_string(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_string(),
        };
        if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(TargetError::Path(url.into()));
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port {
            host.to_string()
        } else {
            format!("{host}:{}", if over_tls { 443 } else { 80 })
        };
        let address = with_port
            .to_socket_addrs()
            .map_err(|error| error.to_string())
            .and_then(|mut all| all.next().ok_or("it has no address".to_string()))
            .map_err(|reason| TargetError::Host {
                url: url.into(),
                reason,
            })?;
        let headers = headers
            .iter()
            .map(|line| {
                let parts = line.split_once(':').filter(|(name, value)| {
                    !name.trim().is_empty() && !value.contains(['\r', '\n'])
                });
                let (name, value) = parts.ok_or_else(|| TargetError::Header(line.clone()))?;
                Ok((name.trim().to_string(), value.trim().to_string()))
            })
            .collect::<Result<_, _>>()?;
        let name = over_tls.then(|| name_of(host)).map(|name| {
            name.ok_or_else(|| TargetError::Host {
                url: url.into(),
                reason: "no certificate is for such a name".into(),
            })
        });
        Ok(Target {
            address,
            name: name.transpose()?,
            host: host.to_string(),
            path,
            subprotocol,
            headers,
        })
    }

    /// The request of one client. No extension is offered: deflate would make
    /// the sizes on the wire depend on the padding. `since` asks for what came behind a
    /// place, as Fanfare has it.
    pub fn request(&self, topic: u32, key: &[u8; 16], since: Option<&Position>) -> Vec<u8> {
        let mut path = self.path(topic);
        if let Some(Position { epoch, offset }) = since {
            let mark = if path.contains('?') { '&' } else { '?' };
            path += &format!("{mark}since={}&epoch={epoch}", offset + 1);
        }
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n",
            self.host,
            STANDARD.encode(key)
        );
        if let Some(name) = &self.subprotocol {
            head += &format!("Sec-WebSocket-Protocol: {name}\r\n");
        }
        self.end(head)
    }

    /// The request of one client for a stream of events. `since` is where it was.
    pub fn request_stream(&self, topic: u32, since: Option<&Position>) -> Vec<u8> {
        let mut head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n",
            self.path(topic),
            self.host
        );
        if let Some(Position { epoch, offset }) = since {
            head += &format!("Last-Event-ID: {epoch}-{offset}\r\n");
        }
        self.end(head)
    }

    /// The lines of a request's head that are the same for all: the host, and headers.
    pub fn head_lines(&self) -> String {
        let mut head = format!("Host: {}\r\n", self.host);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }

    /// The app's key where the path is that of the Pusher Channels protocol, `/app/KEY`.
    pub fn app_key(&self) -> Option<&str> {
        let behind = self.path.split_once("/app/")?.1;
        let key = behind.split(['/', '?']).next()?;
        (!key.is_empty()).then_some(key)
    }

    fn path(&self, topic: u32) -> String {
        self.path.replace(TOPIC, &topic.to_string())
    }

    fn end(&self, mut head: String) -> Vec<u8> {
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        head.into_bytes()
    }

    /// The length of the head of a stream once it is complete and right, `None` while more of
    /// it must come.
    pub fn check_stream(bytes: &[u8]) -> Result<Option<usize>, HandshakeError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut headers);
        let Some(length) = parse(&mut answer, bytes)? else {
            return Ok(None);
        };
        expect(&answer, 200)?;
        let mut types = answer.headers.iter();
        let is_stream = types.any(|header| {
            header.name.eq_ignore_ascii_case("content-type")
                && header.value.starts_with(b"text/event-stream")
        });
        match is_stream {
            true => Ok(Some(length)),
            false => Err(HandshakeError::Missing("Content-Type: text/event-stream")),
        }
    }

    /// The length of the answer's head once it is complete and right, `None`
    /// while more of it must come.
    pub fn check_answer(
        &self,
        bytes: &[u8],
        key: &[u8; 16],
    ) -> Result<Option<usize>, HandshakeError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut headers);
        let Some(length) = parse(&mut answer, bytes)? else {
            return Ok(None);
        };
        expect(&answer, 101)?;
        let find = |name: &str| {
            let found = (answer.headers.iter()).find(|h| h.name.eq_ignore_ascii_case(name));
            found.map(|h| String::from_utf8_lossy(h.value).trim().to_string())
        };
        if !find("upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket")) {
            return Err(HandshakeError::Missing("Upgrade: websocket"));
        }
        if !find("connection").is_some_and(|v| v.to_ascii_lowercase().contains("upgrade")) {
            return Err(HandshakeError::Missing("Connection: Upgrade"));
        }
        if find("sec-websocket-accept") != Some(accept_for(key)) {
            return Err(HandshakeError::Accept);
        }
        if let Some(extension) = find("sec-websocket-extensions") {
            return Err(HandshakeError::Extension(extension));
        }
        if let Some(chosen) = find("sec-websocket-protocol") {
            let offered = self.subprotocol.iter().flat_map(|all| all.split(','));
            if !offered.map(str::trim).any(|name| name == chosen) {
                return Err(HandshakeError::Subprotocol(chosen));
            }
        }
        Ok(Some(length))
    }
}

fn parse<'h, 'b>(
    answer: &mut httparse::Response<'h, 'b>,
    bytes: &'b [u8],
) -> Result<Option<usize>, HandshakeError> {
    match answer.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => Ok(Some(length)),
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => Ok(None),
        Ok(httparse::Status::Partial) => Err(HandshakeError::TooLong),
        Err(error) => Err(HandshakeError::NotHttp(error.to_string())),
    }
}

fn expect(answer: &httparse::Response<'_, '_>, wanted: u16) -> Result<(), HandshakeError> {
    let code = answer.code.unwrap_or(0);
    if code != wanted {
        let reason = answer.reason.unwrap_or("").to_string();
        return Err(HandshakeError::Status(code, reason, wanted));
    }
    Ok(())
}

/// Where a client begins, by the answer's head as Fanfare has it, and whether it misses
/// nothing of what it has asked for. `None` if the head does not tell.
pub fn resumed_at(head: &[u8]) -> Option<(Position, bool)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    answer.parse(head).ok()?;
    let find = |name: &str| {
        let mut found = answer.headers.iter();
        let found = found.find(|h| h.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let next: u64 = find("fanfare-next")?.parse().ok()?;
    let position = Position {
        epoch: find("fanfare-epoch")?.to_string(),
        offset: next.checked_sub(1)?,
    };
    Some((position, find("fanfare-resume") == Some("exact")))
}

fn accept_for(key: &[u8; 16]) -> String {
    let text = STANDARD.encode(key) + GUID;
    STANDARD.encode(Sha1::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, TargetError> {
        Target::new(url, Some("chat, superchat".into()), &["X-Team: red".into()])
    }

    #[test]
    fn the_accept_value_is_that_of_the_rfc() {
        assert_eq!(
            accept_for(b"the sample nonce"),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn a_request_names_topic_host_protocol_and_headers() {
        let target = target("ws://127.0.0.1:8000/bench-{topic}?echo=true").unwrap();
        let text = String::from_utf8(target.request(7, &[0; 16], None)).unwrap();
        assert!(text.starts_with("GET /bench-7?echo=true HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"));
        assert!(text.contains("\r\nSec-WebSocket-Protocol: chat, superchat\r\n"));
        assert!(text.contains("\r\nX-Team: red\r\n"));
        assert!(text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn who_comes_back_asks_for_what_is_behind_its_place_and_reads_where_it_goes_on() {
        let position = Position {
            epoch: "5a0c".into(),
            offset: 7,
        };
        for (path, wanted) in [
            ("a-{topic}", "GET /a-2?since=8&epoch=5a0c HTTP"),
            ("?topic={topic}", "GET /?topic=2&since=8&epoch=5a0c HTTP"),
        ] {
            let target = target(&format!("ws://127.0.0.1:8000/{path}")).unwrap();
            let text = String::from_utf8(target.request(2, &[0; 16], Some(&position))).unwrap();
            assert!(text.starts_with(wanted), "{text}");
        }
        let head = "HTTP/1.1 101 x\r\nFanfare-Next: 8\r\nFanfare-Epoch: 5a0c\r\n";
        let exact = format!("{head}Fanfare-Resume: exact\r\n\r\n");
        assert_eq!(resumed_at(exact.as_bytes()), Some((position.clone(), true)));
        let expired = format!("{head}Fanfare-Resume: expired\r\n\r\n");
        assert_eq!(resumed_at(expired.as_bytes()), Some((position, false)));
        assert_eq!(resumed_at(b"HTTP/1.1 101 x\r\n\r\n"), None);
    }

    #[test]
    fn bad_urls_and_headers_say_what_to_write() {
        let error = target("ftp://example/").unwrap_err().to_string();
        assert!(error.contains("must begin with ws://"), "{error}");
        assert!(target("ws://127.0.0.1:8000/a b").is_err());
        let error = Target::new("ws://127.0.0.1/", None, &["nonsense".into()]).unwrap_err();
        assert!(error.to_string().contains("'Name: value'"));
    }

    #[test]
    fn an_url_of_tls_names_whom_the_certificate_must_be_for() {
        assert!(target("ws://127.0.0.1:1/").unwrap().name.is_none());
        for (url, port) in [("wss://localhost:9/a", 9), ("wss://localhost/a", 443)] {
            let target = target(url).unwrap();
            assert_eq!(target.address.port(), port);
            assert_eq!(target.name.unwrap().to_str(), "localhost");
        }
        let api = Target::of_api("https://127.0.0.1:9", &[]).unwrap();
        assert_eq!(api.name.unwrap().to_str(), "127.0.0.1");
    }

    #[test]
    fn an_address_of_an_api_is_one_without_a_path_and_a_path_may_name_an_app() {
        let api = Target::of_api("http://127.0.0.1:8001/", &["X-Team: red".into()]).unwrap();
        assert_eq!(api.address.port(), 8001);
        assert_eq!(api.head_lines(), "Host: 127.0.0.1:8001\r\nX-Team: red\r\n");
        for url in ["ws://127.0.0.1:8001", "http://127.0.0.1:8001/apps"] {
            let error = Target::of_api(url, &[]).unwrap_err().to_string();
            assert!(error.contains("as http://host:port"), "{error}");
        }
        let key = |path: &str| {
            let target = target(&format!("ws://127.0.0.1:1{path}")).unwrap();
            target.app_key().map(str::to_owned)
        };
        assert_eq!(key("/app/k?protocol=7").as_deref(), Some("k"));
        assert_eq!(key("/behind/a/proxy/app/k").as_deref(), Some("k"));
        assert_eq!(key("/app/?protocol=7"), None);
        assert_eq!(key("/bench-{topic}"), None);
    }

    #[test]
    fn an_answer_is_checked_to_the_letter() {
        let target = target("ws://127.0.0.1:1/").unwrap();
        let key = *b"the sample nonce";
        let good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
        assert_eq!(
            target.check_answer(good.as_bytes(), &key),
            Ok(Some(good.len()))
        );
        assert_eq!(target.check_answer(&good.as_bytes()[..60], &key), Ok(None));
        let check = |text: String| target.check_answer(text.as_bytes(), &key).unwrap_err();
        assert_eq!(check(good.replace("s3pP", "s3pQ")), HandshakeError::Accept);
        assert_eq!(
            check("HTTP/1.1 403 Forbidden\r\n\r\n".into()),
            HandshakeError::Status(403, "Forbidden".into(), 101)
        );
        assert_eq!(
            check(good.replace("Protocol: chat", "Protocol: other")),
            HandshakeError::Subprotocol("other".into())
        );
        assert_eq!(
            check(good.replace("Upgrade: WebSocket", "X: y")),
            HandshakeError::Missing("Upgrade: websocket")
        );
    }
}
