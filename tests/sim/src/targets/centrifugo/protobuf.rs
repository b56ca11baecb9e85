//! Commands in Protobuf, read from the description of the encoding without any
//! thought of speed: <https://protobuf.dev/programming-guides/encoding/>.

use std::collections::BTreeMap;

use fanfare::protocol::centrifugo::{COMMANDS_MAX, Command, Connect, Data, Request, Subscribe};

pub(super) fn commands(mut rest: &[u8]) -> Option<Vec<Request>> {
    let mut requests = Vec::new();
    while !rest.is_empty() {
        requests.push(request(delimited(&mut rest)?)?);
    }
    (1..=COMMANDS_MAX)
        .contains(&requests.len())
        .then_some(requests)
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
            let (channel, data) = (fields.text(1)?, fields.data(2)?);
            fields.other_kind(Command::Publish { channel, data })
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
                data: fields.data(1)?,
            })
        })?,
        fields.one(14, |fields| {
            Some(Command::Refresh {
                token: fields.text(1)?,
            })
        })?,
        fields.one(15, |fields| {
            let (channel, token) = (fields.text(1)?, fields.text(2)?);
            fields.other_kind(Command::SubRefresh { channel, token })
        })?,
    ];
    let others = fields.all.iter().any(|(tag, _)| *tag != 1);
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
        data: fields.data(2)?,
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

/// Messages and groups may stand inside each other so often.
pub(super) const DEPTH_MAX: usize = 100;

/// The fields of a message in their order.
pub(super) struct Fields {
    all: Vec<(u32, Value)>,
    depth_left: usize,
}

enum Value {
    Number(u64),
    Bytes(Vec<u8>),
    /// Of a type that no field here has.
    Other,
}

impl Fields {
    pub(super) fn read(mut rest: &[u8], depth_left: usize) -> Option<Fields> {
        let mut all = Vec::new();
        while !rest.is_empty() {
            all.push(field(&mut rest, depth_left)?);
        }
        Some(Fields { all, depth_left })
    }

    fn named(&self, tag: u32) -> impl Iterator<Item = &Value> {
        self.all
            .iter()
            .filter(move |(known, _)| *known == tag)
            .map(|(_, value)| value)
    }

    pub(super) fn bytes(&self, tag: u32) -> Option<Vec<&[u8]>> {
        let found = self.named(tag).map(|value| match value {
            Value::Bytes(bytes) => Some(&bytes[..]),
            _ => None,
        });
        found.collect()
    }

    pub(super) fn text(&self, tag: u32) -> Option<String> {
        let texts = self
            .bytes(tag)?
            .into_iter()
            .map(|bytes| std::str::from_utf8(bytes).ok());
        let texts: Vec<&str> = texts.collect::<Option<_>>()?;
        Some(
            texts
                .last()
                .map(|text| text.to_string())
                .unwrap_or_default(),
        )
    }

    fn data(&self, tag: u32) -> Option<Data> {
        let bytes = self.bytes(tag)?.last().map(|bytes| bytes.to_vec());
        let bytes = bytes.unwrap_or_default();
        Some(Data {
            text: super::is_json(&bytes),
            bytes,
        })
    }

    pub(super) fn number(&self, tag: u32) -> Option<u64> {
        let numbers = self.named(tag).map(|value| match value {
            Value::Number(number) => Some(*number),
            _ => None,
        });
        let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
        Some(numbers.last().copied().unwrap_or(0))
    }

    /// The messages of that tag, each by itself.
    pub(super) fn each(&self, tag: u32) -> Option<Vec<Fields>> {
        let depth_left = self.depth_left - 1;
        let messages = self.bytes(tag)?.into_iter();
        messages
            .map(|bytes| Fields::read(bytes, depth_left))
            .collect()
    }

    /// The message of that tag: what several say is said by one.
    pub(super) fn one<T>(
        &self,
        tag: u32,
        read: impl Fn(&Fields) -> Option<T>,
    ) -> Option<Option<T>> {
        let parts = self.each(tag)?;
        if parts.is_empty() {
            return Some(None);
        }
        let depth_left = self.depth_left - 1;
        let all = parts.into_iter().flat_map(|part| part.all).collect();
        read(&Fields { all, depth_left }).map(Some)
    }

    fn other_kind(&self, command: Command) -> Option<Command> {
        match self.number(3)? as i32 {
            0 => Some(command),
            _ => Some(Command::Unknown),
        }
    }
}

fn field(rest: &mut &[u8], depth_left: usize) -> Option<(u32, Value)> {
    let (tag, wire_type) = key(rest)?;
    let value = match wire_type {
        0 => Value::Number(varint(rest)?),
        1 => take(rest, 8).map(|_| Value::Other)?,
        2 => Value::Bytes(delimited(rest)?.to_vec()),
        3 => {
            let depth_left = depth_left.checked_sub(1)?;
            loop {
                // A group ends with a key of its own tag.
                let mut ahead = *rest;
                let (next, wire_type) = key(&mut ahead)?;
                if wire_type == 4 {
                    *rest = ahead;
                    (next == tag).then_some(())?;
                    break Value::Other;
                }
                (depth_left > 0).then_some(())?;
                field(rest, depth_left)?;
            }
        }
        5 => take(rest, 4).map(|_| Value::Other)?,
        _ => return None,
    };
    Some((tag, value))
}

fn key(rest: &mut &[u8]) -> Option<(u32, u8)> {
    let key = u32::try_from(varint(rest)?).ok()?;
    (key >> 3 > 0).then_some((key >> 3, (key & 7) as u8))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number: u128 = 0;
    for shift in (0..70).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u128::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return u64::try_from(number).ok();
        }
    }
    None
}

pub(super) fn delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = varint(rest)?.try_into().ok()?;
    take(rest, len)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}
