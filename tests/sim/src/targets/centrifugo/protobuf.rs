//! Commands in Protobuf, field by field.

use std::collections::BTreeMap;

use fanfare::protocol::centrifugo::{Command, Connect, Data, Request, Subscribe};

use crate::targets::fields::{DEPTH_MAX, Fields, delimited};

pub(super) fn commands(mut rest: &[u8]) -> Option<Vec<Request>> {
    let mut requests = Vec::new();
    while !rest.is_empty() {
        requests.push(request(delimited(&mut rest)?)?);
    }
    (!requests.is_empty()).then_some(requests)
}

fn request(bytes: &[u8]) -> Option<Request> {
    let fields = Fields::read(bytes, DEPTH_MAX)?;
    let channel = |fields: &Fields| fields.text(1);
    let commands = [
        fields.one(4, connect)?.map(Command::Connect),
        fields.one(5, subscribe)?.map(Command::Subscribe),
        fields
            .one(6, channel)?
            .map(|channel| Command::Unsubscribe { channel }),
        fields.one(7, |fields| {
            let (channel, data) = (fields.text(1)?, data(fields, 2)?);
            other_kind(fields, Command::Publish { channel, data })
        })?,
        fields
            .one(8, channel)?
            .map(|channel| Command::Presence { channel }),
        fields
            .one(9, channel)?
            .map(|channel| Command::PresenceStats { channel }),
        fields.one(10, |fields| {
            Some(Command::History {
                channel: fields.text(1)?,
                limit: fields.number(7)? as i32,
                since: fields.one(8, |since| Some((since.number(1)?, since.text(2)?)))?,
                reverse: fields.number(9)? != 0,
            })
        })?,
        fields.one(13, |_| Some(Command::Rpc))?,
        fields.one(12, |fields| {
            Some(Command::Send {
                data: data(fields, 1)?,
            })
        })?,
        fields.one(14, |fields| {
            Some(Command::Refresh {
                token: fields.text(1)?,
            })
        })?,
        fields.one(15, |fields| {
            let (channel, token) = (fields.text(1)?, fields.text(2)?);
            other_kind(fields, Command::SubRefresh { channel, token })
        })?,
    ];
    let others = fields.has_other_than(1);
    super::request(
        fields.number(1)? as u32,
        commands.into_iter().flatten().collect(),
        others,
    )
}

fn connect(fields: &Fields) -> Option<Connect> {
    let mut subs = BTreeMap::new();
    for entry in fields.each(3)? {
        subs.insert(entry.text(1)?, entry.one(2, subscribe)?.unwrap_or_default());
    }
    Some(Connect {
        token: fields.text(1)?,
        data: data(fields, 2)?,
        name: fields.text(4)?,
        version: fields.text(5)?,
        subs: subs.into_iter().collect(),
    })
}

fn subscribe(fields: &Fields) -> Option<Subscribe> {
    Some(Subscribe {
        channel: fields.text(1)?,
        token: fields.text(2)?,
        recover: fields.number(3)? != 0,
        epoch: fields.text(6)?,
        offset: fields.number(7)?,
        positioned: fields.number(9)? != 0,
        recoverable: fields.number(10)? != 0,
        join_leave: fields.number(11)? != 0,
        delta: fields.text(12)?,
        // A filter is not looked into.
        tf: !fields.bytes(13)?.is_empty(),
        flag: fields.number(14)? as i64,
        kind: fields.number(15)? as i32,
    })
}

fn data(fields: &Fields, tag: u32) -> Option<Data> {
    let bytes = fields.bytes(tag)?.last().map(|bytes| bytes.to_vec());
    let bytes = bytes.unwrap_or_default();
    Some(Data {
        text: super::is_json(&bytes),
        bytes,
    })
}

fn other_kind(fields: &Fields, command: Command) -> Option<Command> {
    match fields.number(3)? as i32 {
        0 => Some(command),
        _ => Some(Command::Unknown),
    }
}
