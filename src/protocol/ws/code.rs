//! Close codes that this server sends (RFC 6455 section 7.4.1 and the IANA registry).

/// The purpose has been fulfilled.
pub const NORMAL: u16 = 1000;
/// The server goes down or the client leaves its page.
pub const GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A message is not of its type: text that is not UTF-8.
pub const INVALID_PAYLOAD: u16 = 1007;
/// A message breaks the server's policy.
pub const POLICY: u16 = 1008;
/// A message is larger than the server accepts.
pub const TOO_BIG: u16 = 1009;
/// The server met a condition that it did not expect.
pub const INTERNAL: u16 = 1011;
/// The server restarts: come back.
pub const SERVICE_RESTART: u16 = 1012;
/// The server cannot go on now, for instance with a subscriber that lags: come back later.
pub const TRY_AGAIN_LATER: u16 = 1013;
