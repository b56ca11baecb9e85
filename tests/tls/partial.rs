//! Records in pieces: what comes in part is waited for, and costs what has come.

use fanfare::protocol::tls::{Event, Fault, Incoming};
use fanfare_sim::tls::content::{ALERT, DATA, HANDSHAKE};
use fastrand::Rng;

use crate::hearing::{Heard, hear, is_13, pairs};

#[test]
fn a_record_that_is_cut_anywhere_is_waited_for() {
    for (mut naive, _) in pairs() {
        let record = naive.seal(DATA, b"a message", 3);
        for cut in 0..record.len() {
            let (mut naive, mut incoming) = crate::hearing::pair(naive.kind);
            let record = naive.seal(DATA, b"a message", 3);
            let (start, rest) = record.split_at(cut);
            assert_eq!(hear(&mut incoming, start), [], "cut at {cut}");
            assert_eq!(incoming.is_inside(), cut > 0, "cut at {cut}");
            let wanted = [Heard::data(b"a message")];
            assert_eq!(hear(&mut incoming, rest), wanted, "cut at {cut}");
            assert!(!incoming.is_inside());
        }
    }
}

#[test]
fn bytes_one_by_one_tell_what_they_tell_at_once() {
    for (mut naive, mut incoming) in pairs() {
        let mut bytes = Vec::new();
        for content in [&b"one"[..], b"", b"two", &[7; 500]] {
            bytes.extend(naive.seal(DATA, content, 1));
        }
        bytes.extend(naive.seal(ALERT, &[1, 0], 0));
        let mut heard = Vec::new();
        for byte in bytes {
            heard.extend(hear(&mut incoming, &[byte]));
        }
        let data = [&b"one"[..], b"two", &[7; 500]].map(Heard::data);
        let wanted = [&data[..], &[Heard::CloseNotify]].concat();
        assert_eq!(heard, wanted);
    }
}

#[test]
fn any_contents_in_any_pieces_come_out_as_they_went_in() {
    let mut rng = Rng::with_seed(1);
    for _ in 0..200 {
        for (mut naive, mut incoming) in pairs() {
            let (mut bytes, mut wanted) = (Vec::new(), Vec::new());
            for _ in 0..rng.usize(1..6) {
                let len = if rng.u8(..8) == 0 { 16_384 } else { 300 };
                let content: Vec<u8> = (0..rng.usize(..=len)).map(|_| rng.u8(..)).collect();
                let padding = rng.usize(..=(16_384 - content.len()).min(50));
                bytes.extend(naive.seal(DATA, &content, padding));
                if !content.is_empty() {
                    wanted.push(Heard::Data(content));
                }
                if is_13(&naive) && rng.bool() {
                    bytes.extend(naive.seal(HANDSHAKE, &[24, 0, 0, 1, 1], 0));
                    naive.update();
                    wanted.push(Heard::KeyUpdate { requested: true });
                }
            }
            let mut heard = Vec::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let piece;
                (piece, rest) = rest.split_at(rng.usize(1..=rest.len()));
                heard.extend(hear(&mut incoming, piece));
            }
            assert_eq!(heard, wanted, "{:?}", naive.kind);
        }
    }
}

#[test]
fn a_record_in_one_piece_is_opened_in_place() {
    for (mut naive, mut incoming) in pairs() {
        let mut bytes = naive.seal(DATA, &[1; 100], 0);
        let place = bytes.as_ptr_range();
        let mut rest = &mut bytes[..];
        let Ok(Some(Event::Data(data))) = incoming.next(&mut rest) else {
            panic!("it is data");
        };
        assert!(place.contains(&data.as_ptr()));
        assert_eq!(incoming.buffered_bytes(), 0);
    }
}

/// A header may announce 16 KiB in 5 bytes; whoever sends only those costs no more.
#[test]
fn a_partial_record_holds_at_most_twice_what_has_come() {
    for (mut naive, mut incoming) in pairs() {
        let record = naive.seal(DATA, &[1; 16_384], 0);
        for (at, byte) in record[..record.len() - 1].iter().enumerate() {
            assert_eq!(hear(&mut incoming, &[*byte]), []);
            let held = incoming.buffered_bytes();
            assert!(held <= 2 * (at + 1).max(8), "{held} for {}", at + 1);
            assert!(held <= record.len(), "{held} for {}", at + 1);
        }
    }
}

#[test]
fn the_buffer_of_a_partial_record_is_freed_once_it_was_used() {
    for (mut naive, mut incoming) in pairs() {
        let record = naive.seal(DATA, &[1; 1000], 0);
        let (start, rest) = record.split_at(600);
        hear(&mut incoming, start);
        assert!(incoming.buffered_bytes() >= 600);
        // `hear` asks until nothing more is told.
        assert_eq!(hear(&mut incoming, rest), [Heard::data(&[1; 1000])]);
        assert_eq!(incoming.buffered_bytes(), 0);
    }
}

#[test]
fn a_receiver_goes_to_another_process_in_the_middle_of_a_record() {
    for (mut naive, mut incoming) in pairs() {
        let mut bytes = naive.seal(DATA, b"before", 0);
        bytes.extend(naive.seal(DATA, b"across", 0));
        let (start, rest) = bytes.split_at(bytes.len() - 3);
        assert_eq!(hear(&mut incoming, start), [Heard::data(b"before")]);
        let saved = postcard::to_stdvec(&incoming).unwrap();
        let mut restored: Incoming = postcard::from_bytes(&saved).unwrap();
        assert_eq!(hear(&mut restored, rest), [Heard::data(b"across")]);
    }
}

#[test]
fn a_fragment_of_a_message_goes_to_another_process_too() {
    for (mut naive, mut incoming) in pairs().filter(|(naive, _)| is_13(naive)) {
        let start = naive.seal(HANDSHAKE, &[24, 0], 0);
        assert_eq!(hear(&mut incoming, &start), []);
        let saved = postcard::to_stdvec(&incoming).unwrap();
        let mut restored: Incoming = postcard::from_bytes(&saved).unwrap();
        assert!(restored.is_inside());
        let rest = naive.seal(HANDSHAKE, &[0, 1, 0], 0);
        let wanted = [Heard::KeyUpdate { requested: false }];
        assert_eq!(hear(&mut restored, &rest), wanted);
    }
}

#[test]
fn a_fault_ends_it_and_frees_the_buffer() {
    for (mut naive, mut incoming) in pairs() {
        let mut record = naive.seal(DATA, &[1; 1000], 0);
        record[900] ^= 1;
        let (start, rest) = record.split_at(600);
        hear(&mut incoming, start);
        let wanted = [Heard::Fault(Fault::BadTag)];
        assert_eq!(hear(&mut incoming, rest), wanted);
        assert!(incoming.has_ended());
        assert_eq!(incoming.buffered_bytes(), 0);
        let next = naive.seal(DATA, b"more", 0);
        assert_eq!(hear(&mut incoming, &next), []);
    }
}
