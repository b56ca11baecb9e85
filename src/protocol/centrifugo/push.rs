//! Publications that all subscribers of a coding share.

use super::reply::Publication;
use super::request::{Coding, Data};
use super::view::view;
use super::{json_out, protobuf_out};
use crate::protocol::encoding::Message;
use crate::protocol::json::{Payload, Slice, Written, string_bound};

/// The names, brackets, numbers and lengths of a push without tags: both codings
/// stay below.
pub(super) const ENVELOPE_BYTES_MAX: usize = 192;

/// Bytes for a byte of an info or of tags. Of info JSON writes a control character
/// with six, of tags Protobuf may write up to as many length bytes as there were
/// quotes and colons.
pub(super) const INFO_GROWTH: usize = 6;
const TAGS_GROWTH: usize = 6;

/// An upper bound of what [`write_publication`] writes.
pub fn publication_bound(coding: Coding, message: &Message<'_>) -> usize {
    let payload = match coding {
        Coding::Protobuf if !message.text => message.payload.len(),
        _ => Payload::bound(message.text, message.payload),
    };
    let extras = message.extras.unwrap_or_default();
    ENVELOPE_BYTES_MAX
        + string_bound(message.topic.as_bytes())
        + payload
        + INFO_GROWTH * extras.info.len()
        + TAGS_GROWTH * extras.tags.len()
}

/// Writes the push of a publication to the start of `out`, which has as many bytes
/// as [`publication_bound`] said.
pub fn write_publication(coding: Coding, message: &Message<'_>, out: &mut [u8]) -> Written {
    let mut sink = Slice::new(out);
    let view = view(message);
    match coding {
        Coding::Json => json_out::publication_push(&mut sink, message.topic, &view),
        Coding::Protobuf => protobuf_out::publication_push(&mut sink, message.topic, &view),
    }
    sink.written()
}

/// The same for use inside a reply.
pub fn publication(message: &Message<'_>) -> Publication {
    let view = view(message);
    Publication {
        data: Data {
            text: message.text,
            bytes: message.payload.to_vec(),
        },
        offset: view.offset,
        info: view.info.map(|info| info.into_owned()),
        tags: view.tags.into_owned(),
        time_ms: view.time_ms,
        channel: view.channel.to_owned(),
    }
}
