use super::super::links::Links;
use super::*;
use crate::protocol::tls::Session;
use crate::protocol::tls::{Event, Suite};

/// A link, and the peer that opens what it seals.
struct Pair {
    links: Links,
    peer: Incoming,
    heard: Vec<u8>,
    has_ended: bool,
}

fn traffic(suite: Suite, seed: u8) -> Traffic {
    let len = match suite {
        Suite::Aes256Gcm => 48,
        _ => 32,
    };
    Traffic::tls13(suite, &[seed; 48][..len], 0).unwrap()
}

impl Pair {
    fn new(suite: Suite) -> Pair {
        let mut links = Links::default();
        let session = Session {
            unsent: Vec::new(),
            send: traffic(suite, 1),
            receive: Incoming::new(traffic(suite, 2)),
        };
        links.insert(0, session);
        Pair {
            links,
            peer: Incoming::new(traffic(suite, 1)),
            heard: Vec::new(),
            has_ended: false,
        }
    }

    fn link(&mut self) -> &mut Link {
        self.links.at(0)
    }

    /// The socket takes the first `taken` bytes of what is offered.
    fn take(&mut self, offered: &[u8], taken: usize) -> Sent {
        let mut bytes = offered[..taken].to_vec();
        let mut bytes = &mut bytes[..];
        loop {
            match self.peer.next(&mut bytes).expect("a record can be opened") {
                None => break,
                Some(Event::Data(content)) => self.heard.extend_from_slice(content),
                Some(Event::CloseNotify) => self.has_ended = true,
                Some(event) => assert_eq!(event, Event::KeyUpdate { requested: false }),
            }
        }
        self.links.settle_sent(0, taken as u32)
    }

    fn offer(&mut self, log: &[u8], from: usize) -> Rc<Bytes> {
        let copy = |at: u64, len: u64, out: &mut Vec<u8>| {
            out.extend_from_slice(&log[at as usize..(at + len) as usize]);
        };
        self.links.seal_run(0, from as u64..log.len() as u64, copy)
    }
}

/// So many records may one key of AES-GCM seal (RFC 8446 section 5.5).
const RECORDS_MAX: u64 = 1 << 24;
/// A record that is not sent again, and what is owed behind it.
const KEPT_BYTES_MAX: usize = PLAIN_BYTES_MAX + 29 + 2 * 3 * (5 + 29);
const SUITES: [Suite; 3] = [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::ChaCha20Poly1305];

fn noise(rng: &mut fastrand::Rng, len: usize) -> Vec<u8> {
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

#[test]
fn a_run_that_breaks_off_at_any_byte_goes_on_with_the_same_bytes() {
    let mut rng = fastrand::Rng::with_seed(1);
    let log = noise(&mut rng, PLAIN_BYTES_MAX + 50);
    let whole = Pair::new(Suite::Aes128Gcm).offer(&log, 0);
    // Both records, and where one ends and the next one begins.
    let near_ends = (0..200).chain(PLAIN_BYTES_MAX - 20..PLAIN_BYTES_MAX + 60);
    for cut in near_ends.chain([whole.len() - 1, whole.len()]) {
        let mut pair = Pair::new(Suite::Aes128Gcm);
        let first = pair.offer(&log, 0);
        assert_eq!(first, whole);
        let mut from = pair.take(&first, cut).content as usize;
        let mut wire = first[..cut].to_vec();
        while from < log.len() {
            let more = pair.offer(&log, from);
            let sent = pair.take(&more, more.len());
            wire.extend_from_slice(&more);
            from += sent.content as usize;
        }
        assert_eq!(wire, whole[..], "broken off at {cut}");
        assert!(pair.heard == log);
    }
}

#[test]
fn whatever_goes_before_and_wherever_it_breaks_off_the_peer_hears_all_in_order() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let len = [50, 5_000, 90_000][rng.usize(..3)];
        let log = noise(&mut rng, len);
        let mut pair = Pair::new(SUITES[rng.usize(..3)]);
        let (mut from, mut wanted) = (0, Vec::new());
        while from < log.len() || pair.link().owes() {
            if rng.u8(..) < 20 {
                pair.link().owe_key_update();
            }
            if pair.link().owes() {
                // As the reactor does: what is begun first becomes what is kept.
                if let Some(begun) = pair.link().begun() {
                    let content = &log[begun.from as usize..begun.to() as usize];
                    let copy = |_, _, out: &mut Vec<u8>| out.extend_from_slice(content);
                    pair.links.settle_begun(0, begun, copy);
                    wanted.extend_from_slice(content);
                    from = begun.to() as usize;
                }
                if rng.bool() {
                    // On the way to another process.
                    let saved = pair.links.save(0);
                    pair.links.remove(0);
                    assert_eq!(pair.links.kept_bytes(), 0);
                    pair.links.put(0, saved.restore().unwrap());
                }
                if pair.link().owes() {
                    let owed = pair.links.send_owed(0);
                    let taken = rng.usize(..=owed.len());
                    assert_eq!(pair.take(&owed, taken).content, 0);
                }
                assert_eq!(pair.links.kept_bytes(), pair.link().kept_bytes());
                assert!(pair.links.kept_bytes() <= KEPT_BYTES_MAX);
                continue;
            }
            let is_free = pair.link().begun().is_none();
            if is_free && rng.u8(..) < 60 {
                let len = [1, 300, 40_000][rng.usize(..3)];
                let gathered = noise(&mut rng, len);
                let offered = pair.links.seal_gathered(0, &gathered);
                let taken = rng.usize(..=offered.len());
                let sent = pair.take(&offered, taken);
                wanted.extend_from_slice(&gathered[..sent.content as usize]);
                continue;
            }
            let end = log.len().min(from + rng.usize(1..=log.len()));
            let end = pair
                .link()
                .begun()
                .map_or(end, |begun| end.max(begun.to() as usize));
            let offered = pair.offer(&log[..end], from);
            let taken = match rng.u8(..) {
                0..60 => rng.usize(..=offered.len().min(30)),
                60..150 => rng.usize(..=offered.len()),
                _ => offered.len(),
            };
            let sent = pair.take(&offered, taken);
            assert_eq!(sent.is_short, taken < offered.len());
            wanted.extend_from_slice(&log[from..from + sent.content as usize]);
            from += sent.content as usize;
        }
        assert!(pair.heard == wanted, "seed {seed}");
        assert!(!pair.link().is_inside_record());
        assert_eq!(pair.links.kept_bytes(), 0);
    }
}

