//! What goes out: the same content under the same number gives the same bytes, and all that
//! goes out for good has a number of its own.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fanfare::protocol::tls::{
    ContentType, HEADER_BYTES, Incoming, PLAIN_BYTES_MAX, Session, Suite, Traffic,
};
use fanfare_sim::tls::KINDS;
use fanfare_sim::tls::content::{DATA, HANDSHAKE};
use fanfare_sim::tls::naive::Naive;
use fanfare_sim::tls::theirs::Theirs;
use fastrand::Rng;

const DATA_TYPE: ContentType = ContentType::ApplicationData;

/// The records that `bytes` are.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let len = usize::from(bytes[3]) << 8 | usize::from(bytes[4]);
        let record;
        (record, bytes) = bytes.split_at(HEADER_BYTES + len);
        records.push(record);
    }
    records
}

#[test]
fn any_content_is_sealed_as_rustls_would_and_read_by_it() {
    let mut rng = Rng::with_seed(2);
    for _ in 0..100 {
        for kind in KINDS {
            let mut sending = Naive::new(kind, 5).ours();
            let (mut writer, mut reader) = (Theirs::new(kind, 5), Theirs::new(kind, 5));
            let content: Vec<u8> = (0..rng.usize(1..50_000)).map(|_| rng.u8(..)).collect();
            let mut sealed = Vec::new();
            sending.seal(DATA_TYPE, &content, &mut sealed);
            let mut opened = Vec::new();
            let chunks = content.chunks(PLAIN_BYTES_MAX);
            assert_eq!(records(&sealed).len(), chunks.len());
            for (record, chunk) in records(&sealed).into_iter().zip(chunks) {
                assert_eq!(record, writer.seal(DATA, chunk));
                let (found, content) = reader.open(record).expect("rustls reads it");
                assert_eq!(found, DATA);
                opened.extend(content);
            }
            assert_eq!(opened, content);
        }
    }
}

#[test]
fn a_record_that_is_sealed_again_has_the_same_bytes() {
    for kind in KINDS {
        let sending = Naive::new(kind, 5).ours();
        let content = [9; 1000];
        let mut first = b"what was there before".to_vec();
        let before = first.len();
        sending.sealer().seal(77, DATA_TYPE, &mut first, |out| {
            out.extend_from_slice(&content);
        });
        let mut again = Vec::new();
        sending.sealer().seal(77, DATA_TYPE, &mut again, |out| {
            content.iter().for_each(|byte| out.push(*byte));
        });
        assert_eq!(first[before..], again);
        assert_eq!(&first[..before], b"what was there before");
        assert_eq!(again.len(), content.len() + sending.overhead());
        assert_eq!(sending.next(), 0, "a sealer counts nothing");
    }
}

#[test]
fn overhead_is_what_a_record_adds() {
    let overheads = KINDS.map(|kind| Naive::new(kind, 5).ours().overhead());
    assert_eq!(overheads, [22, 22, 22, 29, 29, 21]);
}

#[test]
fn no_two_records_have_the_same_number_and_key() {
    for kind in KINDS {
        let mut sending = Naive::new(kind, 5).ours();
        let (mut sealed, mut seen) = (Vec::new(), HashSet::new());
        let mut sealed_so_far = |sending: &mut Traffic| {
            let before = sending.next();
            sealed.clear();
            sending.seal(DATA_TYPE, &[0; PLAIN_BYTES_MAX + 1], &mut sealed);
            assert_eq!(sending.next(), before + 2);
            // The same content each time: a nonce that comes again would give the same bytes.
            assert!(seen.insert(records(&sealed)[0].to_vec()));
        };
        for _ in 0..10 {
            sealed_so_far(&mut sending);
            sending.advance(3);
            if sending.can_update() {
                sending.key_update(&mut Vec::new());
            }
        }
    }
}

#[test]
fn nothing_is_sealed_of_nothing() {
    for kind in KINDS {
        let mut sending = Naive::new(kind, 5).ours();
        let mut sealed = Vec::new();
        sending.seal(DATA_TYPE, b"", &mut sealed);
        assert_eq!((sealed.len(), sending.next()), (0, 0));
    }
}

#[test]
fn a_key_update_goes_out_under_the_old_key_and_starts_the_next() {
    for kind in KINDS.into_iter().filter(|kind| kind.is_13) {
        let mut naive = Naive::new(kind, 5);
        let mut sending = naive.ours();
        for _ in 0..3 {
            let mut sealed = Vec::new();
            sending.key_update(&mut sealed);
            let opened = naive.open(&sealed);
            assert_eq!(opened, Some((HANDSHAKE, vec![24, 0, 0, 1, 0])));
            naive.update();
            assert_eq!(sending.next(), 0);
            sealed.clear();
            sending.seal(DATA_TYPE, b"next", &mut sealed);
            assert_eq!(naive.open(&sealed), Some((DATA, b"next".to_vec())));
        }
    }
}

