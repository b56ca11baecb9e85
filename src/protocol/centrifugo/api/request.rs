//! What backends ask for.
//!
//! How the members of a call are read stands in `fields`.

use super::super::json::{FromJson, Reader};
use super::super::reply::Error;
use super::super::request::{BadRequest, Data};
use super::fields::Fields;

type Read<T> = Result<T, BadRequest>;

/// A batch with more calls is refused, and so is a broadcast to more channels.
pub const ITEMS_MAX: usize = 4096;

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Publish,
    Broadcast,
    History,
    HistoryRemove,
    Info,
    Channels,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Refresh,
    Presence,
    PresenceStats,
    Batch,
}

/// The names, in the order in which a call is looked for where a batch has an object
/// with several.
const METHODS: [(&str, Method); 13] = [
    ("publish", Method::Publish),
    ("broadcast", Method::Broadcast),
    ("subscribe", Method::Subscribe),
    ("unsubscribe", Method::Unsubscribe),
    ("disconnect", Method::Disconnect),
    ("history", Method::History),
    ("history_remove", Method::HistoryRemove),
    ("presence", Method::Presence),
    ("presence_stats", Method::PresenceStats),
    ("info", Method::Info),
    ("refresh", Method::Refresh),
    ("channels", Method::Channels),
    // No call of a batch is another batch.
    ("batch", Method::Batch),
];

impl Method {
    pub fn named(name: &str) -> Option<Method> {
        let known = METHODS.iter().find(|(known, _)| *known == name);
        known.map(|(_, method)| *method)
    }

    /// As it is called in paths and batches.
    pub fn name(self) -> &'static str {
        let known = METHODS.iter().find(|(_, known)| *known == self);
        known.expect("every method is among them").0
    }
}

/// A request: one call, or those of a batch in order. An error takes the place of a
/// call that nobody can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    One(Result<Call, Error>),
    Batch(Vec<Item>),
}

/// One object of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// `None` where it names no method that is known.
    pub method: Option<Method>,
    pub call: Result<Call, Error>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    Publish {
        channel: String,
        post: Post,
    },
    Broadcast {
        channels: Vec<String>,
        post: Post,
    },
    History {
        channel: String,
        limit: i32,
        /// Offset and epoch.
        since: Option<(u64, String)>,
        reverse: bool,
    },
    HistoryRemove {
        channel: String,
    },
    Info,
    Channels {
        /// Empty: all.
        pattern: String,
    },
    /// Has sessions follow a channel.
    Subscribe {
        of: Sessions,
        channel: String,
        terms: Terms,
    },
    Unsubscribe {
        of: Sessions,
        channel: String,
    },
    Disconnect {
        of: Sessions,
        code: u32,
        reason: String,
        /// Sessions that stay.
        whitelist: Vec<String>,
        revoke: Revoke,
    },
    Refresh {
        of: Sessions,
        expired: bool,
        /// In seconds since 1970; 0 is never.
        expire_at: u64,
        /// JSON; empty is as before.
        info: String,
    },
    Presence {
        channel: String,
    },
    PresenceStats {
        channel: String,
    },
}

/// The sessions of a user that a call is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sessions {
    /// Empty is who has no name.
    pub user: String,
    /// Of those this one alone; empty: all.
    pub client: String,
    /// What connections of other kinds are called by; empty: all.
    pub session: String,
}

/// How a subscription is to be that the server begins.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// To be shown to others: JSON; empty is none.
    pub info: String,
    /// For the client.
    pub data: Data,
    /// In seconds since 1970; 0 is never.
    pub expire_at: u64,
    /// Offset and epoch.
    pub recover_since: Option<(u64, String)>,
}

/// Tokens that are not to be accepted any more.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Revoke {
    /// The one with this `jti`; empty: none.
    pub jti: String,
    /// Those of the user that were issued before this time, in seconds since 1970; 0: none.
    pub not_before: u64,
    /// The latest `exp` of them, likewise; 0 is not known.
    pub expire_at: u64,
}

/// A message to be published.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Post {
    pub data: Data,
    /// A JSON object whose values are strings, or empty.
    pub tags: String,
    pub skip_history: bool,
}

/// Reads the body of a request. If any call of a batch cannot be read, none counts.
///
/// # Errors
/// When that is no JSON of the method's kind.
pub fn decode(method: Method, body: &[u8]) -> Result<Request, BadRequest> {
    if simdutf8::basic::from_utf8(body).is_err() {
        return Err(BadRequest);
    }
    let body = match body.trim_ascii().is_empty() {
        true => b"{}",
        false => body,
    };
    let mut reader = Reader::new(body);
    let request = match method {
        Method::Batch => batch(&mut reader)?.map(Request::Batch),
        method => call(method, &mut reader)?.map(Request::One),
    };
    reader.end()?;
    request.ok_or(BadRequest)
}

fn batch(reader: &mut Reader<'_>) -> Read<Option<Vec<Item>>> {
    let mut calls = Vec::new();
    let object = reader.object(|name, value| match name {
        "commands" => {
            let mut listed = Vec::new();
            let list = value.array(|value| {
                if listed.len() == ITEMS_MAX {
                    return Err(BadRequest);
                }
                listed.push(command(value)?);
                Ok(())
            })?;
            if list.is_some() {
                calls = listed;
            }
            Ok(())
        }
        // They are done one after another in either case.
        _ => value.value().map(|_| ()),
    })?;
    Ok(object.map(|()| calls))
}

/// A call of a batch, under the name of its method.
fn command(reader: &mut Reader<'_>) -> Read<Item> {
    let mut first: Option<(usize, Item)> = None;
    let object = reader.object(|name, value| {
        let rank = METHODS.iter().position(|(known, _)| *known == name);
        let Some((rank, method)) = rank.map(|rank| (rank, METHODS[rank].1)) else {
            return value.value().map(|_| ());
        };
        if method == Method::Batch {
            return value.value().map(|_| ());
        }
        if let Some(call) = call(method, value)?
            && first.as_ref().is_none_or(|(before, _)| rank <= *before)
        {
            let method = Some(method);
            first = Some((rank, Item { method, call }));
        }
        Ok(())
    })?;
    let nameless = |error| Item {
        method: None,
        call: Err(error),
    };
    Ok(match (object, first) {
        (None, _) => nameless(Error::BAD_REQUEST),
        (Some(()), Some((_, item))) => item,
        (Some(()), None) => nameless(Error::NOT_FOUND),
    })
}

/// `None` if `null` stands there.
fn call(method: Method, reader: &mut Reader<'_>) -> Read<Option<Result<Call, Error>>> {
    let Some(fields) = Fields::read(reader)? else {
        return Ok(None);
    };
    Ok(Some(fields.call(method)))
}
