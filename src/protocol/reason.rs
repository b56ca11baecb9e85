//! Why a connection ended: the close code on the wire, the words with it, and the
//! label in the metrics.
//!
//! How a connection is ended is in `core`. Refusals before a connection exists are
//! in `http::reject`.

use super::rights::TokenFault;
use super::tls;
use super::ws::Fault;
use super::ws::code;

/// Why an established connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed as it should.
    Peer,
    /// The peer went away without a word.
    Gone,
    /// The connection was reset or failed.
    Reset,
    /// A chat user said `quit`.
    Quit,
    /// The daemon stops.
    Drain,
    /// Silent for longer than `idle_ms_max`.
    Idle,
    /// Further behind than `lag_bytes_max`.
    Lag,
    /// Its socket has taken nothing for longer than `stall_ms_max`.
    Stall,
    /// More pongs, or answers to commands, asked for than it reads.
    ControlFlood,
    /// More messages or bytes in a second than allowed.
    Rate,
    /// Half-received messages hold as much memory as they may.
    PartialBytes,
    /// A message took longer to arrive than `message_ms_max`.
    SlowMessage,
    /// The topic's log, or all logs, hold as much memory as they may.
    LogFull,
    /// A chat user sent binary.
    ChatBinary,
    /// What the peer sent is no command of its protocol, or comes at the wrong time.
    BadRequest,
    /// One message has more commands than `commands_per_message_max`.
    TooManyCommands,
    /// The peer has not said who it is in time.
    Stale,
    /// It may hear its topic and has published to it.
    ReadOnly,
    /// The rules have changed, and it may not hear its topic any more.
    Denied,
    /// Somebody has asked the server API to end it.
    Disconnected,
    /// It has missed messages of a topic that the server subscribed it to.
    InsufficientState,
    /// Such a subscription has expired.
    SubscriptionExpired,
    /// Its token subscribes it to more topics than one connection may follow.
    TooManyTopics,
    /// There is no room for a topic that its token subscribes it to.
    TopicsFull,
    /// The cluster has not taken a message that it published.
    NotStored,
    /// There is no app with its key.
    AppUnknown,
    /// It speaks a version of the app's protocol that is not spoken here, or does not say which.
    AppProtocol,
    /// The app has as many connections as it may have.
    AppConnections,
    /// Its keys of TLS 1.2 have been used as often as they may be, and that has no others.
    TlsKeyLimit,
    /// Its token has expired, or one that it has sent since is not accepted.
    Token(TokenFault),
    /// What the peer sent over TLS is not what it may send.
    Tls(tls::Fault),
    /// The peer broke the protocol.
    Fault(Fault),
}

const OWN: [CloseReason; 29] = [
    CloseReason::Peer,
    CloseReason::Gone,
    CloseReason::Reset,
    CloseReason::Quit,
    CloseReason::Drain,
    CloseReason::Idle,
    CloseReason::Lag,
    CloseReason::Stall,
    CloseReason::ControlFlood,
    CloseReason::Rate,
    CloseReason::PartialBytes,
    CloseReason::SlowMessage,
    CloseReason::LogFull,
    CloseReason::ChatBinary,
    CloseReason::BadRequest,
    CloseReason::TooManyCommands,
    CloseReason::Stale,
    CloseReason::ReadOnly,
    CloseReason::Denied,
    CloseReason::Disconnected,
    CloseReason::InsufficientState,
    CloseReason::SubscriptionExpired,
    CloseReason::TooManyTopics,
    CloseReason::TopicsFull,
    CloseReason::NotStored,
    CloseReason::AppUnknown,
    CloseReason::AppProtocol,
    CloseReason::AppConnections,
    CloseReason::TlsKeyLimit,
];

