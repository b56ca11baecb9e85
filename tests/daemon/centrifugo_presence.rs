//! Who is there, as clients of Centrifugo's protocol are told.

use crate::common::{self, Daemon, eventually};
use crate::speaking::{ask, connect, connect_as, subscribe};

#[test]
fn a_publisher_is_named_to_all_who_hear_it() {
    let daemon = Daemon::start(&[]);
    let (mut client, name) = connect_as(&daemon);
    let mut other = connect(&daemon);
    subscribe(&mut other, 2, "t");
    ask(
        &mut client,
        r#"{"id":2,"publish":{"channel":"t","data":1}}"#,
    );
    let push = common::hear(&mut other);
    assert!(
        push.contains(&format!(r#""info":{{"user":"","client":"{name}"}}"#)),
        "{push}"
    );
}

#[test]
fn who_is_there_is_known_over_all_cores_and_processes() {
    let mut daemon = Daemon::start(&["--cores", "3", "--presence", "on"]);
    let mut clients: Vec<_> = (0..6).map(|_| connect_as(&daemon)).collect();
    for (client, _) in &mut clients {
        subscribe(client, 2, "room");
    }
    let mut watch = connect(&daemon);
    let presence = r#"{"id":7,"presence":{"channel":"room"}}"#;
    let stats = r#"{"id":8,"presence_stats":{"channel":"room"}}"#;
    for handovers in 0..2 {
        if handovers > 0 {
            daemon.hand_over(handovers);
        }
        let list = ask(&mut watch, presence);
        for (_, name) in &clients {
            assert!(
                list.contains(&format!(r#""{name}":{{"user":"","client":"{name}"}}"#)),
                "{list}"
            );
        }
        let numbers = ask(&mut watch, stats);
        assert_eq!(
            numbers,
            r#"{"id":8,"presence_stats":{"num_clients":6,"num_users":1}}"#
        );
    }
    // One leaves the topic, one closes, and one vanishes.
    ask(
        &mut clients[0].0,
        r#"{"id":3,"unsubscribe":{"channel":"room"}}"#,
    );
    clients[1].0.close(None).unwrap();
    drop(clients.remove(2));
    eventually("those are gone", || {
        ask(&mut watch, stats).contains(r#""num_clients":3"#)
    });
    drop(clients);
    eventually("all are gone", || {
        ask(&mut watch, presence) == r#"{"id":7,"presence":{"presence":{}}}"#
    });
}

#[test]
fn nobody_is_told_who_is_there_unless_the_settings_say_so_but_how_many_are() {
    let daemon = Daemon::start(&[]);
    let mut client = connect(&daemon);
    subscribe(&mut client, 2, "t");
    let _raw = daemon.connect("/t");
    let answer = ask(&mut client, r#"{"id":3,"presence":{"channel":"t"}}"#);
    assert!(answer.contains(r#""code":108"#), "{answer}");
    for (channel, number) in [("t", 1), ("nobody's", 0)] {
        let stats = format!(r#"{{"id":4,"presence_stats":{{"channel":"{channel}"}}}}"#);
        assert_eq!(
            ask(&mut client, &stats),
            format!(r#"{{"id":4,"presence_stats":{{"num_clients":{number},"num_users":0}}}}"#)
        );
    }
}
