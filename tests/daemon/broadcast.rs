//! What one client sends, the others hear.

use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, hear, masked, pass};

/// Bytes that differ from place to place.
fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn hear_binary(client: &mut Client) -> Vec<u8> {
    match client.read().expect("a message comes") {
        Message::Binary(bytes) => bytes.to_vec(),
        other => panic!("{other:?} instead of binary"),
    }
}

#[test]
fn text_and_binary_of_every_length_form_arrive_as_they_were_sent() {
    let daemon = Daemon::start(&["--cores", "3"]);
    let mut publisher = daemon.connect("/news");
    let mut listeners: Vec<_> = (0..6).map(|_| daemon.connect("/news")).collect();
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1 << 20] {
        let bytes = payload(len);
        let text = "é".repeat(len / 2) + if len % 2 == 1 { "e" } else { "" };
        publisher.send(Message::binary(bytes.clone())).unwrap();
        publisher.send(Message::text(&text)).unwrap();
        for listener in &mut listeners {
            assert!(hear_binary(listener) == bytes, "{len} bytes");
            assert!(hear(listener) == text, "{len} bytes of text");
        }
    }
}

#[test]
fn large_messages_arrive_with_zero_copy_forced() {
    let daemon = Daemon::start(&["--zerocopy", "always", "--zerocopy-bytes-min", "1"]);
    let mut publisher = daemon.connect("/");
    let mut listeners: Vec<_> = (0..4).map(|_| daemon.connect("/")).collect();
    for len in [3, 70_000, 1 << 20, 10, 300_000] {
        let bytes = payload(len);
        publisher.send(Message::binary(bytes.clone())).unwrap();
        for listener in &mut listeners {
            assert!(hear_binary(listener) == bytes, "{len} bytes");
        }
    }
}

#[test]
fn a_message_in_fragments_arrives_whole_with_pings_answered_in_between() {
    let daemon = Daemon::start(&[]);
    let mut listener = daemon.connect("/f");
    let mut raw = daemon.raw_on("/f");
    raw.send(&masked(0x01, "grü".as_bytes()));
    raw.send(&masked(0x89, b"still there?"));
    assert_eq!(raw.read_frame(), Some((0x8a, b"still there?".to_vec())));
    raw.send(&masked(0x00, b""));
    raw.send(&masked(0x80, "ße".as_bytes()));
    assert_eq!(hear(&mut listener), "grüße");
}

#[test]
fn a_sender_does_not_hear_itself_unless_it_asks_to() {
    let daemon = Daemon::start(&[]);
    let mut quiet = daemon.connect("/t");
    let mut echoing = daemon.connect("/t?echo=true");
    pass(&mut quiet, &mut echoing, "one");
    echoing.send(Message::text("two")).unwrap();
    assert_eq!(hear(&mut echoing), "two");
    quiet.send(Message::text("three")).unwrap();
    assert_eq!(hear(&mut echoing), "three");
    // Of the three, only this was another's.
    assert_eq!(hear(&mut quiet), "two");
    pass(&mut echoing, &mut quiet, "four");
}

#[test]
fn topics_are_apart_and_named_by_the_decoded_path() {
    let daemon = Daemon::start(&[]);
    let mut plain = daemon.connect("/grüße 🎺".replace(' ', "%20").as_str());
    let mut encoded = daemon.connect("/gr%C3%BC%C3%9Fe%20%F0%9F%8E%BA");
    let mut lobby = daemon.connect("/");
    let mut named_lobby = daemon.connect("/lobby");
    let mut deeper = daemon.connect("/lobby/");
    pass(&mut plain, &mut encoded, "horn");
    pass(&mut lobby, &mut named_lobby, "hall");
    pass(&mut named_lobby, &mut lobby, "back");
    let mut deeper_too = daemon.connect("/lobby/");
    // Had topics mixed, it would not be the first that these hear.
    pass(&mut deeper, &mut deeper_too, "below");
    pass(&mut deeper_too, &mut deeper, "deep");
    pass(&mut encoded, &mut plain, "end");
}

