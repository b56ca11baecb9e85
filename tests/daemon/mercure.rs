//! Mercure's protocol, as far as it is spoken.

use std::io::{Read, Write};

use crate::common::{Daemon, hear};
use crate::event_source::{EventSource, refusal};
use crate::tokens::token;
use crate::world::World;

const HUB: &str = "/.well-known/mercure";

/// Publishes a form at the daemon's first address; returns the status and what is answered.
fn post(daemon: &Daemon, lines: &str, form: &str) -> (String, String) {
    let mut stream = daemon.stream();
    let head = format!(
        "POST {HUB} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{lines}Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    (head[9..12].to_owned(), body.to_owned())
}

/// Publishes at the admin listener; returns the id.
fn publish(daemon: &Daemon, form: &str) -> String {
    let lines = "Content-Type: application/x-www-form-urlencoded\r\n";
    let (head, body) = daemon.ask_as(&format!("POST {HUB}"), lines, form.as_bytes());
    assert!(head.starts_with("HTTP/1.1 200 "), "{head} {body}");
    assert!(
        head.to_lowercase().contains("content-type: text/plain"),
        "{head}"
    );
    body
}

#[test]
fn an_update_is_heard_by_those_who_subscribe_to_its_topic_and_by_all_others() {
    let daemon = Daemon::start(&[]);
    let book = "https%3A%2F%2Fexample.com%2Fbooks%2F1";
    let mut source = EventSource::open(&daemon, &format!("{HUB}?topic={book}"));
    assert_eq!(
        source.comments,
        [""],
        "it is said at once that the hub lives"
    );
    let mut raw = daemon.connect(&format!("/?topic={book}"));
    let id = publish(
        &daemon,
        &format!("topic={book}&data=a%0Ab&type=new&id=mine&retry=1"),
    );
    let event = source.next().unwrap();
    assert_eq!((&event.name[..], &event.data[..]), ("new", "a\nb"));
    assert_eq!(event.id, id);
    assert_eq!(hear(&mut raw), "a\nb");
    // And the other way round.
    raw.send(tungstenite::Message::text("{}")).unwrap();
    assert_eq!(source.hear(), "{}");
}

#[test]
fn several_topics_come_on_one_stream_as_they_are() {
    let daemon = Daemon::start(&[]);
    let path = format!("{HUB}?topic=a&topic=b");
    let mut source = EventSource::open(&daemon, &path);
    publish(&daemon, "topic=a&data=1");
    publish(&daemon, "topic=b&data=2");
    let mut heard = [source.hear(), source.hear()];
    heard.sort();
    assert_eq!(heard, ["1", "2"]);
    source.read_until(|source| source.id.matches("-1").count() == 2);
    publish(&daemon, "topic=b&data=3");
    let mut again = source.again(&daemon, &path);
    assert_eq!(again.head.header("Last-Event-ID"), Some(&source.id[..]));
    assert_eq!(again.hear(), "3");
}

#[test]
fn the_answer_says_what_comes_before_the_first_event() {
    let daemon = Daemon::start(&[]);
    let path = format!("{HUB}?topic=a");
    let open = |more: &str| EventSource::open(&daemon, &format!("{path}{more}"));
    assert_eq!(open("").head.header("Last-Event-ID"), None);
    let first = publish(&daemon, "topic=a&data=1");
    let second = publish(&daemon, "topic=a&data=2");
    let mut known = open(&format!("&lastEventID={first}"));
    assert_eq!(known.head.header("Last-Event-ID"), Some(&first[..]));
    assert_eq!(known.hear(), "2");
    let mut all = open("&lastEventID=earliest");
    assert_eq!(all.head.header("Last-Event-ID"), Some("earliest"));
    assert_eq!((all.hear(), all.hear()), ("1".into(), "2".into()));
    let mut strange = open("&lastEventID=urn:uuid:5d8f");
    assert_eq!(strange.head.header("Last-Event-ID"), Some("earliest"));
    assert_eq!(strange.next().unwrap().name, "gap");
    assert_eq!(strange.hear(), "1");
    let mut again = EventSource::open_with(&daemon, &path, &format!("Last-Event-ID: {second}\r\n"));
    publish(&daemon, "topic=a&data=3");
    assert_eq!(again.hear(), "3");
}

#[test]
fn what_is_not_offered_is_told_clearly() {
    let daemon = Daemon::start(&[]);
    for query in [
        "topic=%2A",
        "topic=a%7Bid%7D",
        "match=a",
        "topic=a&match_urlpattern=b",
    ] {
        let (status, words) = refusal(&daemon, &format!("{HUB}?{query}"), "");
        assert!(
            status == 400 && words.contains("exactly"),
            "{query}: {words}"
        );
    }
    assert_eq!(refusal(&daemon, HUB, "").0, 400);
    let lines = "Content-Type: application/x-www-form-urlencoded\r\n";
    let request = format!("POST {HUB}");
    for (form, words) in [
        ("data=x", "names its topic"),
        ("topic=a&topic=b&data=x", "one topic"),
        ("topic=a&private=on&data=x", "private"),
        ("topic=a&type=a%0Ab", "control characters"),
        ("topic=api%2Fx&data=x", "kept for other protocols"),
        ("topic=a&data=%ff", "UTF-8"),
    ] {
        let (head, body) = daemon.ask_as(&request, lines, form.as_bytes());
        assert!(
            head.starts_with("HTTP/1.1 400 ") && body.contains(words),
            "{form}: {body}"
        );
    }
    let (head, _) = daemon.ask_as(&request, "", b"topic=a&data=x");
    assert!(head.starts_with("HTTP/1.1 415 "), "{head}");
    let off = Daemon::start(&["--mercure", "off"]);
    assert_eq!(refusal(&off, HUB, "").0, 404);
    let (head, _) = off.ask_as(&request, lines, b"topic=a&data=x");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

const SETTINGS: &str = r#"
api = "127.0.0.1:0"

[[topics]]
match = "news"
subscribe = "anyone"
publish = "token"

[[topics]]
match = "users.**"
subscribe = "token"
publish = "token"
history = "token"
"#;

#[test]
fn the_claim_of_a_token_says_who_may_hear_and_publish() {
    let world = World::new(SETTINGS);
    let daemon = &world.daemon;
    let reader = token(r#"{"mercure":{"subscribe":["users.1","users.{id}","users.*"]}}"#);
    let all = token(r#"{"mercure":{"subscribe":["*"],"publish":["*"]}}"#);
    let path = format!("{HUB}?topic=users.1");
    EventSource::open(daemon, &format!("{HUB}?topic=news"));
    assert_eq!(refusal(daemon, &path, "").0, 401);
    assert_eq!(
        refusal(daemon, &format!("{HUB}?topic=news&topic=users.1"), "").0,
        401
    );
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let mut source = EventSource::open_with(daemon, &path, &bearer(&reader));
    EventSource::open(daemon, &format!("{path}&authorization={reader}"));
    // The header counts before the query, and that before the cookie.
    let both = format!("{path}&authorization=none");
    EventSource::open_with(daemon, &both, &bearer(&reader));
    let cookie =
        format!("Cookie: mercureAuthorization={reader}\r\nSec-Fetch-Site: same-origin\r\n");
    EventSource::open_with(daemon, &path, &cookie);
    let other = format!("{HUB}?topic=users.2");
    assert_eq!(
        refusal(daemon, &other, &bearer(&reader)).0,
        403,
        "patterns give nothing"
    );
    EventSource::open_with(daemon, &other, &bearer(&all));
    drop(source.again(daemon, &format!("{path}&authorization={reader}")));
    let lines = "Content-Type: application/x-www-form-urlencoded\r\n";
    let ask = |query: &str, token: &str, form: &str| {
        let more = match token {
            "" => String::new(),
            token => bearer(token),
        };
        let request = format!("POST {HUB}{query}");
        let (head, body) = daemon.ask_as(&request, &format!("{lines}{more}"), form.as_bytes());
        (head[9..12].to_owned(), body)
    };
    assert_eq!(ask("", &reader, "topic=users.1&data=x").0, "403");
    assert_eq!(ask("", &all, "topic=users.1&data=x&private=on").0, "200");
    assert_eq!(source.hear(), "x");
    assert_eq!(
        ask(&format!("?authorization={all}"), "", "topic=news&data=x").0,
        "200"
    );
    let (status, words) = ask("", &all, "topic=news&data=x&private=on");
    assert!(status == "400" && words.contains("for anyone"), "{words}");
    assert_eq!(ask("", "none", "topic=news&data=x").0, "401");
    let twice = format!("?authorization={all}&authorization={all}");
    assert_eq!(ask(&twice, "", "topic=news&data=x").0, "400");
    // Pages of the hub's own host publish by the cookie by which they hear.
    let by_cookie = |origin: &str, cookies: &str| {
        let more = format!("Origin: {origin}\r\nCookie: {cookies}\r\n");
        let request = format!("POST {HUB}");
        let form = b"topic=users.1&data=by%20cookie";
        let (head, _) = daemon.ask_as(&request, &format!("{lines}{more}"), form);
        head[9..12].to_owned()
    };
    let cookie = format!("mercureAuthorization={all}");
    assert_eq!(by_cookie("http://localhost", &cookie), "200");
    assert_eq!(
        by_cookie("http://localhost", "mercureAuthorization=none"),
        "401"
    );
    assert_eq!(by_cookie("http://other.example", &cookie), "403");
    assert_eq!(
        by_cookie("http://localhost", &format!("{cookie}; {cookie}")),
        "400"
    );
}

#[test]
fn a_hub_is_one_address_for_both() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "the key of the server API").unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let key = key.to_str().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(["--log", "debug", "--cores", "1", "--listen", &address]);
    command.args(["--api", &address, "--api-key-file", key]);
    command.stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let daemon = Daemon::start_as(command);
    let mut source = EventSource::open(&daemon, &format!("{HUB}?topic=a"));
    let (status, words) = post(&daemon, "", "topic=a&data=x");
    assert_eq!(status, "401", "{words}");
    let lines = "X-API-Key: the key of the server API\r\n";
    let (status, id) = post(&daemon, lines, "topic=a&data=x");
    assert_eq!(status, "200", "{id}");
    let event = source.next().unwrap();
    assert_eq!((event.data, event.id), ("x".to_owned(), id));
    let of_page = |page: &str| {
        let lines = format!("{lines}Origin: {page}\r\n");
        post(&daemon, &lines, "topic=a&data=y").0
    };
    assert_eq!(of_page("http://localhost"), "200");
    assert_eq!(of_page("http://other.example"), "403");
    // Where there is no server API nobody publishes.
    let plain = Daemon::start(&[]);
    assert_eq!(post(&plain, "", "topic=a").0, "405");
}
