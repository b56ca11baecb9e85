//! Writes replies and pushes in JSON, members in the order of the official
//! server, a line each. What is 0, empty or false is left out but where the
//! official server writes it.

use std::collections::BTreeMap;

use super::payload::payload_of;
use super::reply::{Error, Publication, Push, Reply, SubscribeResult};
use super::view::{PublicationView, views};
use crate::protocol::json::{Payload, Sink, put_string};
use crate::protocol::member::ClientInfo;

pub(super) fn reply(sink: &mut dyn Sink, id: u32, reply: &Reply<'_>) {
    line(sink, |line| {
        line.number("id", id);
        match reply {
            Reply::Connect(result) => line.object("connect", |object| {
                object.text("client", result.client);
                object.text("version", result.version);
                expiry(object, result.expires, result.ttl);
                object.data("data", result.data.and_then(payload_of));
                if !result.subs.is_empty() {
                    object.object("subs", |subs| {
                        for (channel, result) in result.subs {
                            subs.object(channel, |object| subscribe_result(object, result));
                        }
                    });
                }
                object.number("ping", result.ping_s);
                object.flag("pong", result.pong);
            }),
            Reply::Subscribe(result) => {
                line.object("subscribe", |object| subscribe_result(object, result));
            }
            Reply::Unsubscribe => line.object("unsubscribe", |_| ()),
            Reply::Publish => line.object("publish", |_| ()),
            Reply::Presence(infos) => line.object("presence", |object| {
                object.object("presence", |object| {
                    for info in *infos {
                        object.object(&info.client, |object| client_info(object, info));
                    }
                });
            }),
            Reply::PresenceStats {
                num_clients,
                num_users,
            } => line.object("presence_stats", |object| {
                object.number_or_0("num_clients", *num_clients);
                object.number_or_0("num_users", *num_users);
            }),
            Reply::History {
                publications,
                epoch,
                offset,
            } => line.object("history", |object| {
                object.publications("publications", publications);
                object.text_or_empty("epoch", epoch);
                object.number_or_0("offset", *offset);
            }),
            Reply::Refresh {
                client,
                version,
                expires,
                ttl,
            } => line.object("refresh", |object| {
                object.text("client", client);
                object.text("version", version);
                expiry(object, *expires, *ttl);
            }),
            Reply::SubRefresh { expires, ttl } => {
                line.object("sub_refresh", |object| expiry(object, *expires, *ttl));
            }
            Reply::Error(error) => line.object("error", |object| {
                let Error {
                    code,
                    message,
                    temporary,
                } = *error;
                object.number("code", code);
                object.text("message", message);
                object.flag("temporary", temporary);
            }),
        }
    });
}

pub(super) fn push(sink: &mut dyn Sink, push: &Push<'_>) {
    line(sink, |line| {
        line.object("push", |object| match *push {
            Push::Join { channel, info } => {
                object.text("channel", channel);
                object.object("join", |join| {
                    join.object("info", |object| client_info(object, info));
                });
            }
            Push::Leave { channel, info } => {
                object.text("channel", channel);
                object.object("leave", |leave| {
                    leave.object("info", |object| client_info(object, info));
                });
            }
            Push::Unsubscribe {
                channel,
                code,
                reason,
            } => {
                object.text("channel", channel);
                object.object("unsubscribe", |object| {
                    object.number("code", code);
                    object.text("reason", reason);
                });
            }
            Push::Subscribe {
                channel,
                recoverable,
                positioned,
                epoch,
                offset,
                data,
            } => {
                object.text("channel", channel);
                object.object("subscribe", |object| {
                    object.flag("recoverable", recoverable);
                    object.text("epoch", epoch);
                    object.number("offset", offset);
                    object.flag("positioned", positioned);
                    object.data("data", data.and_then(payload_of));
                });
            }
            Push::Message { data } => object.object("message", |object| {
                object.data("data", payload_of(data));
            }),
            Push::Refresh { expires, ttl } => {
                object.object("refresh", |object| expiry(object, expires, ttl));
            }
            Push::Disconnect {
                code,
                reason,
                reconnect,
            } => object.object("disconnect", |object| {
                object.number("code", code);
                object.text("reason", reason);
                object.flag("reconnect", reconnect);
            }),
        });
    });
}

