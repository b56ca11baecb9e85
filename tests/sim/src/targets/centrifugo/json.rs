//! Commands in JSON, member by member, by another reader.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use fanfare::protocol::centrifugo::{COMMANDS_MAX, Command, Connect, Data, Request, Subscribe};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(super) fn commands(message: &[u8]) -> Option<Vec<Request>> {
    let text = std::str::from_utf8(message).ok()?;
    let space = [' ', '\t', '\r'];
    let lines = text
        .split('\n')
        .filter(|line| !line.trim_matches(space).is_empty());
    let requests: Vec<Request> = lines.map(request).collect::<Option<_>>()?;
    (1..=COMMANDS_MAX)
        .contains(&requests.len())
        .then_some(requests)
}

fn request(line: &str) -> Option<Request> {
    let line = Members::read(line)?;
    let channel = |members: &Members<'_>| members.text("channel");
    let commands = [
        line.one("connect", connect)?.map(Command::Connect),
        line.one("subscribe", subscribe)?.map(Command::Subscribe),
        line.one("unsubscribe", channel)?
            .map(|channel| Command::Unsubscribe { channel }),
        line.one("publish", |members| {
            let (channel, data) = (members.text("channel")?, members.data()?);
            members.other_kind(Command::Publish { channel, data })
        })?,
        line.one("presence", channel)?
            .map(|channel| Command::Presence { channel }),
        line.one("presence_stats", channel)?
            .map(|channel| Command::PresenceStats { channel }),
        line.one("history", |members| {
            Some(Command::History {
                channel: members.text("channel")?,
                limit: members.number("limit")?,
                since: members.one("since", |since| {
                    Some((since.number("offset")?, since.text("epoch")?))
                })?,
                reverse: members.flag("reverse")?,
            })
        })?,
        line.one("rpc", |_| Some(Command::Rpc))?,
        line.one("send", |members| {
            Some(Command::Send {
                data: members.data()?,
            })
        })?,
        line.one("refresh", |members| {
            Some(Command::Refresh {
                token: members.text("token")?,
            })
        })?,
        line.one("sub_refresh", |members| {
            let (channel, token) = (members.text("channel")?, members.text("token")?);
            members.other_kind(Command::SubRefresh { channel, token })
        })?,
    ];
    let known = [
        "id",
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
    let mut others = line
        .0
        .iter()
        .filter(|(name, _)| !known.contains(&&name[..]));
    let others = others.any(|(_, value)| *value != "null");
    super::request(
        line.number("id")?,
        commands.into_iter().flatten().collect(),
        others,
    )
}

fn connect(members: &Members<'_>) -> Option<Connect> {
    let subs = members.one("subs", |subs| {
        let mut by_name = BTreeMap::new();
        for (name, _) in &subs.0 {
            if let Some(sub) = subs.one(name, subscribe)? {
                by_name.insert(name.clone(), sub);
            }
        }
        Some(by_name.into_iter().collect())
    })?;
    Some(Connect {
        token: members.text("token")?,
        data: members.data()?,
        name: members.text("name")?,
        version: members.text("version")?,
        subs: subs.unwrap_or_default(),
    })
}

fn subscribe(members: &Members<'_>) -> Option<Subscribe> {
    Some(Subscribe {
        channel: members.text("channel")?,
        token: members.text("token")?,
        recover: members.flag("recover")?,
        epoch: members.text("epoch")?,
        offset: members.number("offset")?,
        positioned: members.flag("positioned")?,
        recoverable: members.flag("recoverable")?,
        join_leave: members.flag("join_leave")?,
        flag: members.number("flag")?,
        delta: members.text("delta")?,
        tf: members.one("tf", |_| Some(()))?.is_some(),
        kind: members.number("type")?,
    })
}

/// The members of an object in their order, doubled ones too.
struct Members<'a>(Vec<(String, &'a str)>);

impl<'a> Members<'a> {
    fn read(json: &'a str) -> Option<Members<'a>> {
        serde_json::from_str(json).ok()
    }

    /// The last of that name that is not `null`; all must be readable.
    fn last<T>(&self, name: &str, read: impl Fn(&'a str) -> Option<T>) -> Option<Option<T>> {
        let named = self
            .0
            .iter()
            .filter(|(known, value)| known == name && *value != "null");
        let values: Vec<T> = named.map(|(_, value)| read(value)).collect::<Option<_>>()?;
        Some(values.into_iter().next_back())
    }

    fn one<T>(&self, name: &str, read: impl Fn(&Members<'_>) -> Option<T>) -> Option<Option<T>> {
        self.last(name, |value| read(&Members::read(value)?))
    }

    fn text(&self, name: &str) -> Option<String> {
        let read = |value| serde_json::from_str::<String>(value).ok();
        self.last(name, read).map(Option::unwrap_or_default)
    }

    fn number<T: FromStr + Default>(&self, name: &str) -> Option<T> {
        let read = |value: &str| value.parse().ok();
        self.last(name, read).map(Option::unwrap_or_default)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        let read = |value: &str| value.parse().ok();
        self.last(name, read).map(Option::unwrap_or_default)
    }

    /// `null` is a payload as any.
    fn data(&self) -> Option<Data> {
        let mut named = self.0.iter().filter(|(name, _)| name == "data");
        let data = named.next_back().map(|(_, value)| Data {
            text: true,
            bytes: value.replace('\r', "").into_bytes(),
        });
        Some(data.unwrap_or_default())
    }

    fn other_kind(&self, command: Command) -> Option<Command> {
        match self.number::<i32>("type")? {
            0 => Some(command),
            _ => Some(Command::Unknown),
        }
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    members.push((name, map.next_value::<&RawValue>()?.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
