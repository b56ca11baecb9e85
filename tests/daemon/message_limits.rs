//! Every limit of messages, small: who goes beyond is told so, and others go on as before.

use std::io::Write;
use std::thread;
use std::time::Duration;

use tungstenite::Message;

use crate::common::{Daemon, Witnesses, eventually, hear, hear_close, masked, pass};
use crate::speaking;

#[test]
fn a_message_of_message_bytes_max_arrives_and_a_longer_one_is_told_1009() {
    let daemon = Daemon::start(&["--message-bytes-max", "1000"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let (mut speaker, mut listener) = (daemon.connect("/long"), daemon.connect("/long"));
    pass(&mut speaker, &mut listener, &"m".repeat(1000));
    speaker.send(Message::text("m".repeat(1001))).unwrap();
    assert_eq!(hear_close(&mut speaker).0, 1009);
    daemon.await_reason("too_big");
    witnesses.check();
}

/// What a message that is announced with a length of 1 MiB begins with.
pub(crate) const LONG_HEADER: [u8; 14] = [0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4];

#[test]
fn a_message_too_long_over_a_slow_line_may_be_sent_to_its_end_and_is_told_1009() {
    let daemon = Daemon::start(&["--message-bytes-max", "1000"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut slow = daemon.raw_on("/long");
    slow.send(&LONG_HEADER);
    daemon.await_reason("too_big");
    // As most clients do, it looks for nothing before all is sent. That takes twice
    // as long as a peer is waited for that sends nothing.
    for _ in 0..16 {
        slow.send(&[b'm'; 64 << 10]);
        thread::sleep(Duration::from_millis(250));
    }
    let (code, reason) = slow.expect_close();
    assert_eq!(code, 1009, "{reason}");
    slow.send(&masked(0x88, &code.to_be_bytes()));
    slow.expect_end();
    witnesses.check();
}

#[test]
fn a_message_too_long_is_not_waited_for_longer_than_message_ms_max() {
    let daemon = Daemon::start(&["--message-bytes-max", "1000", "--message-ms-max", "1000"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut endless = daemon.raw_on("/long");
    endless.send(&LONG_HEADER);
    eventually("it is cut off", || {
        endless.stream.write_all(b"more").is_err()
    });
    witnesses.check();
}

#[test]
fn parts_of_messages_beyond_partial_bytes_max_are_told_1013() {
    let daemon = Daemon::start(&[
        "--cores",
        "1",
        "--message-bytes-max",
        "64KiB",
        "--partial-bytes-max",
        "100000",
    ]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut listener = daemon.connect("/parts");
    let frame = masked(0x81, &[b'x'; 60_000]);
    let mut first = daemon.raw_on("/parts");
    first.send(&frame[..59_000]);
    let mut second = daemon.raw_on("/parts");
    second.send(&frame[..59_000]);
    assert_eq!(second.expect_close().0, 1013);
    daemon.await_reason("partial_bytes");
    witnesses.check();
    first.send(&frame[59_000..]);
    assert_eq!(hear(&mut listener).len(), 60_000);
    witnesses.check();
}

#[test]
fn a_peer_over_partial_bytes_max_gives_back_what_it_held_at_once() {
    let daemon = Daemon::start(&[
        "--message-bytes-max",
        "64KiB",
        "--partial-bytes-max",
        "64KiB",
    ]);
    let mut listener = daemon.connect("/parts");
    let mut greedy = daemon.raw_on("/parts");
    // What the reader itself needs comes on top of the message.
    greedy.send(&masked(0x81, &[b'x'; 65_536])[..65_530]);
    assert_eq!(greedy.expect_close().0, 1013);
    // It has not answered the close, but its memory is free for others.
    let mut modest = daemon.raw_on("/parts");
    let frame = masked(0x81, &[b'y'; 40_000]);
    modest.send(&frame[..20_000]);
    modest.send(&frame[20_000..]);
    assert_eq!(hear(&mut listener).len(), 40_000);
}

#[test]
fn a_message_that_takes_too_long_to_arrive_is_told_1008_whatever_keeps_coming() {
    let daemon = Daemon::start(&["--message-ms-max", "1000"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let fragment = masked(0x01, b"a part");
    for begin in [
        // A frame that lacks its end, a message that does, a header, a ping.
        &masked(0x81, &[b'x'; 100])[..50],
        &fragment[..],
        &masked(0x81, &[b'x'; 200])[..3],
        &masked(0x89, b"hello?")[..8],
    ] {
        let mut raw = daemon.raw_on("/slow");
        // What was whole before does not count.
        raw.send(&masked(0x81, b"whole"));
        raw.send(begin);
        let (code, reason) = raw.expect_close();
        assert_eq!((code, reason.starts_with("slow")), (1008, true), "{reason}");
    }
    daemon.await_log("reason=\"slow_message\"", 4);
    // Never silent, and never done.
    let mut raw = daemon.raw_on("/slow");
    raw.send(&fragment);
    let close = loop {
        raw.send(&masked(0x89, b"still here"));
        raw.send(&masked(0x00, b"."));
        match raw.read_frame().expect("a close comes") {
            (0x8a, _) => {}
            other => break other,
        }
    };
    assert_eq!((close.0, &close.1[..2]), (0x88, &1008u16.to_be_bytes()[..]));
    witnesses.check();
}

#[test]
fn many_messages_may_each_take_their_time() {
    let daemon = Daemon::start(&["--message-ms-max", "1500"]);
    let mut listener = daemon.connect("/slow");
    let mut slow = daemon.raw_on("/slow");
    // It always is inside a message, though never inside one for long: another
    // that stays inside its first is closed meanwhile, twice.
    let message = masked(0x81, b"next");
    let (begin, end) = message.split_at(5);
    slow.send(begin);
    for _ in 0..2 {
        let mut stuck = daemon.raw_on("/stuck");
        stuck.send(begin);
        stuck.stream.set_nonblocking(true).unwrap();
        while stuck.stream.peek(&mut [0; 1]).is_err() {
            slow.send(&[end, begin].concat());
            assert_eq!(hear(&mut listener), "next");
        }
        stuck.stream.set_nonblocking(false).unwrap();
        assert_eq!(stuck.expect_close().0, 1008);
    }
    slow.send(end);
    assert_eq!(hear(&mut listener), "next");
}

#[test]
fn more_messages_in_a_second_than_allowed_are_told_1008() {
    let daemon = Daemon::start(&["--inbound-messages-per-s-max", "50"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut raw = daemon.raw_on("/fast");
    // Two seconds' worth and one more, and all in one go.
    raw.send(&masked(0x81, b"x").repeat(101));
    let (code, reason) = raw.expect_close();
    assert_eq!((code, reason.starts_with("rate")), (1008, true), "{reason}");
    daemon.await_reason("rate");
    witnesses.check();
}

#[test]
fn more_bytes_in_a_second_than_allowed_are_told_1008_however_short_the_messages() {
    let daemon = Daemon::start(&["--inbound-bytes-per-s-max", "10000"]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    for len in [10_001, 300, 100, 1] {
        let mut raw = daemon.raw_on("/fast");
        let _ = raw
            .stream
            .write_all(&masked(0x82, &vec![b'x'; len]).repeat(20_001 / len + 1));
        let (code, reason) = raw.expect_close();
        assert_eq!((code, reason.starts_with("rate")), (1008, true), "{reason}");
    }
    // As many as allowed are none too many.
    let mut raw = daemon.raw_on("/fast");
    raw.send(&masked(0x82, &[b'x'; 100]).repeat(100));
    raw.send(&masked(0x89, b"still there?"));
    assert_eq!(raw.read_frame(), Some((0x8a, b"still there?".to_vec())));
    witnesses.check();
}

#[test]
fn a_message_with_more_commands_than_may_be_closes_its_connection_behind_the_answers() {
    let daemon = Daemon::start(&["--commands-per-message-max", "3"]);
    let command = |id: u32| format!("{{\"id\":{id},\"rpc\":{{}}}}");
    let mut client = speaking::connect(&daemon);
    let mut other = speaking::connect(&daemon);
    let lines = |ids: std::ops::Range<u32>| ids.map(command).collect::<Vec<_>>().join("\n");
    for (id, lines) in [(2, lines(2..5)), (5, lines(5..9))] {
        speaking::say(&mut client, &lines);
        for id in id..id + 3 {
            assert!(hear(&mut client).starts_with(&format!("{{\"id\":{id},")));
        }
    }
    let (code, reason) = hear_close(&mut client);
    assert_eq!(code, 3501);
    assert!(reason.contains("too many commands"), "{reason}");
    daemon.await_reason("too_many_commands");
    assert!(speaking::ask(&mut other, &command(2)).contains("108"));
}

#[test]
fn a_client_that_asks_for_more_than_it_reads_is_closed_and_may_come_back() {
    let daemon = Daemon::start(&["--answers-bytes-max", "64KiB"]);
    let mut client = speaking::connect(&daemon);
    let payload = "x".repeat(40_000);
    let publish = format!(r#"{{"id":2,"publish":{{"channel":"t","data":"{payload}"}}}}"#);
    assert_eq!(
        speaking::ask(&mut client, &publish),
        r#"{"id":2,"publish":{}}"#
    );
    let page = r#"{"id":3,"history":{"channel":"t","limit":1}}"#;
    // One answer after the other, each is as long as it is.
    for _ in 0..3 {
        assert!(speaking::ask(&mut client, page).len() > payload.len());
    }
    speaking::say(&mut client, &[page; 4].join("\n"));
    for _ in 0..2 {
        assert!(hear(&mut client).len() > payload.len());
    }
    let (code, reason) = hear_close(&mut client);
    assert_eq!(code, 3008);
    assert!(reason.starts_with("control flood"), "{reason}");
    daemon.await_reason("control_flood");
    assert!(speaking::ask(&mut speaking::connect(&daemon), page).len() > payload.len());
}
