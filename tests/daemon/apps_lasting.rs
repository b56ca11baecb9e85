//! What becomes of the clients of apps when they fall behind, when the daemon stops or is
//! followed by another one, and on several nodes.

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tungstenite::Message;

use crate::apps::{Apps, PATH, Speaker, event, member, succeeded};
use crate::clustered::{TEXT, node};
use crate::common::{Client, Daemon, eventually, hear, hear_close};
use crate::nats_server::Server;
use crate::tokens::SECRET;

const SMALL_LAG: &str = "lag_bytes_max = \"256KiB\"\nlog_bytes_max = \"8MiB\"";
/// Without it only backends publish to channels that are public.
const OPEN: &str = "[[topics]]\nmatch = \"news\"\nsubscribe = \"anyone\"\npublish = \"anyone\"";

/// Publishes so many numbers, no faster than somebody hears them.
fn publish(publisher: &mut Client, listener: &mut Client, last: u64) {
    for number in 1..=last {
        let text = format!("{number:01024}");
        publisher.write(Message::text(text)).unwrap();
        if number % 64 == 0 || number == last {
            publisher.flush().unwrap();
            let wanted = format!("{number:01024}");
            while hear(listener) != wanted {}
        }
    }
}

/// A client that does not read for now.
fn stalled(apps: &Apps) -> Speaker {
    let daemon = apps.daemon();
    let client = daemon.open_over(daemon.narrow_stream(), PATH, &[]);
    let mut slow = Speaker::over(client.unwrap().0);
    slow.subscribe("news");
    slow
}

