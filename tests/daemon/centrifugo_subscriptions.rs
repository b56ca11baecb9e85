//! Subscriptions that tokens give to clients of Centrifugo's protocol, and how they end.

use tungstenite::Message;

use crate::centrifugo_tokens::{RULES, error, subscribe_with};
use crate::common::{self, hear_close};
use crate::speaking::{
    PATH, ask, connect_with, connected, epoch, hear, lives, order, push, recover, say, subscribe,
};
use crate::tokens::{now_s, token};
use crate::world::World;

#[test]
fn a_token_subscribes_its_client_which_recovers_when_it_comes_back() {
    let world = World::new(RULES);
    let daemon = &world.daemon;
    let anna = token(
        r#"{"sub":"anna","channels":["news.a","never.a"],
            "subs":{"personal":{"info":{"seat":1},"data":{"hello":1}}}}"#,
    );
    let (mut client, answer) = connect_with(daemon, &anna);
    // A rule that says nobody is stronger.
    assert!(!answer.contains("never.a"), "{answer}");
    for part in [
        r#""subs":{"news.a":{"recoverable":true,"epoch":""#,
        r#""personal":{"recoverable":true,"#,
        r#""data":{"hello":1}"#,
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
    let (_, personal) = answer.split_once(r#""personal""#).unwrap();
    let epoch = epoch(personal);
    let (mut owner, _) = connect_with(
        daemon,
        &token(r#"{"sub":"o","publish":["personal"],"presence":["**"]}"#),
    );
    let mut publish = |n: u64| {
        let line = format!(r#"{{"id":9,"publish":{{"channel":"personal","data":{n}}}}}"#);
        assert_eq!(ask(&mut owner, &line), r#"{"id":9,"publish":{}}"#);
    };
    publish(1);
    assert_eq!(hear(&mut client), push("personal", "1", 1));
    let answer = subscribe_with(&mut client, "personal", "");
    assert_eq!(answer, error(2, 105, "already subscribed"));
    drop(client);
    for n in 2..=4 {
        publish(n);
    }
    let mut client = daemon.connect(PATH);
    let line = format!(
        r#"{{"id":1,"connect":{{"token":"{anna}","subs":{{"personal":{{"recover":true,"offset":1,"epoch":"{epoch}"}},"news.b":{{"recover":true}}}}}}}}"#
    );
    let answer = ask(&mut client, &line);
    for part in [
        r#""publications":[{"data":2,"offset":2}]"#,
        r#""recovered":true"#,
        r#""was_recovering":true"#,
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
    assert!(!answer.contains("news.b"), "{answer}");
    for n in 3..=4 {
        assert_eq!(hear(&mut client), push("personal", &n.to_string(), n));
    }
    let list = ask(&mut owner, r#"{"id":5,"presence":{"channel":"personal"}}"#);
    assert!(list.contains(r#""chan_info":{"seat":1}"#), "{list}");
    // More than it may follow.
    let many: Vec<String> = (0..129).map(|n| format!(r#""c{n}""#)).collect();
    let many = token(&format!(r#"{{"channels":[{}]}}"#, many.join(",")));
    let mut client = daemon.connect(PATH);
    say(
        &mut client,
        &format!(r#"{{"id":1,"connect":{{"token":"{many}"}}}}"#),
    );
    assert_eq!(hear_close(&mut client).0, 3505);
}

#[test]
fn a_subscription_token_allows_one_topic_until_it_expires() {
    let world = World::new(&format!("refresh_ms_max = 4000\n{RULES}"));
    let daemon = &world.daemon;
    let claims = |more: &str| token(&format!(r#"{{"sub":"anna","channel":"room"{more}}}"#));
    let mut client = connected(
        daemon,
        r#"{"sub":"anna","publish":["room"],"presence":["room"]}"#,
    );
    let denied = error(2, 103, "permission denied");
    assert_eq!(subscribe_with(&mut client, "room", ""), denied);
    let seat = claims(r#","info":{"seat":2}"#);
    let answer = subscribe_with(&mut client, "room", &seat);
    assert!(
        answer.contains(r#""recoverable":true"#) && !answer.contains("expires"),
        "{answer}"
    );
    say(
        &mut client,
        r#"{"id":4,"publish":{"channel":"room","data":1}}"#,
    );
    let heard = [common::hear(&mut client), common::hear(&mut client)].concat();
    assert!(heard.contains(r#""chan_info":{"seat":2}"#), "{heard}");
    let list = ask(&mut client, r#"{"id":5,"presence":{"channel":"room"}}"#);
    assert!(list.contains(r#""chan_info":{"seat":2}"#), "{list}");
    // It recovers as well; a token for another user, topic or client is none.
    let epoch = epoch(&answer);
    let mut back = connected(daemon, r#"{"sub":"anna"}"#);
    let asked = recover(2, "room", 0, &epoch);
    let asked = asked.replace(r#""channel""#, &format!(r#""token":"{seat}","channel""#));
    assert!(ask(&mut back, &asked).contains(r#""recovered":true"#));
    for (topic, token) in [
        ("room", token(r#"{"sub":"ben","channel":"room"}"#)),
        ("other", claims("")),
        (
            "room",
            claims(r#","client":"00000000-0000-0000-0000-000000000000""#),
        ),
    ] {
        let mut client = connected(daemon, r#"{"sub":"anna"}"#);
        say(
            &mut client,
            &format!(r#"{{"id":2,"subscribe":{{"channel":"{topic}","token":"{token}"}}}}"#),
        );
        assert_eq!(hear_close(&mut client).0, 3500, "{topic}");
    }
    let forbidden = token(r#"{"sub":"anna","channel":"never.a"}"#);
    assert_eq!(subscribe_with(&mut back, "never.a", &forbidden), denied);
    // It expires, unless another token comes.
    let mut forgetful = connected(daemon, r#"{"sub":"anna"}"#);
    let short = claims(&format!(r#","exp":{}"#, now_s() + 3));
    let mut refreshed = connected(daemon, r#"{"sub":"anna"}"#);
    for client in [&mut forgetful, &mut refreshed] {
        let answer = subscribe_with(client, "room", &short);
        assert!(answer.contains(r#""expires":true,"ttl":"#), "{answer}");
    }
    let refresh = |topic: &str, token: &str| {
        format!(r#"{{"id":3,"sub_refresh":{{"channel":"{topic}","token":"{token}"}}}}"#)
    };
    let late = claims(&format!(r#","exp":{}"#, now_s() - 60));
    assert_eq!(
        ask(&mut refreshed, &refresh("room", &late)),
        r#"{"id":3,"error":{"code":109,"message":"token expired","temporary":true}}"#
    );
    for (topic, token, code) in [
        ("other", &*claims(""), 103),
        ("room", "", 107),
        ("", "", 107),
    ] {
        let answer = ask(&mut refreshed, &refresh(topic, token));
        assert!(answer.contains(&format!(r#""code":{code}"#)), "{answer}");
    }
    let answer = ask(
        &mut refreshed,
        &refresh("room", &claims(r#","expire_at":0"#)),
    );
    assert_eq!(answer, r#"{"id":3,"sub_refresh":{}}"#);
    assert_eq!(
        hear(&mut forgetful),
        r#"{"push":{"channel":"room","unsubscribe":{"code":2501,"reason":"subscription expired"}}}"#
    );
    // The connection is none the worse, and may subscribe again.
    assert!(subscribe_with(&mut forgetful, "room", &seat).contains("epoch"));
    lives(&mut refreshed);
    say(&mut refreshed, &refresh("room", "nonsense"));
    assert_eq!(hear_close(&mut refreshed).0, 3500);
}

#[test]
fn a_reload_ends_subscriptions_that_are_no_longer_allowed() {
    let world = World::new(RULES);
    let daemon = &world.daemon;
    let mut client = connected(daemon, r#"{"sub":"anna","channels":["personal"]}"#);
    for topic in ["news.a", "news.b"] {
        subscribe(&mut client, 2, topic);
    }
    let room = token(r#"{"sub":"anna","channel":"room"}"#);
    assert!(subscribe_with(&mut client, "room", &room).contains("epoch"));
    let rule = |topic: &str, who: &str| {
        format!("\n[[topics]]\nmatch = \"{topic}\"\nsubscribe = \"{who}\"\n")
    };
    world.reload(&[rule("news.a", "nobody"), rule("news.b", "token")].concat());
    let denied = |topic: &str| {
        format!(
            r#"{{"push":{{"channel":"{topic}","unsubscribe":{{"code":2000,"reason":"permission denied"}}}}}}"#
        )
    };
    assert_eq!(hear(&mut client), denied("news.a"));
    // What tokens allow goes with a rule that says nobody.
    world.reload(
        &[
            rule("room", "nobody"),
            rule("personal", "nobody"),
            rule("news.b", "token"),
        ]
        .concat(),
    );
    let mut heard = [hear(&mut client), hear(&mut client)];
    heard.sort();
    assert_eq!(heard, [denied("personal"), denied("room")]);
    lives(&mut client);
    let answer = subscribe_with(&mut client, "news.b", "");
    assert_eq!(answer, error(2, 105, "already subscribed"));
}

#[test]
fn a_gap_in_what_the_server_began_sends_its_client_back_for_it() {
    let world = World::new(
        r#"
lag_bytes_max = "64KiB"
log_bytes_max = "1MiB"
message_bytes_max = "64KiB"
retain_bytes_max = "64KiB"
retain_messages_max = 10
[[topics]]
match = "**"
subscribe = "anyone"
publish = "anyone"
"#,
    );
    let daemon = &world.daemon;
    let (mut slow, _) = daemon.open_over(daemon.narrow_stream(), PATH, &[]).unwrap();
    let anna = token(r#"{"sub":"anna","channels":["g"]}"#);
    let line = format!(r#"{{"id":1,"connect":{{"token":"{anna}"}}}}"#);
    assert!(ask(&mut slow, &line).contains(r#""g":"#));
    let (mut publisher, mut listener) = (daemon.connect("/g"), daemon.connect("/g"));
    let text = "x".repeat(8000);
    for _ in 0..2000 {
        say(&mut publisher, &text);
        assert_eq!(hear(&mut listener), text);
    }
    daemon.await_reason("insufficient_state");
    loop {
        match slow.read().unwrap() {
            Message::Text(push) => assert!(push.contains(r#""pub""#), "{push}"),
            Message::Close(close) => {
                assert_eq!(u16::from(close.unwrap().code), 3010);
                break;
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_subscription_token_is_checked_once_however_many_come_with_it() {
    let world = World::new(RULES);
    let daemon = &world.daemon;
    let anna = token(r#"{"sub":"anna"}"#);
    let sub = token(r#"{"sub":"anna","channel":"news.a","jti":"s"}"#);
    let mut clients: Vec<_> = (0..5).map(|_| connect_with(daemon, &anna).0).collect();
    for client in &mut clients {
        let answer = subscribe_with(client, "news.a", &sub);
        assert!(answer.contains("\"epoch\""), "{answer}");
        let line = format!(r#"{{"id":3,"sub_refresh":{{"channel":"news.a","token":"{sub}"}}}}"#);
        assert_eq!(ask(client, &line), r#"{"id":3,"sub_refresh":{}}"#);
    }
    assert_eq!(daemon.metric("fanfare_token_checks_total"), 2);
    assert_eq!(daemon.metric("fanfare_tokens_remembered"), 2);
    // That it is remembered spares no other look: at whose it is, for which topic, and at
    // what has been revoked.
    let mut other = connect_with(daemon, &token(r#"{"sub":"ben"}"#)).0;
    say(
        &mut other,
        &format!(r#"{{"id":2,"subscribe":{{"channel":"news.a","token":"{sub}"}}}}"#),
    );
    assert_eq!(hear_close(&mut other).0, 3500);
    // Nor is one of a kind taken for the other.
    let mut client = daemon.connect(PATH);
    say(
        &mut client,
        &format!(r#"{{"id":1,"connect":{{"token":"{sub}"}}}}"#),
    );
    assert_eq!(hear_close(&mut client).0, 3500);
    order(daemon, "disconnect", r#"{"jti":"s"}"#);
    let mut client = connect_with(daemon, &anna).0;
    let answer = subscribe_with(&mut client, "news.a", &sub);
    assert_eq!(answer, error(2, 103, "permission denied"));
}

#[test]
fn what_is_remembered_of_subscription_tokens_is_forgotten_with_the_keys() {
    let world = World::new(RULES);
    let sub = token(r#"{"channel":"news.a"}"#);
    let subscribe = || {
        let mut client = connect_with(&world.daemon, "").0;
        subscribe_with(&mut client, "news.a", &sub)
    };
    assert!(subscribe().contains("\"epoch\""));
    std::fs::write(world.folder.path().join("secret"), "x".repeat(40)).unwrap();
    world.reload(RULES);
    common::eventually("the key is another one", || {
        subscribe() == error(2, 103, "permission denied")
    });
}