#[test]
fn only_tls_13_can_update_keys() {
    for kind in KINDS {
        let mut sending = Naive::new(kind, 5).ours();
        assert_eq!(sending.can_update(), kind.is_13);
        let update = AssertUnwindSafe(|| sending.key_update(&mut Vec::new()));
        assert_eq!(catch_unwind(update).is_ok(), kind.is_13);
    }
}

#[test]
fn records_left_are_those_of_rfc_8446_section_5_5() {
    for kind in KINDS {
        let mut naive = Naive::new(kind, 5);
        let is_gcm = kind.suite != Suite::ChaCha20Poly1305;
        let left = |naive: &Naive| naive.ours().records_left();
        if !is_gcm {
            assert!(left(&naive) > u64::MAX / 2);
            continue;
        }
        assert_eq!(left(&naive), 1 << 24);
        naive.number = (1 << 24) - 1;
        assert_eq!(left(&naive), 1);
        naive.number += 1;
        assert_eq!(left(&naive), 0);
        // What ends or renews the key still goes out.
        let mut sending = naive.ours();
        if kind.is_13 {
            sending.key_update(&mut Vec::new());
            assert_eq!(sending.records_left(), 1 << 24);
        } else {
            let mut sealed = Vec::new();
            sending.alert(fanfare::protocol::tls::Alert::CloseNotify, &mut sealed);
            assert!(naive.open(&sealed).is_some());
            assert_eq!(sending.records_left(), 0);
        }
    }
}

#[test]
fn no_record_is_sealed_beyond_the_last_number_of_a_key() {
    let last = |suite| match suite {
        Suite::Aes128Gcm | Suite::Aes256Gcm => 23_726_566,
        Suite::ChaCha20Poly1305 => u64::MAX - 1,
    };
    for kind in KINDS {
        let sending = Naive::new(kind, 5).ours();
        let seal = |number| {
            let seal = || {
                sending
                    .sealer()
                    .seal(number, DATA_TYPE, &mut Vec::new(), |_| {})
            };
            catch_unwind(AssertUnwindSafe(seal)).is_ok()
        };
        assert!(seal(last(kind.suite)));
        assert!(!seal(last(kind.suite) + 1));
    }
}

#[test]
fn a_record_takes_no_more_than_it_may_hold() {
    for kind in KINDS {
        let sending = Naive::new(kind, 5).ours();
        let seal = |len| {
            let fill = |out: &mut Vec<u8>| out.resize(out.len() + len, 0);
            let seal = || sending.sealer().seal(0, DATA_TYPE, &mut Vec::new(), fill);
            catch_unwind(AssertUnwindSafe(seal)).is_ok()
        };
        assert!(seal(PLAIN_BYTES_MAX));
        assert!(!seal(PLAIN_BYTES_MAX + 1));
    }
}

#[test]
fn sending_goes_on_in_another_process_where_it_was() {
    for kind in KINDS {
        let mut naive = Naive::new(kind, 5);
        let mut sending = naive.ours();
        let mut sealed = Vec::new();
        sending.seal(DATA_TYPE, b"here", &mut sealed);
        if kind.is_13 {
            sending.key_update(&mut sealed);
        }
        let saved = postcard::to_stdvec(&sending).unwrap();
        let mut restored: Traffic = postcard::from_bytes(&saved).unwrap();
        assert_eq!(restored.next(), sending.next());
        restored.seal(DATA_TYPE, b"there", &mut sealed);
        if kind.is_13 {
            restored.key_update(&mut sealed);
            restored.seal(DATA_TYPE, b"again", &mut sealed);
        }
        let mut heard = Vec::new();
        for record in records(&sealed) {
            let (found, content) = naive.open(record).expect("it opens");
            if found == HANDSHAKE {
                naive.update();
            } else {
                heard.extend(content);
            }
        }
        let wanted = if kind.is_13 {
            "herethereagain"
        } else {
            "herethere"
        };
        assert_eq!(heard, wanted.as_bytes());
    }
}

#[test]
fn nothing_of_keys_is_shown() {
    for kind in KINDS {
        let naive = Naive::new(kind, 5);
        let session = Session {
            unsent: Vec::new(),
            send: naive.ours(),
            receive: Incoming::new(naive.ours()),
        };
        let shown = format!("{session:?}");
        assert!(shown.len() < 200, "{shown}");
        assert!(!shown.contains('['), "{shown}");
    }
}

#[test]
fn both_directions_of_a_connection_are_small() {
    assert!(size_of::<Traffic>() <= 110, "{}", size_of::<Traffic>());
    let both = size_of::<Traffic>() + size_of::<Incoming>();
    assert!(both <= 280, "{both}");
}