impl CloseReason {
    /// All reasons, in the order of [`CloseReason::index`].
    pub fn all() -> impl Iterator<Item = CloseReason> {
        let tokens = TokenFault::ALL.into_iter().map(CloseReason::Token);
        let faults = Fault::ALL.into_iter().map(CloseReason::Fault);
        let tls = tls::Fault::ALL.into_iter().map(CloseReason::Tls);
        OWN.into_iter().chain(tokens).chain(tls).chain(faults)
    }

    /// Its place among all reasons.
    pub fn index(self) -> usize {
        let place = CloseReason::all().position(|reason| reason == self);
        place.expect("all() names every reason")
    }

    /// The label in the metrics and the log.
    pub fn name(self) -> &'static str {
        match self {
            CloseReason::Peer => "peer",
            CloseReason::Gone => "gone",
            CloseReason::Reset => "reset",
            CloseReason::Quit => "quit",
            CloseReason::Drain => "drain",
            CloseReason::Idle => "idle",
            CloseReason::Lag => "lag",
            CloseReason::Stall => "stall",
            CloseReason::ControlFlood => "control_flood",
            CloseReason::Rate => "rate",
            CloseReason::PartialBytes => "partial_bytes",
            CloseReason::SlowMessage => "slow_message",
            CloseReason::LogFull => "log_full",
            CloseReason::ChatBinary => "chat_binary",
            CloseReason::BadRequest => "bad_request",
            CloseReason::TooManyCommands => "too_many_commands",
            CloseReason::Stale => "stale",
            CloseReason::ReadOnly => "read_only",
            CloseReason::Denied => "denied",
            CloseReason::Disconnected => "disconnected",
            CloseReason::InsufficientState => "insufficient_state",
            CloseReason::SubscriptionExpired => "subscription_expired",
            CloseReason::TooManyTopics => "too_many_topics",
            CloseReason::TopicsFull => "topics_full",
            CloseReason::NotStored => "not_stored",
            CloseReason::AppUnknown => "app_unknown",
            CloseReason::AppProtocol => "app_protocol",
            CloseReason::AppConnections => "app_connections_max",
            CloseReason::TlsKeyLimit => "tls_key_limit",
            CloseReason::Token(fault) => fault.name(),
            CloseReason::Tls(fault) => fault.name(),
            CloseReason::Fault(fault) => fault.name(),
        }
    }

    /// The code of the close frame that says so (RFC 6455 section 7.4 and the
    /// registry it opened).
    pub fn code(self) -> u16 {
        match self {
            CloseReason::Peer | CloseReason::Gone | CloseReason::Reset | CloseReason::Quit => {
                code::NORMAL
            }
            CloseReason::Drain | CloseReason::TlsKeyLimit => code::GOING_AWAY,
            CloseReason::Idle
            | CloseReason::Token(_)
            | CloseReason::ReadOnly
            | CloseReason::Denied
            | CloseReason::Disconnected
            | CloseReason::SubscriptionExpired
            | CloseReason::TooManyTopics
            | CloseReason::ControlFlood
            | CloseReason::Rate
            | CloseReason::SlowMessage
            | CloseReason::BadRequest
            | CloseReason::TooManyCommands
            | CloseReason::AppUnknown
            | CloseReason::AppProtocol
            | CloseReason::Tls(_)
            | CloseReason::Stale => code::POLICY,
            CloseReason::Lag
            | CloseReason::Stall
            | CloseReason::PartialBytes
            | CloseReason::InsufficientState
            | CloseReason::TopicsFull
            | CloseReason::NotStored
            | CloseReason::AppConnections
            | CloseReason::LogFull => code::TRY_AGAIN_LATER,
            CloseReason::ChatBinary => UNSUPPORTED_DATA,
            CloseReason::Fault(fault) => fault.code(),
        }
    }

    /// The reason phrase in the close frame: short, for the person who debugs
    /// the peer.
    pub fn phrase(self) -> String {
        match self {
            CloseReason::Peer | CloseReason::Gone | CloseReason::Reset => String::new(),
            CloseReason::Quit => "bye".into(),
            CloseReason::Drain => "the server is stopping".into(),
            CloseReason::Idle => "idle: nothing heard for too long".into(),
            CloseReason::Lag => "lag: too far behind the topic".into(),
            CloseReason::Stall => "stall: what was sent was not taken for too long".into(),
            CloseReason::ControlFlood => {
                "control flood: the peer asks faster than it reads the answers".into()
            }
            CloseReason::Rate => "rate: too many messages or bytes in a second".into(),
            CloseReason::PartialBytes => {
                "the server's memory for partial messages is used up".into()
            }
            CloseReason::SlowMessage => "slow: a message took too long to arrive".into(),
            CloseReason::LogFull => "the memory for this topic's log is used up".into(),
            CloseReason::ChatBinary => "chat is text".into(),
            CloseReason::BadRequest => "bad request".into(),
            CloseReason::TooManyCommands => "bad request: too many commands in one message".into(),
            CloseReason::Stale => "stale: no connect came in time".into(),
            CloseReason::Token(TokenFault::Expired) => {
                "token expired: come back with another one".into()
            }
            CloseReason::Token(fault) => format!("invalid token: {fault}"),
            CloseReason::ReadOnly => "read only: publishing to this topic is not allowed".into(),
            CloseReason::Denied => "denied: this topic may not be heard any more".into(),
            CloseReason::Disconnected => "force disconnect".into(),
            CloseReason::InsufficientState => {
                "insufficient state: come back for what was missed".into()
            }
            CloseReason::SubscriptionExpired => "a subscription has expired".into(),
            CloseReason::TooManyTopics => {
                "the token names more topics than a connection may follow".into()
            }
            CloseReason::TopicsFull => "the server keeps no more topics".into(),
            CloseReason::NotStored => {
                "not stored: as far as is known the cluster has not taken a message".into()
            }
            CloseReason::AppUnknown => "there is no app with this key".into(),
            CloseReason::AppProtocol => {
                "the protocol's versions 5 to 7 are spoken here: say which by ?protocol=".into()
            }
            CloseReason::AppConnections => "the app has as many connections as it may have".into(),
            CloseReason::TlsKeyLimit => "come back for new keys: TLS 1.2 cannot change them".into(),
            CloseReason::Tls(fault) => fault.to_string(),
            CloseReason::Fault(fault) => fault.to_string(),
        }
    }
}

