//! Handshake messages after the handshake: KeyUpdate in TLS 1.3, a refusal in TLS 1.2.

use fanfare::protocol::tls::{Alert, Fault, Incoming};
use fanfare_sim::tls::content::{ALERT, DATA, HANDSHAKE};
use fanfare_sim::tls::naive::Naive;

use crate::hearing::{Heard, hear, is_13, pair, pairs};

const UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const REQUEST: [u8; 5] = [24, 0, 0, 1, 1];

fn fault(fault: Fault) -> [Heard; 1] {
    [Heard::Fault(fault)]
}

fn pairs13() -> impl Iterator<Item = (Naive, Incoming)> {
    pairs().filter(|(naive, _)| is_13(naive))
}

fn pairs12() -> impl Iterator<Item = (Naive, Incoming)> {
    pairs().filter(|(naive, _)| !is_13(naive))
}

/// A ClientHello as far as anybody here looks into it.
fn hello(len: usize) -> Vec<u8> {
    let head = [1, (len >> 16) as u8, (len >> 8) as u8, len as u8];
    [&head[..], &vec![0; len]].concat()
}

#[test]
fn a_key_update_changes_the_peers_keys() {
    for (mut naive, mut incoming) in pairs13() {
        for (message, requested) in [(UPDATE, false), (REQUEST, true), (UPDATE, false)] {
            let record = naive.seal(HANDSHAKE, &message, 2);
            naive.update();
            let next = naive.seal(DATA, b"under the next key", 0);
            let heard = hear(&mut incoming, &[record, next].concat());
            let update = Heard::KeyUpdate { requested };
            assert_eq!(heard, [update, Heard::data(b"under the next key")]);
        }
    }
}

#[test]
fn data_under_the_old_key_is_refused_after_a_key_update() {
    for (mut naive, mut incoming) in pairs13() {
        let record = naive.seal(HANDSHAKE, &UPDATE, 0);
        hear(&mut incoming, &record);
        let old = naive.seal(DATA, b"old", 0);
        assert_eq!(hear(&mut incoming, &old), fault(Fault::BadTag));
    }
}

#[test]
fn a_key_update_may_come_in_fragments() {
    for cut in 1..UPDATE.len() {
        for (mut naive, mut incoming) in pairs13() {
            let (start, rest) = REQUEST.split_at(cut);
            let record = naive.seal(HANDSHAKE, start, 0);
            assert_eq!(hear(&mut incoming, &record), []);
            let record = naive.seal(HANDSHAKE, rest, 0);
            naive.update();
            let next = naive.seal(DATA, b"next", 0);
            let heard = hear(&mut incoming, &[record, next].concat());
            let update = Heard::KeyUpdate { requested: true };
            assert_eq!(heard, [update, Heard::data(b"next")], "cut at {cut}");
        }
    }
}

#[test]
fn a_key_update_ends_its_record() {
    let behind = [&[24][..], &UPDATE, &[0], &[4, 0, 0, 0]];
    for more in behind {
        for (mut naive, mut incoming) in pairs13() {
            let record = naive.seal(HANDSHAKE, &[&UPDATE, more].concat(), 0);
            assert_eq!(hear(&mut incoming, &record), fault(Fault::KeyChange));
        }
    }
}

#[test]
fn other_records_inside_a_message_are_refused() {
    let others = [(DATA, &b"x"[..]), (DATA, b""), (ALERT, &[1, 0])];
    for ((kind, content), len) in others
        .into_iter()
        .flat_map(|o| (1..5).map(move |len| (o, len)))
    {
        for (mut naive, mut incoming) in pairs() {
            let message = if is_13(&naive) {
                UPDATE.to_vec()
            } else {
                hello(9)
            };
            let start = naive.seal(HANDSHAKE, &message[..len], 0);
            assert_eq!(hear(&mut incoming, &start), []);
            let inside = naive.seal(kind, content, 0);
            let heard = hear(&mut incoming, &inside);
            assert_eq!(heard, fault(Fault::Interleaved), "{len} bytes of it");
        }
    }
}

#[test]
fn an_empty_handshake_record_is_refused() {
    for (mut naive, mut incoming) in pairs() {
        let record = naive.seal(HANDSHAKE, b"", 7);
        assert_eq!(hear(&mut incoming, &record), fault(Fault::Empty));
    }
}

#[test]
fn a_key_update_of_another_length_or_value_is_refused() {
    let bad = [
        (&[24, 0, 0, 0][..], Fault::Decode),
        (&[24, 0, 0, 2, 0, 0], Fault::Decode),
        (&[24, 1, 0, 1, 0], Fault::Decode),
        (&[24, 0, 1, 1, 0], Fault::Decode),
        (&[24, 0, 0, 1, 2], Fault::Illegal),
        (&[24, 0, 0, 1, 255], Fault::Illegal),
    ];
    for (message, wanted) in bad {
        for (mut naive, mut incoming) in pairs13() {
            let record = naive.seal(HANDSHAKE, message, 0);
            assert_eq!(hear(&mut incoming, &record), fault(wanted));
        }
    }
}