#[test]
#[should_panic(expected = "sealed again a record is the same")]
fn a_record_that_would_be_another_one_does_not_go_out() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let offered = pair.offer(b"what was", 0);
    pair.take(&offered, 9);
    pair.offer(b"what is!", 0);
}

#[test]
#[should_panic(expected = "a cursor does not move inside a record")]
fn a_record_is_not_gone_on_with_from_elsewhere() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let offered = pair.offer(b"what was", 0);
    pair.take(&offered, 9);
    pair.offer(b"what was and is", 1);
}

#[test]
fn a_burst_goes_out_as_full_records_and_a_lone_message_as_a_short_one() {
    for suite in SUITES {
        let mut pair = Pair::new(suite);
        let log = vec![7; 3 * PLAIN_BYTES_MAX + 10];
        let offered = pair.offer(&log, 0);
        assert_eq!(offered.len(), log.len() + 4 * 22);
        assert_eq!(
            pair.take(&offered, offered.len()).content as usize,
            log.len()
        );
        let lone = pair.offer(&log[..10], 0);
        assert_eq!(lone.len(), 10 + 22);
    }
}

#[test]
fn after_a_short_write_one_record_is_offered() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let log = vec![7; 20 * PLAIN_BYTES_MAX];
    let record = PLAIN_BYTES_MAX + 22;
    let offered = pair.offer(&log, 0);
    assert_eq!(offered.len(), 8 * record);
    let sent = pair.take(&offered, 2 * record + 100);
    assert_eq!(sent.content as usize, 2 * PLAIN_BYTES_MAX);
    assert!(sent.is_short && sent.is_inside);
    let offered = pair.offer(&log, sent.content as usize);
    assert_eq!(offered.len(), record - 100);
    assert_eq!(
        pair.take(&offered, offered.len()).content as usize,
        PLAIN_BYTES_MAX
    );
    let offered = pair.offer(&log, 3 * PLAIN_BYTES_MAX);
    assert_eq!(offered.len(), 8 * record);
}

#[test]
fn a_stalled_reader_of_a_log_keeps_no_ciphertext() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let log = vec![7; 5 * PLAIN_BYTES_MAX];
    let offered = pair.offer(&log, 0);
    pair.take(&offered, 20_000);
    let ongoing = pair.link().ongoing.as_deref().unwrap();
    assert!(ongoing.kept.capacity() == 0 && ongoing.flight.is_none());
    assert!(size_of::<Ongoing>() <= 128);
}

#[test]
fn what_is_kept_of_a_record_is_counted_until_it_has_gone() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let offered = pair.links.seal_gathered(0, &[7; 3 * PLAIN_BYTES_MAX]);
    let record = PLAIN_BYTES_MAX + 22;
    pair.take(&offered, record + 400);
    assert_eq!(pair.links.kept_bytes(), record - 400);
    let owed = pair.links.send_owed(0);
    pair.take(&owed, owed.len());
    assert_eq!(pair.links.kept_bytes(), 0);
    // Of a run there is none, before it is moved away from.
    let log = [8; 500];
    let offered = pair.offer(&log, 0);
    pair.take(&offered, 100);
    assert_eq!(pair.links.kept_bytes(), 0);
    let begun = pair.link().begun().unwrap();
    let copy = |_, _, out: &mut Vec<u8>| out.extend_from_slice(&log);
    pair.links.settle_begun(0, begun, copy);
    assert_eq!(pair.links.kept_bytes(), 522);
    // Nor does it stay counted when its connection has gone.
    pair.links.remove(0);
    assert_eq!(pair.links.kept_bytes(), 0);
}

