//! Centrifugo's client protocol as a client speaks it: written and read from its schema, in
//! JSON by serde_json and in Protobuf field by field, so that it does not share the daemon's
//! mistakes.

use fanfare::protocol::centrifugo::Coding;
use serde_json::value::RawValue;

use crate::targets::fields::{DEPTH_MAX, Fields, delimited};
use crate::targets::members::{Members, quoted};

/// Where a client has come to in a topic: an offset, and the epoch that it is of.
pub(crate) type Since = (u64, String);

/// What a client asks for. Topics are named by their place in its own list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ask {
    Connect,
    Subscribe {
        topic: usize,
        since: Option<Since>,
        /// It is to fail rather than to begin with a hole.
        whole: bool,
        joins: bool,
    },
    Unsubscribe {
        topic: usize,
    },
    Publish {
        topic: usize,
        /// Its number among all that the client publishes.
        n: usize,
        data: Vec<u8>,
    },
    History {
        topic: usize,
        limit: i32,
        since: Option<Since>,
        reverse: bool,
    },
    Presence {
        topic: usize,
    },
    PresenceStats {
        topic: usize,
    },
    /// Not available here.
    Rpc,
}

/// A message of the server.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Ping,
    Reply(u32, Answer),
    /// Of a channel.
    Push(String, Told),
}

#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Error(u32),
    Connected {
        client: String,
        pong: bool,
    },
    Subscribed(Subscribed),
    Unsubscribed,
    Published,
    Presence(Vec<String>),
    PresenceStats(u64),
    History {
        publications: Vec<Publication>,
        epoch: String,
        offset: u64,
    },
}

#[derive(Debug, PartialEq)]
pub(crate) struct Subscribed {
    pub(crate) recoverable: bool,
    pub(crate) positioned: bool,
    pub(crate) was_recovering: bool,
    pub(crate) recovered: bool,
    pub(crate) epoch: String,
    pub(crate) offset: u64,
    pub(crate) publications: Vec<Publication>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    Publication(Publication),
    Join(String),
    Leave(String),
    Unsubscribe(u32),
}

#[derive(Debug, PartialEq)]
pub(crate) struct Publication {
    /// JSON as it stands there, or bytes.
    pub(crate) data: Vec<u8>,
    pub(crate) offset: u64,
    /// Who has published it, if that is told.
    pub(crate) client: Option<String>,
}

/// What answers a ping.
pub(crate) fn pong(coding: Coding) -> &'static [u8] {
    match coding {
        Coding::Json => b"{}\n",
        Coding::Protobuf => b"\0",
    }
}

/// A command, and what ends it.
pub(crate) fn command(coding: Coding, id: u32, ask: &Ask, names: &[String]) -> Vec<u8> {
    match coding {
        Coding::Json => format!("{{\"id\":{id},{}}}\n", json(ask, names)).into_bytes(),
        Coding::Protobuf => {
            let (tag, body) = protobuf(ask, names);
            let mut fields = Writer::default();
            fields.number(1, u64::from(id));
            fields.bytes(tag, &body.0);
            let mut whole = Writer::default();
            whole.varint(fields.0.len() as u64);
            whole.0.extend(fields.0);
            whole.0
        }
    }
}

fn json(ask: &Ask, names: &[String]) -> String {
    let place = |since: &Since| format!("\"offset\":{},\"epoch\":{}", since.0, quoted(&since.1));
    let of = |topic: &usize| quoted(&names[*topic]);
    match ask {
        Ask::Connect => "\"connect\":{\"name\":\"sim\"}".into(),
        Ask::Subscribe {
            topic,
            since,
            whole,
            joins,
        } => {
            let mut more = String::new();
            if let Some(since) = since {
                more += &format!(",\"recover\":true,{}", place(since));
            }
            if *joins {
                more += ",\"join_leave\":true";
            }
            if *whole {
                more += ",\"flag\":2";
            }
            format!("\"subscribe\":{{\"channel\":{}{more}}}", of(topic))
        }
        Ask::Unsubscribe { topic } => format!("\"unsubscribe\":{{\"channel\":{}}}", of(topic)),
        Ask::Publish { topic, data, .. } => {
            let data = std::str::from_utf8(data).expect("such a client publishes JSON");
            format!("\"publish\":{{\"channel\":{},\"data\":{data}}}", of(topic))
        }
        Ask::History {
            topic,
            limit,
            since,
            reverse,
        } => {
            let since = since.as_ref();
            let since = since.map_or_else(String::new, |s| format!(",\"since\":{{{}}}", place(s)));
            let channel = of(topic);
            format!(
                "\"history\":{{\"channel\":{channel},\"limit\":{limit},\"reverse\":{reverse}{since}}}"
            )
        }
        Ask::Presence { topic } => format!("\"presence\":{{\"channel\":{}}}", of(topic)),
        Ask::PresenceStats { topic } => {
            format!("\"presence_stats\":{{\"channel\":{}}}", of(topic))
        }
        Ask::Rpc => "\"rpc\":{\"method\":\"m\"}".into(),
    }
}

