//! Centrifugo's client protocol in JSON: an object a line, several lines in a message.
//!
//! Called by `dialect`.

use std::borrow::Cow;
use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Ask, Position, Publication, Word, quote, unquote};

pub(super) fn ask(id: u32, ask: &Ask<'_>, out: &mut Vec<u8>) {
    let written = match ask {
        Ask::Connect => write!(out, "{{\"id\":{id},\"connect\":{{"),
        Ask::Subscribe { channel, since } => {
            let begun = write!(
                out,
                "{{\"id\":{id},\"subscribe\":{{\"channel\":\"{channel}\""
            );
            begun.and_then(|()| match since {
                None => Ok(()),
                Some(Position { epoch, offset }) => write!(
                    out,
                    ",\"recover\":true,\"epoch\":\"{epoch}\",\"offset\":{offset}"
                ),
            })
        }
        Ask::Publish { channel, payload } => {
            let begun = write!(
                out,
                "{{\"id\":{id},\"publish\":{{\"channel\":\"{channel}\",\"data\":"
            );
            quote(payload, out);
            begun
        }
    };
    written.expect("memory takes everything");
    out.extend_from_slice(b"}}\n");
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(default)]
    id: u32,
    #[serde(borrow)]
    push: Option<Push<'a>>,
    #[serde(borrow)]
    error: Option<Refusal<'a>>,
    #[serde(borrow)]
    connect: Option<&'a RawValue>,
    #[serde(borrow)]
    subscribe: Option<Subscribed<'a>>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, default)]
    channel: Cow<'a, str>,
    #[serde(borrow, rename = "pub")]
    publication: Option<Published<'a>>,
    unsubscribe: Option<Ended>,
}

#[derive(Deserialize)]
struct Published<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    offset: u64,
}

#[derive(Deserialize)]
struct Ended {
    #[serde(default)]
    code: u32,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    code: u32,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Subscribed<'a> {
    #[serde(default)]
    epoch: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    recovered: bool,
    #[serde(borrow, default)]
    publications: Vec<Published<'a>>,
}

pub(super) fn read<'a>(message: &'a [u8], each: &mut dyn FnMut(Word<'a>)) -> Result<(), String> {
    for line in message.split(|byte| *byte == b'\n') {
        match line {
            b"" => {}
            b"{}" => each(Word::Ping),
            _ => {
                let reply = serde_json::from_slice(line);
                each(word(reply.map_err(|error| error.to_string())?));
            }
        }
    }
    Ok(())
}

fn word(reply: Reply<'_>) -> Word<'_> {
    let id = reply.id;
    match reply {
        Reply {
            push: Some(push), ..
        } => match (push.publication, push.unsubscribe) {
            (Some(published), _) => Word::Publication {
                channel: push.channel,
                publication: publication(&published),
            },
            (_, Some(ended)) => Word::Unsubscribed { code: ended.code },
            _ => Word::Other,
        },
        Reply {
            error: Some(Refusal { code, message }),
            ..
        } => Word::Refused { id, code, message },
        Reply {
            subscribe: Some(subscribed),
            ..
        } => Word::Subscribed {
            id,
            recovered: subscribed.recovered,
            publications: subscribed.publications.iter().map(publication).collect(),
            position: Position {
                epoch: subscribed.epoch,
                offset: subscribed.offset,
            },
        },
        Reply {
            connect: Some(_), ..
        } => Word::Connected,
        _ if id > 0 => Word::Done,
        _ => Word::Other,
    }
}

fn publication<'a>(published: &Published<'a>) -> Publication<'a> {
    Publication {
        payload: unquote(published.data.get().as_bytes()),
        offset: published.offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_word_whatever_the_order_of_its_members() {
        let message = br#"{"id":1,"connect":{"client":"x","ping":25,"pong":true}}
{"id":2,"subscribe":{"epoch":"e","offset":5,"recoverable":true}}
{"id":3,"subscribe":{"recovered":true,"offset":4,"epoch":"e","publications":[{"offset":5,"data":"Fa"}]}}
{"push":{"pub":{"offset":6,"info":{"client":"y"},"data":"Fb"},"channel":"a"}}
{"push":{"channel":"a","unsubscribe":{"code":2500,"reason":"r"}}}
{"push":{"channel":"a","join":{"info":{}}}}
{"id":4,"publish":{}}
{"id":5,"error":{"code":103,"message":"permission \"denied\""}}
{}
"#;
        let mut words = Vec::new();
        read(message, &mut |word| words.push(word)).unwrap();
        let position = |offset| Position {
            epoch: "e".into(),
            offset,
        };
        let publication = |payload, offset| Publication { payload, offset };
        let expected = [
            Word::Connected,
            Word::Subscribed {
                id: 2,
                position: position(5),
                recovered: false,
                publications: vec![],
            },
            Word::Subscribed {
                id: 3,
                position: position(4),
                recovered: true,
                publications: vec![publication(&b"Fa"[..], 5)],
            },
            Word::Publication {
                channel: "a".into(),
                publication: publication(b"Fb", 6),
            },
            Word::Unsubscribed { code: 2500 },
            Word::Other,
            Word::Done,
            Word::Refused {
                id: 5,
                code: 103,
                message: "permission \"denied\"".into(),
            },
            Word::Ping,
        ];
        assert_eq!(words, expected);
    }
}