#[test]
fn what_has_waited_goes_out_with_the_answer() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    assert!(!pair.links.follow_kept(0, b"answer"), "nothing has waited");
    assert!(!pair.links.follow_kept(5, b"answer"), "there is no TLS");
    let mut send = traffic(Suite::Aes128Gcm, 1);
    let mut unsent = Vec::new();
    // As tickets it has a number of its own.
    send.seal(ContentType::ApplicationData, b"ticket, ", &mut unsent);
    let session = Session {
        unsent,
        send,
        receive: Incoming::new(traffic(Suite::Aes128Gcm, 2)),
    };
    pair.links.remove(0);
    pair.links.insert(0, session);
    assert!(pair.links.follow_kept(0, b"answer"));
    assert!(pair.link().wants_look());
    let owed = pair.links.send_owed(0);
    pair.take(&owed, owed.len());
    assert_eq!(pair.heard, b"ticket, answer");
    assert!(!pair.link().owes());
    let more = pair.offer(b", more", 0);
    pair.take(&more, more.len());
    assert_eq!(pair.heard, b"ticket, answer, more");
}

#[test]
fn an_idle_link_is_small() {
    assert!(
        size_of::<Option<Link>>() <= 264,
        "{}",
        size_of::<Option<Link>>()
    );
    let mut pair = Pair::new(Suite::Aes256Gcm);
    let offered = pair.offer(b"x", 0);
    pair.take(&offered, offered.len());
    assert!(pair.link().ongoing.is_none());
}

#[test]
fn the_last_word_is_said_once_and_not_inside_a_record() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let offered = pair.offer(b"what was", 0);
    pair.take(&offered, 9);
    assert!(pair.link().is_inside_record());
    let rest = pair.offer(b"what was", 0);
    pair.take(&rest, rest.len());
    assert!(!pair.link().is_inside_record());
    assert!(pair.link().owe_last(Alert::CloseNotify));
    assert!(!pair.link().owe_last(Alert::CloseNotify));
    let last = pair.links.send_owed(0);
    pair.take(&last, last.len());
    assert!(pair.has_ended && pair.link().has_said_last());
    assert!(!pair.link().owe_last(Alert::CloseNotify));
}

#[test]
fn keys_are_changed_long_before_they_are_used_up() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let left = pair.link().send.records_left();
    pair.link().send.advance(left - RECORDS_LEFT_MIN + 1);
    pair.offer(b"x", 0);
    assert_eq!(pair.link().owes.key_update, Some(KeyUpdate::Alone));
    assert!(!pair.link().is_used_up());
}

#[test]
fn a_connection_of_tls_12_is_used_up_with_the_keys_of_either_direction() {
    let link = |sent, received| {
        let traffic = |next| Traffic::tls12(Suite::Aes128Gcm, &[1; 16], [3; 12], next).unwrap();
        let receive = Incoming::new(traffic(received));
        Link::new(traffic(sent), Some(receive), Vec::new())
    };
    for (sent, received, is_used_up) in [
        (1, 1, false),
        (RECORDS_MAX - RECORDS_LEFT_MIN, RECORDS_MAX - 1, false),
        (RECORDS_MAX - RECORDS_LEFT_MIN + 1, 1, true),
        (1, RECORDS_MAX, true),
    ] {
        let mut link = link(sent, received);
        assert_eq!(link.is_used_up(), is_used_up, "{sent}, {received}");
        assert_eq!(link.wants_look(), is_used_up);
        // It cannot be asked for others.
        link.owe_key_request();
        assert!(!link.owes());
    }
}

#[test]
fn a_peer_that_has_used_up_its_keys_is_asked_for_others_once() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    pair.link().owe_key_request();
    // What is owed besides asks for nothing, but does not take it back.
    pair.link().owe_key_update();
    assert!(!pair.link().is_used_up() && pair.link().wants_look());
    let owed = pair.links.send_owed(0);
    let mut bytes = owed.to_vec();
    let asked = pair.peer.next(&mut &mut bytes[..]);
    assert_eq!(asked, Ok(Some(Event::KeyUpdate { requested: true })));
    pair.links.settle_sent(0, owed.len() as u32);
    assert!(!pair.link().owes());
}

#[test]
fn what_is_no_link_is_not_taken_up() {
    let error = SavedLink(vec![1, 2, 3]).restore().map(drop).unwrap_err();
    assert!(error.starts_with("its keys are damaged"), "{error}");
}

#[test]
fn a_slot_has_the_link_that_it_was_given_last() {
    let mut pair = Pair::new(Suite::Aes128Gcm);
    let session = || Session {
        unsent: Vec::new(),
        send: traffic(Suite::Aes128Gcm, 1),
        receive: Incoming::new(traffic(Suite::Aes128Gcm, 2)),
    };
    let links = &mut pair.links;
    for round in 0..3 {
        for slot in (1..200).step_by(2) {
            links.insert(slot, session());
        }
        assert!(links.get(2).is_none() && links.get(1000).is_none());
        assert!(links.get(199).is_some() && links.get_mut(1).is_some());
        for slot in 1..200 {
            links.remove(slot);
            assert!(links.get(slot).is_none(), "round {round}");
        }
    }
    assert_eq!(pair.offer(b"x", 0).len(), 1 + 22);
}
