//! History goes along from process to process, as often as one likes, and with
//! all that readers have not read.

use std::io::Write;

use tungstenite::Message;

use crate::common::{Client, Daemon, eventually, hear, masked};

fn text(number: usize, len: usize) -> String {
    format!("{number:0len$}")
}

#[test]
fn history_that_was_restored_once_is_restored_again() {
    let mut daemon = Daemon::start(&["--retain-bytes-max", "4MiB"]);
    let (mut publisher, mut listener) = (daemon.connect("/quiet"), daemon.connect("/quiet"));
    for number in 0..400 {
        publisher.send(Message::text(text(number, 5000))).unwrap();
        assert_eq!(hear(&mut listener), text(number, 5000));
    }
    drop((publisher, listener));
    for time in 1..=3 {
        daemon.hand_over(time);
        let mut again = daemon.connect("/quiet?since=1");
        for number in 0..400 {
            assert_eq!(hear(&mut again), text(number, 5000));
        }
    }
}

#[test]
fn a_log_is_saved_whole_while_it_grows_in_bursts() {
    const BURST: usize = 512;
    let mut daemon = Daemon::start(&[
        "--log-bytes-max",
        "1MiB",
        "--ahead-bytes-max",
        "16KiB",
        "--retain-messages-max",
        "1",
        "--lag-bytes-max",
        "512KiB",
        "--message-bytes-max",
        "64KiB",
    ]);
    let mut listeners: Vec<Client> = (0..4).map(|_| daemon.connect("/bursts")).collect();
    let mut publisher = daemon.raw_on("/bursts");
    for time in 1..=12 {
        let numbers = (time - 1) * BURST..time * BURST;
        let message = |number| masked(0x81, text(number, 1000).as_bytes());
        let burst: Vec<u8> = numbers.clone().flat_map(message).collect();
        let mut stream = publisher.stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || stream.write_all(&burst).unwrap());
            daemon.hand_over(time);
            for listener in &mut listeners {
                for number in numbers.clone() {
                    assert!(hear(listener) == text(number, 1000), "{number}");
                }
            }
        });
    }
    publisher.send(&masked(0x88, b""));
    eventually("all is let go", || publisher.read_frame().is_none());
}
