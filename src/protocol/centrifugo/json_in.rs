//! Commands written in JSON, one a line.
//!
//! A member that stands twice counts once, the last time; `null` is as good as
//! absent, but for `data`, where it is a payload. Unknown members are skipped.

use std::collections::BTreeMap;

use super::request::{Command, Connect, Data, Request, Subscribe};
use crate::protocol::json::{BadRequest, FromJson, Reader, put_without_newlines};

type Read<T> = Result<T, BadRequest>;

/// Reads the next command, and leaves what stands behind it; `None` if there is none.
pub(super) fn next(rest: &mut &[u8]) -> Option<Read<Request>> {
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        *rest = after;
        if Reader::new(line).end().is_err() {
            return Some(request(line));
        }
    }
    None
}

/// In this order the protocol looks for a command where a client wrote several.
const COMMANDS: [&str; 11] = [
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "presence",
    "presence_stats",
    "history",
    "rpc",
    "send",
    "refresh",
    "sub_refresh",
];

fn request(line: &[u8]) -> Read<Request> {
    simdutf8::basic::from_utf8(line).map_err(|_| BadRequest)?;
    let mut reader = Reader::new(line);
    let mut id = 0;
    let mut first: Option<(usize, Command)> = None;
    let mut unknown = false;
    let object = reader.object(|name, value| {
        if name == "id" {
            return value.set(&mut id);
        }
        let Some(rank) = COMMANDS.iter().position(|known| *known == name) else {
            unknown |= value.value()? != b"null";
            return Ok(());
        };
        if let Some(command) = command(name, value)?
            && first.as_ref().is_none_or(|(before, _)| rank <= *before)
        {
            first = Some((rank, command));
        }
        Ok(())
    })?;
    reader.end()?;
    object.ok_or(BadRequest)?;
    Request::new(id, first.map(|(_, command)| command), unknown)
}

/// `None` if `null` stands there.
fn command(name: &str, value: &mut Reader<'_>) -> Read<Option<Command>> {
    let read = match name {
        "connect" => return Ok(connect(value)?.map(Command::Connect)),
        "subscribe" => return Ok(Subscribe::read(value)?.map(Command::Subscribe)),
        "unsubscribe" | "presence" | "presence_stats" => fields(value, &["channel"])?,
        "publish" => fields(value, &["channel", "data", "type"])?,
        "history" => fields(value, &["channel", "limit", "since", "reverse"])?,
        "send" => fields(value, &["data"])?,
        "refresh" => fields(value, &["token"])?,
        "sub_refresh" => fields(value, &["channel", "token", "type"])?,
        _ => fields(value, &[])?,
    };
    let Some(fields) = read else {
        return Ok(None);
    };
    let Fields {
        channel,
        token,
        data,
        kind,
        limit,
        since,
        reverse,
    } = fields;
    Ok(Some(match name {
        "unsubscribe" => Command::Unsubscribe { channel },
        "publish" if kind == 0 => Command::Publish { channel, data },
        "presence" => Command::Presence { channel },
        "presence_stats" => Command::PresenceStats { channel },
        "history" => Command::History {
            channel,
            limit,
            since,
            reverse,
        },
        "rpc" => Command::Rpc,
        "send" => Command::Send { data },
        "refresh" => Command::Refresh { token },
        "sub_refresh" if kind == 0 => Command::SubRefresh { channel, token },
        _ => Command::Unknown,
    }))
}

/// The fields of all commands but the two that have many.
#[derive(Default)]
struct Fields {
    channel: String,
    token: String,
    data: Data,
    kind: i32,
    limit: i32,
    since: Option<(u64, String)>,
    reverse: bool,
}

/// Reads those that are `known` of the command; others may be of any type.
fn fields(reader: &mut Reader<'_>, known: &[&str]) -> Read<Option<Fields>> {
    let mut fields = Fields::default();
    let object = reader.object(|name, value| match name {
        _ if !known.contains(&name) => value.value().map(|_| ()),
        "channel" => value.set(&mut fields.channel),
        "token" => value.set(&mut fields.token),
        "data" => data(value, &mut fields.data),
        "type" => value.set(&mut fields.kind),
        "limit" => value.set(&mut fields.limit),
        "since" => since(value, &mut fields.since),
        "reverse" => value.set(&mut fields.reverse),
        _ => unreachable!("no command has a field {name}"),
    })?;
    Ok(object.map(|()| fields))
}

impl FromJson for Subscribe {
    fn read(reader: &mut Reader<'_>) -> Read<Option<Subscribe>> {
        let mut fields = Subscribe::default();
        let object = reader.object(|name, value| match name {
            "channel" => value.set(&mut fields.channel),
            "token" => value.set(&mut fields.token),
            "recover" => value.set(&mut fields.recover),
            "epoch" => value.set(&mut fields.epoch),
            "offset" => value.set(&mut fields.offset),
            "positioned" => value.set(&mut fields.positioned),
            "recoverable" => value.set(&mut fields.recoverable),
            "join_leave" => value.set(&mut fields.join_leave),
            "flag" => value.set(&mut fields.flag),
            "delta" => value.set(&mut fields.delta),
            "tf" => {
                let filter = value.object(|_, value| value.value().map(|_| ()))?;
                fields.tf |= filter.is_some();
                Ok(())
            }
            "type" => value.set(&mut fields.kind),
            _ => value.value().map(|_| ()),
        })?;
        Ok(object.map(|()| fields))
    }
}

fn connect(reader: &mut Reader<'_>) -> Read<Option<Connect>> {
    let mut connect = Connect::default();
    let object = reader.object(|name, value| match name {
        "token" => value.set(&mut connect.token),
        "data" => data(value, &mut connect.data),
        "name" => value.set(&mut connect.name),
        "version" => value.set(&mut connect.version),
        "subs" => {
            let mut subs = BTreeMap::new();
            let object = value.object(|channel, value| {
                if let Some(subscribe) = Subscribe::read(value)? {
                    subs.insert(channel.to_owned(), subscribe);
                }
                Ok(())
            })?;
            if object.is_some() {
                connect.subs = subs.into_iter().collect();
            }
            Ok(())
        }
        _ => value.value().map(|_| ()),
    })?;
    Ok(object.map(|()| connect))
}

pub(super) fn since(reader: &mut Reader<'_>, since: &mut Option<(u64, String)>) -> Read<()> {
    let (mut offset, mut epoch) = (0, String::new());
    let object = reader.object(|name, value| match name {
        "offset" => value.set(&mut offset),
        "epoch" => value.set(&mut epoch),
        _ => value.value().map(|_| ()),
    })?;
    if object.is_some() {
        *since = Some((offset, epoch));
    }
    Ok(())
}

pub(in crate::protocol) fn data(reader: &mut Reader<'_>, data: &mut Data) -> Read<()> {
    let value = reader.value()?;
    // A string has no bare line break, so these stand between values.
    let mut bytes = Vec::with_capacity(value.len());
    put_without_newlines(&mut bytes, value);
    *data = Data { text: true, bytes };
    Ok(())
}
