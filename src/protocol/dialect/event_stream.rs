//! Messages as Server-Sent Events. What the server says of its own accord is an event named
//! `gap`, a field of no event, or a comment, which clients pass over.

use super::Gap;
use super::raw;
use crate::protocol::event_stream::{GAP, Place};
use crate::protocol::reason::CloseReason;

/// Keeps those awake who watch the connection on its way. A comment alone: an empty line behind it would
/// be an event without anything to some clients.
pub(super) const HEARTBEAT: &[u8] = b":\n";

/// An event that tells of a gap. Where the stream has one topic, its id names the end of the
/// gap; where it has many, the data names the `topic`.
pub(super) fn gap(topic: Option<&str>, gap: &Gap) -> Vec<u8> {
    let end = Place {
        epoch: gap.epoch,
        offset: gap.to,
    };
    told(topic, end, &raw::gap(gap))
}

/// The same where a client has asked for what comes behind an offset of a history that is not
/// known here: it begins with what is `next` in this one.
pub(super) fn lost(topic: Option<&str>, epoch: u64, next: u64) -> Vec<u8> {
    let to = next - 1;
    let notice = format!(
        "{{\"gap\":{{\"epoch\":\"{epoch:016x}\",\"from\":1,\"to\":{to},\"resume\":\"unknown\"}}}}"
    );
    told(topic, Place { epoch, offset: to }, &notice)
}

fn told(topic: Option<&str>, end: Place, notice: &str) -> Vec<u8> {
    let mut event = format!("event: {GAP}\n").into_bytes();
    match topic {
        None => {
            event.extend_from_slice(b"id: ");
            end.write(&mut event);
            event.extend_from_slice(b"\ndata: ");
        }
        Some(topic) => {
            let topic = simd_json::to_string(topic).expect("a text can be told");
            let names_it = format!("data: {{\"topic\":{topic},");
            event.extend_from_slice(names_it.as_bytes());
        }
    }
    let notice = match topic {
        None => notice,
        Some(_) => notice.strip_prefix('{').unwrap_or(notice),
    };
    event.extend_from_slice(notice.as_bytes());
    event.extend_from_slice(b"\n\n");
    event
}

/// The last that a stream says: why it ends, for the person who debugs the client, when to
/// come back where the server's end sends it away, and with which `id`, a field, where that is
/// not known from the last event.
pub(super) fn farewell(words: &str, reason: CloseReason, retry_ms: u64, id: &[u8]) -> Vec<u8> {
    let words = words.replace(['\r', '\n'], " ");
    // First, so that who hears the words knows where it was.
    let mut last = id.to_vec();
    if !words.is_empty() {
        last.extend_from_slice(format!(": {words}\n").as_bytes());
    }
    let retries = reason == CloseReason::Drain;
    if retries {
        last.extend_from_slice(format!("retry: {retry_ms}\n").as_bytes());
    }
    if retries || !id.is_empty() {
        last.push(b'\n');
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dialect::Dialect;

    const GAP: Gap = Gap {
        epoch: 0xab,
        from: 3,
        to: 9,
        missed: Some(7),
    };

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_gap_is_an_event_behind_which_a_client_goes_on() {
        let one = "event: gap\nid: 00000000000000ab-9\n\
                   data: {\"gap\":{\"epoch\":\"00000000000000ab\",\"from\":3,\"to\":9,\"missed\":7}}\n\n";
        assert_eq!(text(Dialect::EventStream.gap("t", &GAP)), one);
        let of_many = "event: gap\ndata: {\"topic\":\"a\\\"b\",\"gap\":\
                       {\"epoch\":\"00000000000000ab\",\"from\":3,\"to\":9,\"missed\":7}}\n\n";
        assert_eq!(text(Dialect::EventStreams.gap("a\"b", &GAP)), of_many);
    }

    #[test]
    fn who_knows_another_history_is_told_so() {
        let told = "event: gap\nid: 00000000000000ab-4\n\
                    data: {\"gap\":{\"epoch\":\"00000000000000ab\",\"from\":1,\"to\":4,\"resume\":\"unknown\"}}\n\n";
        assert_eq!(text(lost(None, 0xab, 5)), told);
        assert!(text(lost(Some("t"), 0xab, 5)).contains("{\"topic\":\"t\",\"gap\":{"));
    }

    #[test]
    fn the_last_words_are_no_event() {
        assert_eq!(text(farewell("", CloseReason::Peer, 7, b"")), "");
        let lag = text(farewell("lag", CloseReason::Lag, 7, b""));
        assert_eq!(lag, ": lag\n");
        let said = text(farewell("a\ndata: b", CloseReason::Disconnected, 7, b""));
        assert_eq!(said, ": a data: b\n");
        let drained = text(farewell("bye", CloseReason::Drain, 7, b"id: 1\n"));
        assert_eq!(drained, "id: 1\n: bye\nretry: 7\n\n");
    }
}