/// The tag of the command, and its fields.
fn protobuf(ask: &Ask, names: &[String]) -> (u32, Writer) {
    let mut fields = Writer::default();
    let place = |since: &Since, tags: (u32, u32)| {
        let mut fields = Writer::default();
        fields.number(tags.0, since.0);
        fields.bytes(tags.1, since.1.as_bytes());
        fields.0
    };
    let topic = match ask {
        Ask::Connect | Ask::Rpc => None,
        Ask::Subscribe { topic, .. }
        | Ask::Unsubscribe { topic }
        | Ask::Publish { topic, .. }
        | Ask::History { topic, .. }
        | Ask::Presence { topic }
        | Ask::PresenceStats { topic } => Some(topic),
    };
    if let Some(topic) = topic {
        fields.bytes(1, names[*topic].as_bytes());
    }
    let tag = match ask {
        Ask::Connect => 4,
        Ask::Subscribe {
            since,
            whole,
            joins,
            ..
        } => {
            if let Some(since) = since {
                fields.number(3, 1);
                // In the order of their tags these would come later.
                fields.0.extend(place(since, (7, 6)));
            }
            fields.number(11, u64::from(*joins));
            fields.number(14, if *whole { 2 } else { 0 });
            5
        }
        Ask::Unsubscribe { .. } => 6,
        Ask::Publish { data, .. } => {
            fields.bytes(2, data);
            7
        }
        Ask::Presence { .. } => 8,
        Ask::PresenceStats { .. } => 9,
        Ask::History {
            limit,
            since,
            reverse,
            ..
        } => {
            fields.number(7, i64::from(*limit) as u64);
            if let Some(since) = since {
                fields.bytes(8, &place(since, (1, 2)));
            }
            fields.number(9, u64::from(*reverse));
            10
        }
        Ask::Rpc => 13,
    };
    (tag, fields)
}

/// Fields one behind the other.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(&mut self, tag: u32, number: u64) {
        self.varint(u64::from(tag << 3));
        self.varint(number);
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.varint(u64::from(tag << 3 | 2));
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }
}

/// Reads the one message that a frame of the server holds.
///
/// # Panics
/// If it holds anything else.
pub(crate) fn message(coding: Coding, frame: &[u8]) -> Heard {
    let heard = match coding {
        Coding::Json => {
            let line = std::str::from_utf8(frame).expect("JSON is text");
            assert!(!line.contains(['\n', '\r']), "a message alone: {line:?}");
            Members::read(line).and_then(|line| heard_in_json(&line))
        }
        Coding::Protobuf => {
            let mut rest = frame;
            let message = delimited(&mut rest).filter(|_| rest.is_empty());
            let fields = message.and_then(|message| Fields::read(message, DEPTH_MAX));
            fields.and_then(|fields| heard_in_protobuf(&fields))
        }
    };
    heard.unwrap_or_else(|| panic!("no message of the server: {}", frame.escape_ascii()))
}

fn heard_in_json(line: &Members<'_>) -> Option<Heard> {
    let [(first, _), rest @ ..] = &line.0[..] else {
        return Some(Heard::Ping);
    };
    if first == "push" {
        let push = line.one("push", |push| {
            let told = push.one("pub", publication_in_json)?.map(Told::Publication);
            let about = |who: &Members<'_>| who.one("info", |info| info.text("client"))?;
            let told = told.or(push.one("join", about)?.map(Told::Join));
            let told = told.or(push.one("leave", about)?.map(Told::Leave));
            let code = push.one("unsubscribe", |end| end.number("code"))?;
            let told = told.or(code.map(Told::Unsubscribe));
            assert_eq!(push.0.len(), 2, "a channel, and one thing about it");
            Some(Heard::Push(push.text("channel")?, told?))
        });
        return push?.filter(|_| rest.is_empty());
    }
    assert!(first == "id" && rest.len() == 1, "an id, and one answer");
    let answers = [
        line.one("error", |error| Some(Answer::Error(error.number("code")?)))?,
        line.one("connect", |connect| {
            Some(Answer::Connected {
                client: connect.text("client")?,
                pong: connect.flag("pong")?,
            })
        })?,
        line.one("subscribe", |sub| {
            Some(Answer::Subscribed(Subscribed {
                recoverable: sub.flag("recoverable")?,
                positioned: sub.flag("positioned")?,
                was_recovering: sub.flag("was_recovering")?,
                recovered: sub.flag("recovered")?,
                epoch: sub.text("epoch")?,
                offset: sub.number("offset")?,
                publications: publications_in_json(sub)?,
            }))
        })?,
        line.one("unsubscribe", |_| Some(Answer::Unsubscribed))?,
        line.one("publish", |_| Some(Answer::Published))?,
        line.one("presence", |presence| {
            let names = |list: &Members<'_>| Some(list.0.iter().map(|m| m.0.clone()).collect());
            Some(Answer::Presence(presence.one("presence", names)??))
        })?,
        line.one("presence_stats", |stats| {
            Some(Answer::PresenceStats(stats.number("num_clients")?))
        })?,
        line.one("history", |history| {
            Some(Answer::History {
                publications: publications_in_json(history)?,
                epoch: history.text("epoch")?,
                offset: history.number("offset")?,
            })
        })?,
    ];
    let answer = answers.into_iter().flatten().next()?;
    Some(Heard::Reply(line.number("id")?, answer))
}

