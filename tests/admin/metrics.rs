//! What `/metrics` tells.

use std::collections::HashMap;
use std::io::Write;

use fanfare::core::Room;
use tungstenite::Message;

use crate::client::{Answer, Daemon, next};
use crate::samples;

#[test]
fn traffic_shows_in_the_figures() {
    let daemon = Daemon::start(&[]);
    let (mut publisher, _) = daemon.subscribe("t");
    let (mut subscriber, _) = daemon.subscribe("t");
    publisher.send(Message::text("hello")).unwrap();
    assert_eq!(next(&mut subscriber), Message::text("hello"));
    daemon.post("t", b"posted");
    assert_eq!(next(&mut subscriber), Message::text("posted"));
    assert_eq!(next(&mut publisher), Message::text("posted"));
    // One that breaks the protocol is closed for a reason, ...
    let (mut rude, _) = daemon.subscribe("t");
    rude.get_mut().write_all(&[0xF1, 0x80, 0, 0, 0, 0]).unwrap();
    assert!(rude.read().unwrap().is_close());
    while rude.read().is_ok() {}
    // ... and one with another version is not let in.
    let url = format!("http://{}/t", daemon.public);
    let mut plain = std::net::TcpStream::connect(&daemon.public).unwrap();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12";
    write!(plain, "GET {url} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n\r\n").unwrap();
    Answer::read(&mut plain);
    drop(plain);

    // The ends of connections are counted when the core has seen them.
    let figures = loop {
        let figures = samples(&daemon.get("/metrics").body);
        let rejects = figures
            .iter()
            .filter(|(name, _)| name.contains("rejects_total"));
        if figures["fanfare_closes_total{reason=\"reserved_bits\"}"] == 1.0
            && figures["fanfare_handshakes_in_flight"] == 0.0
            && rejects.map(|(_, value)| value).sum::<f64>() == 1.0
        {
            break figures;
        }
    };
    for (name, value) in [
        ("fanfare_handshakes_total", 3.0),
        ("fanfare_topics", 1.0),
        ("fanfare_received_messages_total", 1.0),
        ("fanfare_received_bytes_total", 5.0),
        ("fanfare_posted_messages_total", 1.0),
        ("fanfare_ready", 1.0),
        ("fanfare_connections_max", 100_000.0),
    ] {
        assert_eq!(figures[name], value, "{name}");
    }
    assert!(figures["fanfare_deliveries_total"] >= 3.0);
    assert!(figures["fanfare_sends_total"] >= 3.0);
    assert!(figures["fanfare_sent_bytes_total"] > 0.0);
    assert!(figures["fanfare_log_bytes"] > 0.0);
}

#[test]
fn every_line_is_well_formed_in_both_formats() {
    let daemon = Daemon::start(&[]);
    let classic = daemon.get("/metrics");
    let classic_type = Some("text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(classic.field("content-type"), classic_type);
    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
    let open = daemon.ask("GET /metrics", &[accept], b"");
    let open_type = Some("application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(open.field("content-type"), open_type);
    assert!(open.body.ends_with("\n# EOF\n"));

    let without_end = open.body.strip_suffix("# EOF\n").unwrap();
    for (text, is_open) in [(classic.body.as_str(), false), (without_end, true)] {
        check_lines(text, is_open);
    }
    // Both tell of the same.
    let names = |text| samples(text).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&classic.body), names(&open.body));
}

/// Each sample follows the type of its family, and its name fits it.
fn check_lines(text: &str, is_open: bool) {
    let mut family = ("", "");
    let mut helped = "";
    let mut buckets: HashMap<String, f64> = HashMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped = rest.split_once(' ').unwrap().0;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split_once(' ').unwrap();
            assert_eq!(family.0, helped, "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&family.1));
        } else if line.starts_with('#') {
            assert!(is_open && line.starts_with("# UNIT "), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            for label in labels
                .trim_end_matches('}')
                .split(',')
                .filter(|l| !l.is_empty())
            {
                let (_, quoted) = label.split_once('=').unwrap();
                assert!(quoted.starts_with('"') && quoted.ends_with('"'), "{line}");
            }
            let suffix = name.strip_prefix(family.0).unwrap();
            match family.1 {
                "counter" if is_open => assert_eq!(suffix, "_total", "{line}"),
                "counter" => assert!(suffix.is_empty() && name.ends_with("_total"), "{line}"),
                "gauge" => assert_eq!(suffix, "", "{line}"),
                _ => assert!(["_sum", "_count", "_bucket"].contains(&suffix), "{line}"),
            }
            if suffix == "_bucket" {
                let core = labels.split("core=").nth(1).unwrap().to_owned();
                let before = buckets.insert(core, value).unwrap_or(0.0);
                assert!(before <= value, "{line} is less than the bucket below");
            }
        }
    }
    assert_eq!(buckets.len(), 2, "one histogram for each core");
}

#[test]
fn the_room_that_the_descriptor_limit_leaves_is_told_beside_the_setting() {
    let daemon = Daemon::start(&["--cores", "2", "--connections-max", "5000000"]);
    let figures = samples(&daemon.get("/metrics").body);
    let files = figures["process_max_fds"];
    for core in ["0", "1"] {
        let capacity = figures[&format!("fanfare_connections_capacity{{core=\"{core}\"}}")];
        let room = Room::within(files as u64, 5_000_000, 2);
        assert_eq!(capacity, f64::from(room.slots));
    }
    assert_eq!(figures["fanfare_connections_max"], 5_000_000.0);
}

#[test]
fn the_process_is_told_as_that_of_any_program_is() {
    let daemon = Daemon::start(&[]);
    let first = samples(&daemon.get("/metrics").body);
    for name in [
        "process_start_time_seconds",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
    ] {
        assert!(first[name] > 0.0, "{name}");
    }
    let second = samples(&daemon.get("/metrics").body);
    let start = "process_start_time_seconds";
    assert_eq!(first[start], second[start], "else each scrape is a restart");
}

#[test]
fn every_reason_has_its_label_before_it_happens() {
    let daemon = Daemon::start(&[]);
    let figures = samples(&daemon.get("/metrics").body);
    for name in [
        "fanfare_closes_total{reason=\"lag\"}",
        "fanfare_closes_total{reason=\"idle\"}",
        "fanfare_closes_total{reason=\"bad_utf8\"}",
        "fanfare_rejects_total{reason=\"connections_max\"}",
        "fanfare_rejects_total{reason=\"origin\"}",
    ] {
        assert_eq!(figures.get(name), Some(&0.0), "{name}");
    }
}

#[test]
fn the_uptime_begins_at_nothing() {
    let daemon = Daemon::start(&[]);
    let figures = samples(&daemon.get("/metrics").body);
    let uptime_s = figures["fanfare_uptime_seconds"];
    // The daemon's own clock begins a day later, for the sake of older history.
    assert!(uptime_s < 10_000.0, "{uptime_s}");
}
