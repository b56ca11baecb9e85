//! Plain and compressed readers of one topic: its log has room for both.

use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, hear_close};
use crate::deflated::OFFER;

/// Bytes that do not shrink, different for each number.
fn noise(number: usize, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number as u64);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

/// Publishes messages of `len` bytes, no faster than `listener` takes them.
fn publish(
    publisher: &mut Client,
    listener: &mut Client,
    numbers: std::ops::Range<usize>,
    len: usize,
) {
    for number in numbers {
        let payload = noise(number, len);
        publisher.send(Message::binary(payload.clone())).unwrap();
        let heard = listener.read().expect("a message comes");
        assert!(heard == Message::binary(payload), "{number}");
    }
}

/// Subscribes to compressed messages.
fn deflating(mut raw: Raw, path: &str) -> Raw {
    raw.send(Raw::request(path, OFFER).as_bytes());
    raw.expect_upgrade();
    raw
}

#[test]
fn stalled_readers_of_both_kinds_are_cut_off_and_the_publisher_goes_on() {
    let daemon = Daemon::start(&[]);
    let mut publisher = daemon.connect("/both");
    let mut listener = daemon.connect("/both");
    let mut plain = Raw::new(daemon.narrow_stream());
    plain.shake_hands("/both");
    let _deflating = deflating(Raw::new(daemon.narrow_stream()), "/both");
    publish(&mut publisher, &mut listener, 0..1000, 32 << 10);
    daemon.await_log("reason=\"lag\"", 2);
    assert_eq!(daemon.counter("fanfare_closes_total", "log_full"), 0);
}

#[test]
fn a_compressed_reader_that_joins_a_full_log_finds_room() {
    let daemon = Daemon::start(&[
        "--log-bytes-max",
        "256KiB",
        "--retain-bytes-max",
        "256KiB",
        "--retain-messages-max",
        "1000000",
        "--lag-bytes-max",
        "64KiB",
        "--message-bytes-max",
        "32KiB",
    ]);
    let mut publisher = daemon.connect("/late");
    let mut listener = daemon.connect("/late");
    publish(&mut publisher, &mut listener, 0..210, 1024);
    let mut late = deflating(daemon.raw(), "/late");
    for number in 210..1000 {
        publish(&mut publisher, &mut listener, number..number + 1, 1024);
        let heard = late.read_frame();
        assert!(heard == Some((0x82, noise(number, 1024))), "{number}");
    }
}

#[test]
fn history_without_room_to_be_written_compressed_comes_as_it_is() {
    let daemon = Daemon::start(&[
        "--log-bytes-max",
        "256KiB",
        "--retain-bytes-max",
        "256KiB",
        "--lag-bytes-max",
        "128KiB",
        "--message-bytes-max",
        "32KiB",
    ]);
    let mut publisher = daemon.connect("/back");
    let mut listener = daemon.connect("/back");
    publish(&mut publisher, &mut listener, 0..210, 1024);
    let mut late = deflating(daemon.raw(), "/back?since=0");
    for number in 0..210 {
        let heard = late.read_frame();
        assert!(heard == Some((0x82, noise(number, 1024))), "{number}");
    }
    assert_eq!(daemon.metric("fanfare_read_uncompressed_total"), 1);
    // And what comes next.
    publish(&mut publisher, &mut listener, 210..400, 1024);
    for number in 210..400 {
        let heard = late.read_frame();
        assert!(heard == Some((0x82, noise(number, 1024))), "{number}");
    }
}

#[test]
fn a_message_that_can_never_fit_is_refused_once_readers_have_had_their_time() {
    let daemon = Daemon::start(&[
        "--log-bytes-max",
        "1MiB",
        "--retain-bytes-max",
        "1MiB",
        "--message-bytes-max",
        "256KiB",
        "--lag-bytes-max",
        "256KiB",
        "--stall-ms-max",
        "500",
    ]);
    // With what belongs to each message, four of the longest are more than the log.
    let small = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n";
    let chat = "Sec-WebSocket-Protocol: chat\r\n";
    let mut readers = [chat, OFFER, small].map(|lines| {
        let mut raw = daemon.raw();
        raw.send(Raw::request("/never", lines).as_bytes());
        raw.expect_upgrade();
        raw
    });
    let mut listener = daemon.connect("/never");
    let mut publisher = daemon.connect("/never");
    let long = noise(1, 256 << 10);
    let (status, body) = daemon.ask_with("POST /topics/never/messages", &long);
    assert!(
        status.contains("503") && body.contains("memory"),
        "{status} {body}"
    );
    publisher.send(Message::binary(long)).unwrap();
    assert_eq!(hear_close(&mut publisher).0, 1013);
    assert_eq!(daemon.counter("fanfare_closes_total", "log_full"), 1);
    // It was encoded again at most once for each view that it turned out to lack room in.
    assert_eq!(daemon.metric("fanfare_room_waits_total"), 1);
    let tries = daemon.metric("fanfare_room_tries_total");
    assert!(tries <= 4, "{tries} tries");
    daemon
        .connect("/never")
        .send(Message::binary(vec![7]))
        .unwrap();
    assert_eq!(listener.read().unwrap(), Message::binary(vec![7]));
    for reader in &mut readers[1..] {
        assert_eq!(reader.read_frame(), Some((0x82, vec![7])));
    }
}