fn publications_in_json(around: &Members<'_>) -> Option<Vec<Publication>> {
    let listed = around.last("publications", |list| {
        let list: Vec<&RawValue> = serde_json::from_str(list).ok()?;
        let read = |one: &RawValue| publication_in_json(&Members::read(one.get())?);
        list.into_iter().map(read).collect()
    })?;
    Some(listed.unwrap_or_default())
}

fn publication_in_json(publication: &Members<'_>) -> Option<Publication> {
    let data = publication.0.iter().find(|(name, _)| name == "data");
    Some(Publication {
        data: data?.1.as_bytes().to_vec(),
        offset: publication.number("offset")?,
        client: publication.one("info", |info| info.text("client"))?,
    })
}

fn heard_in_protobuf(fields: &Fields) -> Option<Heard> {
    let push = fields.one(4, |push| {
        let told = push.one(4, publication_in_protobuf)?.map(Told::Publication);
        let about = |who: &Fields| who.one(1, |info| info.text(2))?;
        let told = told.or(push.one(5, about)?.map(Told::Join));
        let told = told.or(push.one(6, about)?.map(Told::Leave));
        let code = push.one(7, |end| Some(end.number(2)? as u32))?;
        let told = told.or(code.map(Told::Unsubscribe));
        Some(Heard::Push(push.text(2)?, told?))
    })?;
    let answers = [
        fields.one(2, |error| Some(Answer::Error(error.number(1)? as u32)))?,
        fields.one(5, |connect| {
            Some(Answer::Connected {
                client: connect.text(1)?,
                pong: connect.number(8)? != 0,
            })
        })?,
        fields.one(6, |sub| {
            Some(Answer::Subscribed(Subscribed {
                recoverable: sub.number(3)? != 0,
                epoch: sub.text(6)?,
                publications: publications_in_protobuf(&sub.each(7)?)?,
                recovered: sub.number(8)? != 0,
                offset: sub.number(9)?,
                positioned: sub.number(10)? != 0,
                was_recovering: sub.number(12)? != 0,
            }))
        })?,
        fields.one(7, |_| Some(Answer::Unsubscribed))?,
        fields.one(8, |_| Some(Answer::Published))?,
        fields.one(9, |presence| {
            let entries = presence.each(1)?;
            let names = entries.iter().map(|entry| entry.text(1));
            Some(Answer::Presence(names.collect::<Option<_>>()?))
        })?,
        fields.one(10, |stats| Some(Answer::PresenceStats(stats.number(1)?)))?,
        fields.one(11, |history| {
            Some(Answer::History {
                publications: publications_in_protobuf(&history.each(1)?)?,
                epoch: history.text(2)?,
                offset: history.number(3)?,
            })
        })?,
    ];
    let mut answers = answers.into_iter().flatten();
    let answer = answers.next();
    assert!(answers.next().is_none(), "one answer");
    let id = fields.number(1)? as u32;
    match (id, push, answer) {
        (0, None, None) => Some(Heard::Ping),
        (0, Some(push), None) => Some(push),
        (_, None, Some(answer)) => Some(Heard::Reply(id, answer)),
        _ => None,
    }
}

fn publications_in_protobuf(list: &[Fields]) -> Option<Vec<Publication>> {
    list.iter().map(publication_in_protobuf).collect()
}

fn publication_in_protobuf(publication: &Fields) -> Option<Publication> {
    Some(Publication {
        data: publication.bytes(4)?.concat(),
        offset: publication.number(6)?,
        client: publication.one(5, |info| info.text(2))?,
    })
}
