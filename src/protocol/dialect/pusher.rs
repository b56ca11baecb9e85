//! The Pusher Channels protocol: what a client asks for, and what it is told when that cannot be.
//!
//! Each message becomes a [`Deed`] for the core. Whose signature lets whom in is found out here;
//! topics, logs and sockets are the core's.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Gap;
use super::session::{Client, Session};
use crate::protocol::pusher::{
    Access, App, ChannelKind, Incoming, Member, SocketId, Subscribe, USER_CHANNEL, channel_of,
    check_channel, check_target, words,
};
use crate::protocol::reason::CloseReason;
use crate::protocol::topic::TopicName;

/// The longest name of an event.
pub const EVENT_NAME_BYTES_MAX: usize = 200;

/// The code that says that a client event is not passed on.
const CLIENT_EVENT_REJECTED: u16 = 4301;

/// What a session of this protocol has beside what all have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// The key of its app: one text for all of that.
    #[serde(serialize_with = "write_key", deserialize_with = "read_key")]
    pub key: Arc<str>,
    /// Most only listen.
    active: Option<Box<Active>>,
}

fn write_key<S: Serializer>(key: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(key)
}

fn read_key<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    Box::<str>::deserialize(from).map(Into::into)
}

/// What sessions have that do more than listen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Active {
    /// Who has signed in.
    user: Option<User>,
    /// Client events in the second that began then, by the core's clock.
    second_ms: u64,
    events: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    id: Box<str>,
    info: Option<Box<str>>,
}

/// What a core is to do for a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Deed {
    Nothing,
    /// Say this, one message of the protocol.
    Say(Vec<u8>),
    Subscribe(Wish),
    Unsubscribe(TopicName),
    /// It is the connection of this user from now on.
    SignIn {
        user: String,
        user_data: String,
    },
    /// For the others in a channel.
    Publish {
        topic: TopicName,
        event: String,
        data: Vec<u8>,
    },
}

/// A subscription that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    pub topic: TopicName,
    pub kind: ChannelKind,
    /// Who it is there, where members are known.
    pub member: Option<Member>,
}

/// Why something asked for is not done, or goes on no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this channel may not be heard: a rule is against it")]
    Denied,
    #[error("the connection follows as many channels as it may")]
    TooManyTopics,
    #[error("the channel has as many members as it may have (presence_members_max)")]
    TooManyMembers,
    #[error("the server has no room for the channel at the moment")]
    Full,
    #[error("the server has ended the subscription")]
    Ended,
}

impl Refusal {
    /// What a client is told whose `pusher:subscribe` is refused for that.
    pub fn words(self, channel: &str) -> Vec<u8> {
        let (kind, status) = match self {
            Refusal::Denied => ("AuthError", 403),
            Refusal::TooManyTopics | Refusal::TooManyMembers => ("LimitReached", 429),
            Refusal::Full => ("ServerError", 503),
            Refusal::Ended => ("SubscriptionEnded", 410),
        };
        words::subscription_error(channel, kind, &self.to_string(), status)
    }
}

/// Why a client event is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    #[error("client events are not enabled for this app (client_events)")]
    Disabled,
    #[error("client events are for private and presence channels, those that are not encrypted")]
    Channel,
    #[error("client events are for channels that the connection is subscribed to")]
    NotSubscribed,
    #[error("the name of an event has at most {EVENT_NAME_BYTES_MAX} bytes")]
    Name,
    #[error("the data of an event is too long (event_bytes_max)")]
    TooBig,
    #[error("too many client events in a second (client_events_per_s_max)")]
    Rate,
    #[error("a rule is against publishing to this channel")]
    Denied,
    #[error("the server has no room for the event")]
    Full,
}

impl Unsent {
    pub fn words(self) -> Vec<u8> {
        words::error(Some(CLIENT_EVENT_REJECTED), &self.to_string())
    }
}

/// The id that the session's connection is told.
pub fn socket_id(session: &Session) -> Option<SocketId> {
    match session.client() {
        Client::Socket { node, connection } => Some(SocketId { node, connection }),
        Client::Uuid(..) => None,
    }
}

impl Own {
    pub fn new(key: Arc<str>) -> Own {
        Own { key, active: None }
    }

