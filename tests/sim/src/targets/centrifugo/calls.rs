//! Calls of backends in JSON, member by member, by another reader.

use fanfare::protocol::centrifugo::api::{
    Call, Item, Method, Post, Request, Revoke, Sessions, Terms,
};
use fanfare::protocol::centrifugo::{Data, Error};
use serde_json::value::RawValue;

use super::is_json;
use crate::targets::base64::standard;
use crate::targets::members::{Members, as_object};

/// What paths name, and in which order a call is looked for in an object of a batch.
pub(super) const METHODS: [Method; 13] = [
    Method::Publish,
    Method::Broadcast,
    Method::Subscribe,
    Method::Unsubscribe,
    Method::Disconnect,
    Method::History,
    Method::HistoryRemove,
    Method::Presence,
    Method::PresenceStats,
    Method::Info,
    Method::Refresh,
    Method::Channels,
    Method::Batch,
];

pub(super) fn request(method: Method, body: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(body).ok()?;
    let text = match text.trim_matches([' ', '\t', '\r', '\n']) {
        "" => "{}",
        text => text,
    };
    let members = Members::read(text)?;
    if method != Method::Batch {
        return call(method, &members).map(Request::One);
    }
    let commands = members.last("commands", |list| {
        let items: Vec<&RawValue> = serde_json::from_str(list).ok()?;
        items.into_iter().map(|item| command(item.get())).collect()
    })?;
    Some(Request::Batch(commands.unwrap_or_default()))
}

fn command(json: &str) -> Option<Item> {
    let nameless = |error| {
        Some(Item {
            method: None,
            call: Err(error),
        })
    };
    if json == "null" {
        return nameless(Error::BAD_REQUEST);
    }
    let members = Members::read(json)?;
    let mut first = None;
    for method in &METHODS[..12] {
        let named = members.one(method.name(), |members| call(*method, members))?;
        let item = named.map(|call| Item {
            method: Some(*method),
            call,
        });
        first = first.or(item);
    }
    match first {
        Some(item) => Some(item),
        None => nameless(Error::NOT_FOUND),
    }
}

/// All members that any call knows must be readable, whatever the method.
fn call(method: Method, members: &Members<'_>) -> Option<Result<Call, Error>> {
    let since = |name| {
        members.one(name, |since| {
            Some((since.number("offset")?, since.text("epoch")?))
        })
    };
    let texts = |name| {
        let read = |list: &str| serde_json::from_str::<Vec<String>>(list).ok();
        members.last(name, read).map(Option::unwrap_or_default)
    };
    let seconds = |name| {
        let seconds: i64 = members.number(name)?;
        Some(u64::try_from(seconds).unwrap_or(0))
    };
    let tags = members
        .one("tags", |tags| tags.texts())?
        .unwrap_or_default();
    let (channel, channels) = (members.text("channel")?, texts("channels")?);
    let payload = payload(members.payload("data"), &members.text("b64data")?);
    let info = info(members.payload("info"), &members.text("b64info")?);
    let skip_history = members.flag("skip_history")?;
    let idempotency_key = members.text("idempotency_key")?;
    let (limit, reverse) = (members.number("limit")?, members.flag("reverse")?);
    let (since, recover_since) = (since("since")?, since("recover_since")?);
    let (pattern, whitelist) = (members.text("pattern")?, texts("whitelist")?);
    let of = Sessions {
        user: members.text("user")?,
        client: members.text("client")?,
        session: members.text("session")?,
    };
    let (expire_at, expired) = (seconds("expire_at")?, members.flag("expired")?);
    let (jti, not_before) = (members.text("jti")?, seconds("not_before")?);
    let close = members.one("disconnect", |close| {
        Some((close.number("code")?, close.text("reason")?))
    })?;
    let bad = Error::BAD_REQUEST;
    let post = || -> Result<Post, Error> {
        let data = payload.clone().filter(|data| !data.is_empty());
        Ok(Post {
            data: data.ok_or(bad)?,
            tags: as_object(&tags),
            skip_history,
            idempotency_key: idempotency_key.clone(),
        })
    };
    let (code, reason) = close.unwrap_or_default();
    Some(match method {
        Method::Publish => post().map(|post| Call::Publish { channel, post }),
        Method::Broadcast if channels.is_empty() => Err(bad),
        Method::Broadcast => post().map(|post| Call::Broadcast { channels, post }),
        Method::History => Ok(Call::History {
            channel,
            limit,
            since,
            reverse,
        }),
        Method::HistoryRemove => Ok(Call::HistoryRemove { channel }),
        Method::Info => Ok(Call::Info),
        Method::Channels => Ok(Call::Channels { pattern }),
        Method::Subscribe => info.zip(payload).ok_or(bad).map(|(info, data)| {
            let terms = Terms {
                info,
                data,
                expire_at,
                recover_since,
            };
            Call::Subscribe { of, channel, terms }
        }),
        Method::Unsubscribe => Ok(Call::Unsubscribe { of, channel }),
        Method::Disconnect => Ok(Call::Disconnect {
            of,
            code,
            reason,
            whitelist,
            revoke: Revoke {
                jti,
                not_before,
                expire_at,
            },
        }),
        Method::Refresh => info.ok_or(bad).map(|info| Call::Refresh {
            of,
            expired,
            expire_at,
            info,
        }),
        Method::Presence => Ok(Call::Presence { channel }),
        Method::PresenceStats => Ok(Call::PresenceStats { channel }),
        Method::Batch => unreachable!("no call is a batch"),
    })
}

fn payload(plain: Data, base64: &str) -> Option<Data> {
    if base64.is_empty() {
        return Some(plain);
    }
    let bytes = standard(base64.as_bytes())?;
    Some(Data { text: false, bytes })
}

fn info(plain: Data, base64: &str) -> Option<String> {
    let mut bytes = plain.bytes;
    if !base64.is_empty() {
        bytes = standard(base64.as_bytes()).filter(|bytes| is_json(bytes))?;
    }
    let text = String::from_utf8(bytes).expect("JSON is text");
    Some(if text == "null" { String::new() } else { text })
}
