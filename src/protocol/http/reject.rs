//! Why a request is refused before it becomes a connection, and the label of each
//! cause in metrics and log.
//!
//! The answer to each is made in `response`. Returned by everything that looks at a
//! request.

/// One cause each; [`response`](super::response()) makes the answer that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reject {
    /// A trusted proxy has not told whose connection it is (see [`proxy`](crate::protocol::proxy)).
    #[error("a trusted proxy must begin with a PROXY protocol header")]
    ProxyHeader,
    /// The bytes are no HTTP request.
    #[error("this is not an HTTP/1.1 request")]
    NotHttp,
    /// HTTP/1.0 for a WebSocket (RFC 6455 section 4.1), or a version that nobody here speaks.
    #[error("this server speaks HTTP/1.1")]
    HttpVersion,
    /// The head is longer than the limit, or has more fields than are looked at.
    #[error("the request head is too long")]
    HeadTooLong,
    /// The head was not whole in time.
    #[error("the request head did not arrive in time")]
    Timeout,
    /// Neither GET nor HEAD.
    #[error("only GET and HEAD are answered here")]
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
    #[error("this path speaks WebSocket: send Upgrade: websocket")]
    NoUpgrade,
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
    /// A known key of the query has a value that means nothing.
    #[error("in the query, echo is true or false and since is a decimal offset, each at most once")]
    Query,
    /// The page that asks comes from a host that is not allowed (RFC 6455 section 10.2).
    #[error("pages of this origin may not connect here")]
    Origin,
    /// The server holds as many connections as it may.
    #[error("the server is full, try again later")]
    ConnectionsMax,
    /// The address holds as many connections as it may.
    #[error("too many connections from this address, try again later")]
    AddressConnectionsMax,
    /// Too many requests are being read at once.
    #[error("too many handshakes at once, try again later")]
    HandshakesMax,
    /// The topic does not exist and there is no room for another.
    #[error("there are too many topics, try again later")]
    TopicsMax,
    /// Nothing lives at this path.
    #[error("there is nothing at this path")]
    NotFound,
    /// The server is stopping.
    #[error("the server is stopping, try again later")]
    Draining,
}

impl Reject {
    /// Every cause once, for the registration of metrics.
    pub const ALL: [Self; 25] = [
        Self::ProxyHeader,
        Self::NotHttp,
        Self::HttpVersion,
        Self::HeadTooLong,
        Self::Timeout,
        Self::Method,
        Self::Target,
        Self::Body,
        Self::MissingHost,
        Self::DuplicateHost,
        Self::NoUpgrade,
        Self::NoConnectionUpgrade,
        Self::WebSocketVersion,
        Self::MissingKey,
        Self::BadKey,
        Self::DuplicateKey,
        Self::Topic,
        Self::Query,
        Self::Origin,
        Self::ConnectionsMax,
        Self::AddressConnectionsMax,
        Self::HandshakesMax,
        Self::TopicsMax,
        Self::NotFound,
        Self::Draining,
    ];

    /// The status code of the answer (RFC 9110 section 15).
    pub fn status(&self) -> u16 {
        match self {
            Self::ProxyHeader
            | Self::NotHttp
            | Self::Target
            | Self::Body
            | Self::MissingHost
            | Self::DuplicateHost
            | Self::MissingKey
            | Self::BadKey
            | Self::DuplicateKey
            | Self::Topic
            | Self::Query => 400,
            Self::Origin => 403,
            Self::NotFound => 404,
            Self::Method => 405,
            Self::Timeout => 408,
            Self::NoUpgrade | Self::NoConnectionUpgrade | Self::WebSocketVersion => 426,
            Self::HeadTooLong => 431,
            Self::ConnectionsMax
            | Self::AddressConnectionsMax
            | Self::HandshakesMax
            | Self::TopicsMax
            | Self::Draining => 503,
            Self::HttpVersion => 505,
        }
    }

    /// The cause as the label of a metric.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ProxyHeader => "proxy_header",
            Self::NotHttp => "not_http",
            Self::HttpVersion => "http_version",
            Self::HeadTooLong => "head_too_long",
            Self::Timeout => "timeout",
            Self::Method => "method",
            Self::Target => "target",
            Self::Body => "body",
            Self::MissingHost => "missing_host",
            Self::DuplicateHost => "duplicate_host",
            Self::NoUpgrade => "no_upgrade",
            Self::NoConnectionUpgrade => "no_connection_upgrade",
            Self::WebSocketVersion => "websocket_version",
            Self::MissingKey => "missing_key",
            Self::BadKey => "bad_key",
            Self::DuplicateKey => "duplicate_key",
            Self::Topic => "topic",
            Self::Query => "query",
            Self::Origin => "origin",
            Self::ConnectionsMax => "connections_max",
            Self::AddressConnectionsMax => "address_connections_max",
            Self::HandshakesMax => "handshakes_max",
            Self::TopicsMax => "topics_max",
            Self::NotFound => "not_found",
            Self::Draining => "draining",
        }
    }
}
