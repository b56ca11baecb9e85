//! Writes replies and pushes in Protobuf, each behind its length, with the field
//! numbers of Centrifugo's `client.proto`. What is 0, empty or false is left out,
//! as the encoding's rules have it.
//!
//! Written by hand and not through structs, since these would have to own copies
//! of all payloads.

use prost::encoding::{WireType, encode_varint};

use super::payload::{payload_of, put_protobuf};
use super::reply::{Error, Push, Reply, SubscribeResult};
use super::view::{PublicationView, views};
use crate::protocol::json::{Count, Payload, Sink};
use crate::protocol::member::ClientInfo;

pub(super) fn reply(sink: &mut dyn Sink, id: u32, reply: &Reply<'_>) {
    // Found out once; the lengths below are counted more than once.
    let publications: Vec<PublicationView<'_>> = match reply {
        Reply::Subscribe(result) => views(&result.publications).collect(),
        Reply::History { publications, .. } => views(publications).collect(),
        _ => Vec::new(),
    };
    delimited(sink, &|fields| {
        number(fields, 1, id);
        match *reply {
            Reply::Error(Error {
                code,
                message,
                temporary,
            }) => nested(fields, 2, &|fields| {
                number(fields, 1, code);
                text(fields, 2, message);
                flag(fields, 3, temporary);
            }),
            Reply::Connect(result) => nested(fields, 5, &|fields| {
                text(fields, 1, result.client);
                text(fields, 2, result.version);
                expiry(fields, 3, result.expires, result.ttl);
                data(fields, 5, result.data.and_then(payload_of));
                for (channel, result) in result.subs {
                    nested(fields, 6, &|entry| {
                        text(entry, 1, channel);
                        nested(entry, 2, &|fields| {
                            let publications: Vec<_> = views(&result.publications).collect();
                            subscribe_result(fields, result, &publications);
                        });
                    });
                }
                number(fields, 7, result.ping_s);
                flag(fields, 8, result.pong);
            }),
            Reply::Subscribe(result) => nested(fields, 6, &|fields| {
                subscribe_result(fields, result, &publications);
            }),
            Reply::Unsubscribe => nested(fields, 7, &|_| ()),
            Reply::Publish => nested(fields, 8, &|_| ()),
            Reply::Presence(infos) => nested(fields, 9, &|fields| {
                for info in infos {
                    nested(fields, 1, &|entry| {
                        text(entry, 1, &info.client);
                        nested(entry, 2, &|fields| client_info(fields, info));
                    });
                }
            }),
            Reply::PresenceStats {
                num_clients,
                num_users,
            } => nested(fields, 10, &|fields| {
                number(fields, 1, num_clients);
                number(fields, 2, num_users);
            }),
            Reply::History { epoch, offset, .. } => nested(fields, 11, &|fields| {
                for view in &publications {
                    nested(fields, 1, &|fields| publication(fields, view));
                }
                text(fields, 2, epoch);
                number(fields, 3, offset);
            }),
            Reply::Refresh {
                client,
                version,
                expires,
                ttl,
            } => nested(fields, 14, &|fields| {
                text(fields, 1, client);
                text(fields, 2, version);
                expiry(fields, 3, expires, ttl);
            }),
            Reply::SubRefresh { expires, ttl } => {
                nested(fields, 15, &|fields| expiry(fields, 1, expires, ttl));
            }
        }
    });
}

pub(super) fn push(sink: &mut dyn Sink, push: &Push<'_>) {
    let channel = match push {
        Push::Join { channel, .. }
        | Push::Leave { channel, .. }
        | Push::Unsubscribe { channel, .. }
        | Push::Subscribe { channel, .. } => channel,
        Push::Message { .. } | Push::Refresh { .. } | Push::Disconnect { .. } => "",
    };
    push_message(sink, channel, &|fields| match *push {
        Push::Join { info, .. } => nested(fields, 5, &|join| {
            nested(join, 1, &|fields| client_info(fields, info));
        }),
        Push::Leave { info, .. } => nested(fields, 6, &|leave| {
            nested(leave, 1, &|fields| client_info(fields, info));
        }),
        Push::Unsubscribe { code, reason, .. } => nested(fields, 7, &|fields| {
            number(fields, 2, code);
            text(fields, 3, reason);
        }),
        Push::Message { data } => nested(fields, 8, &|fields| {
            self::data(fields, 1, payload_of(data));
        }),
        Push::Subscribe {
            recoverable,
            positioned,
            epoch,
            offset,
            data,
            ..
        } => nested(fields, 9, &|fields| {
            flag(fields, 1, recoverable);
            text(fields, 4, epoch);
            number(fields, 5, offset);
            flag(fields, 6, positioned);
            self::data(fields, 7, data.and_then(payload_of));
        }),
        Push::Disconnect {
            code,
            reason,
            reconnect,
        } => nested(fields, 11, &|fields| {
            number(fields, 1, code);
            text(fields, 2, reason);
            flag(fields, 3, reconnect);
        }),
        Push::Refresh { expires, ttl } => {
            nested(fields, 12, &|fields| expiry(fields, 1, expires, ttl));
        }
    });
}

