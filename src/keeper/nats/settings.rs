//! What a link is told before it starts, and which of it cannot be.

use std::fmt;
use std::path::PathBuf;

/// Everything that a [`Link`](super::Link) needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses such as `nats://10.0.0.1:4222` or `tls://nats.example`, without user or
    /// password; others of their cluster are learnt.
    pub servers: Vec<String>,
    pub credentials: Credentials,
    pub tls: Tls,
    /// Name of the stream; with several it is followed by `-0`, `-1` and so on.
    pub stream: String,
    /// How many streams share the topics, by hash. Fixed for a cluster's life.
    pub streams: u16,
    /// What all subjects begin with: `PREFIX.in`, `PREFIX.out`, `PREFIX.ctl`.
    pub prefix: String,
    /// How many servers keep each message: 1, 3 or 5.
    pub replicas: u8,
    pub storage: Storage,
    /// Limits of a stream that is made.
    pub limits: Limits,
    /// The most that any topic's rule asks for; an existing stream below it is refused.
    /// 0 asks for nothing.
    pub wanted: Limits,
    /// How long a publisher may send the same message again without doubling it.
    pub duplicates_ms: u64,
    /// How often the end of each followed topic is proven.
    pub tail_check_ms: u64,
    /// How many of these questions a second are asked at most.
    pub tail_checks_per_s_max: u32,
    /// How long an acknowledgement or any other answer is awaited before it is asked again.
    pub answer_ms_max: u64,
    /// How long a proposal waits altogether, NATS being away or not.
    pub propose_ms_max: u64,
    /// Bytes of proposals that may wait; beyond, [`Link::room`](super::Link::room) is 0.
    pub proposed_bytes_max: usize,
    /// Longest payload that will be proposed.
    pub message_bytes_max: usize,
    /// Messages that may wait for the link's thread in one subscription; the client library
    /// drops those beyond, which are fetched later.
    pub unread_messages_max: usize,
    /// Name of this node, for people.
    pub node: String,
    /// Known to all nodes and to nobody else: it proves that a message's origin and user
    /// info come from a node. Without it a random one in the stream's metadata serves.
    pub secret: Option<Secret>,
    /// What stands for a node in the origins of this one's connections. Other origins are not
    /// looked at.
    pub homes: Vec<u64>,
}

/// Who this node is to the NATS servers.
#[derive(Clone, Default)]
pub enum Credentials {
    /// A server that asks for none, or knows this node by its certificate.
    #[default]
    None,
    Password {
        user: String,
        password: String,
    },
    Token(String),
    /// A file with a JWT and a seed, as `nsc` writes it.
    File(PathBuf),
    /// A file with nothing but a user's seed.
    NkeyFile(PathBuf),
}

/// TLS beyond what a `tls://` address asks for.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Use TLS although the server does not ask for it. So do the files below.
    pub required: bool,
    /// Authorities to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key of this client.
    pub identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    #[default]
    File,
    Memory,
}

/// Limits of a stream. 0 stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Messages of each topic.
    pub topic_messages: u64,
    /// Bytes of the whole stream.
    pub bytes: u64,
    pub age_ms: u64,
}

/// Bytes that no log line shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

/// Settings that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("no NATS server is named")]
    NoServer,
    #[error("{0:?} is no address of a NATS server: nats://HOST:PORT or tls://HOST:PORT is one")]
    Server(String),
    #[error("the address of {0} holds a user or a password: these belong to the credentials")]
    UserInAddress(String),
    #[error("{0:?} is no stream name: letters, digits, - and _ make one, of 64 at most")]
    Stream(String),
    #[error(
        "{0:?} is no subject prefix: words of letters, digits, - and _ with dots between them make one"
    )]
    Prefix(String),
    #[error("there are 1 to {STREAMS_MAX} streams, not {0}")]
    Streams(u16),
    #[error("NATS keeps 1, 3 or 5 replicas, not {0}")]
    Replicas(u8),
    #[error(
        "duplicates are known for {0} ms, but 5 minutes are needed: a publisher may try again that late"
    )]
    Duplicates(u64),
    #[error("{0} must not be 0")]
    Zero(&'static str),
    #[error("at least {UNREAD_MESSAGES_MIN} messages must be able to wait, not {0}")]
    Unread(usize),
}

/// Beyond this, more streams only cost.
const STREAMS_MAX: u16 = 64;
/// The shortest memory for duplicates, in ms.
const DUPLICATES_MS_MIN: u64 = 300_000;
/// A page of history must fit.
const UNREAD_MESSAGES_MIN: usize = 64;
const STREAM_NAME_BYTES_MAX: usize = 64;

impl Settings {
    /// Settings for these servers, with everything else at its default.
    pub fn new(servers: Vec<String>) -> Self {
        Settings {
            servers,
            credentials: Credentials::None,
            tls: Tls::default(),
            stream: "FANFARE".into(),
            streams: 1,
            prefix: "fanfare".into(),
            replicas: 1,
            storage: Storage::File,
            limits: Limits {
                topic_messages: 10_000,
                bytes: 10 << 30,
                age_ms: 24 * 60 * 60 * 1000,
            },
            wanted: Limits::default(),
            duplicates_ms: DUPLICATES_MS_MIN,
            tail_check_ms: 5_000,
            tail_checks_per_s_max: 5_000,
            answer_ms_max: 2_000,
            propose_ms_max: 10_000,
            proposed_bytes_max: 64 << 20,
            message_bytes_max: 64 << 10,
            unread_messages_max: 64 << 10,
            node: "node".into(),
            secret: None,
            homes: Vec::new(),
        }
    }

