//! The opening handshake, the server's side (RFC 6455 section 4.2): from a request
//! head to what the connection shall be, and the answer 101.
//!
//! Whether there is room for the connection is not asked here. Called by the
//! acceptor.

use std::ops::RangeInclusive;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

use super::bearer::offered;
use super::clients::keeps_its_window;
use super::head::{Method, Request};
use super::origin::{Origins, check_origin};
use super::query::{Query, name_topic};
use super::reject::Reject;
use crate::protocol::dialect::Dialect;
use crate::protocol::reason::CloseReason;
use crate::protocol::rights::Rights;
use crate::protocol::topic::TopicName;
use crate::protocol::ws::deflate::{self, Agreement};

/// Appended to the key before hashing (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Where clients of the Pusher Channels protocol connect, with the key of their app behind it.
pub const APP_PATH: &str = "/app/";
/// The versions of that protocol that are spoken.
const APP_PROTOCOLS: RangeInclusive<u32> = 5..=7;

/// Where Centrifugo's clients connect.
pub const CENTRIFUGO_PATH: &str = "/connection/websocket";

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
    /// Centrifugo's client protocol in Protobuf.
    CentrifugeProtobuf,
}

impl Subprotocol {
    /// Its name as in `Sec-WebSocket-Protocol`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::CentrifugeProtobuf => "centrifuge-protobuf",
        }
    }
}

/// A handshake that is in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// How the connection will talk.
    pub dialect: Dialect,
    /// The topic that the path names, or `?topic`; none where the client names topics
    /// later.
    pub topic: Option<TopicName>,
    /// `?echo`: the client wants to hear its own messages.
    pub echo: bool,
    /// `?since`: replay what is retained from this offset on.
    pub since: Option<u64>,
    /// `?epoch`: the history that `since` is of, where the client says it.
    pub epoch: Option<u64>,
    /// `?hello`: the first text is to tell where it begins, as browsers cannot read the
    /// headers of the answer.
    pub hello: bool,
    /// The first of the offered ones that is known here.
    pub subprotocol: Option<Subprotocol>,
    /// The value of `Sec-WebSocket-Accept`.
    pub accept: [u8; 28],
    /// What was agreed on permessage-deflate.
    pub deflate: Option<Agreement>,
    /// A token came behind the subprotocol `bearer`, which is to be answered where no other is.
    pub bearer: bool,
    /// What its token gives it.
    pub rights: Option<Arc<Rights>>,
    /// It may not publish to its topic.
    pub read_only: bool,
    /// `?page`: the built-in page asks.
    pub from_page: bool,
    /// The key of the app that the client names, or why it is told to go.
    pub app: Option<Result<Box<str>, CloseReason>>,
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
    let accept = check_handshake(request, origins)?;
    let query = Query::read(request.query().unwrap_or_default())?;
    let topic = name_topic(request.path(), query.topic)?;
    let subprotocol = pick_subprotocol(request)?;
    let dialect = match subprotocol {
        Some(_) if query.offsets => return Err(Reject::Query),
        Some(_) => Dialect::Chat,
        None if query.offsets => Dialect::Numbered,
        None => Dialect::Raw,
    };
    Ok(Upgrade {
        dialect,
        topic: Some(topic),
        echo: query.echo,
        since: query.since,
        epoch: query.epoch,
        hello: query.hello,
        subprotocol,
        accept,
        deflate: deflate.and_then(|policy| agree(request, policy)),
        bearer: offered(request).is_some(),
        rights: None,
        read_only: false,
        from_page: query.page,
        app: None,
    })
}

