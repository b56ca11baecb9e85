//! Topics that are kept on disk: what outlives the process, and what who comes back is told.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, command, eventually, hear};
use crate::speaking;

/// What is between the offsets that are given before an unclean end and behind it.
const LEAP: u64 = 1 << 32;

/// A folder for a store.
struct Disk(TempDir);

impl Disk {
    fn new() -> Disk {
        Disk(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> String {
        self.0.path().join("store").display().to_string()
    }

    fn start(&self, options: &[&str]) -> Daemon {
        let path = self.path();
        let kept = ["--store", &path, "--keep", "disk"];
        Daemon::start(&[&kept, options].concat())
    }
}

fn stop(mut daemon: Daemon) {
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
}

const TEXT: &str = "Content-Type: text/plain\r\n";

/// Publishes a text over HTTP, and returns the answer.
#[track_caller]
fn publish(daemon: &Daemon, topic: &str, text: &str) -> String {
    post(daemon, &format!("POST /topics/{topic}/messages"), text)
}

/// The same once the message is stored.
#[track_caller]
fn store(daemon: &Daemon, topic: &str, text: &str) -> String {
    let request = format!("POST /topics/{topic}/messages?ack=stored&within_ms=20000");
    let answer = post(daemon, &request, text);
    assert!(answer.contains(r#""stored":true"#), "{answer}");
    answer
}

#[track_caller]
fn post(daemon: &Daemon, request: &str, text: &str) -> String {
    loop {
        let (head, answer) = daemon.ask_as(request, TEXT, text.as_bytes());
        // The process before may still answer.
        if answer.contains("try again at once") {
            continue;
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head} {answer}");
        return answer;
    }
}

#[track_caller]
fn field(answer: &str, name: &str) -> String {
    let (_, rest) = answer.split_once(&format!("\"{name}\":")).expect(answer);
    let end = rest.find([',', '}']).unwrap();
    rest[..end].trim_matches('"').to_owned()
}

fn numbered(daemon: &Daemon, topic: &str, since: u64) -> Client {
    daemon.connect(&format!("/{topic}?offsets=true&since={since}"))
}

/// The next message of a client that is told offsets, or what it is told else.
fn told(client: &mut Client) -> String {
    loop {
        let told = hear(client);
        if !told.contains("\"hello\"") {
            return told;
        }
    }
}

#[test]
fn history_epoch_and_offsets_outlive_a_clean_end() {
    let disk = Disk::new();
    let daemon = disk.start(&[]);
    let mut epoch = String::new();
    for number in 1..=300 {
        let answer = publish(&daemon, "a", &number.to_string());
        epoch = field(&answer, "epoch");
    }
    stop(daemon);
    let daemon = disk.start(&[]);
    let shown = daemon.ask("GET /topics/a").1;
    assert_eq!(field(&shown, "offset"), "300");
    assert_eq!(field(&shown, "first_offset"), "1");
    assert_eq!(field(&shown, "epoch"), epoch);
    let mut client = daemon.connect("/a?since=1");
    for number in 1..=300 {
        assert_eq!(hear(&mut client), number.to_string());
    }
    daemon.connect("/a").send(Message::text("live")).unwrap();
    assert_eq!(hear(&mut client), "live");
    assert_eq!(daemon.metric("fanfare_store_working"), 1);
    stop(daemon);
    // The next one finds that as well.
    let daemon = disk.start(&[]);
    let shown = daemon.ask("GET /topics/a").1;
    assert_eq!(field(&shown, "offset"), "301");
    speaking::order(&daemon, "history_remove", r#"{"channel":"a"}"#);
    stop(daemon);
    let daemon = disk.start(&[]);
    let shown = daemon.ask("GET /topics/a").1;
    assert_eq!(field(&shown, "offset"), "301");
    assert_eq!(field(&shown, "first_offset"), "302");
}

#[test]
fn what_is_acknowledged_as_stored_outlives_a_kill_and_no_offset_is_given_twice() {
    let disk = Disk::new();
    // Nothing is synced of its own accord.
    let daemon = disk.start(&["--store-sync-ms", "60000"]);
    let mut reader = numbered(&daemon, "a", 1);
    for number in 1..=10 {
        store(&daemon, "a", &format!("s{number}"));
        assert!(told(&mut reader).contains(&format!("\"s{number}\"")));
    }
    for number in 11..=20 {
        publish(&daemon, "a", &format!("u{number}"));
        assert!(told(&mut reader).contains(&format!("\"u{number}\"")));
    }
    drop(daemon);
    let daemon = disk.start(&[]);
    let next = 11 + LEAP;
    let shown = daemon.ask("GET /topics/a").1;
    assert_eq!(field(&shown, "offset"), (next - 1).to_string());
    // The reader had seen what was lost.
    let mut back = numbered(&daemon, "a", 21);
    let gap = told(&mut back);
    assert!(gap.contains("\"gap\""), "{gap}");
    assert_eq!(
        (field(&gap, "from"), field(&gap, "to")),
        ("21".into(), (next - 1).to_string())
    );
    assert!(!gap.contains("missed"), "{gap}");
    // Another one had seen less.
    let mut early = numbered(&daemon, "a", 5);
    for number in 5..=10 {
        assert!(told(&mut early).contains(&format!("\"s{number}\"")));
    }
    let gap = told(&mut early);
    assert_eq!(
        (field(&gap, "from"), field(&gap, "to")),
        ("11".into(), (next - 1).to_string())
    );
    let answer = store(&daemon, "a", "after");
    assert_eq!(field(&answer, "offset"), next.to_string());
    for client in [&mut back, &mut early] {
        assert!(told(client).contains("\"after\""));
    }
}

#[test]
fn history_far_beyond_memory_is_read_from_disk_in_every_dialect() {
    const LEN: usize = 2_000;
    let disk = Disk::new();
    let options = [
        "--log-bytes-max",
        "256KiB",
        "--lag-bytes-max",
        "128KiB",
        "--message-bytes-max",
        "16KiB",
        "--retain-messages-max",
        "100000",
        "--retain-bytes-max",
        "64MiB",
    ];
    let daemon = disk.start(&options);
    let text = |number: u64| format!("{number:0LEN$}");
    for number in 1..=1000 {
        publish(&daemon, "a", &text(number));
    }
    let shown = daemon.ask("GET /topics/a").1;
    assert_eq!(field(&shown, "first_offset"), "1");
    let epoch = field(&shown, "epoch");
    let mut raw = daemon.connect("/a?since=1");
    let mut chat = numbered(&daemon, "a", 500);
    let mut session = speaking::connect(&daemon);
    let answer = speaking::ask(&mut session, &speaking::recover(2, "a", 0, &epoch));
    assert!(answer.contains("\"recovered\":true"), "{answer}");
    for number in 1..=1000 {
        assert!(hear(&mut raw) == text(number), "{number}");
        let heard = speaking::hear(&mut session);
        assert!(
            heard.contains(&text(number)) && heard.ends_with(&format!("\"offset\":{number}}}}}}}")),
            "{heard}"
        );
    }
    for number in 500..=1000 {
        assert!(told(&mut chat).contains(&text(number)), "{number}");
    }
    daemon.connect("/a").send(Message::text("live")).unwrap();
    for client in [&mut raw, &mut chat] {
        assert!(told(client).contains("live"));
    }
    assert!(speaking::hear(&mut session).contains("\"offset\":1001"));
    assert!(daemon.metric("fanfare_store_catch_ups_total") >= 3);
    // Pages of it, by the server API and by a client.
    let body = br#"{"channel":"a","limit":3,"since":{"offset":10,"epoch":"EPOCH"}}"#;
    let body = String::from_utf8_lossy(body).replace("EPOCH", &epoch);
    let answer = speaking::call(&daemon, "history", &body);
    for offset in [11, 12, 13] {
        assert!(answer.contains(&format!("\"offset\":{offset}")), "{answer}");
    }
    let body = br#"{"channel":"a","limit":1000,"reverse":true}"#;
    let (_, answer) = daemon.ask_with("POST /api/history", body);
    assert!(
        answer.contains("\"offset\":1001") && answer.contains("\"offset\":502"),
        "{answer}"
    );
    let answer = speaking::ask(
        &mut session,
        &format!(
            r#"{{"id":9,"history":{{"channel":"a","limit":2,"since":{{"offset":99,"epoch":"{epoch}"}}}}}}"#
        ),
    );
    assert!(
        answer.contains("\"offset\":100") && answer.contains("\"offset\":101"),
        "{answer}"
    );
}

#[test]
fn what_is_kept_goes_over_to_the_next_process_with_nothing_lost() {
    let disk = Disk::new();
    let mut daemon = disk.start(&["--retain-messages-max", "100000"]);
    let mut reader = daemon.connect("/a");
    for time in 1..=3 {
        for number in 0..50 {
            let text = format!("{time}-{number}");
            publish(&daemon, "a", &text);
            assert_eq!(hear(&mut reader), text);
        }
        daemon.hand_over(time);
        let answer = store(&daemon, "a", "stored");
        // No hole.
        assert_eq!(field(&answer, "offset"), (time * 51).to_string());
        assert_eq!(hear(&mut reader), "stored");
    }
    stop(daemon);
    let daemon = disk.start(&[]);
    let mut client = daemon.connect("/a?since=1");
    for time in 1..=3 {
        for number in 0..50 {
            assert_eq!(hear(&mut client), format!("{time}-{number}"));
        }
        assert_eq!(hear(&mut client), "stored");
    }
}

#[test]
fn a_rule_keeps_some_topics_and_may_change_while_they_live() {
    let disk = Disk::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanfare.toml");
    let write = |keep: &str| {
        let text = format!(
            "store = \"{}\"\n[[topics]]\nmatch = \"kept.*\"\nkeep = \"{keep}\"\n",
            disk.path()
        );
        std::fs::write(&file, text).unwrap();
    };
    write("disk");
    let config = file.display().to_string();
    let mut daemon = Daemon::start(&["--config", &config]);
    store(&daemon, "kept.a", "1");
    let request = "POST /topics/other/messages?ack=stored";
    let (status, answer) = daemon.ask_with(request, b"x");
    assert_eq!(status, "HTTP/1.1 400 Bad Request", "{answer}");
    assert_eq!(daemon.metric("fanfare_store_topics"), 1);
    write("memory");
    daemon.signal(Signal::SIGHUP);
    eventually("it is stored no more", || {
        daemon.metric("fanfare_store_topics") == 0
    });
    assert_eq!(hear(&mut daemon.connect("/kept.a?since=1")), "1");
    write("disk");
    daemon.signal(Signal::SIGHUP);
    eventually("it is stored again", || {
        daemon.metric("fanfare_store_topics") == 1
    });
    store(&daemon, "kept.a", "2");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    let daemon = Daemon::start(&["--config", &config]);
    let mut client = daemon.connect("/kept.a?since=1");
    assert_eq!(
        (hear(&mut client), hear(&mut client)),
        ("1".into(), "2".into())
    );
    assert_eq!(daemon.ask("GET /topics/other").0, "HTTP/1.1 404 Not Found");
}

#[test]
fn a_store_that_cannot_be_had_is_named_and_nothing_is_served() {
    let disk = Disk::new();
    let daemon = disk.start(&[]);
    let path = disk.path();
    let refused = |options: &[&str]| {
        let output = command(&[&["--admin", "off", "--keep", "disk"], options].concat())
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    // A second daemon on the same folder.
    let told = refused(&["--store", &path]);
    assert!(told.contains(&path) && told.contains("another"), "{told}");
    drop(daemon);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let told = refused(&["--store", &path]);
    assert!(told.contains("chmod 700"), "{told}");
    let told = refused(&[]);
    assert!(told.contains("keep = \"disk\" needs store"), "{told}");
}

#[test]
fn a_batch_is_acknowledged_when_all_of_it_is_stored() {
    let disk = Disk::new();
    let daemon = disk.start(&["--store-sync-ms", "60000"]);
    let body: String = (1..=100)
        .map(|number| format!("{{\"topic\":\"t{}\",\"data\":{number}}}\n", number % 7))
        .collect();
    let lines = "Content-Type: application/x-ndjson\r\n";
    let (head, answer) = daemon.ask_as("POST /messages?ack=stored", lines, body.as_bytes());
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {answer}");
    assert_eq!(answer.matches("\"stored\":true").count(), 100, "{answer}");
    drop(daemon);
    let daemon = disk.start(&[]);
    let mut client = daemon.connect("/t3?since=1");
    for number in (1..=100).filter(|number| number % 7 == 3) {
        assert_eq!(hear(&mut client), number.to_string());
    }
}

#[test]
fn a_client_that_comes_back_over_a_hole_is_told_once() {
    let disk = Disk::new();
    let daemon = disk.start(&[]);
    let answer = store(&daemon, "a", "1");
    let epoch = field(&answer, "epoch");
    drop(daemon);
    let daemon = disk.start(&[]);
    let mut client = speaking::connect(&daemon);
    let answer = speaking::ask(&mut client, &speaking::recover(2, "a", 1, &epoch));
    assert!(!answer.contains("\"recovered\":true"), "{answer}");
    assert!(answer.contains("\"was_recovering\":true"), "{answer}");
    let answer = store(&daemon, "a", "2");
    let offset = field(&answer, "offset");
    assert!(speaking::hear(&mut client).contains(&offset));
    // From there on nothing is missing.
    let mut next = speaking::connect(&daemon);
    let offset: u64 = offset.parse().unwrap();
    let answer = speaking::ask(&mut next, &speaking::recover(2, "a", offset - 1, &epoch));
    assert!(answer.contains("\"recovered\":true"), "{answer}");
}

#[test]
fn a_newcomer_is_given_the_newest_message_that_only_the_disk_has() {
    let disk = Disk::new();
    let rule = ["--topics", r#"match = "a", latest = true"#];
    let daemon = disk.start(&rule);
    for text in ["old", "new"] {
        store(&daemon, "a", text);
    }
    stop(daemon);
    let daemon = disk.start(&rule);
    let (mut first, mut second) = (daemon.connect("/a"), daemon.connect("/a"));
    for client in [&mut first, &mut second] {
        assert_eq!(hear(client), "new");
    }
    publish(&daemon, "a", "newer");
    for client in [&mut first, &mut second] {
        assert_eq!(hear(client), "newer");
    }
}

#[test]
fn a_topic_that_keeps_nothing_any_more_is_forgotten_on_disk_too() {
    let disk = Disk::new();
    let daemon = disk.start(&["--retain-ms-max", "300"]);
    store(&daemon, "a", "1");
    assert_eq!(daemon.metric("fanfare_store_topics"), 1);
    eventually("it is forgotten", || {
        daemon.metric("fanfare_store_topics") == 0
    });
    assert_eq!(daemon.ask("GET /topics/a").0, "HTTP/1.1 404 Not Found");
    stop(daemon);
    let daemon = disk.start(&[]);
    assert_eq!(daemon.ask("GET /topics/a").0, "HTTP/1.1 404 Not Found");
}

#[test]
fn a_topic_on_disk_goes_for_no_other_one_and_beyond_the_limit_there_is_none() {
    let disk = Disk::new();
    let limit = ["--topics-max", "2"];
    let daemon = disk.start(&limit);
    for topic in ["a", "b"] {
        store(&daemon, topic, topic);
    }
    let (head, answer) = daemon.ask_as("POST /topics/c/messages", TEXT, b"c");
    assert!(head.starts_with("HTTP/1.1 503"), "{head} {answer}");
    assert!(daemon.open("/c", &[]).is_err());
    assert_eq!(daemon.metric("fanfare_topic_evictions_total"), 0);
    assert_eq!(daemon.metric("fanfare_store_topics"), 2);
    assert!(daemon.counter("fanfare_rejects_total", "topics_max") > 0);
    for topic in ["a", "b"] {
        assert_eq!(
            hear(&mut daemon.connect(&format!("/{topic}?since=1"))),
            topic
        );
    }
    stop(daemon);
}

#[test]
fn who_takes_nothing_of_stored_history_does_not_keep_it_from_others() {
    const LEN: usize = 16_000;
    let disk = Disk::new();
    let daemon = disk.start(&[
        "--store-read-bytes-max",
        "4MiB",
        "--log-bytes-max",
        "256KiB",
        "--lag-bytes-max",
        "128KiB",
        "--message-bytes-max",
        "16KiB",
        "--retain-messages-max",
        "100000",
        "--retain-bytes-max",
        "64MiB",
    ]);
    let text = |number: u64| format!("{number:0LEN$}");
    for number in 1..=1000 {
        publish(&daemon, "a", &text(number));
    }
    // Each of them wants another page, and reads nothing.
    let slow: Vec<_> = (0..60)
        .map(|number| {
            let mut raw = Raw::new(daemon.narrow_stream());
            raw.shake_hands(&format!("/a?since={}", 1 + number * 14));
            raw
        })
        .collect();
    let mut client = daemon.connect("/a?since=1");
    for number in 1..=1000 {
        assert!(hear(&mut client) == text(number), "{number}");
    }
    assert!(daemon.counter("fanfare_closes_total", "stall") > 0);
    drop(slow);
}