    /// One with something in every field.
    #[cfg(test)]
    pub(crate) fn sample() -> Own {
        let mut own = Own::new("k".into());
        *own.active() = Active {
            user: Some(User {
                id: "34".into(),
                info: Some("35".into()),
            }),
            second_ms: 36,
            events: 37,
        };
        own
    }

    fn user(&self) -> Option<&User> {
        self.active.as_ref()?.user.as_ref()
    }

    /// What the user who has signed in is called among those of all apps, if `app` is its app.
    pub fn user_in(&self, app: &App) -> Option<String> {
        self.user().map(|user| app.topic_of(&user.id))
    }

    fn active(&mut self) -> &mut Active {
        self.active.get_or_insert_default()
    }

    /// What a message asks for; `id` is the connection's, `now_ms` any clock's. A message that
    /// had to wait comes again, without one: it has been counted.
    pub fn handle(
        &mut self,
        app: &App,
        id: SocketId,
        incoming: Incoming<'_>,
        now_ms: Option<u64>,
    ) -> Deed {
        match incoming {
            Incoming::Ping => Deed::Say(words::pong().to_vec()),
            Incoming::Pong => Deed::Nothing,
            Incoming::Subscribe(asked) => self.subscribe(app, id, asked),
            Incoming::Unsubscribe { channel } => match TopicName::new(&app.topic_of(&channel)) {
                Ok(topic) if check_target(&channel).is_ok() => Deed::Unsubscribe(topic),
                _ => Deed::Nothing,
            },
            Incoming::Signin { auth, user_data } => self.sign_in(app, id, &auth, user_data),
            Incoming::Client {
                event,
                channel,
                data,
            } => match self.check_event(app, &event, &channel, &data, now_ms) {
                Ok(topic) => Deed::Publish {
                    topic,
                    event: event.into_owned(),
                    data: data.into_owned(),
                },
                Err(unsent) => Deed::Say(unsent.words()),
            },
            Incoming::Unknown(_) => Deed::Say(words::error(
                None,
                "this event means nothing here: names of events that clients send begin with client-",
            )),
        }
    }

    fn subscribe(&self, app: &App, id: SocketId, asked: Subscribe) -> Deed {
        let Subscribe {
            channel,
            auth,
            channel_data,
        } = asked;
        let refuse = |kind, error: &dyn std::fmt::Display, status| {
            Deed::Say(words::subscription_error(
                &channel,
                kind,
                &error.to_string(),
                status,
            ))
        };
        let kind = ChannelKind::of(&channel);
        let checked = match kind.access {
            Access::User => check_target(&channel),
            _ => check_channel(&channel),
        };
        if let Err(fault) = checked {
            return refuse("InvalidChannel", &fault, 400);
        }
        let mut member = None;
        match kind.access {
            Access::Public => {}
            Access::User => {
                let user = self.user().map(|user| &*user.id);
                if user != channel.strip_prefix(USER_CHANNEL) {
                    let error = "this channel is for its user alone, who has to sign in before";
                    return refuse("AuthError", &error, 401);
                }
            }
            Access::Private | Access::Encrypted | Access::Presence => {
                let data = channel_data.as_deref();
                if let Err(fault) = app.check_channel(&auth, id, &channel, data) {
                    return refuse("AuthError", &fault, 401);
                }
            }
        }
        if kind.access == Access::Presence {
            member = match (&channel_data, self.user()) {
                (Some(data), _) => Member::of_channel(data).ok(),
                (None, Some(user)) => Some(Member {
                    id: user.id.to_string(),
                    info: user.info.as_ref().map(|info| info.to_string()),
                }),
                (None, None) => None,
            };
            let Some(member) = &member else {
                let error = "channel_data must be a JSON object with a user_id, \
                             or the user signed in";
                return refuse("AuthError", &error, 401);
            };
            let info = member.info.as_deref().unwrap_or_default();
            if check_target(&format!("{USER_CHANNEL}{}", member.id)).is_err() {
                let error = "a user_id has 1 to 200 bytes and no control characters";
                return refuse("InvalidMember", &error, 400);
            }
            if info.len() > app.presence_user_bytes_max {
                let error = "user_info is too long (presence_user_bytes_max)";
                return refuse("LimitReached", &error, 413);
            }
        }
        match TopicName::new(&app.topic_of(&channel)) {
            Ok(topic) => Deed::Subscribe(Wish {
                topic,
                kind,
                member,
            }),
            Err(fault) => refuse("InvalidChannel", &fault, 400),
        }
    }