/// The same for Centrifugo's client protocol. What the query says beside the encoding, and
/// which other subprotocols are offered, is for others.
///
/// # Errors
/// As [`negotiate`].
pub fn negotiate_centrifugo(
    request: &Request<'_>,
    origins: &Origins,
    deflate: Option<deflate::Policy>,
) -> Result<Upgrade, Reject> {
    let accept = check_handshake(request, origins)?;
    let offers = Subprotocol::CentrifugeProtobuf;
    let mut offered = request.elements("sec-websocket-protocol");
    let subprotocol = offered
        .any(|offer| offer == offers.name())
        .then_some(offers);
    let mut pairs = request.query().unwrap_or_default().split('&');
    let named = pairs.any(|pair| matches!(pair, "format=protobuf" | "cf_protocol=protobuf"));
    Ok(Upgrade {
        dialect: match subprotocol.is_some() || named {
            true => Dialect::CentrifugoProtobuf,
            false => Dialect::CentrifugoJson,
        },
        topic: None,
        echo: true,
        since: None,
        epoch: None,
        hello: false,
        subprotocol,
        accept,
        deflate: deflate.and_then(|policy| agree(request, policy)),
        bearer: super::bearer::offered(request).is_some(),
        rights: None,
        read_only: false,
        from_page: false,
        app: None,
    })
}

/// The same for the Pusher Channels protocol, where `is_app` says whether there is an app with
/// a key. Whoever is to stay away is let in to be told so: clients understand no other refusal.
///
/// # Errors
/// As [`negotiate`].
pub fn negotiate_app(
    request: &Request<'_>,
    origins: &Origins,
    deflate: Option<deflate::Policy>,
    key: &str,
    is_app: impl Fn(&str) -> bool,
) -> Result<Upgrade, Reject> {
    let accept = check_handshake(request, origins)?;
    let mut pairs = request.query().unwrap_or_default().split('&');
    let version = pairs.find_map(|pair| pair.strip_prefix("protocol="));
    let version = version.and_then(|version| version.parse().ok());
    let app = match version.is_some_and(|version| APP_PROTOCOLS.contains(&version)) {
        false => Err(CloseReason::AppProtocol),
        true if !is_app(key) => Err(CloseReason::AppUnknown),
        true => Ok(key.into()),
    };
    Ok(Upgrade {
        dialect: Dialect::Pusher,
        topic: None,
        echo: false,
        since: None,
        epoch: None,
        hello: false,
        subprotocol: None,
        accept,
        deflate: deflate.and_then(|policy| agree(request, policy)),
        bearer: false,
        rights: None,
        read_only: false,
        from_page: false,
        app: Some(app),
    })
}

/// What can be agreed with a client on permessage-deflate.
fn agree(request: &Request<'_>, policy: deflate::Policy) -> Option<Agreement> {
    if keeps_its_window(request) {
        return None;
    }
    let values = request.values("sec-websocket-extensions");
    let values: Vec<_> = values
        .filter_map(|value| str::from_utf8(value).ok())
        .collect();
    deflate::negotiate(&values.join(","), policy)
}

/// Checks what is asked of every opening handshake, and works out `Sec-WebSocket-Accept`.
fn check_handshake(request: &Request<'_>, origins: &Origins) -> Result<[u8; 28], Reject> {
    if request.method() != Method::Get {
        return Err(Reject::Method);
    }
    if !request.is_http_1_1() {
        return Err(Reject::HttpVersion);
    }
    if !asks_for_websocket(request) {
        return Err(Reject::NoUpgrade { streams: false });
    }
    if !has_element(request, "connection", "upgrade") {
        return Err(Reject::NoConnectionUpgrade);
    }
    if request.single("sec-websocket-version") != Ok(Some(b"13")) {
        return Err(Reject::WebSocketVersion);
    }
    let accept = accept(check_key(request)?);
    check_origin(request, origins)?;
    Ok(accept)
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

/// The first of the offered subprotocols that is known; `None` where none is offered.
fn pick_subprotocol(request: &Request<'_>) -> Result<Option<Subprotocol>, Reject> {
    // The pair that bears a token stands before them.
    let token = if offered(request).is_some() { 2 } else { 0 };
    let mut offers = request
        .elements("sec-websocket-protocol")
        .skip(token)
        .peekable();
    if offers.peek().is_none() {
        return Ok(None);
    }
    let known = offers.find(|offer| *offer == Subprotocol::Chat.name());
    known
        .map(|_| Some(Subprotocol::Chat))
        .ok_or(Reject::Subprotocol)
}

#[cfg(test)]
pub(super) mod tests;
