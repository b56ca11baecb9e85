//! The opening handshake, the server's side (RFC 6455 section 4.2): from a request
//! head to what the connection shall be, and the answer 101.
//!
//! Whether there is room for the connection is not asked here. Called by the
//! acceptor.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

use super::head::Request;
use super::origin::Origins;
use super::reject::Reject;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::deflate::{self, Agreement};

/// Appended to the key before hashing (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Clients that draw 24 characters instead of 16 bytes leave bits behind that have no
/// meaning (RFC 4648 section 3.5 lets a decoder accept them).
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// How a connection talks, beyond raw messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subprotocol {
    /// People talking, line by line.
    Chat,
}

impl Subprotocol {
    /// The subprotocol of that name; case counts.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "chat" => Some(Self::Chat),
            _ => None,
        }
    }

    /// Its name as in `Sec-WebSocket-Protocol`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
        }
    }
}

/// A handshake that is in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The topic that the path names.
    pub topic: TopicName,
    /// `?echo`: the client wants to hear its own messages.
    pub echo: bool,
    /// `?since`: replay what is retained from this offset on.
    pub since: Option<u64>,
    /// The first of the offered ones that is known here.
    pub subprotocol: Option<Subprotocol>,
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: [u8; 28],
    /// What was agreed on permessage-deflate.
    pub deflate: Option<Agreement>,
}

/// Whether the request means to open a WebSocket, rightly or not; else it is for a page.
pub fn is_upgrade(request: &Request<'_>) -> bool {
    asks_for_websocket(request)
        || request.values("sec-websocket-key").next().is_some()
        || request.values("sec-websocket-version").next().is_some()
}

/// Checks an opening handshake and works out its answer. Without a policy for it
/// permessage-deflate is not spoken.
///
/// # Errors
/// The first rule of RFC 6455 section 4.2.1, or of this server, that the request breaks.
pub fn negotiate(
    request: &Request<'_>,
    origins: &Origins,
    deflate: Option<deflate::Policy>,
) -> Result<Upgrade, Reject> {
    if request.is_head() {
        return Err(Reject::Method);
    }
    if !request.is_http_1_1() {
        return Err(Reject::HttpVersion);
    }
    if !asks_for_websocket(request) {
        return Err(Reject::NoUpgrade);
    }
    if !has_element(request, "connection", "upgrade") {
        return Err(Reject::NoConnectionUpgrade);
    }
    if request.single("sec-websocket-version") != Ok(Some(b"13")) {
        return Err(Reject::WebSocketVersion);
    }
    let accept = accept(check_key(request)?);
    check_origin(request, origins)?;
    let topic = TopicName::from_path(request.path()).map_err(|_| Reject::Topic)?;
    let (echo, since) = read_query(request.query().unwrap_or_default())?;
    Ok(Upgrade {
        topic,
        echo,
        since,
        subprotocol: request
            .elements("sec-websocket-protocol")
            .find_map(Subprotocol::from_name),
        accept,
        deflate: deflate.and_then(|policy| {
            let values = request.values("sec-websocket-extensions");
            let values: Vec<_> = values
                .filter_map(|value| str::from_utf8(value).ok())
                .collect();
            deflate::negotiate(&values.join(","), policy)
        }),
    })
}

/// The 101 answer; frames follow right behind it. It tells which history the topic has
/// (`Fanfare-Epoch`, in hexadecimal) and which message comes first (`Fanfare-Offset`), so
/// that a client that asked for a replay knows what it has missed.
pub fn answer(upgrade: &Upgrade, epoch: u64, offset: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\n\
          Upgrade: websocket\r\n\
          Connection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    bytes.extend_from_slice(&upgrade.accept);
    if let Some(subprotocol) = upgrade.subprotocol {
        bytes.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        bytes.extend_from_slice(subprotocol.name().as_bytes());
    }
    if let Some(agreed) = &upgrade.deflate {
        bytes.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
        bytes.extend_from_slice(agreed.answer().as_bytes());
    }
    let history = format!("\r\nFanfare-Epoch: {epoch:016x}\r\nFanfare-Offset: {offset}\r\n\r\n");
    bytes.extend_from_slice(history.as_bytes());
    bytes
}

fn asks_for_websocket(request: &Request<'_>) -> bool {
    has_element(request, "upgrade", "websocket")
}

fn has_element(request: &Request<'_>, name: &str, wanted: &str) -> bool {
    request
        .elements(name)
        .any(|element| element.eq_ignore_ascii_case(wanted))
}

fn check_key<'a>(request: &Request<'a>) -> Result<&'a [u8], Reject> {
    let key = match request.single("sec-websocket-key") {
        Ok(Some(key)) => key,
        Ok(None) => return Err(Reject::MissingKey),
        Err(_) => return Err(Reject::DuplicateKey),
    };
    // Sixteen bytes are 24 characters; the decoder wants room for whole groups of three.
    let mut decoded = [0; 18];
    match KEY_BASE64.decode_slice(key, &mut decoded) {
        Ok(16) => Ok(key),
        _ => Err(Reject::BadKey),
    }
}

/// What proves that the key was read (RFC 6455 section 4.2.2, step 5.4).
fn accept(key: &[u8]) -> [u8; 28] {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let len = STANDARD.encode_slice(hash, &mut accept);
    assert_eq!(len, Ok(28), "twenty bytes are 28 characters of base64");
    accept
}

fn check_origin(request: &Request<'_>, origins: &Origins) -> Result<(), Reject> {
    match request.single("origin") {
        Ok(None) => Ok(()),
        Ok(Some(origin)) if origins.allow(origin, request.host()) => Ok(()),
        _ => Err(Reject::Origin),
    }
}

/// `echo` and `since`; other keys are for somebody else.
fn read_query(query: &str) -> Result<(bool, Option<u64>), Reject> {
    let (mut echo, mut since) = (None, None);
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let repeated = match key {
            "echo" => echo.replace(read_bool(value)?).is_some(),
            "since" => since.replace(read_offset(value)?).is_some(),
            _ => false,
        };
        if repeated {
            return Err(Reject::Query);
        }
    }
    Ok((echo.unwrap_or(false), since))
}

fn read_bool(value: &str) -> Result<bool, Reject> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Reject::Query),
    }
}

fn read_offset(value: &str) -> Result<u64, Reject> {
    // `parse` alone would take a plus sign.
    if !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Reject::Query);
    }
    value.parse().map_err(|_| Reject::Query)
}

#[cfg(test)]
mod tests;
