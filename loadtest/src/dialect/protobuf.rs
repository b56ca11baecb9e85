//! Centrifugo's client protocol in Protobuf: messages with their lengths before them,
//! several in a WebSocket message. Numbers of fields are those of its `client.proto`.
//!
//! Called by `dialect`.

use super::{Ask, Position, Publication, Word, quote, unquote};

// Kinds of fields on the wire.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

pub(super) fn ask(id: u32, ask: &Ask<'_>, out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    let number = match ask {
        Ask::Connect => 4,
        Ask::Subscribe { channel, since } => {
            put_bytes(1, channel.as_bytes(), &mut inner);
            if let Some(Position { epoch, offset }) = since {
                put_number(3, 1, &mut inner);
                put_bytes(6, epoch.as_bytes(), &mut inner);
                put_number(7, *offset, &mut inner);
            }
            5
        }
        Ask::Publish { channel, payload } => {
            put_bytes(1, channel.as_bytes(), &mut inner);
            put_varint(2 << 3 | BYTES, &mut inner);
            put_varint(payload.len() as u64 + 2, &mut inner);
            quote(payload, &mut inner);
            7
        }
    };
    let mut command = Vec::with_capacity(inner.len() + 16);
    put_number(1, u64::from(id), &mut command);
    put_bytes(number, &inner, &mut command);
    put_varint(command.len() as u64, out);
    out.extend_from_slice(&command);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_number(field: u64, value: u64, out: &mut Vec<u8>) {
    put_varint(field << 3 | VARINT, out);
    put_varint(value, out);
}

fn put_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(field << 3 | BYTES, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub(super) fn read<'a>(
    mut message: &'a [u8],
    each: &mut dyn FnMut(Word<'a>),
) -> Result<(), String> {
    while !message.is_empty() {
        let reply = take_bytes(&mut message)?;
        each(if reply.is_empty() {
            Word::Ping
        } else {
            word(reply)?
        });
    }
    Ok(())
}

fn word(reply: &[u8]) -> Result<Word<'_>, String> {
    let mut id = 0;
    let mut word = None;
    for field in fields(reply) {
        match field? {
            (1, Field::Number(number)) => id = number as u32,
            (2, Field::Bytes(bytes)) => {
                let (mut code, mut message) = (0, "");
                for field in fields(bytes) {
                    match field? {
                        (1, Field::Number(number)) => code = number as u32,
                        (2, Field::Bytes(bytes)) => message = text(bytes)?,
                        _ => {}
                    }
                }
                let message = message.into();
                word = Some(Word::Refused { id, code, message });
            }
            (4, Field::Bytes(bytes)) => word = Some(push(bytes)?),
            (5, Field::Bytes(_)) => word = Some(Word::Connected),
            (6, Field::Bytes(bytes)) => word = Some(subscribed(id, bytes)?),
            _ => {}
        }
    }
    Ok(word.unwrap_or(if id > 0 { Word::Done } else { Word::Other }))
}

fn push(bytes: &[u8]) -> Result<Word<'_>, String> {
    let (mut channel, mut published, mut ended) = ("", None, None);
    for field in fields(bytes) {
        match field? {
            (2, Field::Bytes(bytes)) => channel = text(bytes)?,
            (4, Field::Bytes(bytes)) => published = Some(publication(bytes)?),
            (7, Field::Bytes(bytes)) => {
                let code = fields(bytes).find_map(|field| match field {
                    Ok((2, Field::Number(code))) => Some(code as u32),
                    _ => None,
                });
                ended = Some(code.unwrap_or(0));
            }
            _ => {}
        }
    }
    Ok(match (published, ended) {
        (Some(publication), _) => Word::Publication {
            channel: channel.into(),
            publication,
        },
        (_, Some(code)) => Word::Unsubscribed { code },
        _ => Word::Other,
    })
}

fn subscribed(id: u32, bytes: &[u8]) -> Result<Word<'_>, String> {
    let (mut position, mut recovered) = (Position::default(), false);
    let mut publications = Vec::new();
    for field in fields(bytes) {
        match field? {
            (6, Field::Bytes(epoch)) => position.epoch = text(epoch)?.into(),
            (7, Field::Bytes(bytes)) => publications.push(publication(bytes)?),
            (8, Field::Number(number)) => recovered = number != 0,
            (9, Field::Number(offset)) => position.offset = offset,
            _ => {}
        }
    }
    Ok(Word::Subscribed {
        id,
        position,
        recovered,
        publications,
    })
}

