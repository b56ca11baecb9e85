//! What is known of a client whose dialect has sessions: who it is, and what is special about
//! what it follows. Shared by those dialects; what a client asks for each of them reads by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::member::ClientInfo;
use crate::protocol::pusher::SocketId;
use crate::protocol::rights::Rights;

/// By what a session's connection is known among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Client {
    /// A random number, told as a UUID: its upper and its lower half.
    Uuid(u64, u64),
    /// The numbers of its origin.
    Socket { node: u64, connection: u64 },
}

impl Client {
    pub fn uuid(number: u128) -> Client {
        Client::Uuid((number >> 64) as u64, number as u64)
    }

    /// All of it in one number.
    pub fn number(self) -> u128 {
        match self {
            Client::Uuid(upper, lower) => joined(upper, lower),
            Client::Socket { node, connection } => joined(node, connection),
        }
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Client::Uuid(..) => out.write_str(&client_text(self.number())),
            Client::Socket { node, connection } => SocketId { node, connection }.fmt(out),
        }
    }
}

/// One client's side of the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    client: Client,
    connected: bool,
    /// Pings that it has been sent and not answered. Who was away for a while answers them all.
    pub(super) pings: u8,
    /// Of clients without a token and anything else of their own there is nothing.
    particulars: Option<Box<Particulars>>,
}

fn joined(upper: u64, lower: u64) -> u128 {
    u128::from(upper) << 64 | u128::from(lower)
}

/// How a random number is told: as a UUID.
fn client_text(client: u128) -> String {
    let hex = format!("{client:032x}");
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// The number of the connection that is known so; `None` if none is.
pub fn client_number(text: &str) -> Option<u128> {
    if let Some(SocketId { node, connection }) = SocketId::parse(text) {
        return Some(Client::Socket { node, connection }.number());
    }
    let number = u128::from_str_radix(&text.replace('-', ""), 16).ok()?;
    (client_text(number) == text).then_some(number)
}

impl Session {
    /// A session of a client that has said nothing yet. `client` is random.
    pub fn new(client: Client) -> Session {
        Session {
            client,
            connected: false,
            pings: 0,
            particulars: None,
        }
    }

    /// The connection among all.
    pub fn client(&self) -> Client {
        self.client
    }

    /// `sub` of its token; empty is a nameless one.
    pub fn user(&self) -> &str {
        self.particulars().map_or("", |own| &own.user)
    }

    /// Who it is, for others.
    pub fn info(&self) -> ClientInfo {
        let bytes = |info: &Option<Box<str>>| info.as_deref().unwrap_or_default().into();
        ClientInfo {
            user: self.user().to_owned(),
            client: self.client.to_string(),
            conn_info: self
                .particulars()
                .map_or_else(Vec::new, |own| bytes(&own.info)),
            chan_info: Vec::new(),
        }
    }

    /// The client has said who it is.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// When the connection expires, in seconds since 1970.
    pub fn expires_s(&self) -> Option<u64> {
        self.particulars()?.expires_s
    }

    /// A ping goes out.
    pub fn ping(&mut self) {
        self.pings = self.pings.saturating_add(1);
    }

    /// The client has introduced itself, with these rights or none.
    pub fn connect(&mut self, rights: Option<&Rights>) {
        self.connected = true;
        if let Some(rights) = rights {
            let own = self.particulars_mut();
            own.user = rights.user.clone();
            own.info = rights.info.clone();
            own.expires_s = rights.connection_expires_s();
        }
    }

    /// The client has shown whose connection it is.
    pub fn sign_in(&mut self, user: &str) {
        self.particulars_mut().user = user.into();
    }

    /// The server has it expire at another time, and its user shown otherwise where there
    /// is `info`.
    pub fn set_expiry(&mut self, expires_s: Option<u64>, info: Option<Box<str>>) {
        let own = self.particulars_mut();
        own.expires_s = expires_s;
        own.info = info.or(own.info.take());
    }
}

/// What only some sessions have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Particulars {
    /// `sub` of its token.
    pub(super) user: Box<str>,
    /// What others are shown of the user: JSON.
    pub(super) info: Option<Box<str>>,
    /// When the connection expires, in seconds since 1970.
    pub(super) expires_s: Option<u64>,
    /// Its subscriptions that are not such as anybody may ask for.
    pub(super) specials: BTreeMap<Box<str>, Special>,
}

