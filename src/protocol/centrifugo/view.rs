//! A publication as it is written, be it a message of the log or in a reply.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::reply::Publication;
use crate::protocol::encoding::Message;
use crate::protocol::json::{Payload, Reader};
use crate::protocol::member::{ClientInfo, decode_info};

pub(super) struct PublicationView<'a> {
    pub(super) data: Payload<'a>,
    pub(super) info: Option<Cow<'a, ClientInfo>>,
    pub(super) offset: u64,
    pub(super) tags: Cow<'a, [(String, String)]>,
    pub(super) time_ms: u64,
    pub(super) channel: &'a str,
}

/// Its extras count as far as they can be read. The time is not told, as by the
/// official server.
pub(super) fn view<'a>(message: &Message<'a>) -> PublicationView<'a> {
    let extras = message.extras.unwrap_or_default();
    PublicationView {
        data: Payload::new(message.text, message.payload),
        info: decode_info(extras.info).map(Cow::Owned),
        offset: message.offset,
        tags: Cow::Owned(tags(extras.tags)),
        time_ms: 0,
        channel: "",
    }
}

pub(super) fn views(
    publications: &[Publication],
) -> impl ExactSizeIterator<Item = PublicationView<'_>> {
    publications.iter().map(|publication| PublicationView {
        data: Payload::new(publication.data.text, &publication.data.bytes),
        info: publication.info.as_ref().map(Cow::Borrowed),
        offset: publication.offset,
        tags: Cow::Borrowed(&publication.tags),
        time_ms: publication.time_ms,
        channel: &publication.channel,
    })
}

/// The members of a JSON object whose values are strings, else none.
fn tags(json: &str) -> Vec<(String, String)> {
    if json.is_empty() {
        return Vec::new();
    }
    let mut tags = BTreeMap::new();
    let mut reader = Reader::new(json.as_bytes());
    let read = reader.object(|name, value| {
        let value = value.text()?.into_owned();
        tags.insert(name.to_owned(), value);
        Ok(())
    });
    match read.and_then(|_| reader.end()) {
        Ok(()) => tags.into_iter().collect(),
        Err(_) => Vec::new(),
    }
}
