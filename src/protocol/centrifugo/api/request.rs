//! What backends ask for.
//!
//! Members are read as in the client protocol: a member that stands twice counts once,
//! the last time; `null` is as good as absent, but for `data`, where it is a payload.
//! Unknown members are skipped.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::json::{FromJson, Reader};
use super::super::json_in::{data, since};
use super::super::json_out::strings;
use super::super::reply::Error;
use super::super::request::{BadRequest, Data};

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
    Batch,
    /// The official server has it.
    Unavailable,
}

/// The names, in the order in which a call is looked for where a batch has an object
/// with several.
const METHODS: [(&str, Method); 13] = [
    ("publish", Method::Publish),
    ("broadcast", Method::Broadcast),
    ("subscribe", Method::Unavailable),
    ("unsubscribe", Method::Unavailable),
    ("disconnect", Method::Unavailable),
    ("history", Method::History),
    ("history_remove", Method::HistoryRemove),
    ("presence", Method::Unavailable),
    ("presence_stats", Method::Unavailable),
    ("info", Method::Info),
    ("refresh", Method::Unavailable),
    ("channels", Method::Channels),
    // No call of a batch is another batch.
    ("batch", Method::Batch),
];

impl Method {
    pub fn named(name: &str) -> Option<Method> {
        let known = METHODS.iter().find(|(known, _)| *known == name);
        known.map(|(_, method)| *method)
    }
}

/// A request: one call, or those of a batch in order. An error takes the place of a
/// call that nobody can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    One(Result<Call, Error>),
    Batch(Vec<Result<Call, Error>>),
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

fn batch(reader: &mut Reader<'_>) -> Read<Option<Vec<Result<Call, Error>>>> {
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
fn command(reader: &mut Reader<'_>) -> Read<Result<Call, Error>> {
    let mut first: Option<(usize, Result<Call, Error>)> = None;
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
            first = Some((rank, call));
        }
        Ok(())
    })?;
    Ok(match (object, first) {
        (None, _) => Err(Error::BAD_REQUEST),
        (Some(()), Some((_, call))) => call,
        (Some(()), None) => Err(Error::NOT_FOUND),
    })
}

/// `None` if `null` stands there.
fn call(method: Method, reader: &mut Reader<'_>) -> Read<Option<Result<Call, Error>>> {
    let Some(fields) = Fields::read(reader)? else {
        return Ok(None);
    };
    let Fields {
        channel,
        channels,
        limit,
        since,
        reverse,
        pattern,
        ..
    } = fields;
    let post = fields.post;
    Ok(Some(match method {
        Method::Publish => post.read().map(|post| Call::Publish { channel, post }),
        Method::Broadcast if channels.is_empty() => Err(Error::BAD_REQUEST),
        Method::Broadcast => post.read().map(|post| Call::Broadcast { channels, post }),
        Method::History => Ok(Call::History {
            channel,
            limit,
            since,
            reverse,
        }),
        Method::HistoryRemove => Ok(Call::HistoryRemove { channel }),
        Method::Info => Ok(Call::Info),
        Method::Channels => Ok(Call::Channels { pattern }),
        Method::Unavailable => Err(Error::NOT_AVAILABLE),
        Method::Batch => Err(Error::NOT_FOUND),
    }))
}

/// The fields of all calls.
#[derive(Default)]
struct Fields {
    channel: String,
    channels: Vec<String>,
    post: Draft,
    limit: i32,
    since: Option<(u64, String)>,
    reverse: bool,
    pattern: String,
}

/// A message as it is written in a call.
#[derive(Default)]
struct Draft {
    data: Data,
    base64: String,
    tags: BTreeMap<String, String>,
    skip_history: bool,
}

impl Draft {
    fn read(self) -> Result<Post, Error> {
        let mut data = self.data;
        if !self.base64.is_empty() {
            let bytes = BASE64.decode(self.base64);
            data = Data {
                text: false,
                bytes: bytes.map_err(|_| Error::BAD_REQUEST)?,
            };
        }
        if data.is_empty() {
            return Err(Error::BAD_REQUEST);
        }
        let tags = match self.tags.is_empty() {
            true => String::new(),
            false => strings(&self.tags),
        };
        Ok(Post {
            data,
            tags,
            skip_history: self.skip_history,
        })
    }
}

impl FromJson for Fields {
    fn read(reader: &mut Reader<'_>) -> Read<Option<Fields>> {
        let mut fields = Fields::default();
        let object = reader.object(|name, value| match name {
            "channel" => value.set(&mut fields.channel),
            "channels" => channels(value, &mut fields.channels),
            "data" => data(value, &mut fields.post.data),
            "b64data" => value.set(&mut fields.post.base64),
            "tags" => tags(value, &mut fields.post.tags),
            "skip_history" => value.set(&mut fields.post.skip_history),
            "limit" => value.set(&mut fields.limit),
            "since" => since(value, &mut fields.since),
            "reverse" => value.set(&mut fields.reverse),
            "pattern" => value.set(&mut fields.pattern),
            _ => value.value().map(|_| ()),
        })?;
        Ok(object.map(|()| fields))
    }
}

fn channels(reader: &mut Reader<'_>, channels: &mut Vec<String>) -> Read<()> {
    let mut listed = Vec::new();
    let list = reader.array(|value| {
        if listed.len() == ITEMS_MAX {
            return Err(BadRequest);
        }
        listed.push(value.text()?.into_owned());
        Ok(())
    })?;
    if list.is_some() {
        *channels = listed;
    }
    Ok(())
}

fn tags(reader: &mut Reader<'_>, tags: &mut BTreeMap<String, String>) -> Read<()> {
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
