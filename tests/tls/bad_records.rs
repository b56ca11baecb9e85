//! Records that no honest peer sends: each has its fault.

use fanfare::protocol::tls::{Fault, Incoming, Suite, Traffic};
use fanfare_sim::tls::content::{ALERT, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE, HEARTBEAT};
use fanfare_sim::tls::naive::Naive;
use fanfare_sim::tls::{KINDS, Kind};

use crate::hearing::{Heard, hear, is_13, pair, pairs};

fn fault(fault: Fault) -> [Heard; 1] {
    [Heard::Fault(fault)]
}

/// What a record's cipher adds behind its header.
fn added_bytes(naive: &Naive) -> usize {
    if naive.kind.has_explicit_nonce() {
        24
    } else {
        16
    }
}

#[test]
fn a_record_may_be_as_long_as_its_version_allows_and_no_longer() {
    for (mut naive, mut incoming) in pairs() {
        let content = [1; 16_384];
        let record = naive.seal(DATA, &content, 0);
        assert_eq!(hear(&mut incoming, &record), [Heard::data(&content)]);
        // Content, padding, and both.
        for (len, padding) in [(16_385, 0), (0, 16_385), (1, 16_384), (16_384, 1)] {
            let (mut naive, mut incoming) = pair(naive.kind);
            if is_13(&naive) || len > 16_384 {
                let record = naive.seal(DATA, &vec![1; len], padding);
                assert_eq!(hear(&mut incoming, &record), fault(Fault::TooLong));
            }
        }
    }
}

#[test]
fn a_record_that_announces_too_much_is_refused_by_its_header() {
    for (naive, _) in pairs() {
        let longest = if is_13(&naive) {
            16_384 + 256
        } else {
            16_384 + added_bytes(&naive)
        };
        for (len, wanted) in [
            (longest, vec![]),
            (longest + 1, fault(Fault::TooLong).into()),
        ] {
            let header = [23, 3, 3, (len >> 8) as u8, len as u8];
            let (_, mut incoming) = pair(naive.kind);
            assert_eq!(hear(&mut incoming, &header), wanted);
            let (_, mut incoming) = pair(naive.kind);
            assert_eq!(hear(&mut incoming, &header[..4]), []);
            assert_eq!(hear(&mut incoming, &header[4..]), wanted);
            let held = incoming.buffered_bytes();
            assert_eq!(held == 0, incoming.has_ended(), "{held} bytes");
        }
    }
}

#[test]
fn a_record_too_short_for_its_cipher_is_refused_by_its_header() {
    for (naive, _) in pairs() {
        for len in 0..added_bytes(&naive) {
            let (_, mut incoming) = pair(naive.kind);
            let header = [23, 3, 3, 0, len as u8];
            assert_eq!(hear(&mut incoming, &header), fault(Fault::TooShort));
        }
    }
}

#[test]
fn a_byte_that_is_changed_anywhere_is_found() {
    for (naive, _) in pairs() {
        let len = Naive::new(naive.kind, 5).seal(DATA, b"a message", 0).len();
        for at in 0..len {
            for change in [1, 0x80, 0xFF] {
                let (mut naive, mut incoming) = pair(naive.kind);
                let mut record = naive.seal(DATA, b"a message", 0);
                record[at] ^= change;
                // What a longer record lacks is data that never fits.
                record.extend([0; 70_000]);
                let heard = hear(&mut incoming, &record);
                let [Heard::Fault(_)] = heard[..] else {
                    panic!("changed at {at} by {change}: {heard:?}");
                };
                if at >= 5 {
                    assert_eq!(heard, fault(Fault::BadTag), "changed at {at}");
                }
            }
        }
    }
}

#[test]
fn a_record_that_comes_twice_is_found() {
    for (mut naive, mut incoming) in pairs() {
        let record = naive.seal(DATA, b"once", 0);
        assert_eq!(hear(&mut incoming, &record), [Heard::data(b"once")]);
        assert_eq!(hear(&mut incoming, &record), fault(Fault::BadTag));
    }
}