fn publication(bytes: &[u8]) -> Result<Publication<'_>, String> {
    let (mut payload, mut offset) = (&[][..], 0);
    for field in fields(bytes) {
        match field? {
            (4, Field::Bytes(data)) => payload = unquote(data),
            (6, Field::Number(number)) => offset = number,
            _ => {}
        }
    }
    Ok(Publication { payload, offset })
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed length, which nothing that is read here has.
    Fixed,
}

/// The fields of a message with their numbers, up to the first that cannot be read.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u64, Field<'_>), String>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let field = take_field(&mut bytes);
        if field.is_err() {
            bytes = &[];
        }
        Some(field)
    })
}

fn take_field<'a>(bytes: &mut &'a [u8]) -> Result<(u64, Field<'a>), String> {
    let key = take_varint(bytes)?;
    let field = match key & 7 {
        VARINT => Field::Number(take_varint(bytes)?),
        BYTES => Field::Bytes(take_bytes(bytes)?),
        FIXED64 | FIXED32 => {
            let length = if key & 7 == FIXED64 { 8 } else { 4 };
            take(bytes, length)?;
            Field::Fixed
        }
        kind => return Err(format!("no field of a Protobuf message is of kind {kind}")),
    };
    Ok((key >> 3, field))
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = take_varint(bytes)?;
    take(bytes, usize::try_from(length).unwrap_or(usize::MAX))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let split = bytes.split_at_checked(length);
    let (taken, rest) = split.ok_or("a Protobuf message ends in the middle")?;
    *bytes = rest;
    Ok(taken)
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for place in 0..10 {
        let [byte] = take(bytes, 1)? else {
            unreachable!("one byte was taken")
        };
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number of a Protobuf message is too long".into())
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of fields that hold bytes or numbers.
    fn message(parts: &[(u64, Result<u64, &[u8]>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (field, part) in parts {
            match part {
                Ok(number) => put_number(*field, *number, &mut out),
                Err(bytes) => put_bytes(*field, bytes, &mut out),
            }
        }
        out
    }

    #[test]
    fn each_message_is_a_word_and_unknown_fields_are_skipped() {
        let published = message(&[(4, Err(b"\"Fb\"")), (6, Ok(300)), (99, Ok(1))]);
        let mut unknown = published.clone();
        // Eight bytes and four, as numbers of other kinds have.
        put_varint(50 << 3 | FIXED64, &mut unknown);
        unknown.extend_from_slice(&[0; 8]);
        put_varint(51 << 3 | FIXED32, &mut unknown);
        unknown.extend_from_slice(&[0; 4]);
        let pushed =
            |inner: &[u8]| message(&[(4, Err(&message(&[(2, Err(b"a")), (4, Err(inner))])))]);
        let ended = message(&[(2, Err(b"a")), (7, Err(&message(&[(2, Ok(2500))])))]);
        let subscribed = message(&[
            (6, Err(b"e")),
            (7, Err(&published)),
            (8, Ok(1)),
            (9, Ok(299)),
        ]);
        let refused = message(&[(1, Ok(103)), (2, Err(b"denied"))]);
        let replies = [
            message(&[(1, Ok(1)), (5, Err(b""))]),
            message(&[(1, Ok(2)), (6, Err(&subscribed))]),
            pushed(&published),
            pushed(&unknown),
            message(&[(4, Err(&ended))]),
            message(&[(1, Ok(3)), (8, Err(b""))]),
            message(&[(1, Ok(4)), (2, Err(&refused))]),
            Vec::new(),
        ];
        let mut all = Vec::new();
        for reply in &replies {
            put_varint(reply.len() as u64, &mut all);
            all.extend_from_slice(reply);
        }
        let mut words = Vec::new();
        read(&all, &mut |word| words.push(word)).unwrap();
        let publication = Publication {
            payload: b"Fb",
            offset: 300,
        };
        let heard = || Word::Publication {
            channel: "a".into(),
            publication,
        };
        let expected = [
            Word::Connected,
            Word::Subscribed {
                id: 2,
                position: Position {
                    epoch: "e".into(),
                    offset: 299,
                },
                recovered: true,
                publications: vec![publication],
            },
            heard(),
            heard(),
            Word::Unsubscribed { code: 2500 },
            Word::Done,
            Word::Refused {
                id: 4,
                code: 103,
                message: "denied".into(),
            },
            Word::Ping,
        ];
        assert_eq!(words, expected);
        // Cut anywhere, it is read up to there, or an error.
        for end in 0..all.len() {
            let _ = read(&all[..end], &mut |_| {});
        }
    }
}