    fn sign_in(&mut self, app: &App, id: SocketId, auth: &str, user_data: String) -> Deed {
        // As the public servers do, which end the connection in the end.
        let refuse = |error: &str| Deed::Say(words::error(Some(4009), error));
        if self.user().is_some() {
            return refuse("the connection is signed in already");
        }
        if let Err(fault) = app.check_signin(auth, id, &user_data) {
            return refuse(&fault.to_string());
        }
        let member = Member::of_user(&user_data);
        let fits = |member: &Member| check_target(&format!("{USER_CHANNEL}{}", member.id)).is_ok();
        let Some(member) = member.ok().filter(fits) else {
            return refuse("user_data must be a JSON object with an id of 1 to 200 bytes");
        };
        let user = app.topic_of(&member.id);
        self.active().user = Some(User {
            id: member.id.into(),
            info: member.info.map(Into::into),
        });
        Deed::SignIn { user, user_data }
    }

    fn check_event(
        &mut self,
        app: &App,
        event: &str,
        channel: &str,
        data: &[u8],
        now_ms: Option<u64>,
    ) -> Result<TopicName, Unsent> {
        if !app.client_events {
            return Err(Unsent::Disabled);
        }
        if !ChannelKind::of(channel).takes_client_events() {
            return Err(Unsent::Channel);
        }
        if event.len() > EVENT_NAME_BYTES_MAX {
            return Err(Unsent::Name);
        }
        if data.len() > app.event_bytes_max {
            return Err(Unsent::TooBig);
        }
        if let Some(now_ms) = now_ms {
            self.count_event(app.client_events_per_s_max, now_ms)?;
        }
        TopicName::new(&app.topic_of(channel)).map_err(|_| Unsent::Channel)
    }
}

impl Own {
    /// Another client event comes; 0 is no limit.
    fn count_event(&mut self, per_s_max: u64, now_ms: u64) -> Result<(), Unsent> {
        let active = self.active();
        if now_ms >= active.second_ms + 1000 || now_ms < active.second_ms {
            (active.second_ms, active.events) = (now_ms, 0);
        }
        if per_s_max > 0 && active.events >= per_s_max {
            return Err(Unsent::Rate);
        }
        active.events += 1;
        Ok(())
    }
}

/// Tells of a gap in a topic of which only the latest message counts.
pub(super) fn gap(topic: &str, gap: &Gap) -> Vec<u8> {
    words::gap(channel_of(topic), gap.from, gap.to, gap.missed)
}

/// The code of the close frame. Clients stay away after 4000 to 4099, come back after a second
/// or more after 4100 to 4199, and at once after 4200 to 4299.
pub(super) fn code(reason: CloseReason) -> u16 {
    match reason {
        CloseReason::AppUnknown => 4001,
        CloseReason::AppProtocol => 4007,
        CloseReason::Disconnected | CloseReason::Denied | CloseReason::Token(_) => 4009,
        // Whoever is sent away is sent away at another moment, and waits for a second.
        CloseReason::Drain
        | CloseReason::AppConnections
        | CloseReason::Rate
        | CloseReason::PartialBytes
        | CloseReason::LogFull
        | CloseReason::TopicsFull => 4100,
        CloseReason::Lag
        | CloseReason::TlsKeyLimit
        | CloseReason::Stall
        | CloseReason::ControlFlood
        | CloseReason::InsufficientState
        | CloseReason::NotStored => 4200,
        CloseReason::Idle => 4201,
        reason => reason.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::pusher::{read, sample_app};

    #[test]
    fn a_client_event_counts_once_however_often_it_is_looked_at() {
        let app = App {
            client_events: true,
            client_events_per_s_max: 2,
            ..sample_app()
        };
        let mut own = Own::new("k".into());
        let id = SocketId {
            node: 1,
            connection: 2,
        };
        let mut is_passed_on = |now_ms| {
            let event = br#"{"event":"client-e","channel":"private-a","data":"x"}"#;
            let deed = own.handle(&app, id, read(event).unwrap(), now_ms);
            matches!(deed, Deed::Publish { .. })
        };
        assert!(is_passed_on(Some(0)));
        assert!((0..10).all(|_| is_passed_on(None)));
        assert!(is_passed_on(Some(1)));
        assert!(!is_passed_on(Some(2)) && is_passed_on(None));
        assert!(is_passed_on(Some(1000)));
    }
}
