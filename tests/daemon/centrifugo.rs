//! Centrifugo's client protocol, spoken word by word.

use tungstenite::Message;

use crate::common::{Client, Daemon, eventually, hear_close};
use crate::speaking::{PATH, ask, connect, epoch, hear, push, recover, say, subscribe};

#[test]
fn whoever_publishes_is_heard_by_all_whatever_they_speak() {
    let daemon = Daemon::start(&[]);
    let mut raw = daemon.connect("/news");
    let mut client = connect(&daemon);
    subscribe(&mut client, 2, "news");
    // The publisher hears itself.
    say(
        &mut client,
        r#"{"id":3,"publish":{"channel":"news","data":{"a": 1}}}"#,
    );
    let mut heard = [hear(&mut client), hear(&mut client)];
    heard.sort();
    assert_eq!(
        heard,
        [
            r#"{"id":3,"publish":{}}"#.to_owned(),
            push("news", r#"{"a": 1}"#, 1)
        ]
    );
    assert_eq!(hear(&mut raw), r#"{"a": 1}"#);
    // Text that is no JSON is a string, bytes are base64.
    say(&mut raw, "Kick-off!");
    assert_eq!(hear(&mut client), push("news", r#""Kick-off!""#, 2));
    raw.send(Message::binary(vec![1, 2, 3])).unwrap();
    assert_eq!(hear(&mut client), push("news", r#""AQID""#, 3));
    let answer = ask(&mut client, r#"{"id":4,"unsubscribe":{"channel":"news"}}"#);
    assert_eq!(answer, r#"{"id":4,"unsubscribe":{}}"#);
    say(&mut raw, "unheard");
    assert_eq!(
        ask(
            &mut client,
            r#"{"id":5,"publish":{"channel":"other","data":1}}"#
        ),
        r#"{"id":5,"publish":{}}"#
    );
}

#[test]
fn commands_of_one_message_are_answered_in_their_order_and_ahead_of_pushes() {
    let daemon = Daemon::start(&["--cores", "1"]);
    let mut client = daemon.connect(PATH);
    say(
        &mut client,
        "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"a\"}}\n\
         {\"id\":3,\"publish\":{\"channel\":\"a\",\"data\":7}}\n{\"id\":4,\"subscribe\":{\"channel\":\"a\"}}",
    );
    let lines: Vec<String> = (0..4).map(|_| hear(&mut client)).collect();
    assert!(lines[0].starts_with(r#"{"id":1,"connect":"#), "{lines:?}");
    assert!(lines[1].starts_with(r#"{"id":2,"subscribe":"#), "{lines:?}");
    assert_eq!(lines[2], r#"{"id":3,"publish":{}}"#);
    assert_eq!(
        lines[3],
        r#"{"id":4,"error":{"code":105,"message":"already subscribed"}}"#
    );
    assert_eq!(hear(&mut client), push("a", "7", 1));
}

#[test]
fn what_was_missed_comes_without_a_hole_or_is_not_called_recovered() {
    let daemon = Daemon::start(&["--retain-messages-max", "10"]);
    let mut raw = daemon.connect("/r");
    let mut first = connect(&daemon);
    let epoch = subscribe(&mut first, 2, "r");
    for n in 1..=5 {
        say(&mut raw, &n.to_string());
        assert_eq!(hear(&mut first), push("r", &n.to_string(), n));
    }
    drop(first);
    let mut client = connect(&daemon);
    let answer = ask(&mut client, &recover(2, "r", 2, &epoch));
    for part in [
        r#""recovered":true"#,
        r#""was_recovering":true"#,
        r#""offset":2"#,
        r#""publications":[{"data":3,"offset":3}]"#,
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
    for n in 4..=5 {
        assert_eq!(hear(&mut client), push("r", &n.to_string(), n));
    }
    // With nothing missed nothing comes, and it is recovered.
    let mut client = connect(&daemon);
    let answer = ask(&mut client, &recover(2, "r", 5, &epoch));
    assert!(
        answer.contains(r#""recovered":true"#) && !answer.contains("publications"),
        "{answer}"
    );
    say(&mut raw, "6");
    assert_eq!(hear(&mut client), push("r", "6", 6));
    for n in 7..=30 {
        say(&mut raw, &n.to_string());
        assert_eq!(hear(&mut client), push("r", &n.to_string(), n));
    }
    // Another history, a future that has not been, and what is not kept any more.
    for (newest, offset, epoch) in [
        (30, 5, "0123456789abcdef"),
        (31, 99, &*epoch),
        (32, 3, &epoch),
    ] {
        let mut client = connect(&daemon);
        let asked = recover(2, "r", offset, epoch);
        let whole = asked.replace(r#""recover""#, r#""flag":2,"recover""#);
        let answer = ask(&mut client, &whole);
        assert!(answer.contains(r#""code":112"#), "{answer}");
        let answer = ask(&mut client, &asked);
        assert!(!answer.contains(r#""recovered""#), "{answer}");
        assert!(
            answer.contains(&format!(r#""offset":{newest}"#)),
            "{answer}"
        );
        say(&mut raw, "{}");
        assert_eq!(hear(&mut client), push("r", "{}", newest + 1));
    }
}

#[test]
fn who_comes_back_to_a_topic_without_messages_has_missed_nothing_over_a_handover_too() {
    let mut daemon = Daemon::start(&[]);
    let mut client = connect(&daemon);
    let epoch = subscribe(&mut client, 2, "silent");
    drop(client);
    for handovers in 0..2 {
        if handovers > 0 {
            daemon.hand_over(handovers);
        }
        eventually("it is looked at", || {
            daemon.metric("fanfare_idle_topics") == 1
        });
        let mut client = connect(&daemon);
        let answer = ask(&mut client, &recover(2, "silent", 0, &epoch));
        assert!(answer.contains(r#""recovered":true"#), "{answer}");
        assert!(answer.contains(&epoch), "{answer}");
    }
}

#[test]
fn a_page_of_history_names_its_messages_and_the_newest() {
    let daemon = Daemon::start(&[]);
    let mut client = connect(&daemon);
    for n in 1..=5 {
        let line = format!(r#"{{"id":{n},"publish":{{"channel":"h","data":{n}}}}}"#);
        assert_eq!(
            ask(&mut client, &line),
            format!(r#"{{"id":{n},"publish":{{}}}}"#)
        );
    }
    let mut page = |wish: &str| {
        let answer = ask(
            &mut client,
            &format!(r#"{{"id":9,"history":{{"channel":"h",{wish}}}}}"#),
        );
        assert!(answer.contains(r#""offset":5"#), "{answer}");
        answer
    };
    assert!(page(r#""limit":0"#).contains(r#""publications":[]"#));
    let two = r#""publications":[{"data":1,"offset":1},{"data":2,"offset":2}]"#;
    assert!(page(r#""limit":2"#).contains(two));
    let last = r#""publications":[{"data":5,"offset":5},{"data":4,"offset":4}]"#;
    assert!(page(r#""limit":2,"reverse":true"#).contains(last));
    let epoch = epoch(&page(r#""limit":0"#));
    let since = format!(r#""limit":-1,"since":{{"offset":3,"epoch":"{epoch}"}}"#);
    assert!(
        page(&since).contains(r#""publications":[{"data":4,"offset":4},{"data":5,"offset":5}]"#)
    );
    let answer = ask(
        &mut client,
        r#"{"id":9,"history":{"channel":"h","limit":1,"since":{"offset":3,"epoch":"x"}}}"#,
    );
    assert!(answer.contains(r#""code":112"#), "{answer}");
}

#[test]
fn what_breaks_the_protocol_has_its_code_and_harms_nobody_else() {
    let daemon = Daemon::start(&["--handshake-ms-max", "1000"]);
    let mut other = connect(&daemon);
    subscribe(&mut other, 2, "t");
    for lines in [
        r#"{"id":1,"subscribe":{"channel":"t"}}"#,
        "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"connect\":{}}",
        "{\"id\":1,\"connect\":{}}\n{}",
        "{\"id\":1,\"connect\":{}}\nnonsense",
        r#"{"connect":{}}"#,
        "[[[[",
    ] {
        let mut client = daemon.connect(PATH);
        say(&mut client, lines);
        assert_eq!(hear_close(&mut client).0, 3501, "{lines}");
    }
    // Who never says who it is.
    let mut silent = daemon.connect(PATH);
    assert_eq!(hear_close(&mut silent).0, 3502);
    // Refused without a close.
    for (command, code) in [
        (r#""subscribe":{"channel":""}"#, 107),
        (r#""publish":{"channel":"t"}"#, 107),
        (r#""rpc":{"method":"m"}"#, 108),
        (r#""what_a_newer_client_asks":{}"#, 104),
    ] {
        let answer = ask(&mut other, &format!(r#"{{"id":7,{command}}}"#));
        assert!(
            answer.contains(&format!(r#""code":{code}"#)),
            "{command}: {answer}"
        );
    }
    let mut raw = daemon.connect("/t");
    say(&mut raw, "1");
    assert_eq!(hear(&mut other), push("t", "1", 1));
}

#[test]
fn commands_ahead_of_one_that_cannot_be_read_are_done_and_answered() {
    let daemon = Daemon::start(&[]);
    let mut raw = daemon.connect("/t");
    let publish = r#"{"id":2,"publish":{"channel":"t","data":1}}"#;
    for bad in [
        "nonsense",
        r#"{"id":3}"#,
        r#"{"id":3,"publish":{"channel":4}}"#,
    ] {
        let mut client = daemon.connect(PATH);
        let after = publish.replace("data\":1", "data\":2");
        let lines = format!("{{\"id\":1,\"connect\":{{}}}}\n{publish}\n{bad}\n{after}");
        say(&mut client, &lines);
        assert!(hear(&mut client).starts_with(r#"{"id":1,"connect":"#));
        assert_eq!(hear(&mut client), r#"{"id":2,"publish":{}}"#, "{bad}");
        assert_eq!(hear_close(&mut client).0, 3501, "{bad}");
        assert_eq!(hear(&mut raw), "1");
    }
    // Nothing behind one has been published.
    say(&mut connect(&daemon), publish);
    assert_eq!(hear(&mut raw), "1");
    // In Protobuf: a connect, a publish to `t`, and one whose end is missing.
    let mut client = daemon.connect(&format!("{PATH}?format=protobuf"));
    let commands = b"\x04\x08\x01\x22\x00\x0a\x08\x02\x3a\x06\x0a\x01t\x12\x01\x31\x0a\x08\x03";
    client.send(Message::binary(&commands[..])).unwrap();
    let hear = |client: &mut Client| client.read().unwrap().into_data();
    assert!(hear(&mut client)[1..].starts_with(b"\x08\x01\x2a"));
    assert_eq!(hear(&mut client)[..], *b"\x04\x08\x02\x42\x00");
    assert_eq!(hear_close(&mut client).0, 3501);
}

#[test]
fn a_connection_follows_as_many_topics_as_it_may() {
    let daemon = Daemon::start(&["--topics-per-connection-max", "1000"]);
    let mut client = connect(&daemon);
    let lines: Vec<String> = (0..1001)
        .map(|n| format!(r#"{{"id":{},"subscribe":{{"channel":"t{n}"}}}}"#, n + 2))
        .collect();
    say(&mut client, &lines.join("\n"));
    let answers = (0..1001).map(|_| hear(&mut client));
    let refused: Vec<String> = answers.filter(|line| line.contains("error")).collect();
    assert_eq!(
        refused,
        [r#"{"id":1002,"error":{"code":106,"message":"limit exceeded"}}"#]
    );
    let mut publisher = connect(&daemon);
    let lines: Vec<String> = (0..1000)
        .map(|n| {
            format!(
                r#"{{"id":{},"publish":{{"channel":"t{n}","data":{n}}}}}"#,
                n + 2
            )
        })
        .collect();
    say(&mut publisher, &lines.join("\n"));
    let mut heard: Vec<String> = (0..1000).map(|_| hear(&mut client)).collect();
    let mut wanted: Vec<String> = (0..1000)
        .map(|n| push(&format!("t{n}"), &n.to_string(), 1))
        .collect();
    heard.sort();
    wanted.sort();
    assert_eq!(heard, wanted);
}

#[test]
fn sessions_and_their_subscriptions_go_over_to_the_next_process() {
    let mut daemon = Daemon::start(&[]);
    let mut raw = daemon.connect("/b");
    let mut client = connect(&daemon);
    for (id, topic) in [(2, "a"), (3, "b"), (4, "c")] {
        subscribe(&mut client, id, topic);
    }
    daemon.hand_over(1);
    say(&mut raw, "1");
    assert_eq!(hear(&mut client), push("b", "1", 1));
    daemon.hand_over(2);
    let answer = ask(&mut client, r#"{"id":5,"subscribe":{"channel":"c"}}"#);
    assert!(answer.contains(r#""code":105"#), "{answer}");
    say(&mut client, r#"{"id":6,"unsubscribe":{"channel":"b"}}"#);
    assert_eq!(hear(&mut client), r#"{"id":6,"unsubscribe":{}}"#);
    say(
        &mut client,
        r#"{"id":7,"publish":{"channel":"a","data":2}}"#,
    );
    let mut heard = [hear(&mut client), hear(&mut client)];
    heard.sort();
    assert_eq!(
        heard,
        [r#"{"id":7,"publish":{}}"#.to_owned(), push("a", "2", 1)]
    );
}

#[test]
fn pings_are_empty_commands_and_who_does_not_answer_is_closed() {
    let daemon = Daemon::start(&["--ping-interval-ms", "400", "--idle-ms-max", "1500"]);
    let mut client = connect(&daemon);
    for _ in 0..3 {
        assert_eq!(hear(&mut client), "{}");
        say(&mut client, "{}");
    }
    let mut code = None;
    while code.is_none() {
        match client.read().unwrap() {
            Message::Close(close) => code = Some(u16::from(close.unwrap().code)),
            Message::Text(text) => assert_eq!(text.as_str(), "{}"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(code, Some(3012));
}

#[test]
fn a_subscription_with_a_gap_ends_so_that_its_client_comes_back() {
    let options = [
        "--lag-bytes-max",
        "64KiB",
        "--log-bytes-max",
        "1MiB",
        "--message-bytes-max",
        "64KiB",
        "--retain-bytes-max",
        "64KiB",
        "--retain-messages-max",
        "10",
    ];
    let daemon = Daemon::start(&options);
    let mut slow = {
        let (client, _) = daemon.open_over(daemon.narrow_stream(), PATH, &[]).unwrap();
        client
    };
    ask(&mut slow, r#"{"id":1,"connect":{}}"#);
    subscribe(&mut slow, 2, "g");
    let mut publisher = daemon.connect("/g");
    let mut listener = daemon.connect("/g");
    let text = "x".repeat(8000);
    for _ in 0..2000 {
        say(&mut publisher, &text);
        assert_eq!(hear(&mut listener), text);
    }
    eventually("it is told of a gap", || {
        daemon.metric("fanfare_lag_skips_total") > 0
    });
    let mut offset = 0;
    let end = loop {
        let heard = hear(&mut slow);
        if heard.contains("unsubscribe") {
            break heard;
        }
        offset += 1;
        assert!(
            heard.ends_with(&format!(r#""offset":{offset}}}}}}}"#)),
            "{offset}"
        );
    };
    assert_eq!(
        end,
        r#"{"push":{"channel":"g","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#
    );
    // The connection is none the worse.
    subscribe(&mut slow, 3, "g");
    say(&mut publisher, "1");
    assert!(hear(&mut slow).contains(r#""data":1,"#));
}
