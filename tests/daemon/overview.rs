//! `GET /overview` of the real daemon: what it says of a slow connection, and to whom.

use serde_json::Value;

use crate::common::{Daemon, Raw, eventually};

fn look(daemon: &Daemon, query: &str) -> Value {
    let (status, body) = daemon.ask(&format!("GET /overview{query}"));
    assert!(status.starts_with("HTTP/1.1 200"), "{status}: {body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn a_connection_that_does_not_read_is_found_with_its_address_and_lag() {
    let daemon = Daemon::start(&["--stall-ms-max", "60000"]);
    let stream = daemon.narrow_stream();
    let address = stream.local_addr().unwrap().to_string();
    let mut raw = Raw::new(stream);
    raw.shake_hands("/slow?offsets=true");
    let mut reader = daemon.connect("/slow");
    look(&daemon, "");
    let message = vec![b'x'; 60_000];
    let mut slowest = Value::Null;
    eventually("it is found", || {
        let (status, _) = daemon.ask_with("POST /topics/slow/messages", &message);
        assert!(status.contains("200"), "{status}");
        reader.read().unwrap();
        let overview = look(&daemon, "");
        slowest = overview["slowest"][0].clone();
        !slowest.is_null()
    });
    assert_eq!(slowest["address"], address.as_str());
    assert_eq!(slowest["dialect"], "numbered");
    assert_eq!(slowest["topic"], "slow");
    assert_eq!(slowest["tls"], false);
    assert!(slowest["user"].is_null());
    assert!(slowest["lag_bytes"].as_u64().unwrap() > 0);
    let overview = look(&daemon, "?by=lag");
    assert_eq!(overview["connections"]["stalled"], 1);
    assert_eq!(overview["connections"]["open"], 2);
    assert!(
        overview["topics"]["shown"][0]["lag_bytes"]
            .as_u64()
            .unwrap()
            > 0
    );
    assert_eq!(overview["topics"]["shown"][0]["subscribers"], 2);
    assert_eq!(
        daemon.metric("fanfare_stalled_connections{core=\"0\"}")
            + daemon.metric("fanfare_stalled_connections{core=\"1\"}"),
        1
    );
}

#[test]
fn the_load_of_each_core_is_known_from_the_second_look_on() {
    let daemon = Daemon::start(&["--cores", "2"]);
    let overview = look(&daemon, "");
    assert!(overview["window_ms"].is_null());
    assert_eq!(overview["state"], "ready");
    eventually("it is known", || {
        look(&daemon, "")["window_ms"].as_u64().is_some()
    });
    let overview = look(&daemon, "");
    let cores = overview["cores"].as_array().unwrap();
    assert_eq!(cores.len(), 2);
    for core in cores {
        assert!(
            (0.0..=1.0).contains(&core["load"].as_f64().unwrap()),
            "{core}"
        );
        assert!(core["capacity"].as_u64().unwrap() > 0);
    }
    assert!(overview["process"]["resident_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn it_is_for_admin_listeners_alone_and_a_bad_query_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| format!("unix:{}", folder.path().join(name).display());
    let (api, metrics) = (place("api"), place("metrics"));
    let daemon = Daemon::start(&["--api", &api, "--metrics", &metrics]);
    for (name, words) in [
        ("api", "ask at one that is for admin"),
        ("metrics", "ask at one"),
    ] {
        use std::io::{Read, Write};
        let path = folder.path().join(name);
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        stream
            .write_all(b"GET /overview HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 403") && answer.contains(words),
            "{answer}"
        );
    }
    for query in [
        "?topics=201",
        "?by=age",
        "?connections=33",
        "?x=1",
        "?topics=1&topics=2",
    ] {
        let (status, body) = daemon.ask(&format!("GET /overview{query}"));
        assert!(status.starts_with("HTTP/1.1 400"), "{query}: {status}");
        assert!(body.contains("the query takes topics"), "{body}");
    }
}
