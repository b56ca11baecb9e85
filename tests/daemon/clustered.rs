//! Topics that a cluster keeps: several daemons on one log, through real NATS servers.

use async_nats::HeaderMap;
use serde_json::json;
use tungstenite::Message;

use crate::common::{Client, Daemon, eventually, hear, hear_close};
use crate::nats_server::{Program, Server};
use crate::speaking;

/// A daemon on a cluster.
pub(crate) fn node(server: &Server, options: &[&str]) -> Daemon {
    let url = server.url();
    let mut all = vec!["--keep", "cluster", "--cluster-nats", &url];
    // The servers set aside on their disk what a stream may take.
    all.extend(["--cluster-bytes-max", "64MiB"]);
    if !options.contains(&"--message-bytes-max") {
        // What the servers take as they are.
        all.extend(["--message-bytes-max", "512KiB"]);
    }
    let daemon = Daemon::start(&[&all, options].concat());
    daemon.await_log("the cluster is there", 1);
    daemon
}

pub(crate) const TEXT: &str = "Content-Type: text/plain\r\n";

#[track_caller]
fn publish(daemon: &Daemon, topic: &str, text: &str) -> String {
    let request = format!("POST /topics/{}/messages", topic.replace('/', "%2F"));
    let (head, answer) = daemon.ask_as(&request, TEXT, text.as_bytes());
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {answer}");
    answer
}

#[track_caller]
fn field(answer: &str, name: &str) -> String {
    let (_, rest) = answer.split_once(&format!("\"{name}\":")).expect(answer);
    let end = rest.find([',', '}']).unwrap();
    rest[..end].trim_matches('"').to_owned()
}

#[track_caller]
pub(crate) fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).unwrap();
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

fn numbered(daemon: &Daemon, topic: &str, since: u64) -> Client {
    daemon.connect(&format!("/{topic}?offsets=true&since={since}"))
}

#[test]
fn what_one_node_publishes_all_hear_in_one_order_and_the_publisher_not() {
    let server = Server::start();
    let (one, two) = (node(&server, &[]), node(&server, &[]));
    let mut clients = [
        one.connect("/a"),
        one.connect("/a"),
        two.connect("/a"),
        two.connect("/a"),
    ];
    for round in 0..20 {
        let speaker = round % clients.len();
        say(&mut clients[speaker], &format!("m{round}"));
        for (number, client) in clients.iter_mut().enumerate() {
            if number != speaker {
                assert_eq!(hear(client), format!("m{round}"));
            }
        }
    }
    let by_http = publish(&one, "a", "by http");
    let by_the_other = publish(&two, "a", "by the other");
    assert_eq!(field(&by_http, "epoch"), field(&by_the_other, "epoch"));
    let offsets = [&by_http, &by_the_other].map(|answer| field(answer, "offset"));
    assert_eq!(offsets, ["21", "22"]);
    for client in &mut clients {
        assert_eq!(hear(client), "by http");
        assert_eq!(hear(client), "by the other");
    }
    let shown = [&one, &two].map(|daemon| daemon.ask("GET /topics/a").1);
    for name in ["offset", "epoch"] {
        assert_eq!(field(&shown[0], name), field(&shown[1], name));
    }
}

#[test]
fn a_client_goes_on_at_another_node_in_every_dialect() {
    let server = Server::start();
    let (one, two) = (node(&server, &[]), node(&server, &[]));
    let mut first = numbered(&one, "a", 1);
    let mut session = speaking::connect(&one);
    let epoch = speaking::subscribe(&mut session, 2, "a");
    for number in 1..=5 {
        publish(&one, "a", &format!("\"{number}\""));
        publish(&one, "other", "between");
        assert!(told(&mut first).contains(&format!("{number}")));
        assert!(speaking::hear(&mut session).contains(&format!("\"data\":\"{number}\"")));
    }
    drop((first, session));
    for number in 6..=8 {
        publish(&one, "a", &format!("\"{number}\""));
    }
    // The last one it heard had offset 9.
    let mut second = numbered(&two, "a", 10);
    for number in 6..=8 {
        let heard = told(&mut second);
        assert!(heard.contains(&format!("\"{number}")), "{heard}");
    }
    let mut session = speaking::connect(&two);
    let answer = speaking::ask(&mut session, &speaking::recover(2, "a", 9, &epoch));
    assert!(answer.contains("\"recovered\":true"), "{answer}");
    // The first one it missed may come with the answer.
    let next = if answer.contains("\"data\":\"6\"") {
        7
    } else {
        6
    };
    for number in next..=8 {
        assert!(speaking::hear(&mut session).contains(&format!("\"data\":\"{number}\"")));
    }
    let (_, answer) = two.ask_as(
        "POST /api/history",
        "Content-Type: application/json\r\n",
        br#"{"channel":"a","limit":3,"reverse":true}"#,
    );
    let at = |text: &str| answer.find(text).expect(&answer);
    assert!(at("\"data\":\"8\"") < at("\"data\":\"7\""), "{answer}");
}

