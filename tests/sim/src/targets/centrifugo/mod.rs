//! Centrifugo's client protocol: its two decoders, and what subscribers get. And the decoder of
//! its server API.

mod calls;
mod json;
mod protobuf;
mod publication;

use fanfare::protocol::centrifugo::api;
use fanfare::protocol::centrifugo::{Coding, Command, Request, decode};
use serde_json::value::RawValue;

pub use publication::publication as centrifugo_publication;

/// A message of a client that talks JSON.
pub fn centrifugo_json(data: &[u8]) {
    let expected = json::commands(data).ok_or(());
    assert_eq!(decode(Coding::Json, data).map_err(|_| ()), expected);
}

/// A message of a client that talks Protobuf.
pub fn centrifugo_protobuf(data: &[u8]) {
    let expected = protobuf::commands(data).ok_or(());
    assert_eq!(decode(Coding::Protobuf, data).map_err(|_| ()), expected);
}

/// Byte 0 names a method, and the rest is the body of a request.
pub fn centrifugo_api(data: &[u8]) {
    let Some((method, body)) = data.split_first() else {
        return;
    };
    let method = calls::METHODS[usize::from(*method) % calls::METHODS.len()];
    let expected = calls::request(method, body).ok_or(());
    let read = api::decode(method, body, usize::MAX);
    assert_eq!(read.map_err(|_| ()), expected);
}

/// What id and command make, of which the first is taken; `others` if there is
/// anything else.
fn request(id: u32, commands: Vec<Command>, others: bool) -> Option<Request> {
    let command = match commands.into_iter().next() {
        Some(command) => {
            let send = matches!(command, Command::Send { .. });
            (id > 0 || send).then_some(command)?
        }
        None if id == 0 => Command::Pong,
        None => others.then_some(Command::Unknown)?,
    };
    Some(Request { id, command })
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}
