//! Why a request is refused before it becomes a connection, and the label of each
//! cause in metrics and log.
//!
//! The answer to each is made in `response`. Returned by everything that looks at a
//! request.

use std::fmt;

use crate::protocol::rights::{Action, TokenFault};

/// Every key that means something. Others are refused: a misspelt `since` would otherwise
/// lose messages without a word.
pub(super) const KEYS: [&str; 8] = [
    "echo", "epoch", "hello", "offsets", "page", "since", "token", "topic",
];

/// One cause each; [`response`](super::response()) makes the answer that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reject {
    /// A trusted proxy has not told whose connection it is (see [`proxy`](crate::protocol::proxy)).
    #[error("a trusted proxy must begin with a PROXY protocol header")]
    ProxyHeader,
    /// The bytes are no HTTP request.
    #[error("this is not an HTTP/1.1 request")]
    NotHttp,
    /// HTTP in the clear on a port of TLS.
    #[error("this port speaks TLS: ask with https:// or wss://")]
    PlainHttp,
    /// HTTP/1.0 for a WebSocket (RFC 6455 section 4.1), or a version that nobody here speaks.
    #[error("this server speaks HTTP/1.1")]
    HttpVersion,
    /// The head is longer than the limit.
    #[error(
        "the request head has more than {max} bytes: send fewer or smaller cookies and headers, \
         or let the server take more (head_bytes_max)"
    )]
    HeadBytes { max: usize },
    /// The head has more fields than the limit.
    #[error(
        "the request head has more than {max} header fields: send fewer, \
         or let the server take more (head_fields_max)"
    )]
    HeadFields { max: usize },
    /// The head was not whole in time.
    #[error("the request head did not arrive in time")]
    Timeout,
    /// Neither GET nor HEAD nor OPTIONS, or one that opens no WebSocket.
    #[error("pages are had with GET, HEAD and OPTIONS, WebSockets are opened with GET")]
    Method,
    /// The request target is no path.
    #[error("the request target must be a path")]
    Target,
    /// A body, or the announcement of one.
    #[error("a request here must not have a body")]
    Body,
    /// RFC 9112 section 3.2: HTTP/1.1 needs one.
    #[error("the Host header is missing")]
    MissingHost,
    /// RFC 9112 section 3.2: exactly one.
    #[error("the Host header must be there exactly once")]
    DuplicateHost,
    /// RFC 6455 section 4.2.1: no `Upgrade` with the token `websocket`.
    /// Where `streams` of events are to be had as well, who asks is told how.
    #[error("{}", no_upgrade(*.streams))]
    NoUpgrade { streams: bool },
    /// RFC 6455 section 4.2.1: no `Connection` with the token `Upgrade`.
    #[error("this path speaks WebSocket: send Connection: Upgrade")]
    NoConnectionUpgrade,
    /// RFC 6455 section 4.2.1: `Sec-WebSocket-Version` must be there once and say 13.
    #[error("this server speaks WebSocket version 13")]
    WebSocketVersion,
    /// RFC 6455 section 4.2.1.
    #[error("the Sec-WebSocket-Key header is missing")]
    MissingKey,
    /// RFC 6455 section 4.2.1: the key must decode to 16 bytes.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    BadKey,
    /// RFC 6455 section 11.3.1: only once.
    #[error("the Sec-WebSocket-Key header must be there exactly once")]
    DuplicateKey,
    /// The path names no topic.
    #[error("a topic name has 1 to 255 bytes of percent-encoded UTF-8 without control characters")]
    Topic,
    /// The path and the query both name one.
    #[error("a topic is named once: by the path, or by ?topic= with the path /")]
    TopicTwice,
    /// The name begins with what other protocols have their paths below.
    #[error(
        "names that begin with \"{part}\" and a slash, or are that, are kept for other protocols: no topic for WebSocket is called so"
    )]
    Reserved { part: &'static str },
    /// A known key of the query has a value that means nothing.
    #[error(
        "in the query, echo, hello, offsets and page are true, false, 1 or 0, since is a decimal offset, \
         epoch stands beside since and is as Fanfare-Epoch has it, offsets is not for chat, and topic \
         is a topic's name, each at most once"
    )]
    Query,
    /// The query has a key that nobody here knows.
    #[error("{}", unknown_key(.key, .near, .known))]
    QueryKey {
        key: Word,
        near: Option<&'static str>,
        /// Those that mean something there.
        known: &'static [&'static str],
    },
    /// A known key in the query of a stream of events has a value that means nothing.
    #[error(
        "in the query of a stream of events, since is a decimal offset, epoch stands beside since \
         and is as Fanfare-Epoch has it, lastEventId stands without them, and each is there at most once"
    )]
    EventQuery,
    /// A stream of many topics names none, too many, or one twice.
    #[error("a stream here has 1 to {max} topics: name each once, as ?topic=A&topic=B")]
    EventTopics { max: usize },
    /// Topics are asked for by a pattern, where only exact ones are to be had.
    #[error("topics are named exactly here: URI templates, * and match are not offered")]
    TopicSelector,
    /// What a client says it had last is no id of the stream that it asks for.
    #[error(
        "the last event id is none of this stream: it is EPOCH-OFFSET, as ids of events here are, \
         and for many topics one such part for each in their order, with commas between"
    )]
    LastEventId,
    /// None of the offered subprotocols is spoken here. Browsers would drop the connection
    /// after an answer without one, and not say why.
    #[error(
        "none of the offered subprotocols is spoken here: offer \"chat\", \
         or none at all for messages as they are"
    )]
    Subprotocol,
    /// The page that asks comes from a host that is not allowed (RFC 6455 section 10.2).
    #[error("pages of this origin may not connect here: the setting origins names those that may")]
    Origin,
    /// `Host` is a name that this server does not go by (see [`hosts`](super::hosts)).
    #[error(
        "the name in Host is none of this server's: the setting hosts names those that are, \
         beside localhost and IP addresses"
    )]
    Host,
    /// More than one token comes with the request.
    #[error("a request bears one token: in Authorization, ?token=, a cookie, or behind bearer")]
    TokenTwice,
    /// The token is not accepted.
    #[error("{0}")]
    Token(TokenFault),
    /// It takes a token, and none came.
    #[error("without a token one may not {} this topic", .action.phrase())]
    TokenMissing { action: Action },
    /// Neither the token nor a rule allows it.
    #[error("one may not {} this topic here", .action.phrase())]
    Denied { action: Action },
    /// The built-in page asks for a topic that is not for it.
    #[error("this topic is not shown on the built-in page")]
    Page,
    /// The server holds as many connections as it may.
    #[error("the server is full, try again later")]
    ConnectionsMax,
    /// The address holds as many connections as it may.
    #[error("too many connections from this address, try again later")]
    AddressConnectionsMax,
    /// Too many requests are being read at once.
    #[error("too many handshakes at once, try again later")]
    HandshakesMax,
    /// Too many requests of the address are being read at once.
    #[error("too many handshakes from this address at once, try again later")]
    AddressHandshakesMax,
    /// As many connections ask the server API on the public listeners as may.
    #[error("too many connections ask the server API here, try again later")]
    ApiConnectionsMax,
    /// The topic does not exist and there is no room for another.
    #[error("there are too many topics, try again later")]
    TopicsMax,
    /// A cluster keeps the topic, and does not say what it holds.
    #[error("the cluster does not answer, try again later")]
    TopicUnknown,
    /// Nothing lives at this path.
    #[error("there is nothing at this path")]
    NotFound,
    /// The server is stopping.
    #[error("the server is stopping, try again later")]
    Draining,
}