pub(super) fn publication_push(
    sink: &mut dyn Sink,
    channel: &str,
    publication: &PublicationView<'_>,
) {
    push_message(sink, channel, &|fields| {
        nested(fields, 4, &|fields| self::publication(fields, publication));
    });
}

fn push_message(sink: &mut dyn Sink, channel: &str, body: &dyn Fn(&mut dyn Sink)) {
    delimited(sink, &|fields| {
        nested(fields, 4, &|fields| {
            text(fields, 2, channel);
            body(fields);
        });
    });
}

fn publication(sink: &mut dyn Sink, publication: &PublicationView<'_>) {
    data(sink, 4, Some(publication.data));
    if let Some(info) = &publication.info {
        nested(sink, 5, &|fields| client_info(fields, info));
    }
    number(sink, 6, publication.offset);
    for (name, value) in publication.tags.iter() {
        nested(sink, 7, &|entry| {
            text(entry, 1, name);
            text(entry, 2, value);
        });
    }
    number(sink, 9, publication.time_ms);
    text(sink, 10, publication.channel);
}

fn subscribe_result(
    sink: &mut dyn Sink,
    result: &SubscribeResult,
    publications: &[PublicationView<'_>],
) {
    expiry(sink, 1, result.expires, result.ttl);
    flag(sink, 3, result.recoverable);
    text(sink, 6, &result.epoch);
    for view in publications {
        nested(sink, 7, &|fields| publication(fields, view));
    }
    flag(sink, 8, result.recovered);
    number(sink, 9, result.offset);
    flag(sink, 10, result.positioned);
    data(sink, 11, result.data.as_ref().and_then(payload_of));
    flag(sink, 12, result.was_recovering);
}

fn client_info(sink: &mut dyn Sink, info: &ClientInfo) {
    text(sink, 1, &info.user);
    text(sink, 2, &info.client);
    bytes(sink, 3, &info.conn_info);
    bytes(sink, 4, &info.chan_info);
}

/// Two fields that follow each other in every message that has them.
fn expiry(sink: &mut dyn Sink, tag: u32, expires: bool, ttl: u32) {
    flag(sink, tag, expires);
    number(sink, tag + 1, ttl);
}

fn delimited(sink: &mut dyn Sink, fields: &dyn Fn(&mut dyn Sink)) {
    let mut len = Count::default();
    fields(&mut len);
    varint(sink, len.0 as u64);
    if !sink.count(len.0) {
        fields(sink);
    }
}

fn nested(sink: &mut dyn Sink, tag: u32, fields: &dyn Fn(&mut dyn Sink)) {
    key(sink, tag, WireType::LengthDelimited);
    delimited(sink, fields);
}

fn data(sink: &mut dyn Sink, tag: u32, data: Option<Payload<'_>>) {
    match data {
        None | Some(Payload::Bytes([])) => {}
        Some(data) => nested(sink, tag, &|sink| {
            sink.mark();
            put_protobuf(data, sink);
            sink.mark();
        }),
    }
}

fn text(sink: &mut dyn Sink, tag: u32, text: &str) {
    bytes(sink, tag, text.as_bytes());
}

fn bytes(sink: &mut dyn Sink, tag: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        key(sink, tag, WireType::LengthDelimited);
        varint(sink, bytes.len() as u64);
        sink.put(bytes);
    }
}

fn flag(sink: &mut dyn Sink, tag: u32, flag: bool) {
    number(sink, tag, u32::from(flag));
}

fn number(sink: &mut dyn Sink, tag: u32, number: impl Into<u64>) {
    match number.into() {
        0 => {}
        number => {
            key(sink, tag, WireType::Varint);
            varint(sink, number);
        }
    }
}

fn key(sink: &mut dyn Sink, tag: u32, wire_type: WireType) {
    varint(sink, u64::from(tag << 3 | wire_type as u32));
}

fn varint(sink: &mut dyn Sink, value: u64) {
    let mut bytes = [0; VARINT_BYTES_MAX];
    let mut left = &mut bytes[..];
    encode_varint(value, &mut left);
    let len = VARINT_BYTES_MAX - left.len();
    sink.put(&bytes[..len]);
}

const VARINT_BYTES_MAX: usize = 10;
