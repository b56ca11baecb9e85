//! Requests with an `Idempotency-Key` that are sent again, to another process.

use crate::common::{Daemon, eventually};

/// Posts a message, as often as the daemon asks to come back. Whether it was carried out before,
/// and the answer.
fn post(daemon: &Daemon, key: &str) -> (bool, String) {
    let lines = format!("Idempotency-Key: {key}\r\n");
    let mut answer = (String::new(), String::new());
    eventually("the message is taken", || {
        answer = daemon.ask_as("POST /messages?topic=t", &lines, b"x");
        answer.0.starts_with("HTTP/1.1 200 ")
    });
    let (head, body) = answer;
    (head.contains("idempotency-replayed: true"), body)
}

#[test]
fn the_next_process_knows_what_has_been_carried_out() {
    let mut daemon = Daemon::start(&[]);
    let (replayed, first) = post(&daemon, "a");
    assert!(!replayed);
    for time in 1..=2 {
        daemon.hand_over(time);
        // Until the old one has ended, it may be the one that answers.
        let (replayed, again) = post(&daemon, "b");
        assert_eq!(replayed, time > 1, "{again}");
        assert!(again.contains("\"offset\":2,"), "{again}");
        assert_eq!(post(&daemon, "a"), (true, first.clone()));
    }
}