#[test]
fn a_client_that_lags_is_closed_with_a_code_for_which_it_comes_back_at_once() {
    for policy in ["close", "skip"] {
        let settings = format!("{SMALL_LAG}\nlag_policy = \"{policy}\"\n{OPEN}");
        let apps = Apps::new("", &settings);
        let mut publisher = apps.daemon().connect("/news");
        let mut listener = apps.daemon().connect("/news");
        let mut slow = stalled(&apps);
        publish(&mut publisher, &mut listener, 8000);
        let mut next = 1;
        let code = loop {
            match slow.client.read().expect("a close comes") {
                Message::Text(text) => {
                    let wanted = event("message", "news", &format!("{next:01024}"));
                    assert_eq!(text.as_str(), wanted);
                    next += 1;
                }
                Message::Close(close) => break u16::from(close.expect("it has a code").code),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(code, 4200, "{policy}");
        assert!(next < 8000);
    }
}

#[test]
fn where_only_the_latest_counts_a_client_that_lags_is_told_what_it_has_missed() {
    let apps = Apps::new("", &format!("{SMALL_LAG}\nlag_policy = \"latest\"\n{OPEN}"));
    let mut publisher = apps.daemon().connect("/news");
    let mut listener = apps.daemon().connect("/news");
    let mut slow = stalled(&apps);
    publish(&mut publisher, &mut listener, 8000);
    let (mut next, mut gaps) = (1, 0);
    while next <= 8000 {
        let heard = slow.hear();
        if heard == event("message", "news", &format!("{next:01024}")) {
            next += 1;
            continue;
        }
        let begin = format!(
            r#"{{"event":"fanfare:gap","channel":"news","data":"{{\"from\":{next},\"to\":"#
        );
        let rest = heard.strip_prefix(&begin).expect(&heard);
        let (to, rest) = rest.split_once(',').unwrap();
        let to: u64 = to.parse().unwrap();
        assert_eq!(rest, format!(r#"\"missed\":{}}}"}}"#, to + 1 - next));
        (next, gaps) = (to + 1, gaps + 1);
    }
    assert!(gaps > 0);
    slow.is_quiet();
}

#[test]
fn who_is_sent_away_as_the_daemon_stops_comes_back_after_a_second() {
    let apps = Apps::new("", "");
    let mut ann = apps.connect();
    ann.subscribe("news");
    apps.daemon().signal(Signal::SIGTERM);
    let (code, words) = hear_close(&mut ann.client);
    assert_eq!((code, &*words), (4100, "the server is stopping"));
}

#[test]
fn clients_go_over_to_the_next_process_with_all_that_they_are() {
    let mut apps = Apps::new("client_events = true", "");
    let (mut ann, mut bob) = (apps.connect(), apps.connect());
    for (speaker, user) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        speaker.join("presence-room", user);
        speaker.subscribe("news");
    }
    assert_eq!(ann.hear(), member("added", "presence-room", "bob"));
    let data = r#"{"id":"ann"}"#;
    let auth = ann.auth(&format!(":user::{data}"));
    let data = data.replace('"', "\\\"");
    ann.ask(&format!(
        r#"{{"event":"pusher:signin","data":{{"auth":"{auth}","user_data":"{data}"}}}}"#
    ));
    for time in 1..=2 {
        apps.world.daemon.hand_over(time);
        ann.say(r#"{"event":"client-x","channel":"presence-room","data":"1"}"#);
        let told = bob.hear();
        assert!(told.contains("client-x") && told.ends_with(r#""user_id":"ann"}"#));
        ann.is_quiet();
        // What its server signs for the connection that it was is still right.
        ann.subscribe(&format!("private-{time}"));
        let own = r##"{"event":"pusher:subscribe","data":{"channel":"#server-to-user-ann"}}"##;
        assert_eq!(ann.ask(own), succeeded("#server-to-user-ann"));
        let mut new = apps.connect();
        assert!(new.join("presence-room", "new").contains(r#""count":3"#));
        for speaker in [&mut ann, &mut bob] {
            assert_eq!(speaker.hear(), member("added", "presence-room", "new"));
        }
        drop(new);
        for speaker in [&mut ann, &mut bob] {
            assert_eq!(speaker.hear(), member("removed", "presence-room", "new"));
        }
    }
    assert_eq!(apps.daemon().metric("fanfare_users"), 2);
}

#[test]
fn clients_of_an_app_with_another_prefix_come_back_to_the_topics_of_that() {
    let apps = Apps::new("", "");
    let mut ann = apps.connect();
    ann.subscribe("news");
    apps.reload("prefix = \"shop/\"", "");
    assert_eq!(hear_close(&mut ann.client).0, 4200);
    let mut again = apps.connect();
    again.subscribe("news");
    apps.daemon()
        .ask_as("POST /topics/news/messages", TEXT, b"old");
    apps.daemon()
        .ask_as("POST /topics/shop%2Fnews/messages", TEXT, b"new");
    assert_eq!(again.hear(), event("message", "news", "new"));
}

#[test]
fn settings_that_come_with_the_next_process_are_those_of_its_clients_too() {
    let open = "[[topics]]\nmatch = \"**\"\nsubscribe = \"anyone\"\npublish = \"anyone\"";
    let mut apps = Apps::new("prefix = \"shop/\"", open);
    let mut raw = apps.daemon().connect("/private-room");
    let mut speaker = apps.connect();
    speaker.subscribe("news");
    // The app has no prefix there, so that the topic is one that it guards.
    apps.rewrite("", open);
    apps.world.daemon.hand_over(1);
    assert_eq!(hear_close(&mut raw).0, 1008);
    assert_eq!(hear_close(&mut speaker.client).0, 4200);
    let mut speaker = apps.connect();
    speaker.subscribe("news");
    apps.world.rewrite("");
    apps.world.daemon.hand_over(2);
    assert_eq!(hear_close(&mut speaker.client).0, 4001);
}

fn app_node(server: &Server, secret: &TempDir) -> Daemon {
    let path = secret.path().join("app");
    let app = format!(
        "id = \"1\", key = \"key\", secret_files = {path:?}, client_events = true, client_events_per_s_max = 0"
    );
    node(server, &["--apps", &app])
}

#[test]
fn members_and_client_events_are_those_of_all_nodes() {
    let server = Server::start();
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("app"), SECRET).unwrap();
    let (one, two) = (app_node(&server, &secret), app_node(&server, &secret));
    let mut ann = Speaker::over(one.connect(PATH));
    ann.join("presence-room", "ann");
    let mut bob = Speaker::over(two.connect(PATH));
    // The other node hears of her a moment later.
    let mut there = bob.join("presence-room", "bob").contains(r#""count":2"#);
    if !there {
        there = bob.hear() == member("added", "presence-room", "ann");
    }
    assert!(there);
    assert_eq!(ann.hear(), member("added", "presence-room", "bob"));
    // A second connection of hers, at another node.
    let mut again = Speaker::over(two.connect(PATH));
    assert!(again.join("presence-room", "ann").contains(r#""count":2"#));
    for number in 0..20 {
        let say = format!(r#"{{"event":"client-x","channel":"presence-room","data":"{number}"}}"#);
        ann.say(&say);
        for speaker in [&mut bob, &mut again] {
            let told = speaker.hear();
            assert!(told.contains(&format!(r#""data":"{number}""#)), "{told}");
        }
        bob.say(&say);
        for speaker in [&mut ann, &mut again] {
            speaker.hear();
        }
    }
    for speaker in [&mut ann, &mut bob, &mut again] {
        speaker.is_quiet();
    }
    drop(again);
    two.ask_as("POST /topics/presence-room/messages", TEXT, b"hello");
    for speaker in [&mut ann, &mut bob] {
        assert_eq!(speaker.hear(), event("message", "presence-room", "hello"));
    }
    drop(ann);
    assert_eq!(bob.hear(), member("removed", "presence-room", "ann"));
    eventually("she is gone", || {
        let mut new = Speaker::over(one.connect(PATH));
        new.join("presence-room", "bob").contains(r#""count":1"#)
    });
}