impl Reject {
    /// Every cause once, for the registration of metrics; details are left out.
    pub const ALL: [Self; Self::OWN.len() + TokenFault::ALL.len()] = {
        let mut all = [Self::Draining; Self::OWN.len() + TokenFault::ALL.len()];
        let mut at = 0;
        while at < Self::OWN.len() {
            all[at] = Self::OWN[at];
            at += 1;
        }
        while at < all.len() {
            all[at] = Self::Token(TokenFault::ALL[at - Self::OWN.len()]);
            at += 1;
        }
        all
    };

    /// The causes without those of [`TokenFault`].
    pub(in crate::protocol) const OWN: [Self; 43] = [
        Self::ProxyHeader,
        Self::NotHttp,
        Self::PlainHttp,
        Self::HttpVersion,
        Self::HeadBytes { max: 0 },
        Self::HeadFields { max: 0 },
        Self::Timeout,
        Self::Method,
        Self::Target,
        Self::Body,
        Self::MissingHost,
        Self::DuplicateHost,
        Self::NoUpgrade { streams: false },
        Self::NoConnectionUpgrade,
        Self::WebSocketVersion,
        Self::MissingKey,
        Self::BadKey,
        Self::DuplicateKey,
        Self::Topic,
        Self::TopicTwice,
        Self::Reserved { part: "api" },
        Self::Query,
        Self::QueryKey {
            key: Word::EMPTY,
            near: None,
            known: &[],
        },
        Self::EventQuery,
        Self::EventTopics { max: 0 },
        Self::TopicSelector,
        Self::LastEventId,
        Self::Subprotocol,
        Self::Origin,
        Self::Host,
        Self::TokenTwice,
        Self::TokenMissing {
            action: Action::Subscribe,
        },
        Self::Denied {
            action: Action::Subscribe,
        },
        Self::Page,
        Self::ConnectionsMax,
        Self::AddressConnectionsMax,
        Self::HandshakesMax,
        Self::AddressHandshakesMax,
        Self::ApiConnectionsMax,
        Self::TopicsMax,
        Self::TopicUnknown,
        Self::NotFound,
        Self::Draining,
    ];

