//! Log lines about who could not be let in, and requests that were refused, where somebody
//! should change a setting. Any peer can bring them about, so they come seldom, and repeat
//! little of what it sent.

use std::io;
use std::net::SocketAddr;

use crate::hub::{Hub, Refusal};
use crate::protocol::http::{Reject, Request};

/// The most that is repeated of a header.
const WORD_BYTES_MAX: usize = 100;

/// Nobody can be accepted, or be given a descriptor.
pub(super) fn of_accepting(hub: &Hub, error: &io::Error) {
    if let Some(held_back) = hub.complaints().accepting.admit(hub.now_ms()) {
        tracing::warn!(%error, held_back, "cannot accept connections at the moment");
    }
}

/// An address has reached a limit of its own.
pub(super) fn of_address(hub: &Hub, peer: SocketAddr, refusal: Refusal) {
    let settings = hub.settings();
    let (limit, max) = match refusal {
        Refusal::Address => (
            "connections_per_address_max",
            settings.connections_per_address_max,
        ),
        Refusal::AddressHandshakes => (
            "handshakes_per_address_max",
            settings.handshakes_per_address_max,
        ),
        Refusal::Connections | Refusal::Handshakes => return,
    };
    if let Some(held_back) = hub.complaints().address.admit(hub.now_ms()) {
        tracing::warn!(
            peer = %peer.ip(), limit, max, held_back,
            "an address has reached its limit and is refused more: \
             if it is a proxy, name it in trusted_proxies and set proxy_header"
        );
    }
}

/// A request was refused for what it said of itself.
pub(super) fn of_request(hub: &Hub, peer: SocketAddr, request: &Request<'_>, reject: Reject) {
    let complaints = hub.complaints();
    let host = shortened(request.host().as_bytes());
    match reject {
        Reject::Origin => {
            let origin = request.values("origin").next().unwrap_or_default();
            let origin = shortened(origin);
            if let Some(held_back) = complaints.origin.admit(hub.now_ms()) {
                tracing::warn!(
                    %peer, origin, host, held_back,
                    "a page of a foreign origin was refused: if it may connect, add it to origins"
                );
            }
        }
        Reject::Host => {
            if let Some(held_back) = complaints.host.admit(hub.now_ms()) {
                tracing::warn!(
                    %peer, host, held_back,
                    "a name in Host was refused: if it is one of this server's, add it to hosts"
                );
            }
        }
        _ => {}
    }
}

/// Printable and short, whatever it was.
fn shortened(value: &[u8]) -> String {
    let value = &value[..value.len().min(WORD_BYTES_MAX)];
    value.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_of_a_request_is_printable_and_short() {
        assert_eq!(shortened(b"http://a\x1b[31m\xff"), "http://a\\x1b[31m\\xff");
        assert_eq!(shortened(&[b'a'; 5000]).len(), WORD_BYTES_MAX);
    }
}
