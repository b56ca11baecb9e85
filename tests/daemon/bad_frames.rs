//! Frames that break the protocol end their connection with the right code.
//! Each test shows that others go on as before, and hear nothing of it.

use crate::common::{Daemon, Witnesses, hear, masked, pass};

/// Sends `bytes` on an open connection, which must then be closed with `code`
/// for `reason`.
fn faulty(bytes: &[u8], code: u16, reason: &str) {
    let daemon = Daemon::start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    let mut raw = daemon.raw_on("/topic");
    raw.send(bytes);
    let (told, why) = raw.expect_close();
    assert_eq!(told, code, "{why}");
    assert!(why.len() > 5, "it says why: {why:?}");
    // After a fault the daemon waits for nothing more (RFC 6455 section 7.1.7).
    raw.expect_end();
    daemon.await_reason(reason);
    witnesses.check();
}

/// Several frames in a row.
fn frames(parts: &[(u8, &[u8])]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|(first, payload)| masked(*first, payload))
        .collect()
}

/// The header of a text frame with a length in a form of the test's choice,
/// and a key.
fn header(second: u8, length: &[u8]) -> Vec<u8> {
    [&[0x82, 0x80 | second], length, &[1, 2, 3, 4]].concat()
}

macro_rules! faults {
    ($( $name:ident: $bytes:expr => $code:literal, $reason:literal; )*) => { $(
        #[test]
        fn $name() {
            faulty(AsRef::<[u8]>::as_ref(&$bytes), $code, $reason);
        }
    )* };
}

faults! {
    a_frame_without_a_mask: b"\x81\x02hi" => 1002, "unmasked";
    the_first_reserved_bit: masked(0xc1, b"hi") => 1002, "reserved_bits";
    the_second_reserved_bit: masked(0xa1, b"hi") => 1002, "reserved_bits";
    the_third_reserved_bit: masked(0x91, b"hi") => 1002, "reserved_bits";
    a_reserved_data_opcode: masked(0x83, b"hi") => 1002, "reserved_opcode";
    the_last_reserved_data_opcode: masked(0x87, b"hi") => 1002, "reserved_opcode";
    a_reserved_control_opcode: masked(0x8b, b"hi") => 1002, "reserved_opcode";
    the_last_reserved_control_opcode: masked(0x8f, b"hi") => 1002, "reserved_opcode";
    a_fragmented_ping: masked(0x09, b"hi") => 1002, "fragmented_control";
    a_fragmented_close: masked(0x08, b"") => 1002, "fragmented_control";
    a_ping_of_126_bytes: masked(0x89, &[0; 126]) => 1002, "oversized_control";
    a_continuation_without_a_start: masked(0x80, b"hi") => 1002, "unexpected_continuation";
    a_message_inside_another:
        frames(&[(0x01, b"a"), (0x81, b"b")]) => 1002, "expected_continuation";
    sixteen_bits_of_length_for_125: header(126, &[0, 125]) => 1002, "non_minimal_length";
    sixty_four_bits_of_length_for_65535:
        header(127, &[0, 0, 0, 0, 0, 0, 255, 255]) => 1002, "non_minimal_length";
    a_length_with_its_top_bit_set:
        header(127, &[0x80, 0, 0, 0, 0, 0, 0, 1]) => 1002, "length_top_bit";
    the_longest_length_there_is:
        header(127, &[0x7f, 255, 255, 255, 255, 255, 255, 255]) => 1009, "too_big";
    a_length_just_above_the_limit:
        header(127, &[0, 0, 0, 0, 0, 0x10, 0, 1]) => 1009, "too_big";
    fragments_that_are_too_big_together:
        [masked(0x02, &[0; 1000 << 10]), vec![0x80, 0x80 | 126, 0xff, 0xff, 1, 2, 3, 4]]
            .concat() => 1009, "too_big";
    text_that_is_no_utf8: masked(0x81, b"hi \xff") => 1007, "bad_utf8";
    text_with_a_surrogate: masked(0x81, b"\xed\xa0\x80") => 1007, "bad_utf8";
    text_that_ends_inside_a_character: masked(0x81, b"hi \xe2\x82") => 1007, "bad_utf8";
    a_character_split_wrongly_across_frames:
        frames(&[(0x01, b"\xe2\x82"), (0x80, b"x")]) => 1007, "bad_utf8";
    a_character_left_open_by_the_last_fragment:
        frames(&[(0x01, b"hi"), (0x80, b"\xe2\x82")]) => 1007, "bad_utf8";
    // The last fragment never comes: the text has failed before.
    text_that_fails_before_its_end: masked(0x01, b"\xff") => 1007, "bad_utf8";
    // Not even the frame is whole.
    text_that_fails_within_its_frame:
        masked(0x81, &[0xff; 100])[..50] => 1007, "bad_utf8";
    a_close_of_one_byte: masked(0x88, b"\x03") => 1002, "bad_close_payload";
    a_close_with_a_code_that_is_not_sent: masked(0x88, &1005u16.to_be_bytes())
        => 1002, "bad_close_code";
    a_close_with_a_code_of_nobody: masked(0x88, &2999u16.to_be_bytes())
        => 1002, "bad_close_code";
    a_close_with_a_code_below_all: masked(0x88, &999u16.to_be_bytes())
        => 1002, "bad_close_code";
    a_close_whose_reason_is_no_utf8: masked(0x88, b"\x03\xe8\xff") => 1007, "bad_utf8";
}

#[test]
fn a_close_is_answered_with_its_own_code_and_what_follows_is_nobodys() {
    let daemon = Daemon::start(&[]);
    let mut witnesses = Witnesses::new(&daemon, "/topic");
    for code in [1000u16, 1001, 1011, 3000, 4999] {
        let mut raw = daemon.raw_on("/topic");
        let close = masked(0x88, &[&code.to_be_bytes(), &b"bye"[..]].concat());
        raw.send(&[close, masked(0x81, b"late")].concat());
        assert_eq!(raw.expect_close(), (code, String::new()));
        raw.expect_end();
        // "late" would be the first that the listener hears now.
        witnesses.check();
    }
    daemon.await_log("reason=\"peer\"", 5);
}

#[test]
fn an_empty_close_is_answered_with_an_empty_one() {
    let daemon = Daemon::start(&[]);
    let mut raw = daemon.raw_on("/topic");
    raw.send(&masked(0x88, b""));
    assert_eq!(raw.read_frame(), Some((0x88, Vec::new())));
    raw.expect_end();
}

#[test]
fn messages_before_the_fault_in_the_same_bytes_are_published() {
    let daemon = Daemon::start(&[]);
    let mut listener = daemon.connect("/topic");
    let mut raw = daemon.raw_on("/topic");
    raw.send(&frames(&[
        (0x81, b"good"),
        (0x81, b"bad \xff"),
        (0x81, b"never"),
    ]));
    assert_eq!(raw.expect_close().0, 1007);
    assert_eq!(hear(&mut listener), "good");
    let mut raw = daemon.raw_on("/topic");
    // A continuation after the end of what it could continue.
    raw.send(&frames(&[
        (0x01, b"al"),
        (0x80, b"so good"),
        (0x80, b"never"),
    ]));
    assert_eq!(raw.expect_close().0, 1002);
    assert_eq!(hear(&mut listener), "also good");
    pass(&mut daemon.connect("/topic"), &mut listener, "next");
}
