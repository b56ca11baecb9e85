//! The members of calls, and the call that they make.
//!
//! They are read as in the client protocol: a member that stands twice counts once, the last
//! time; `null` is as good as absent, but for `data`, where it is a payload. Unknown members
//! are skipped.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::json_in::{data, since};
use super::super::json_out::strings;
use super::super::reply::Error;
use super::super::request::Data;
use super::call::{Call, Method, Post, Revoke, Sessions, Terms};
use crate::protocol::json::{BadRequest, FromJson, Reader, is_json};

type Read<T> = Result<T, BadRequest>;

/// The fields of all calls.
#[derive(Default)]
pub(super) struct Fields {
    channel: String,
    channels: Vec<String>,
    post: Draft,
    limit: i32,
    since: Option<(u64, String)>,
    reverse: bool,
    pattern: String,
    sessions: Sessions,
    info: Info,
    recover_since: Option<(u64, String)>,
    expire_at: i64,
    expired: bool,
    whitelist: Vec<String>,
    disconnect: Disconnect,
    jti: String,
    not_before: i64,
}

/// What is known of a user or a subscription, as it is written in a call.
#[derive(Default)]
struct Info {
    data: Data,
    base64: String,
}

/// How a connection is to be closed.
#[derive(Default)]
struct Disconnect {
    code: u32,
    reason: String,
}

impl Fields {
    /// The call of a method that they make.
    pub(super) fn call(self, method: Method) -> Result<Call, Error> {
        let Fields {
            channel,
            channels,
            post,
            limit,
            since,
            reverse,
            pattern,
            sessions: of,
            recover_since,
            expired,
            whitelist,
            jti,
            ..
        } = self;
        // What lies before 1970 is as good as 0, which stands for none.
        let [expire_at, not_before] =
            [self.expire_at, self.not_before].map(|at| u64::try_from(at).unwrap_or(0));
        Ok(match method {
            Method::Publish => Call::Publish {
                channel,
                post: post.read()?,
            },
            Method::Broadcast if channels.is_empty() => return Err(Error::BAD_REQUEST),
            Method::Broadcast => Call::Broadcast {
                channels,
                post: post.read()?,
            },
            Method::History => Call::History {
                channel,
                limit,
                since,
                reverse,
            },
            Method::HistoryRemove => Call::HistoryRemove { channel },
            Method::Info => Call::Info,
            Method::Channels => Call::Channels { pattern },
            Method::Subscribe => Call::Subscribe {
                of,
                channel,
                terms: Terms {
                    info: self.info.read()?,
                    data: post.data()?,
                    expire_at,
                    recover_since,
                },
            },
            Method::Unsubscribe => Call::Unsubscribe { of, channel },
            Method::Disconnect => Call::Disconnect {
                of,
                code: self.disconnect.code,
                reason: self.disconnect.reason,
                whitelist,
                revoke: Revoke {
                    jti,
                    not_before,
                    expire_at,
                },
            },
            Method::Refresh => Call::Refresh {
                of,
                expired,
                expire_at,
                info: self.info.read()?,
            },
            Method::Presence => Call::Presence { channel },
            Method::PresenceStats => Call::PresenceStats { channel },
            Method::Batch => return Err(Error::NOT_FOUND),
        })
    }
}

impl Info {
    /// The JSON in it; empty is none.
    fn read(self) -> Result<String, Error> {
        let mut bytes = self.data.bytes;
        if !self.base64.is_empty() {
            let decoded = BASE64.decode(self.base64);
            bytes = decoded.map_err(|_| Error::BAD_REQUEST)?;
            if !is_json(&bytes) {
                return Err(Error::BAD_REQUEST);
            }
        }
        if bytes == b"null" {
            bytes.clear();
        }
        String::from_utf8(bytes).map_err(|_| Error::BAD_REQUEST)
    }
}

/// A message as it is written in a call.
#[derive(Default)]
struct Draft {
    data: Data,
    base64: String,
    tags: BTreeMap<String, String>,
    skip_history: bool,
    idempotency_key: String,
}

impl Draft {
    fn read(mut self) -> Result<Post, Error> {
        let tags = match self.tags.is_empty() {
            true => String::new(),
            false => strings(&self.tags),
        };
        let skip_history = self.skip_history;
        let idempotency_key = std::mem::take(&mut self.idempotency_key);
        let data = self.data()?;
        if data.is_empty() {
            return Err(Error::BAD_REQUEST);
        }
        Ok(Post {
            data,
            tags,
            skip_history,
            idempotency_key,
        })
    }

    /// Its payload; the form in base64 counts where there is one.
    fn data(self) -> Result<Data, Error> {
        if self.base64.is_empty() {
            return Ok(self.data);
        }
        let bytes = BASE64.decode(self.base64);
        Ok(Data {
            text: false,
            bytes: bytes.map_err(|_| Error::BAD_REQUEST)?,
        })
    }
}

impl FromJson for Fields {
    fn read(reader: &mut Reader<'_>) -> Read<Option<Fields>> {
        let mut fields = Fields::default();
        let object = reader.object(|name, value| match name {
            "channel" => value.set(&mut fields.channel),
            "channels" => texts(value, &mut fields.channels),
            "data" => data(value, &mut fields.post.data),
            "b64data" => value.set(&mut fields.post.base64),
            "tags" => tags(value, &mut fields.post.tags),
            "skip_history" => value.set(&mut fields.post.skip_history),
            "idempotency_key" => value.set(&mut fields.post.idempotency_key),
            "limit" => value.set(&mut fields.limit),
            "since" => since(value, &mut fields.since),
            "reverse" => value.set(&mut fields.reverse),
            "pattern" => value.set(&mut fields.pattern),
            "user" => value.set(&mut fields.sessions.user),
            "client" => value.set(&mut fields.sessions.client),
            "session" => value.set(&mut fields.sessions.session),
            "info" => data(value, &mut fields.info.data),
            "b64info" => value.set(&mut fields.info.base64),
            "recover_since" => since(value, &mut fields.recover_since),
            "expire_at" => value.set(&mut fields.expire_at),
            "expired" => value.set(&mut fields.expired),
            "whitelist" => texts(value, &mut fields.whitelist),
            "disconnect" => disconnect(value, &mut fields.disconnect),
            "jti" => value.set(&mut fields.jti),
            "not_before" => value.set(&mut fields.not_before),
            _ => value.value().map(|_| ()),
        })?;
        Ok(object.map(|()| fields))
    }
}

fn texts(reader: &mut Reader<'_>, texts: &mut Vec<String>) -> Read<()> {
    let mut listed = Vec::new();
    let list = reader.array(|value| {
        listed.push(value.text()?.into_owned());
        Ok(())
    })?;
    if list.is_some() {
        *texts = listed;
    }
    Ok(())
}

fn disconnect(reader: &mut Reader<'_>, disconnect: &mut Disconnect) -> Read<()> {
    let mut read = Disconnect::default();
    let object = reader.object(|name, value| match name {
        "code" => value.set(&mut read.code),
        "reason" => value.set(&mut read.reason),
        _ => value.value().map(|_| ()),
    })?;
    if object.is_some() {
        *disconnect = read;
    }
    Ok(())
}

pub(in crate::protocol) fn tags(
    reader: &mut Reader<'_>,
    tags: &mut BTreeMap<String, String>,
) -> Read<()> {
    let mut read = BTreeMap::new();
    let object = reader.object(|name, value| {
        let mut tag = String::new();
        value.set(&mut tag)?;
        read.insert(name.to_owned(), tag);
        Ok(())
    })?;
    if object.is_some() {
        *tags = read;
    }
    Ok(())
}