/// What is special about a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Special {
    pub source: Source,
    /// The user there, where that is not said of the whole connection.
    pub user: Option<Box<str>>,
    /// When it expires, in seconds since 1970.
    pub expires_s: Option<u64>,
    /// What others who follow the topic are shown: JSON.
    pub info: Option<Box<str>>,
}

/// Who has begun a subscription that is allowed by more than the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The client, with a subscription token.
    Token,
    /// The server, as the connection token says so.
    ConnectionToken,
    /// The server, as its API was asked to.
    Api,
}

impl Source {
    /// Its client does not ask for it again when it has ended.
    pub fn is_server(self) -> bool {
        matches!(self, Source::ConnectionToken | Source::Api)
    }
}

impl Session {
    /// What is special about the subscription to a topic.
    pub fn special(&self, topic: &str) -> Option<&Special> {
        self.particulars()?.specials.get(topic)
    }

    /// A subscription begins that is a special one, or changes.
    pub fn note(&mut self, topic: &str, special: Special) {
        self.particulars_mut()
            .specials
            .insert(topic.into(), special);
    }

    /// A subscription has ended.
    pub fn forget(&mut self, topic: &str) {
        if let Some(own) = &mut self.particulars {
            own.specials.remove(topic);
        }
    }

    /// Something of it expires in the end.
    pub fn expires(&self) -> bool {
        let Some(own) = self.particulars() else {
            return false;
        };
        let mut subs = own.specials.values();
        own.expires_s.is_some() || subs.any(|special| special.expires_s.is_some())
    }

    /// The connection has expired before `now_s`.
    pub fn has_expired(&self, now_s: u64) -> bool {
        let expires_s = self.expires_s();
        expires_s.is_some_and(|expires_s| expires_s <= now_s)
    }

    /// The subscriptions that have expired before `now_s`.
    pub fn expired_subs(&self, now_s: u64) -> Vec<(Box<str>, Source)> {
        let has_expired = |special: &Special| {
            special
                .expires_s
                .is_some_and(|expires_s| expires_s <= now_s)
        };
        let specials = self.particulars().into_iter().flat_map(|own| &own.specials);
        let expired = specials.filter(|(_, special)| has_expired(special));
        expired
            .map(|(topic, special)| (topic.clone(), special.source))
            .collect()
    }

    /// The topics that the server has subscribed it to by its connection token.
    pub fn token_topics(&self) -> impl Iterator<Item = &str> {
        let specials = self.particulars().into_iter().flat_map(|own| &own.specials);
        let by_token = specials.filter(|(_, special)| special.source == Source::ConnectionToken);
        by_token.map(|(topic, _)| &**topic)
    }

    /// One with something in every field.
    #[cfg(test)]
    pub(crate) fn sample() -> Session {
        let mut session = Session::new(Client::uuid(26));
        session.note(
            "t",
            Special {
                source: Source::Token,
                user: Some("33".into()),
                expires_s: Some(29),
                info: Some("30".into()),
            },
        );
        let own = session.particulars_mut();
        own.user = "u".into();
        own.info = Some("31".into());
        own.expires_s = Some(32);
        session
    }

    pub(super) fn particulars(&self) -> Option<&Particulars> {
        self.particulars.as_deref()
    }

    pub(super) fn particulars_mut(&mut self) -> &mut Particulars {
        self.particulars.get_or_insert_default()
    }
}
