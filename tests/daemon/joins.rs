//! Who comes to a topic and goes, told to those who are to hear it.

use std::collections::HashSet;

use nix::sys::signal::Signal;
use tungstenite::Message;

use crate::common::{self, Client, Daemon, eventually};
use crate::speaking::{ask, push};

const PATH: &str = "/connection/websocket";
const LISTED: [&str; 2] = ["--presence", "on"];

/// A client that is connected, and its name.
fn enter(daemon: &Daemon) -> (Client, String) {
    let mut client = daemon.connect(PATH);
    let answer = ask(&mut client, r#"{"id":1,"connect":{}}"#);
    let (_, rest) = answer.split_once(r#""client":""#).unwrap();
    let name = rest.split_once('"').unwrap().0.to_owned();
    (client, name)
}

/// Subscribes, and asks for who comes and goes.
fn join(client: &mut Client, id: u32, topic: &str) {
    let command = format!(r#"{{"id":{id},"subscribe":{{"channel":"{topic}","join_leave":true}}}}"#);
    let answer = ask(client, &command);
    assert!(answer.contains(r#""subscribe":{"#), "{answer}");
}

fn leave(client: &mut Client, id: u32, topic: &str) {
    let command = format!(r#"{{"id":{id},"unsubscribe":{{"channel":"{topic}"}}}}"#);
    let answer = ask(client, &command);
    assert_eq!(answer, format!(r#"{{"id":{id},"unsubscribe":{{}}}}"#));
}

/// The push that somebody has come, or gone.
fn told(topic: &str, what: &str, name: &str) -> String {
    format!(
        r#"{{"push":{{"channel":"{topic}","{what}":{{"info":{{"user":"","client":"{name}"}}}}}}}}"#
    )
}

#[track_caller]
fn hears(client: &mut Client, topic: &str, what: &str, name: &str) {
    assert_eq!(common::hear(client), told(topic, what, name));
}

/// What comes next is the answer to this: it has heard nothing before.
#[track_caller]
fn hears_nothing(client: &mut Client) {
    let answer = ask(client, r#"{"id":99,"history":{"channel":"x"}}"#);
    assert!(answer.starts_with(r#"{"id":99,"#), "{answer}");
}

/// Its subscription ends at the gap, and with it the one that tells it who comes: that one
/// is not cut once more.
#[test]
fn who_hears_who_comes_and_reads_nothing_for_long_loses_its_subscription_alone() {
    let options = [
        "--presence",
        "on",
        "--stall-ms-max",
        "1000",
        "--lag-bytes-max",
        "16MiB",
        "--log-bytes-max",
        "64MiB",
    ];
    let daemon = Daemon::start(&options);
    let (mut slow, _) = daemon.open_over(daemon.narrow_stream(), PATH, &[]).unwrap();
    ask(&mut slow, r#"{"id":1,"connect":{}}"#);
    join(&mut slow, 2, "room");
    let mut publisher = daemon.connect("/room");
    let text = "x".repeat(8000);
    for _ in 0..1000 {
        publisher.send(Message::text(&text)).unwrap();
    }
    eventually("it is told of a gap", || {
        daemon.metric("fanfare_lag_skips_total") > 0
    });
    let end = loop {
        let heard = common::hear(&mut slow);
        if heard.contains("unsubscribe") {
            break heard;
        }
    };
    assert!(end.contains(r#""code":2500"#), "{end}");
    join(&mut slow, 3, "room");
}

#[test]
fn who_asks_hears_who_comes_and_goes_from_itself_on() {
    let daemon = Daemon::start(&LISTED);
    let (mut ann, ann_name) = enter(&daemon);
    join(&mut ann, 2, "room");
    hears(&mut ann, "room", "join", &ann_name);
    let (mut bob, bob_name) = enter(&daemon);
    // It does not ask, and is told of by others all the same.
    ask(&mut bob, r#"{"id":2,"subscribe":{"channel":"room"}}"#);
    hears(&mut ann, "room", "join", &bob_name);
    hears_nothing(&mut bob);
    let (mut eve, eve_name) = enter(&daemon);
    join(&mut eve, 2, "room");
    hears(&mut ann, "room", "join", &eve_name);
    hears(&mut eve, "room", "join", &eve_name);
    // Messages of the topic go their own way.
    let published = ask(
        &mut eve,
        r#"{"id":3,"publish":{"channel":"room","data":1}}"#,
    );
    let heard = [published, crate::speaking::hear(&mut eve)];
    assert!(heard.contains(&push("room", "1", 1)), "{heard:?}");
    for client in [&mut ann, &mut bob] {
        assert_eq!(crate::speaking::hear(client), push("room", "1", 1));
    }
    // Unsubscribed, closed and vanished.
    leave(&mut bob, 3, "room");
    hears(&mut ann, "room", "leave", &bob_name);
    hears(&mut eve, "room", "leave", &bob_name);
    leave(&mut bob, 4, "room");
    eve.close(None).unwrap();
    hears(&mut ann, "room", "leave", &eve_name);
    ask(&mut bob, r#"{"id":5,"subscribe":{"channel":"room"}}"#);
    hears(&mut ann, "room", "join", &bob_name);
    drop(bob);
    hears(&mut ann, "room", "leave", &bob_name);
    leave(&mut ann, 4, "room");
    hears_nothing(&mut ann);
    // Joins of ann, bob twice, and eve, and leaves of bob twice, and eve: nobody was there to
    // hear the last one.
    eventually("all are counted", || {
        daemon.metric("fanfare_joins_total") == 7
    });
    assert_eq!(daemon.metric("fanfare_joins_lost_total"), 0);
}

#[test]
fn rules_and_rights_say_who_hears_of_it() {
    let mut options: Vec<&str> = vec!["--presence", "on", "--anonymous"];
    options.push(r#"match = "**", publish = true, presence = true"#);
    for rule in [
        r#"match = "all.*", joins = true, presence_list = false"#,
        r#"match = "none.*", joins = false"#,
        r#"match = "secret.*", presence = "nobody""#,
        r#"match = "unlisted.*", presence_list = false"#,
    ] {
        options.extend(["--topics", rule]);
    }
    let daemon = Daemon::start(&options);
    let (mut ann, ann_name) = enter(&daemon);
    // Whether it asks or not.
    ask(&mut ann, r#"{"id":2,"subscribe":{"channel":"all.a"}}"#);
    hears(&mut ann, "all.a", "join", &ann_name);
    let (mut bob, bob_name) = enter(&daemon);
    for (id, topic) in ["none.a", "secret.a", "unlisted.a"].into_iter().enumerate() {
        join(&mut ann, 10 + id as u32, topic);
        join(&mut bob, 10 + id as u32, topic);
    }
    hears_nothing(&mut ann);
    join(&mut bob, 20, "all.a");
    hears(&mut ann, "all.a", "join", &bob_name);
    join(&mut ann, 21, "other");
    hears(&mut ann, "other", "join", &ann_name);
}

#[test]
fn a_handover_tells_nobody_that_anybody_left_or_came() {
    let mut daemon = Daemon::start(&["--presence", "on", "--cores", "2"]);
    let (mut ann, ann_name) = enter(&daemon);
    join(&mut ann, 2, "room");
    hears(&mut ann, "room", "join", &ann_name);
    let (mut bob, bob_name) = enter(&daemon);
    join(&mut bob, 2, "room");
    for client in [&mut ann, &mut bob] {
        hears(client, "room", "join", &bob_name);
    }
    daemon.hand_over(1);
    hears_nothing(&mut ann);
    hears_nothing(&mut bob);
    // It goes on from there.
    let (mut eve, eve_name) = enter(&daemon);
    join(&mut eve, 2, "room");
    for client in [&mut ann, &mut bob, &mut eve] {
        hears(client, "room", "join", &eve_name);
    }
    drop(bob);
    for client in [&mut ann, &mut eve] {
        hears(client, "room", "leave", &bob_name);
    }
}

/// Those who are there as far as somebody has heard: nobody comes twice, or goes who is not
/// there.
fn hear_all(client: &mut Client, changes: usize) -> HashSet<String> {
    let mut there = HashSet::new();
    for _ in 0..changes {
        let heard = common::hear(client);
        let (_, name) = heard.split_once(r#""client":""#).unwrap();
        let name = name.split_once('"').unwrap().0.to_owned();
        let right = match heard.contains(r#""join""#) {
            true => there.insert(name),
            false => there.remove(&name),
        };
        assert!(right, "{heard}");
    }
    there
}

#[test]
fn over_all_cores_and_an_upgrade_everybody_who_comes_and_goes_is_told_of_once() {
    let mut daemon = Daemon::start(&["--presence", "on", "--cores", "3"]);
    let (mut ann, ann_name) = enter(&daemon);
    join(&mut ann, 2, "room");
    let mut others: Vec<_> = (0..12).map(|_| (enter(&daemon), false)).collect();
    let (mut random, mut changes) = (fastrand::Rng::with_seed(7), 1);
    for step in 0..600 {
        if step == 300 {
            daemon.hand_over(1);
        }
        let ((client, name), follows) = &mut others[random.usize(..12)];
        let command = match *follows {
            true => r#"{"id":3,"unsubscribe":{"channel":"room"}}"#,
            false => r#"{"id":2,"subscribe":{"channel":"room"}}"#,
        };
        if random.u8(..) < 30 {
            // A client that goes with answers unread resets its connection, and what it has
            // said last may never be read.
            say(client, r#"{"id":9,"rpc":{}}"#);
            while !common::hear(client).starts_with(r#"{"id":9,"#) {}
            changes += usize::from(*follows);
            (*client, *name) = enter(&daemon);
            *follows = false;
        } else {
            say(client, command);
            changes += 1;
            *follows = !*follows;
        }
    }
    let there = hear_all(&mut ann, changes);
    let following = others.iter().filter(|(_, follows)| *follows);
    let names = following.map(|((_, name), _)| name.clone());
    let names: HashSet<String> = names.chain([ann_name]).collect();
    assert_eq!(there, names);
    let list = ask(&mut ann, r#"{"id":5,"presence":{"channel":"room"}}"#);
    assert_eq!(list.matches(r#""client":"#).count(), names.len(), "{list}");
    assert!(names.iter().all(|name| list.contains(name)), "{list}");
}

#[test]
fn hearing_who_comes_counts_in_no_limit_and_list_of_topics() {
    let daemon = Daemon::start(&["--presence", "on", "--topics-per-connection-max", "2"]);
    let (mut ann, ann_name) = enter(&daemon);
    for (id, topic) in [(2, "a"), (3, "b")] {
        join(&mut ann, id, topic);
        hears(&mut ann, topic, "join", &ann_name);
    }
    let refused = ask(&mut ann, r#"{"id":4,"subscribe":{"channel":"c"}}"#);
    assert!(refused.contains(r#""code":106"#), "{refused}");
    // Unsubscribed from one, it has room for another, and hears of that.
    leave(&mut ann, 5, "a");
    join(&mut ann, 6, "c");
    hears(&mut ann, "c", "join", &ann_name);
    let (_, topics) = daemon.ask("GET /topics");
    let numbers: Vec<_> = topics.split(r#""subscribers":"#).skip(1).collect();
    assert!(
        numbers.iter().all(|rest| rest.starts_with(['0', '1'])),
        "{topics}"
    );
    assert_eq!(
        numbers.iter().filter(|rest| rest.starts_with('1')).count(),
        2
    );
}

#[test]
fn who_is_too_far_behind_with_joins_is_told_so_and_has_left() {
    let options = [&LISTED[..], &["--lag-bytes-max", "64KiB"]].concat();
    let daemon = Daemon::start(&options);
    let (mut slow, _) = daemon.open_over(daemon.narrow_stream(), PATH, &[]).unwrap();
    let answer = ask(&mut slow, r#"{"id":1,"connect":{}}"#);
    let (_, rest) = answer.split_once(r#""client":""#).unwrap();
    let slow_name = rest.split_once('"').unwrap().0.to_owned();
    join(&mut slow, 2, "room");
    let (mut ann, _) = enter(&daemon);
    let (mut bob, _) = enter(&daemon);
    join(&mut ann, 2, "room");
    // Bob comes and goes; ann hears it all, and the slow one nothing for now.
    let mut told_of_leave = false;
    let leave_of_slow = told("room", "leave", &slow_name);
    let mut id = 10;
    while !told_of_leave {
        let commands = (0..200).map(|_| {
            id += 2;
            let (come, go) = (id - 1, id);
            format!(
                "{{\"id\":{come},\"subscribe\":{{\"channel\":\"room\"}}}}\n\
                 {{\"id\":{go},\"unsubscribe\":{{\"channel\":\"room\"}}}}"
            )
        });
        let commands: Vec<_> = commands.collect();
        say(&mut bob, &commands.join("\n"));
        for _ in 0..400 {
            let answer = common::hear(&mut bob);
            assert!(answer.starts_with(r#"{"id":"#), "{answer}");
        }
        say(&mut ann, r#"{"id":9,"history":{"channel":"x"}}"#);
        let heard = heard_before_an_answer(&mut ann, 9);
        told_of_leave = heard.contains(&leave_of_slow);
    }
    // It reads on, up to where it was cut.
    let unsubscribed = r#"{"push":{"channel":"room","unsubscribe":{"code":2500,"#;
    while !common::hear(&mut slow).starts_with(unsubscribed) {}
    // Neither of its two subscriptions is left.
    say(
        &mut slow,
        r#"{"id":3,"publish":{"channel":"room","data":1}}"#,
    );
    hears_nothing_but_the_answer(&mut slow, 3);
    let again = r#"{"id":4,"subscribe":{"channel":"room","join_leave":true}}"#;
    assert!(ask(&mut slow, again).contains(r#""subscribe":{"#));
    hears(&mut slow, "room", "join", &slow_name);
    assert_eq!(daemon.metric("fanfare_joins_lost_total"), 0);
}

#[track_caller]
fn hears_nothing_but_the_answer(client: &mut Client, id: u32) {
    assert_eq!(heard_before_an_answer(client, id), [""; 0]);
}

#[test]
fn changed_rules_hold_for_who_is_there_already() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fanfare.toml");
    let rule = |joins: &str| format!("[[topics]]\nmatch = \"room\"\njoins = {joins}\n");
    std::fs::write(&path, rule("false")).unwrap();
    let mut start = common::command(&[]);
    start.arg("--config").arg(&path);
    let daemon = Daemon::start_as(start);
    let reload = |joins: &str, times: usize| {
        std::fs::write(&path, rule(joins)).unwrap();
        daemon.signal(Signal::SIGHUP);
        daemon.await_log("settings read again", times);
    };
    let (mut ann, _) = enter(&daemon);
    let (mut bob, bob_name) = enter(&daemon);
    join(&mut ann, 2, "room");
    let mut come_and_go = || {
        join(&mut bob, 2, "room");
        say(&mut bob, r#"{"id":3,"unsubscribe":{"channel":"room"}}"#);
        heard_before_an_answer(&mut bob, 3);
    };
    come_and_go();
    assert_eq!(daemon.metric("fanfare_joins_total"), 0);
    reload("true", 1);
    // Cores look at those who are there in their own time.
    eventually("ann is told", || {
        come_and_go();
        say(&mut ann, r#"{"id":9,"history":{"channel":"x"}}"#);
        let heard = heard_before_an_answer(&mut ann, 9);
        heard.contains(&told("room", "join", &bob_name))
    });
    reload("false", 2);
    let before = daemon.metric("fanfare_joins_total");
    come_and_go();
    assert_eq!(daemon.metric("fanfare_joins_total"), before);
}

fn say(client: &mut Client, line: &str) {
    client.send(Message::text(line)).unwrap();
}

fn heard_before_an_answer(client: &mut Client, id: u32) -> Vec<String> {
    let begin = format!(r#"{{"id":{id},"#);
    let mut heard = Vec::new();
    loop {
        match common::hear(client) {
            answer if answer.starts_with(&begin) => return heard,
            push => heard.push(push),
        }
    }
}

#[test]
fn a_client_in_protobuf_is_told_too() {
    let daemon = Daemon::start(&LISTED);
    let mut client = daemon.connect(&format!("{PATH}?format=protobuf"));
    // connect{}, and subscribe{channel "room", join_leave}.
    let commands: [&[u8]; 2] = [
        &[4, 8, 1, 34, 0],
        b"\x0c\x08\x02\x2a\x08\x0a\x04room\x58\x01",
    ];
    client.send(Message::binary(commands.concat())).unwrap();
    let mut heard = Vec::new();
    // push{channel "room", join
    let is_told = |heard: &[u8]| heard.windows(7).any(|bytes| bytes == b"\x12\x04room\x2a");
    while !is_told(&heard) {
        match client.read().unwrap() {
            Message::Binary(bytes) => heard.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
}