#[test]
fn many_topics_live_side_by_side() {
    let daemon = Daemon::start(&["--cores", "3"]);
    let mut pairs: Vec<_> = (0..100)
        .map(|n| {
            let path = format!("/topic/{n}");
            (daemon.connect(&path), daemon.connect(&path))
        })
        .collect();
    for round in 0..3 {
        for (n, (speaker, _)) in pairs.iter_mut().enumerate() {
            speaker
                .send(Message::text(format!("{n} in {round}")))
                .unwrap();
        }
        for (n, (_, listener)) in pairs.iter_mut().enumerate() {
            assert_eq!(hear(listener), format!("{n} in {round}"));
        }
    }
}

#[test]
fn the_answer_names_the_subprotocol_that_was_chosen() {
    let daemon = Daemon::start(&[]);
    for (offered, chosen) in [
        ("chat", Some("chat")),
        ("chat, superchat", Some("chat")),
        ("superchat, chat", Some("chat")),
        ("", None),
    ] {
        let mut raw = daemon.raw();
        let line = format!("Sec-WebSocket-Protocol: {offered}\r\n");
        raw.send(Raw::request("/p", &line).as_bytes());
        let answer = raw.read_head();
        assert_eq!(answer.status, 101);
        assert_eq!(answer.header("Sec-WebSocket-Protocol"), chosen, "{offered}");
    }
    let mut raw = daemon.raw();
    raw.send(Raw::request("/p", "").as_bytes());
    assert_eq!(raw.read_head().header("Sec-WebSocket-Protocol"), None);
}

#[test]
fn frames_that_come_with_the_handshake_are_not_lost() {
    let daemon = Daemon::start(&[]);
    let mut listener = daemon.connect("/early");
    let mut raw = daemon.raw();
    let mut bytes = Raw::request("/early", "").into_bytes();
    bytes.extend(masked(0x81, b"first"));
    let frame = masked(0x81, b"second");
    bytes.extend(&frame[..5]);
    raw.send(&bytes);
    raw.expect_upgrade();
    assert_eq!(hear(&mut listener), "first");
    raw.send(&frame[5..]);
    assert_eq!(hear(&mut listener), "second");
}

#[test]
fn a_publisher_that_leaves_in_the_same_breath_is_heard_on_every_core() {
    let daemon = Daemon::start(&["--cores", "4"]);
    let mut listener = daemon.connect("/breath");
    for n in 0..60 {
        let mut raw = daemon.raw_on("/breath");
        raw.send(&masked(0x81, format!("{n}").as_bytes()));
        drop(raw);
        assert_eq!(hear(&mut listener), format!("{n}"));
    }
}

#[test]
fn publishers_that_stall_by_turns_hear_all_of_each_other_and_nothing_of_themselves() {
    const ROUNDS: usize = 40;
    const BURST: usize = 25;
    let daemon = Daemon::start(&[]);
    let narrow = |path| {
        daemon
            .open_over(daemon.narrow_stream(), path, &[])
            .unwrap()
            .0
    };
    let (mut left, mut right) = (narrow("/mix"), narrow("/mix"));
    let mut listener = daemon.connect("/mix");
    let text = |who: &str, n: usize| format!("{who} {n} ") + &"x".repeat(n * 7919 % 3000);
    let (mut heard_left, mut heard_right) = (0, 0);
    for round in 0..ROUNDS {
        // Bursts cross each other, so that own messages lie amid others'.
        for n in round * BURST..(round + 1) * BURST {
            left.send(Message::text(text("left", n))).unwrap();
            right.send(Message::text(text("right", n))).unwrap();
        }
        // The listener paces the test; the two fall behind for some rounds.
        for _ in 0..2 * BURST {
            let said = hear(&mut listener);
            if said.starts_with("left") {
                assert!(said == text("left", heard_left));
                heard_left += 1;
            } else {
                assert!(said == text("right", heard_right));
                heard_right += 1;
            }
        }
        if round % 8 == 7 {
            for n in (round - 7) * BURST..(round + 1) * BURST {
                assert!(hear(&mut left) == text("right", n), "{n}");
                assert!(hear(&mut right) == text("left", n), "{n}");
            }
        }
    }
}
