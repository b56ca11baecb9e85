//! Commands in JSON, member by member, by another reader.

use std::collections::BTreeMap;

use fanfare::protocol::centrifugo::{Command, Connect, Request, Subscribe};

use crate::targets::members::Members;

pub(super) fn commands(message: &[u8]) -> Option<Vec<Request>> {
    let text = std::str::from_utf8(message).ok()?;
    let space = [' ', '\t', '\r'];
    let lines = text
        .split('\n')
        .filter(|line| !line.trim_matches(space).is_empty());
    let requests: Vec<Request> = lines.map(request).collect::<Option<_>>()?;
    (!requests.is_empty()).then_some(requests)
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
            let (channel, data) = (members.text("channel")?, members.payload("data"));
            other_kind(members, Command::Publish { channel, data })
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
                data: members.payload("data"),
            })
        })?,
        line.one("refresh", |members| {
            Some(Command::Refresh {
                token: members.text("token")?,
            })
        })?,
        line.one("sub_refresh", |members| {
            let (channel, token) = (members.text("channel")?, members.text("token")?);
            other_kind(members, Command::SubRefresh { channel, token })
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
        data: members.payload("data"),
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

fn other_kind(members: &Members<'_>, command: Command) -> Option<Command> {
    match members.number::<i32>("type")? {
        0 => Some(command),
        _ => Some(Command::Unknown),
    }
}