pub(super) fn publication_push(
    sink: &mut dyn Sink,
    channel: &str,
    publication: &PublicationView<'_>,
) {
    line(sink, |line| {
        line.object("push", |object| {
            object.text("channel", channel);
            object.object("pub", |object| self::publication(object, publication));
        });
    });
}

fn publication(object: &mut Object<'_>, publication: &PublicationView<'_>) {
    object.data("data", Some(publication.data));
    if let Some(info) = &publication.info {
        object.object("info", |object| client_info(object, info));
    }
    object.number("offset", publication.offset);
    if !publication.tags.is_empty() {
        object.object("tags", |tags| {
            for (name, value) in publication.tags.iter() {
                tags.text_or_empty(name, value);
            }
        });
    }
    object.number("time", publication.time_ms);
    object.text("channel", publication.channel);
}

fn subscribe_result(object: &mut Object<'_>, result: &SubscribeResult) {
    expiry(object, result.expires, result.ttl);
    object.flag("recoverable", result.recoverable);
    object.text("epoch", &result.epoch);
    if !result.publications.is_empty() {
        object.publications("publications", &result.publications);
    }
    object.flag("recovered", result.recovered);
    object.number("offset", result.offset);
    object.flag("positioned", result.positioned);
    object.data("data", result.data.as_ref().and_then(payload_of));
    object.flag("was_recovering", result.was_recovering);
}

pub(super) fn client_info(object: &mut Object<'_>, info: &ClientInfo) {
    object.text_or_empty("user", &info.user);
    object.text_or_empty("client", &info.client);
    object.data("conn_info", Payload::guess(&info.conn_info));
    object.data("chan_info", Payload::guess(&info.chan_info));
}

fn expiry(object: &mut Object<'_>, expires: bool, ttl: u32) {
    object.flag("expires", expires);
    object.number("ttl", ttl);
}

/// An object whose values are strings.
pub(in crate::protocol) fn strings(members: &BTreeMap<String, String>) -> String {
    let mut bytes = Vec::new();
    object(&mut bytes, |object| {
        for (name, value) in members {
            object.text_or_empty(name, value);
        }
    });
    String::from_utf8(bytes).expect("names, values and what is between are text")
}

/// An object that is being written.
pub(super) struct Object<'a> {
    sink: &'a mut dyn Sink,
    empty: bool,
}

fn line(sink: &mut dyn Sink, members: impl FnOnce(&mut Object<'_>)) {
    object(sink, members);
    sink.put(b"\n");
}

pub(super) fn object(sink: &mut dyn Sink, members: impl FnOnce(&mut Object<'_>)) {
    sink.put(b"{");
    members(&mut Object { sink, empty: true });
    sink.put(b"}");
}

impl Object<'_> {
    pub(super) fn object(&mut self, name: &str, members: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        object(self.sink, members);
    }

    pub(super) fn publications(&mut self, name: &str, publications: &[Publication]) {
        self.objects(name, views(publications), |object, view| {
            publication(object, &view);
        });
    }

    /// An array of objects.
    pub(super) fn objects<T>(
        &mut self,
        name: &str,
        items: impl Iterator<Item = T>,
        members: impl Fn(&mut Object<'_>, T),
    ) {
        self.name(name);
        self.sink.put(b"[");
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.sink.put(b",");
            }
            object(self.sink, |object| members(object, item));
        }
        self.sink.put(b"]");
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text_or_empty(name, text);
        }
    }

    pub(super) fn text_or_empty(&mut self, name: &str, text: &str) {
        self.name(name);
        put_string(self.sink, text.as_bytes());
    }

    pub(super) fn number(&mut self, name: &str, number: impl Into<u64>) {
        match number.into() {
            0 => {}
            number => self.number_or_0(name, number),
        }
    }

    pub(super) fn number_or_0(&mut self, name: &str, number: impl Into<u64>) {
        self.name(name);
        let number: u64 = number.into();
        self.sink.put(number.to_string().as_bytes());
    }

    fn flag(&mut self, name: &str, flag: bool) {
        if flag {
            self.name(name);
            self.sink.put(b"true");
        }
    }

    fn data(&mut self, name: &str, data: Option<Payload<'_>>) {
        if let Some(data) = data {
            self.name(name);
            self.sink.mark();
            data.put_json(self.sink);
            self.sink.mark();
        }
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.sink.put(b",");
        }
        self.empty = false;
        put_string(self.sink, name.as_bytes());
        self.sink.put(b":");
    }
}
