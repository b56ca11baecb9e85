//! A publisher over HTTP waits where one over a WebSocket would be read from no further.

use std::net::TcpStream;
use std::thread;

use tungstenite::{Message, WebSocket};

use crate::client::{Answer, Daemon, next};

/// Readers that stand still pin more than there is, each less than it may be behind.
const SHORT: [&str; 6] = [
    "--log-bytes-total-max",
    "4MiB",
    "--log-bytes-max",
    "4MiB",
    "--lag-bytes-max",
    "1MiB",
];

fn batch(daemon: &Daemon, topic: &str, lines: usize) -> Answer {
    let line = format!("{{\"topic\":\"{topic}\",\"text\":\"{:01024}\"}}\n", 7);
    let ndjson = ["Content-Type: application/x-ndjson"];
    daemon.ask("POST /messages", &ndjson, line.repeat(lines).as_bytes())
}

/// A subscriber whose socket soon takes nothing.
fn still(daemon: &Daemon, topic: &str) -> WebSocket<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address: std::net::SocketAddr = daemon.public.parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let url = format!("ws://{}/{topic}", daemon.public);
    tungstenite::client(url, TcpStream::from(socket)).unwrap().0
}

/// Posts to topics of which each has a reader that stands still; returns the lines that were
/// refused.
fn press(daemon: &Daemon) -> usize {
    let topics: Vec<String> = (0..5).map(|number| format!("room{number}")).collect();
    let _still: Vec<_> = topics.iter().map(|topic| still(daemon, topic)).collect();
    let mut refused = 0;
    for _ in 0..40 {
        for topic in &topics {
            let answer = batch(daemon, topic, 100);
            assert_eq!(answer.status, 200);
            assert_eq!(answer.body.lines().count(), 100);
            refused += answer.body.matches("\"status\":503").count();
        }
    }
    refused
}

#[test]
fn a_publisher_waits_until_those_who_keep_the_memory_are_cut() {
    let daemon = Daemon::start(&SHORT);
    assert_eq!(press(&daemon), 0);
    let figures = daemon.get("/metrics").body;
    assert!(
        !figures.contains("fanfare_posted_waits_total 0\n"),
        "{figures}"
    );
    assert!(figures.contains("fanfare_post_refusals_total{reason=\"room\"} 0\n"));
}

#[test]
fn a_publisher_that_may_not_wait_is_told_to_come_back() {
    let daemon = Daemon::start(&[&SHORT[..], &["--publish-wait-ms-max", "0"]].concat());
    let refused = press(&daemon);
    assert!(refused > 0);
    let figures = daemon.get("/metrics").body;
    let counted = format!("fanfare_post_refusals_total{{reason=\"room\"}} {refused}\n");
    assert!(figures.contains(&counted), "{figures}");
}

#[test]
fn a_publisher_waits_for_cores_that_are_behind() {
    let daemon = Daemon::start(&["--cores", "3", "--ahead-bytes-max", "1KiB"]);
    let mut subscribers: Vec<_> = (0..6).map(|_| daemon.subscribe("t").0).collect();
    thread::scope(|scope| {
        for subscriber in &mut subscribers {
            scope.spawn(|| {
                for _ in 0..1000 {
                    assert_eq!(next(subscriber), Message::text(format!("{:01024}", 7)));
                }
            });
        }
        let answer = batch(&daemon, "t", 1000);
        assert_eq!(answer.body.matches("\"offset\":").count(), 1000);
    });
    let figures = daemon.get("/metrics").body;
    assert!(
        !figures.contains("fanfare_posted_waits_total 0\n"),
        "{figures}"
    );
}
