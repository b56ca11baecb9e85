//! What rules of topics say beyond who may do what.

use std::fs;

use nix::sys::signal::Signal;
use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, command, eventually, hear, hear_close, pass};
use crate::deflated;
use crate::speaking::{ask, connect, hear as hear_push, push, subscribe};

const CHAT: [(&str, &str); 1] = [("Sec-WebSocket-Protocol", "chat")];

/// A daemon whose topics have this rule.
fn with_rule(rule: &str) -> Daemon {
    Daemon::start(&["--topics", rule])
}

fn publish(daemon: &Daemon, topic: &str, text: &str) {
    let request = format!("POST /topics/{topic}/messages");
    let (status, body) = daemon.ask_with(&request, text.as_bytes());
    assert_eq!(status, "HTTP/1.1 200 OK", "{body}");
}

fn hear_binary(client: &mut Client) -> String {
    match client.read().unwrap() {
        Message::Binary(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_newcomer_is_given_the_newest_message_at_once_whatever_it_speaks() {
    let daemon = with_rule(r#"match = "price.*", latest = true"#);
    // There is none yet.
    let (_first, answer) = daemon.open("/price.eur", &[]).unwrap();
    assert_eq!(answer.headers()["Fanfare-Next"], "1");
    for text in ["1.08", "1.09"] {
        publish(&daemon, "price.eur", text);
        publish(&daemon, "other", text);
    }
    let (mut raw, answer) = daemon.open("/price.eur", &[]).unwrap();
    assert_eq!(answer.headers()["Fanfare-Next"], "2");
    assert_eq!(hear_binary(&mut raw), "1.09");
    let (mut chatter, _) = daemon.open("/price.eur", &CHAT).unwrap();
    assert_eq!(hear_binary(&mut chatter), "1.09");
    assert!(hear(&mut chatter).starts_with("Welcome"));
    assert!(hear(&mut raw).starts_with("Welcome"));
    publish(&daemon, "price.eur", "1.10");
    let mut client = connect(&daemon);
    subscribe(&mut client, 2, "price.eur");
    let newest = push("price.eur", r#""MS4xMA==""#, 4);
    assert_eq!(hear_push(&mut client), newest);
    publish(&daemon, "price.eur", "1.11");
    assert_eq!(
        hear_push(&mut client),
        push("price.eur", r#""MS4xMQ==""#, 5)
    );
    assert_eq!(daemon.metric("fanfare_latest_given_total"), 3);
    // Who asks for more gets that, and elsewhere nobody is given anything.
    let mut since = daemon.connect("/price.eur?since=1");
    assert_eq!(hear_binary(&mut since), "1.08");
    let (_other, answer) = daemon.open("/other", &[]).unwrap();
    assert_eq!(answer.headers()["Fanfare-Next"], "3");
    subscribe(&mut client, 3, "other");
    publish(&daemon, "other", "1.12");
    assert_eq!(hear_push(&mut client), push("other", r#""MS4xMg==""#, 3));
    assert_eq!(daemon.metric("fanfare_latest_given_total"), 3);
}

#[test]
fn who_comes_back_is_given_what_was_missed_and_else_the_newest() {
    let daemon = with_rule(r#"match = "**", latest = true, retain_messages_max = 2"#);
    for text in ["1", "2", "3", "4"] {
        publish(&daemon, "t", text);
    }
    let mut client = connect(&daemon);
    let recover = |id, offset| {
        format!(
            r#"{{"id":{id},"subscribe":{{"channel":"t","recover":true,"offset":{offset},"epoch":""}}}}"#
        )
    };
    let answer = ask(&mut client, &recover(2, 1));
    assert!(!answer.contains(r#""recovered""#), "{answer}");
    assert!(answer.contains(r#""offset":3"#), "{answer}");
    assert_eq!(hear_push(&mut client), push("t", r#""NA==""#, 4));
    let mut other = connect(&daemon);
    let answer = ask(&mut other, &recover(2, 2));
    assert!(answer.contains(r#""recovered":true"#), "{answer}");
    assert!(
        answer.contains(r#"[{"data":"Mw==","offset":3}]"#),
        "{answer}"
    );
    assert_eq!(hear_push(&mut other), push("t", r#""NA==""#, 4));
}

#[test]
fn each_topic_keeps_as_much_as_its_rule_says() {
    let daemon = Daemon::start(&[
        "--retain-messages-max",
        "3",
        "--topics",
        r#"match = "one", retain_messages_max = 1"#,
        "--topics",
        r#"match = "none", retain_bytes_max = 0"#,
        "--topics",
        r#"match = "brief", retain_ms_max = 0"#,
    ]);
    // A topic that holds nothing and is not read is forgotten.
    let _reader = daemon.connect("/brief");
    for topic in ["one", "none", "brief", "other"] {
        for text in ["1", "2", "3", "4"] {
            publish(&daemon, topic, text);
        }
    }
    let first = |topic: &str| {
        let (_, answer) = daemon.open(&format!("/{topic}?since=1"), &[]).unwrap();
        answer.headers()["Fanfare-Next"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(first("one"), "4");
    assert_eq!(first("none"), "5");
    assert_eq!(first("other"), "2");
    // Age is looked at now and then.
    eventually("it is too old", || first("brief") == "5");
}

#[test]
fn compression_is_agreed_on_where_the_rule_or_the_settings_say_so() {
    let offered = |daemon: &Daemon, path: &str| {
        let mut raw = daemon.raw();
        raw.send(Raw::request(path, deflated::OFFER).as_bytes());
        let head = raw.read_head();
        assert_eq!(head.status, 101);
        head.header("Sec-WebSocket-Extensions").is_some()
    };
    let daemon = with_rule(r#"match = "secret.*", deflate = false"#);
    assert!(!offered(&daemon, "/secret.a"));
    assert!(offered(&daemon, "/a"));
    let rule = r#"match = "long.*", deflate = "on""#;
    let daemon = Daemon::start(&["--deflate", "off", "--topics", rule]);
    assert!(offered(&daemon, "/long.a"));
    assert!(!offered(&daemon, "/a"));
}

#[test]
fn nobody_talks_on_a_topic_without_chat_but_who_offers_it_may_listen() {
    let daemon = with_rule(r#"match = "data.*", chat = false"#);
    let mut raw = daemon.connect("/data.a");
    let mut speaker = daemon.connect("/data.a");
    let (mut listener, _) = daemon.open("/data.a", &CHAT).unwrap();
    // Had it been welcomed, that would come first.
    pass(&mut speaker, &mut raw, "42");
    assert_eq!(hear(&mut listener), "[raw] 42");
    listener.send(Message::text("who is there?")).unwrap();
    let (code, words) = hear_close(&mut listener);
    assert_eq!(
        (code, &*words),
        (1008, "read only: publishing to this topic is not allowed")
    );
    let (mut leaver, _) = daemon.open("/data.a", &CHAT).unwrap();
    leaver.send(Message::text("quit")).unwrap();
    assert_eq!(hear_close(&mut leaver).0, 1000);
    pass(&mut speaker, &mut raw, "43");
    assert_eq!(
        daemon.counter_of("fanfare_denials_total", "action", "publish"),
        1
    );
}

#[test]
fn the_page_gets_no_topic_that_is_not_for_it() {
    let daemon = with_rule(r#"match = "data.*", page = false"#);
    let mut raw = daemon.raw();
    let lines = "Sec-WebSocket-Protocol: chat\r\n";
    raw.send(Raw::request("/?page=true&topic=data.a", lines).as_bytes());
    let answer = raw.read_answer();
    assert_eq!(
        (answer.status, &*answer.body),
        (403, &b"this topic is not shown on the built-in page\n"[..])
    );
    daemon.await_reason("page");
    // Others who talk do, and the page has its other topics.
    daemon.open("/?topic=data.a", &CHAT).unwrap();
    daemon.open("/?page=true&topic=lobby", &CHAT).unwrap();
}

#[test]
fn who_is_there_is_known_where_the_rule_says_so_from_a_reload_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare.toml");
    let listed = "[[topics]]\nmatch = \"room.*\"\npresence_list = true\n";
    fs::write(&path, listed).unwrap();
    let mut start = command(&["--cores", "2"]);
    start.arg("--config").arg(&path);
    let daemon = Daemon::start_as(start);
    let mut client = connect(&daemon);
    subscribe(&mut client, 2, "room.a");
    subscribe(&mut client, 3, "other");
    let presence = |client: &mut Client, topic: &str| {
        ask(
            client,
            &format!(r#"{{"id":9,"presence":{{"channel":"{topic}"}}}}"#),
        )
    };
    let is_listed = |answer: &str| answer.contains(r#""user":"","client":""#);
    assert!(is_listed(&presence(&mut client, "room.a")));
    assert!(presence(&mut client, "other").contains(r#""code":108"#));
    // The other way round: who is there already is listed.
    fs::write(&path, listed.replace("room.*", "other")).unwrap();
    daemon.signal(Signal::SIGHUP);
    eventually("the lists have changed", || {
        is_listed(&presence(&mut client, "other"))
    });
    assert!(presence(&mut client, "room.a").contains(r#""code":108"#));
}

#[test]
fn what_is_not_allowed_is_counted_by_what_it_was() {
    let daemon = Daemon::start(&["--anonymous", r#"match = "a", history = false"#]);
    for (path, status) in [("/b", 403), ("/c", 403), ("/a?since=0", 403)] {
        let mut raw = daemon.raw();
        raw.send(Raw::request(path, "").as_bytes());
        assert_eq!(raw.read_answer().status, status, "{path}");
    }
    let mut client = connect(&daemon);
    for command in [
        r#"{"id":2,"subscribe":{"channel":"b"}}"#,
        r#"{"id":2,"publish":{"channel":"a","data":1}}"#,
        r#"{"id":2,"presence":{"channel":"a"}}"#,
        r#"{"id":2,"presence_stats":{"channel":"a"}}"#,
        r#"{"id":2,"history":{"channel":"a"}}"#,
    ] {
        let answer = ask(&mut client, command);
        assert!(answer.contains(r#""code":103"#), "{answer}");
    }
    let denials = |action| daemon.counter_of("fanfare_denials_total", "action", action);
    let counted = ["subscribe", "publish", "presence", "history"].map(denials);
    assert_eq!(counted, [3, 1, 2, 2]);
}

#[test]
fn check_config_shows_what_a_topic_gets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare.toml");
    let text = "[[topics]]\nmatch = \"price.**\"\npublish = \"nobody\"\nlag_policy = \"latest\"\n\
                latest = true\nretain_bytes_max = \"64KiB\"\n";
    fs::write(&path, text).unwrap();
    let check = |topic: &str| {
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_fanfare"));
        check
            .arg("check-config")
            .arg(&path)
            .args(["--topic", topic]);
        String::from_utf8(check.output().unwrap().stdout).unwrap()
    };
    let told = check("price.eur.usd");
    for line in [
        "price.eur.usd: rule 1 of topics, match = \"price.**\"",
        "  publish: nobody",
        "  retain_bytes_max: 64 KiB",
        "  lag_policy: latest",
        "  latest: true",
        "  presence_list: false",
        "  chat: true",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    assert!(check("news").contains("news: no rule of topics\n"));
}