/// RFC 6455 section 7.4.1.
const UNSUPPORTED_DATA: u16 = 1003;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::Reject;

    /// How many variants an enum has, by its source; those of a list of their own,
    /// in round brackets, do not count.
    fn variants(source: &str, name: &str) -> usize {
        let (_, body) = source.split_once(&format!("pub enum {name} {{")).unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        let is_variant = |line: &&str| {
            let line = line.strip_prefix("    ").unwrap_or_default();
            let behind = line.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            let named = line.starts_with(|c: char| c.is_ascii_uppercase());
            named && (behind == "," || behind.starts_with(" {"))
        };
        body.lines().filter(is_variant).count()
    }

    /// The lists give each its place in the counters; one that is missing there would
    /// end the daemon when it first happens.
    #[test]
    fn the_lists_name_every_reason() {
        let rejects = include_str!("http/reject.rs");
        let faults = include_str!("ws/fault.rs");
        assert_eq!(
            variants(include_str!("reason.rs"), "CloseReason"),
            OWN.len()
        );
        assert_eq!(variants(rejects, "Reject"), Reject::OWN.len());
        assert_eq!(variants(faults, "Fault"), Fault::ALL.len());
    }

    #[test]
    fn every_reason_has_a_place_a_label_and_a_code_that_may_be_sent() {
        let mut names = std::collections::HashSet::new();
        for (place, reason) in CloseReason::all().enumerate() {
            assert_eq!(reason.index(), place);
            assert!(names.insert(reason.name()), "{} twice", reason.name());
            assert!(super::super::ws::close::may_be_sent(reason.code()));
            assert!(reason.phrase().len() <= 123);
        }
    }
}
