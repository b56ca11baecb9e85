//! Limits on what a publisher sends hold for what it becomes, and memory for
//! compression is for those who compress.

use crate::common::{Daemon, Raw, masked};
use crate::deflated::{OFFER, TEXT, deflate};

fn squeezer(daemon: &Daemon, path: &str) -> Raw {
    let mut raw = daemon.raw();
    raw.send(Raw::request(path, OFFER).as_bytes());
    raw.expect_upgrade();
    raw
}

#[test]
fn the_inbound_byte_limit_counts_what_the_log_will_hold() {
    let daemon = Daemon::start(&["--inbound-bytes-per-s-max", "1MiB"]);
    let mut listener = daemon.connect("/bomb");
    let mut publisher = squeezer(&daemon, "/bomb");
    let text = "0".repeat(900 << 10);
    let frame = masked(TEXT, &deflate(text.as_bytes()));
    publisher.send(&frame.repeat(20));
    daemon.await_reason("rate");
    listener.send(tungstenite::Message::text("mine")).unwrap();
    // A second may begin between two messages.
    let heard = daemon.metric("fanfare_received_messages_total");
    assert!(heard <= 4, "{heard} messages are in");
}

#[test]
fn who_only_listens_needs_no_memory_to_inflate_with() {
    const COUNT: usize = 1000;
    let daemon = Daemon::start(&["--deflate", "takeover"]);
    // The first ones pay for what all share.
    let _first: Vec<Raw> = (0..100).map(|_| squeezer(&daemon, "/calm")).collect();
    let before = daemon.resident_bytes();
    let listeners: Vec<Raw> = (0..COUNT).map(|_| squeezer(&daemon, "/calm")).collect();
    let each = daemon.resident_bytes().saturating_sub(before) / COUNT as u64;
    assert!(each < 6_000, "{each} bytes for each listener");
    // They can still compress when they like.
    let mut talker = listeners.into_iter().next().unwrap();
    let mut listener = daemon.connect("/calm");
    for text in ["once and again", "once and again"] {
        talker.send(&masked(TEXT, &deflate(text.as_bytes())));
        assert_eq!(crate::common::hear(&mut listener), text);
    }
}
