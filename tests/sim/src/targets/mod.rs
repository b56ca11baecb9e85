//! What fuzzing calls: each target takes any bytes and panics if the daemon's
//! code and a plain model of it disagree. `fuzz/` feeds them by coverage,
//! `tests/fuzz.rs` with a committed corpus and chance.

mod apps;
pub(crate) mod base64;
mod batch;
mod centrifugo;
mod connection;
mod deflate;
mod events;
pub(crate) mod fields;
mod head;
mod log;
pub(crate) mod members;
mod mercure;
mod naive;
mod proxy;
mod reader;
mod tls;
mod token;
mod webhook;

pub use apps::apps;
pub use batch::batch;
pub use centrifugo::{
    centrifugo_api, centrifugo_json, centrifugo_protobuf, centrifugo_publication,
};
pub use connection::connection;
pub use deflate::{inflate, negotiation};
pub use events::events;
pub use head::head;
pub use log::log;
pub use mercure::mercure;
pub use proxy::proxy;
pub use reader::reader;
pub use tls::{tls_open, tls_seal};
pub use token::token;
pub use webhook::webhook;

/// One target: bytes in, a panic on disagreement.
pub type Target = fn(&[u8]);

/// All targets by the names of their corpora.
pub const ALL: [(&str, Target); 19] = [
    ("apps", apps),
    ("batch", batch),
    ("centrifugo_api", centrifugo_api),
    ("centrifugo_json", centrifugo_json),
    ("centrifugo_protobuf", centrifugo_protobuf),
    ("centrifugo_publication", centrifugo_publication),
    ("connection", connection),
    ("events", events),
    ("head", head),
    ("inflate", inflate),
    ("log", log),
    ("mercure", mercure),
    ("negotiation", negotiation),
    ("proxy", proxy),
    ("reader", reader),
    ("tls_open", tls_open),
    ("tls_seal", tls_seal),
    ("token", token),
    ("webhook", webhook),
];

/// Splits the input into what steers a target and what it is fed.
fn split(data: &[u8], steering: usize) -> (&[u8], &[u8]) {
    data.split_at(steering.min(data.len()))
}

/// Cuts `bytes` into pieces as `cuts` says, over and over.
fn pieces<'a>(bytes: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    for cut in cuts.iter().chain(&[1]).cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(rest.len().min(1 + usize::from(*cut)));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