#[test]
fn records_that_change_places_are_found() {
    for (mut naive, mut incoming) in pairs() {
        naive.seal(DATA, b"first", 0);
        let second = naive.seal(DATA, b"second", 0);
        assert_eq!(hear(&mut incoming, &second), fault(Fault::BadTag));
    }
}

#[test]
fn a_record_of_our_own_that_comes_back_is_found() {
    for (naive, mut incoming) in pairs() {
        let mut other = Naive::new(naive.kind, 6);
        let record = other.seal(DATA, b"echo", 0);
        assert_eq!(hear(&mut incoming, &record), fault(Fault::BadTag));
    }
}

#[test]
fn a_record_of_another_version_is_refused() {
    for (naive, _) in pairs() {
        for version in [[2, 0], [3, 0], [3, 1], [3, 2], [3, 4], [0x7F, 0x1C]] {
            let (mut naive, mut incoming) = pair(naive.kind);
            let mut record = naive.seal(DATA, b"x", 0);
            record[1..3].copy_from_slice(&version);
            assert_eq!(hear(&mut incoming, &record), fault(Fault::Version));
        }
    }
}

#[test]
fn a_record_of_an_unknown_type_is_refused() {
    for (naive, _) in pairs() {
        for kind in (0..=255).filter(|kind| !(CHANGE_CIPHER_SPEC..=DATA).contains(kind)) {
            let (mut naive, mut incoming) = pair(naive.kind);
            // Outside, for all to see.
            let record = naive.seal_inner(kind, vec![1, 2, 3]);
            assert_eq!(hear(&mut incoming, &record), fault(Fault::ContentType));
            if is_13(&naive) && kind > 0 {
                let (mut naive, mut incoming) = pair(naive.kind);
                let record = naive.seal(kind, b"inside", 0);
                assert_eq!(hear(&mut incoming, &record), fault(Fault::ContentType));
            }
        }
    }
}

#[test]
fn a_heartbeat_is_refused() {
    for (mut naive, mut incoming) in pairs() {
        let request = [1, 0x40, 0, b'x'];
        let record = naive.seal(HEARTBEAT, &request, 0);
        assert_eq!(hear(&mut incoming, &record), fault(Fault::ContentType));
    }
}

#[test]
fn what_is_not_encrypted_is_refused() {
    for (naive, _) in pairs() {
        for kind in [ALERT, HANDSHAKE] {
            let (_, mut incoming) = pair(naive.kind);
            // A close_notify would be 2 bytes: no cipher adds as little.
            let wanted = if is_13(&naive) {
                Fault::ContentType
            } else {
                Fault::TooShort
            };
            let heard = hear(&mut incoming, &[kind, 3, 3, 0, 2, 1, 0]);
            assert_eq!(heard, fault(wanted));
        }
        let (mut naive, mut incoming) = pair(naive.kind);
        if is_13(&naive) {
            let record = naive.seal_inner(ALERT, vec![1, 0, ALERT]);
            assert_eq!(hear(&mut incoming, &record), fault(Fault::ContentType));
        }
    }
}

#[test]
fn change_cipher_spec_is_refused_after_the_handshake() {
    for (naive, _) in pairs() {
        let (_, mut incoming) = pair(naive.kind);
        let plain = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1];
        assert_eq!(hear(&mut incoming, &plain), fault(Fault::ChangeCipherSpec));
        let (mut naive, mut incoming) = pair(naive.kind);
        let sealed = naive.seal(CHANGE_CIPHER_SPEC, &[1], 0);
        assert_eq!(hear(&mut incoming, &sealed), fault(Fault::ChangeCipherSpec));
    }
}

#[test]
fn a_record_of_zeros_alone_is_refused() {
    for (naive, _) in pairs().filter(|(naive, _)| is_13(naive)) {
        for len in [0, 1, 100, 16_385] {
            let (mut naive, mut incoming) = pair(naive.kind);
            let record = naive.seal_inner(DATA, vec![0; len]);
            assert_eq!(hear(&mut incoming, &record), fault(Fault::NoContent));
        }
    }
}