    /// The status code of the answer (RFC 9110 section 15).
    pub fn status(&self) -> u16 {
        match self {
            Self::ProxyHeader
            | Self::NotHttp
            | Self::PlainHttp
            | Self::Target
            | Self::Body
            | Self::MissingHost
            | Self::DuplicateHost
            | Self::MissingKey
            | Self::BadKey
            | Self::DuplicateKey
            | Self::Topic
            | Self::TopicTwice
            | Self::Query
            | Self::QueryKey { .. }
            | Self::EventQuery
            | Self::EventTopics { .. }
            | Self::TopicSelector
            | Self::LastEventId
            | Self::Subprotocol
            | Self::TokenTwice => 400,
            Self::Token(_) | Self::TokenMissing { .. } => 401,
            Self::Origin | Self::Host | Self::Denied { .. } | Self::Page => 403,
            Self::NotFound | Self::Reserved { .. } => 404,
            Self::Method => 405,
            Self::Timeout => 408,
            Self::NoUpgrade { .. } | Self::NoConnectionUpgrade | Self::WebSocketVersion => 426,
            Self::HeadBytes { .. } | Self::HeadFields { .. } => 431,
            Self::ConnectionsMax
            | Self::AddressConnectionsMax
            | Self::HandshakesMax
            | Self::AddressHandshakesMax
            | Self::ApiConnectionsMax
            | Self::TopicsMax
            | Self::TopicUnknown
            | Self::Draining => 503,
            Self::HttpVersion => 505,
        }
    }

    /// The cause as the label of a metric.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ProxyHeader => "proxy_header",
            Self::NotHttp => "not_http",
            Self::PlainHttp => "plain_http",
            Self::HttpVersion => "http_version",
            Self::HeadBytes { .. } => "head_bytes",
            Self::HeadFields { .. } => "head_fields",
            Self::Timeout => "timeout",
            Self::Method => "method",
            Self::Target => "target",
            Self::Body => "body",
            Self::MissingHost => "missing_host",
            Self::DuplicateHost => "duplicate_host",
            Self::NoUpgrade { .. } => "no_upgrade",
            Self::NoConnectionUpgrade => "no_connection_upgrade",
            Self::WebSocketVersion => "websocket_version",
            Self::MissingKey => "missing_key",
            Self::BadKey => "bad_key",
            Self::DuplicateKey => "duplicate_key",
            Self::Topic => "topic",
            Self::TopicTwice => "topic_twice",
            Self::Reserved { .. } => "reserved",
            Self::Query => "query",
            Self::QueryKey { .. } => "query_key",
            Self::EventQuery => "event_query",
            Self::EventTopics { .. } => "event_topics",
            Self::TopicSelector => "topic_selector",
            Self::LastEventId => "last_event_id",
            Self::Subprotocol => "subprotocol",
            Self::Origin => "origin",
            Self::Host => "host",
            Self::TokenTwice => "token_twice",
            Self::Token(fault) => fault.name(),
            Self::TokenMissing { .. } => "token_missing",
            Self::Denied { .. } => "denied",
            Self::Page => "page",
            Self::ConnectionsMax => "connections_max",
            Self::AddressConnectionsMax => "address_connections_max",
            Self::HandshakesMax => "handshakes_max",
            Self::AddressHandshakesMax => "address_handshakes_max",
            Self::ApiConnectionsMax => "api_connections_max",
            Self::TopicsMax => "topics_max",
            Self::TopicUnknown => "topic_unknown",
            Self::NotFound => "not_found",
            Self::Draining => "draining",
        }
    }

    /// The place of this cause in [`Reject::ALL`].
    pub fn index(&self) -> usize {
        let mut known = Self::ALL.iter();
        let place = known.position(|known| known.name() == self.name());
        place.expect("ALL names every cause")
    }
}

/// A word of the request, as an answer repeats it: the first bytes, and of those the ones
/// that are printable ASCII.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Word {
    bytes: [u8; Word::BYTES_MAX],
    len: u8,
}

impl Word {
    const BYTES_MAX: usize = 24;
    const EMPTY: Self = Word {
        bytes: [0; Word::BYTES_MAX],
        len: 0,
    };

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len.into()]).expect("it is made of ASCII")
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        let mut word = Word::EMPTY;
        for (room, byte) in word.bytes.iter_mut().zip(text.bytes()) {
            *room = if byte.is_ascii_graphic() { byte } else { b'?' };
            word.len += 1;
        }
        word
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

fn no_upgrade(streams: bool) -> String {
    let websocket = "this path speaks WebSocket: send Upgrade: websocket";
    match streams {
        true => format!("{websocket}, or for Server-Sent Events Accept: text/event-stream"),
        false => websocket.to_owned(),
    }
}

fn unknown_key(key: &Word, near: &Option<&str>, known: &[&str]) -> String {
    let key = key.as_str();
    match near {
        Some(near) => format!("the query key \"{key}\" is unknown here: did you mean \"{near}\"?"),
        // It may be a secret that is meant for somebody else.
        None => {
            let known = known.join(", ");
            format!("the query has a key that is unknown here: there are {known}")
        }
    }
}