#[test]
fn key_updates_without_data_are_bounded() {
    for (mut naive, mut incoming) in pairs13() {
        let mut tell = |naive: &mut Naive| {
            let record = naive.seal(HANDSHAKE, &UPDATE, 0);
            naive.update();
            hear(&mut incoming, &record)
        };
        for _ in 0..Fault::KEY_UPDATES_MAX {
            let heard = tell(&mut naive);
            assert_eq!(heard, [Heard::KeyUpdate { requested: false }]);
        }
        assert_eq!(tell(&mut naive), fault(Fault::KeyUpdateFlood));
    }
}

#[test]
fn data_between_key_updates_makes_them_no_flood() {
    for (mut naive, mut incoming) in pairs13() {
        for _ in 0..3 {
            for _ in 0..Fault::KEY_UPDATES_MAX {
                let record = naive.seal(HANDSHAKE, &UPDATE, 0);
                naive.update();
                assert_eq!(hear(&mut incoming, &record).len(), 1);
            }
            // An empty record is no data.
            let empty = naive.seal(DATA, b"", 0);
            assert_eq!(hear(&mut incoming, &empty), []);
            let record = naive.seal(DATA, b"x", 0);
            assert_eq!(hear(&mut incoming, &record), [Heard::data(b"x")]);
        }
    }
}

#[test]
fn other_handshake_messages_are_refused_in_tls_13() {
    // ClientHello, a ticket, a certificate, Finished, HelloRequest.
    for kind in [1, 4, 11, 20, 0, 255] {
        for (mut naive, mut incoming) in pairs13() {
            let record = naive.seal(HANDSHAKE, &[kind, 0, 0, 1, 0], 0);
            assert_eq!(hear(&mut incoming, &record), fault(Fault::Handshake));
        }
    }
}

#[test]
fn renegotiation_is_refused_once_and_then_ends_it() {
    for (mut naive, mut incoming) in pairs12() {
        let record = naive.seal(HANDSHAKE, &hello(200), 0);
        let refused = [Heard::Refused(Alert::NoRenegotiation)];
        assert_eq!(hear(&mut incoming, &record), refused);
        let data = naive.seal(DATA, b"goes on", 0);
        assert_eq!(hear(&mut incoming, &data), [Heard::data(b"goes on")]);
        let again = naive.seal(HANDSHAKE, &hello(200), 0);
        assert_eq!(hear(&mut incoming, &again), fault(Fault::Renegotiation));
    }
}

#[test]
fn a_hello_that_asks_for_renegotiation_may_come_in_fragments() {
    for step in [1, 3, 50] {
        for (mut naive, mut incoming) in pairs12() {
            let (mut heard, hello) = (Vec::new(), hello(100));
            for fragment in hello.chunks(step) {
                let record = naive.seal(HANDSHAKE, fragment, 0);
                heard.extend(hear(&mut incoming, &record));
            }
            assert_eq!(heard, [Heard::Refused(Alert::NoRenegotiation)]);
            assert_eq!(incoming.buffered_bytes(), 0);
            assert!(!incoming.is_inside());
        }
    }
}

#[test]
fn a_hello_too_long_or_with_more_behind_it_is_refused() {
    for (naive, _) in pairs12() {
        let longest = hello(1 << 14);
        let (mut sender, mut incoming) = pair(naive.kind);
        let mut heard = Vec::new();
        for fragment in longest.chunks(16_384) {
            let record = sender.seal(HANDSHAKE, fragment, 0);
            heard.extend(hear(&mut incoming, &record));
        }
        assert_eq!(heard, [Heard::Refused(Alert::NoRenegotiation)]);
        let bad = [
            (hello((1 << 14) + 1)[..4].to_vec(), Fault::Handshake),
            ([hello(9), hello(9)].concat(), Fault::Renegotiation),
            ([hello(9), vec![20, 0, 0, 0]].concat(), Fault::Handshake),
        ];
        for (message, wanted) in bad {
            let (mut naive, mut incoming) = pair(naive.kind);
            let record = naive.seal(HANDSHAKE, &message, 0);
            assert_eq!(hear(&mut incoming, &record), fault(wanted));
        }
    }
}

#[test]
fn other_handshake_messages_are_refused_in_tls_12() {
    // HelloRequest, a ticket, a certificate, Finished, KeyUpdate.
    for kind in [0, 4, 11, 20, 24] {
        for (mut naive, mut incoming) in pairs12() {
            let record = naive.seal(HANDSHAKE, &[kind, 0, 0, 0], 0);
            assert_eq!(hear(&mut incoming, &record), fault(Fault::Handshake));
        }
    }
}
