//! How payloads look in each coding.
//!
//! A payload is JSON, other text or bytes. JSON readers get JSON as it is, other
//! text as a JSON string and bytes as a JSON string of base64. Protobuf readers
//! get JSON and bytes as they are; text that is no JSON is a JSON string for them
//! too. The Protobuf clients hand over bytes and applications parse them as JSON
//! (to them it is what others publish in JSON), so `Kick-off!` on a channel of
//! JSON would break them, and the clients of one channel would not read the same.

use super::request::{Coding, Data};
use crate::protocol::json::{Payload, Sink, line_len, put_string};

/// `None` if there is none.
pub(super) fn payload_of(data: &Data) -> Option<Payload<'_>> {
    (!data.is_empty()).then(|| Payload::new(data.text, &data.bytes))
}

pub(super) fn put_protobuf(payload: Payload<'_>, sink: &mut dyn Sink) {
    match payload {
        Payload::Json(bytes) | Payload::Bytes(bytes) => sink.put(bytes),
        Payload::Text(bytes) => put_string(sink, bytes),
    }
}

/// What a payload is written as in `coding`; `None` if as it is.
pub fn written(coding: Coding, text: bool, payload: &[u8]) -> Option<Vec<u8>> {
    let data = Payload::new(text, payload);
    let as_it_is = match (coding, data) {
        (Coding::Json, Payload::Json(json)) => line_len(json) == json.len(),
        (Coding::Protobuf, Payload::Json(_) | Payload::Bytes(_)) => true,
        _ => false,
    };
    (!as_it_is).then(|| {
        let mut out = Vec::with_capacity(Payload::bound(text, payload));
        match coding {
            Coding::Json => data.put_json(&mut out),
            Coding::Protobuf => put_protobuf(data, &mut out),
        }
        out
    })
}