#[test]
fn history_beyond_memory_is_read_from_the_cluster() {
    const LEN: usize = 2_000;
    let server = Server::start();
    let options = [
        "--log-bytes-max",
        "256KiB",
        "--lag-bytes-max",
        "128KiB",
        "--message-bytes-max",
        "16KiB",
        "--retain-messages-max",
        "5000",
        "--retain-bytes-max",
        "200KiB",
    ];
    let one = node(&server, &options);
    let text = |number: u64| format!("\"{number:0LEN$}\"");
    let lines: String = (1..=1000)
        .map(|number| format!(r#"{{"topic":"a","data":{}}}"#, text(number)) + "\n")
        .collect();
    let (head, answer) = one.ask_as(
        "POST /messages",
        "Content-Type: application/x-ndjson\r\n",
        lines.as_bytes(),
    );
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(!answer.contains("error"), "{answer}");
    let two = node(&server, &options);
    for daemon in [&one, &two] {
        let mut raw = daemon.connect("/a?since=1");
        let mut late = numbered(daemon, "a", 700);
        for number in 1..=1000 {
            let heard = hear(&mut raw);
            assert!(heard == text(number), "{number}: {heard}");
        }
        for number in 700..=1000 {
            assert!(told(&mut late).contains(&text(number)), "{number}");
        }
    }
}

#[test]
fn while_the_cluster_is_away_publishers_wait_and_are_told_and_nothing_is_lost() {
    let mut server = Server::start();
    let one = node(
        &server,
        &["--cluster-propose-ms-max", "3000", "--cluster-ready", "on"],
    );
    let two = node(&server, &["--cluster-propose-ms-max", "120000"]);
    let mut raw = one.connect("/a");
    let mut listener = numbered(&two, "a", 1);
    let mut session = speaking::connect(&one);
    publish(&one, "a", "before");
    assert!(told(&mut listener).contains("before"));
    assert_eq!(hear(&mut raw), "before");
    server.kill();
    eventually("not ready", || {
        one.ask("GET /readyz").0.starts_with("HTTP/1.1 503")
    });
    assert!(two.ask("GET /readyz").0.starts_with("HTTP/1.1 200"));
    let (head, answer) = one.ask_as("POST /topics/a/messages", TEXT, b"refused");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(answer.contains("NATS"), "{answer}");
    let answer = speaking::ask(
        &mut session,
        r#"{"id":9,"publish":{"channel":"a","data":"refused"}}"#,
    );
    assert!(answer.contains("\"id\":9,\"error\""), "{answer}");
    say(&mut raw, "refused");
    let (code, words) = hear_close(&mut raw);
    assert_eq!(code, 1013, "{words}");
    assert!(words.starts_with("not stored"), "{words}");
    // What waits is stored when it is back in time.
    let mut waiting = two.connect("/a");
    say(&mut waiting, "waited");
    server.run();
    assert!(told(&mut listener).contains("waited"));
    publish(&two, "a", "after");
    assert!(told(&mut listener).contains("after"));
    assert_eq!(hear(&mut waiting), "after");
}

#[test]
fn who_publishes_over_http_what_may_have_been_stored_is_told_so() {
    const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";
    const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
    let server = Server::start();
    let one = node(&server, &["--cluster-propose-ms-max", "1000"]);
    publish(&one, "a", "before");
    // It takes what it is sent, and answers nothing.
    server.signal("STOP");
    let asked: [(&str, &str, &[u8]); 4] = [
        ("/topics/a/messages", TEXT, b"x"),
        ("/messages", NDJSON, b"{\"topic\":\"a\",\"data\":1}\n"),
        ("/.well-known/mercure", FORM, b"topic=a&data=x"),
        ("/api/publish", TEXT, b"{\"channel\":\"a\",\"data\":1}"),
    ];
    // All at once: before it is noticed that nobody answers.
    let answers = std::thread::scope(|scope| {
        let one = &one;
        let ask = |(path, lines, body): (&str, &'static str, &'static [u8])| {
            let request = format!("POST {path}");
            scope.spawn(move || one.ask_as(&request, lines, body))
        };
        asked.map(ask).map(|answer| answer.join().unwrap())
    });
    server.signal("CONT");
    let [single, batch, update, call] = answers;
    for (head, answer) in [single, update] {
        assert!(head.starts_with("HTTP/1.1 504 "), "{head} {answer}");
        assert!(answer.contains("may have been stored"), "{answer}");
        assert!(!head.to_lowercase().contains("retry-after"), "{head}");
    }
    let (_, line) = batch;
    assert!(line.contains("\"status\":504}"), "{line}");
    // The protocol has no word for it.
    assert!(call.1.contains("\"code\":100"), "{}", call.1);
}

#[test]
fn a_message_with_a_key_is_stored_once_through_whichever_node_it_comes() {
    let server = Server::start();
    let (one, two) = (node(&server, &[]), node(&server, &[]));
    let lines = format!("{TEXT}Idempotency-Key: k\r\n");
    let post = |daemon: &Daemon| daemon.ask_as("POST /topics/a/messages", &lines, b"x").1;
    let answers = [post(&one), post(&two), post(&one)];
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    let mut listener = numbered(&two, "a", 1);
    publish(&two, "a", "y");
    assert!(told(&mut listener).contains("\"x\""));
    assert!(told(&mut listener).contains("\"y\""));
}

#[test]
fn programs_publish_straight_into_nats_and_a_purge_is_told() {
    let server = Server::start();
    let daemon = node(&server, &[]);
    let program = Program::new(&server);
    let mut listener = numbered(&daemon, "a/b", 1);
    let mut session = speaking::connect(&daemon);
    let epoch = speaking::subscribe(&mut session, 2, "a/b");
    let answer = program.publish("fanfare.in.a/b", HeaderMap::new(), b"\"straight\"");
    assert_eq!(answer["seq"], 1);
    assert!(told(&mut listener).contains("straight"));
    assert!(speaking::hear(&mut session).contains("straight"));
    drop((listener, session));
    for _ in 0..3 {
        publish(&daemon, "a/b", "\"gone\"");
    }
    program.api("STREAM.PURGE.FANFARE", json!({"filter": "fanfare.in.a/b"}));
    publish(&daemon, "a/b", "\"after\"");
    // A node that knows nothing of it but what the cluster has.
    let other = node(&server, &[]);
    let mut back = speaking::connect(&other);
    let answer = speaking::ask(&mut back, &speaking::recover(2, "a/b", 1, &epoch));
    assert!(!answer.contains("\"recovered\":true"), "{answer}");
    // Who comes for what is gone is told where it begins.
    let (mut back, answer) = other.open("/a/b?offsets=true&since=2", &[]).unwrap();
    assert_eq!(answer.headers()["Fanfare-Next"], "5");
    assert!(told(&mut back).contains("after"));
}

#[test]
fn a_stream_that_is_made_anew_has_another_epoch_and_clients_are_told() {
    let server = Server::start();
    let daemon = node(&server, &[]);
    let program = Program::new(&server);
    let mut raw = daemon.connect("/a");
    let mut session = speaking::connect(&daemon);
    let epoch = speaking::subscribe(&mut session, 2, "a");
    publish(&daemon, "a", "\"one\"");
    assert_eq!(hear(&mut raw), "\"one\"");
    assert!(speaking::hear(&mut session).contains("one"));
    program.api("STREAM.DELETE.FANFARE", serde_json::Value::Null);
    let (code, words) = hear_close(&mut raw);
    assert_eq!(code, 1013, "{words}");
    let ended = speaking::hear(&mut session);
    assert!(
        ended.contains("\"unsubscribe\"") && ended.contains("2500"),
        "{ended}"
    );
    let answer = speaking::ask(&mut session, &speaking::recover(3, "a", 1, &epoch));
    assert!(!answer.contains("\"recovered\":true"), "{answer}");
    assert_ne!(speaking::epoch(&answer), epoch);
    publish(&daemon, "a", "\"two\"");
    assert!(speaking::hear(&mut session).contains("two"));
}

#[test]
fn a_handover_loses_and_doubles_nothing_though_the_cluster_is_away() {
    let mut server = Server::start();
    let mut one = node(&server, &["--cluster-propose-ms-max", "30000"]);
    let two = node(&server, &[]);
    let mut speaker = one.connect("/a");
    let mut near = numbered(&one, "a", 1);
    let mut far = numbered(&two, "a", 1);
    for number in 0..100 {
        say(&mut speaker, &format!("m{number}."));
    }
    one.hand_over(1);
    one.await_log("the cluster is there", 2);
    for number in 100..200 {
        say(&mut speaker, &format!("m{number}."));
    }
    for number in 0..200 {
        for client in [&mut near, &mut far] {
            let heard = told(client);
            assert!(
                heard.contains(&format!("m{number}.")),
                "{heard} for {number}"
            );
        }
    }
    server.kill();
    one.await_log("the cluster is away", 1);
    let mut session = speaking::connect(&one);
    for number in 200..230 {
        say(&mut speaker, &format!("m{number}."));
    }
    say(&mut speaker, "m230.");
    speaking::say(
        &mut session,
        r#"{"id":7,"publish":{"channel":"b","data":"carried"}}"#,
    );
    eventually("all of it is proposed", || {
        one.metric("fanfare_cluster_proposed_bytes") >= 32 * 512
    });
    one.hand_over(2);
    server.run();
    assert_eq!(speaking::hear(&mut session), r#"{"id":7,"publish":{}}"#);
    for number in 200..=230 {
        for client in [&mut near, &mut far] {
            let heard = told(client);
            assert!(
                heard.contains(&format!("m{number}.")),
                "{heard} for {number}"
            );
        }
    }
    publish(&two, "a", "last");
    assert_eq!(hear(&mut speaker), "last");
}

/// Asks the server API.
#[track_caller]
fn order(daemon: &Daemon, method: &str, body: &str) -> String {
    let request = format!("POST /api/{method}");
    let (head, answer) = daemon.ask_as(
        &request,
        "Content-Type: application/json\r\n",
        body.as_bytes(),
    );
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {answer}");
    answer
}

#[test]
fn who_is_there_is_known_on_every_node_and_a_lost_one_is_forgotten() {
    let server = Server::start();
    let options = ["--presence", "on"];
    let (one, two) = (node(&server, &options), node(&server, &options));
    let count = |daemon: &Daemon, topic: &str| {
        let answer = order(
            daemon,
            "presence_stats",
            &format!(r#"{{"channel":"{topic}"}}"#),
        );
        answer.contains(r#""num_clients":2"#)
    };
    let mut here = speaking::connect(&one);
    let joined = r#"{"id":2,"subscribe":{"channel":"a","join_leave":true}}"#;
    assert!(speaking::ask(&mut here, joined).contains("\"epoch\""));
    // It hears of itself.
    assert!(hear(&mut here).contains("\"join\""));
    let mut there = speaking::connect(&two);
    speaking::subscribe(&mut there, 2, "a");
    assert!(hear(&mut here).contains("\"join\""));
    for daemon in [&one, &two] {
        eventually("both are known everywhere", || count(daemon, "a"));
    }
    let channels = order(&two, "channels", "{}");
    assert!(channels.contains(r#""a":{"num_clients":2}"#), "{channels}");
    let nodes = order(&one, "info", "{}");
    assert_eq!(nodes.matches("\"uid\"").count(), 2, "{nodes}");
    drop(there);
    assert!(hear(&mut here).contains("\"leave\""));
    let mut lost = speaking::connect(&two);
    speaking::subscribe(&mut lost, 2, "a");
    assert!(hear(&mut here).contains("\"join\""));
    two.signal(nix::sys::signal::Signal::SIGKILL);
    assert!(hear(&mut here).contains("\"leave\""));
}

#[test]
fn who_goes_on_in_another_process_neither_leaves_nor_joins() {
    let server = Server::start();
    let options = ["--presence", "on"];
    let (one, mut two) = (node(&server, &options), node(&server, &options));
    let mut here = speaking::connect(&one);
    let joined = r#"{"id":2,"subscribe":{"channel":"a","join_leave":true}}"#;
    assert!(speaking::ask(&mut here, joined).contains("\"epoch\""));
    assert!(hear(&mut here).contains("\"join\""));
    let mut there = speaking::connect(&two);
    speaking::subscribe(&mut there, 2, "a");
    assert!(hear(&mut here).contains("\"join\""));
    two.hand_over(1);
    one.await_log("another node is gone", 1);
    // Longer than those of a node that has gone are kept.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    eventually("time passes", || std::time::Instant::now() >= until);
    publish(&one, "a", "\"next\"");
    assert!(speaking::hear(&mut here).contains("next"));
    assert!(speaking::hear(&mut there).contains("next"));
}

#[test]
fn orders_reach_every_node() {
    let server = Server::start();
    let (one, two) = (node(&server, &[]), node(&server, &[]));
    for daemon in [&one, &two] {
        daemon.await_log("another node is there", 1);
    }
    let mut far = speaking::connect(&two);
    let subscribed = order(&one, "subscribe", r#"{"user":"","channel":"a"}"#);
    assert!(!subscribed.contains("error"), "{subscribed}");
    assert!(speaking::hear(&mut far).contains("\"subscribe\""));
    publish(&one, "a", "\"x\"");
    assert!(speaking::hear(&mut far).contains("\"x\""));
    order(&one, "unsubscribe", r#"{"user":"","channel":"a"}"#);
    assert!(speaking::hear(&mut far).contains("\"unsubscribe\""));
    order(&one, "disconnect", r#"{"user":""}"#);
    let (code, words) = hear_close(&mut far);
    assert_eq!((code, &*words), (3503, "force disconnect"));
}