    /// Whether these can be.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.servers.is_empty() {
            return Err(SettingsError::NoServer);
        }
        for server in &self.servers {
            // An address may hold a password, so only what comes behind it is repeated.
            let shown = server.rsplit('@').next().unwrap_or_default();
            if shown != server {
                return Err(SettingsError::UserInAddress(shown.to_owned()));
            }
            let address = server.parse::<async_nats::ServerAddr>().ok();
            let fits = |it: &async_nats::ServerAddr| {
                ["nats", "tls"].contains(&it.scheme()) && !it.host().is_empty()
            };
            if !address.as_ref().is_some_and(fits) {
                return Err(SettingsError::Server(shown.to_owned()));
            }
        }
        if !is_word(&self.stream) || self.stream.len() > STREAM_NAME_BYTES_MAX {
            return Err(SettingsError::Stream(self.stream.clone()));
        }
        if !self.prefix.split('.').all(is_word) {
            return Err(SettingsError::Prefix(self.prefix.clone()));
        }
        if !(1..=STREAMS_MAX).contains(&self.streams) {
            return Err(SettingsError::Streams(self.streams));
        }
        if ![1, 3, 5].contains(&self.replicas) {
            return Err(SettingsError::Replicas(self.replicas));
        }
        if self.duplicates_ms < DUPLICATES_MS_MIN {
            return Err(SettingsError::Duplicates(self.duplicates_ms));
        }
        if self.unread_messages_max < UNREAD_MESSAGES_MIN {
            return Err(SettingsError::Unread(self.unread_messages_max));
        }
        let others = [
            ("tail_check_ms", self.tail_check_ms),
            ("tail_checks_per_s_max", self.tail_checks_per_s_max.into()),
            ("answer_ms_max", self.answer_ms_max),
            ("propose_ms_max", self.propose_ms_max),
            ("proposed_bytes_max", self.proposed_bytes_max as u64),
            ("message_bytes_max", self.message_bytes_max as u64),
        ];
        match others.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(SettingsError::Zero(name)),
            None => Ok(()),
        }
    }

    /// The name of the stream with this number.
    pub(super) fn stream_name(&self, stream: u16) -> String {
        match self.streams {
            1 => self.stream.clone(),
            _ => format!("{}-{stream}", self.stream),
        }
    }
}

fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.bytes().all(plain)
}

impl fmt::Debug for Credentials {
    /// Says of which sort they are, and no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::None => write!(f, "None"),
            Credentials::Password { user, .. } => write!(f, "Password of {user:?}"),
            Credentials::Token(_) => write!(f, "Token"),
            Credentials::File(path) => write!(f, "File({path:?})"),
            Credentials::NkeyFile(path) => write!(f, "NkeyFile({path:?})"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret of {} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new(vec!["nats://127.0.0.1:4222".into()])
    }

    #[test]
    fn the_defaults_can_be() {
        assert_eq!(settings().check(), Ok(()));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let refused = |change: fn(&mut Settings)| {
            let mut changed = settings();
            change(&mut changed);
            changed.check().unwrap_err()
        };
        assert_eq!(refused(|s| s.servers.clear()), SettingsError::NoServer);
        for server in ["http://host", "ws://host", "nats://", ""] {
            let mut changed = settings();
            changed.servers.push(server.into());
            assert_eq!(changed.check(), Err(SettingsError::Server(server.into())));
        }
        assert_eq!(
            refused(|s| s.stream = "a.b".into()),
            SettingsError::Stream("a.b".into())
        );
        for prefix in ["", "a..b", "a.>", "a b", "*"] {
            let mut changed = settings();
            changed.prefix = prefix.into();
            assert_eq!(changed.check(), Err(SettingsError::Prefix(prefix.into())));
        }
        assert_eq!(refused(|s| s.streams = 0), SettingsError::Streams(0));
        assert_eq!(refused(|s| s.replicas = 2), SettingsError::Replicas(2));
        assert_eq!(
            refused(|s| s.duplicates_ms = 299_999),
            SettingsError::Duplicates(299_999)
        );
        assert_eq!(
            refused(|s| s.unread_messages_max = 63),
            SettingsError::Unread(63)
        );
        assert_eq!(
            refused(|s| s.answer_ms_max = 0),
            SettingsError::Zero("answer_ms_max")
        );
    }

    #[test]
    fn no_error_and_no_debug_text_shows_a_secret() {
        let mut changed = settings();
        for scheme in ["http", "nats"] {
            changed.servers = vec![format!("{scheme}://user:hidden@host")];
            let error = changed.check().unwrap_err();
            assert_eq!(error, SettingsError::UserInAddress("host".into()));
            assert!(!error.to_string().contains("hidden"));
        }
        changed.servers = vec![];
        changed.secret = Some(Secret(b"hidden".to_vec()));
        for credentials in [
            Credentials::Token("hidden".into()),
            Credentials::Password {
                user: "u".into(),
                password: "hidden".into(),
            },
        ] {
            changed.credentials = credentials;
            assert!(!format!("{changed:?}").contains("hidden"));
        }
    }

    #[test]
    fn several_streams_are_numbered_and_one_is_not() {
        let mut changed = settings();
        assert_eq!(changed.stream_name(0), "FANFARE");
        changed.streams = 4;
        assert_eq!(changed.stream_name(3), "FANFARE-3");
    }
}