#[test]
fn padding_is_taken_off() {
    for (mut naive, mut incoming) in pairs().filter(|(naive, _)| is_13(naive)) {
        for padding in [1, 2, 255, 16_384 - 6] {
            // Zeros of the content's own stay.
            let record = naive.seal(DATA, b"text\0\0", padding);
            assert_eq!(hear(&mut incoming, &record), [Heard::data(b"text\0\0")]);
        }
    }
}

#[test]
fn empty_records_are_skipped_up_to_a_bound() {
    for (mut naive, mut incoming) in pairs() {
        for _ in 0..3 {
            for at in 0..Fault::EMPTY_RECORDS_MAX {
                let record = naive.seal(DATA, b"", usize::from(at));
                assert_eq!(hear(&mut incoming, &record), []);
            }
            let record = naive.seal(DATA, b"x", 0);
            assert_eq!(hear(&mut incoming, &record), [Heard::data(b"x")]);
        }
        let flood = |_| naive.seal(DATA, b"", 0);
        let flood: Vec<u8> = (0..=Fault::EMPTY_RECORDS_MAX).flat_map(flood).collect();
        assert_eq!(hear(&mut incoming, &flood), fault(Fault::EmptyFlood));
    }
}

#[test]
fn record_numbers_do_not_wrap() {
    let kind = Kind {
        is_13: true,
        suite: Suite::ChaCha20Poly1305,
    };
    let mut naive = Naive::new(kind, 5);
    naive.number = u64::MAX - 1;
    let mut incoming = Incoming::new(naive.ours());
    let last = naive.seal(DATA, b"last", 0);
    assert_eq!(hear(&mut incoming, &last), [Heard::data(b"last")]);
    let heard = hear(&mut incoming, &last);
    assert_eq!(heard, fault(Fault::AfterLimit));
}

#[test]
fn more_records_than_a_key_is_good_for_are_refused() {
    // RFC 8446 section 5.5: 2^24.5 of AES-GCM.
    const LAST: u64 = 23_726_566;
    for kind in KINDS {
        let mut naive = Naive::new(kind, 5);
        naive.number = LAST;
        let mut incoming = Incoming::new(naive.ours_receiving());
        let (last, more) = (naive.seal(DATA, b"last", 0), naive.seal(DATA, b"more", 0));
        assert_eq!(hear(&mut incoming, &last), [Heard::data(b"last")]);
        let wanted = match kind.suite {
            Suite::ChaCha20Poly1305 => Heard::data(b"more"),
            Suite::Aes128Gcm | Suite::Aes256Gcm => Heard::Fault(Fault::AfterLimit),
        };
        assert_eq!(hear(&mut incoming, &more), [wanted]);
    }
}

#[test]
fn new_keys_are_due_before_a_key_is_used_up() {
    for kind in KINDS.into_iter().filter(|kind| kind.is_13) {
        let mut naive = Naive::new(kind, 5);
        naive.number = (1 << 24) - 1;
        let mut incoming = Incoming::new(naive.ours());
        let is_gcm = kind.suite != Suite::ChaCha20Poly1305;
        assert!(incoming.records_left() > 0);
        hear(&mut incoming, &naive.seal(DATA, b"x", 0));
        assert_eq!(incoming.records_left() == 0, is_gcm);
        hear(&mut incoming, &naive.seal(HANDSHAKE, &[24, 0, 0, 1, 0], 0));
        naive.update();
        assert!(incoming.records_left() >= 1 << 24);
        assert_eq!(
            hear(&mut incoming, &naive.seal(DATA, b"x", 0)),
            [Heard::data(b"x")]
        );
    }
}

#[test]
fn keys_of_the_wrong_length_are_refused() {
    for (suite, key, secret) in [
        (Suite::Aes128Gcm, 16, 32),
        (Suite::Aes256Gcm, 32, 48),
        (Suite::ChaCha20Poly1305, 32, 32),
    ] {
        for len in 0..64 {
            let bytes = vec![1; len];
            let new = Traffic::tls13(suite, &bytes, 0);
            assert_eq!(new.is_some(), len == secret, "{suite:?}, {len}");
            let new = Traffic::tls12(suite, &bytes, [0; 12], 0);
            assert_eq!(new.is_some(), len == key, "{suite:?}, {len}");
        }
    }
}
