//! Connection tokens of Centrifugo's client protocol: who connects, what each fault of a token
//! is answered with, and how a token is refreshed.

use crate::common::{self, Client, Daemon, hear_close};
use crate::speaking::{PATH, ask, connect_with, connected, hear, lives, push, say, subscribe};
use crate::tokens::{now_s, sign, token};
use crate::world::World;

/// Who has a token may follow `news.**`, and nobody `never.**`, whatever it has.
pub(crate) const RULES: &str = r#"
presence = "on"
[[topics]]
match = "news.**"
subscribe = "token"
publish = "token"
presence = "token"
history = "token"

[[topics]]
match = "never.**"
subscribe = "nobody"
history = "nobody"
"#;

#[track_caller]
pub(crate) fn subscribe_with(client: &mut Client, topic: &str, token: &str) -> String {
    ask(
        client,
        &format!(r#"{{"id":2,"subscribe":{{"channel":"{topic}","token":"{token}"}}}}"#),
    )
}

pub(crate) fn error(id: u32, code: u32, message: &str) -> String {
    format!(r#"{{"id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#)
}

#[test]
fn the_token_of_a_connect_says_who_it_is_and_what_it_may() {
    let world = World::new(RULES);
    let exp = now_s() + 3600;
    let claims = format!(r#"{{"sub":"anna","info":{{"name":"A"}},"exp":{exp}}}"#);
    let (mut anna, answer) = connect_with(&world.daemon, &token(&claims));
    assert!(answer.contains(r#""expires":true,"ttl":3"#), "{answer}");
    subscribe(&mut anna, 2, "news.a");
    let named = r#""user":"anna","#;
    ask(
        &mut anna,
        r#"{"id":3,"publish":{"channel":"news.a","data":1}}"#,
    );
    let heard = common::hear(&mut anna);
    assert!(
        heard.contains(named) && heard.contains(r#""conn_info":{"name":"A"}"#),
        "{heard}"
    );
    let list = ask(&mut anna, r#"{"id":4,"presence":{"channel":"news.a"}}"#);
    assert!(
        list.contains(named) && list.contains(r#""conn_info":{"name":"A"}"#),
        "{list}"
    );
    // Without a token it stands, and each command is asked of the rules.
    let (mut nobody, answer) = connect_with(&world.daemon, "");
    assert!(!answer.contains("expires"), "{answer}");
    for command in [
        r#""subscribe":{"channel":"news.a"}"#,
        r#""publish":{"channel":"news.a","data":1}"#,
        r#""history":{"channel":"news.a"}"#,
        r#""presence":{"channel":"news.a"}"#,
    ] {
        let answer = ask(&mut nobody, &format!(r#"{{"id":5,{command}}}"#));
        assert_eq!(answer, error(5, 103, "permission denied"), "{command}");
    }
    // What came with the upgrade counts where the connect has none, else that one does.
    let ben = token(r#"{"sub":"ben"}"#);
    for (inner, user) in [("", "ben"), (&*token(&claims), "anna")] {
        let mut client = world.daemon.connect(&format!("{PATH}?token={ben}"));
        let line = format!(r#"{{"id":1,"connect":{{"token":"{inner}"}}}}"#);
        ask(&mut client, &line);
        subscribe(&mut client, 2, "news.b");
        let list = ask(&mut client, r#"{"id":3,"presence":{"channel":"news.b"}}"#);
        assert!(list.contains(&format!(r#""user":"{user}","#)), "{list}");
    }
}

#[test]
fn each_token_that_is_not_in_order_has_its_answer_and_disturbs_nobody() {
    let world = World::new(&format!("token_audience = \"here\"\n{RULES}"));
    let daemon = &world.daemon;
    let mut witness = connected(daemon, r#"{"sub":"w","aud":"here"}"#);
    subscribe(&mut witness, 2, "news.w");
    let mut published = 0;
    let mut check_witness = move || {
        published += 1;
        say(
            &mut witness,
            &format!(r#"{{"id":3,"publish":{{"channel":"news.w","data":{published}}}}}"#),
        );
        let mut heard = [hear(&mut witness), hear(&mut witness)];
        heard.sort();
        assert_eq!(
            heard,
            [
                r#"{"id":3,"publish":{}}"#.to_owned(),
                push("news.w", &published.to_string(), published)
            ]
        );
    };
    let claims = |more: &str| format!(r#"{{"sub":"anna","aud":"here"{more}}}"#);
    let past = format!(r#","exp":{}"#, now_s() - 60);
    let future = format!(r#","nbf":{}"#, now_s() + 3600);
    // Its client fetches another token and comes back.
    for more in [&past, &future] {
        let (mut client, answer) = connect_with(daemon, &token(&claims(more)));
        assert_eq!(answer, error(1, 109, "token expired"));
        let line = format!(
            r#"{{"id":2,"connect":{{"token":"{}"}}}}"#,
            token(&claims(""))
        );
        assert!(ask(&mut client, &line).contains(r#""client":"#));
        let sub = |more: &str| token(&claims(&format!(r#","channel":"news.a"{more}"#)));
        let answer = subscribe_with(&mut client, "news.a", &sub(more));
        assert_eq!(answer, error(2, 109, "token expired"));
        // What a token gives may have expired before the token.
        let ended = format!(r#","expire_at":{}"#, now_s() - 1);
        let answer = subscribe_with(&mut client, "news.a", &sub(&ended));
        assert_eq!(answer, error(2, 110, "expired"));
        check_witness();
    }
    let unsigned = {
        let signed = sign(r#"{"alg":"none"}"#, &claims(""));
        signed[..=signed.rfind('.').unwrap()].to_owned()
    };
    let mut forged = token(&claims(""));
    forged.truncate(forged.rfind('.').unwrap() + 1);
    forged.push_str("AAAA");
    let long = format!(r#","x":"{}""#, "y".repeat(64 << 10));
    for (bad, reason) in [
        (unsigned, "token_algorithm"),
        (sign(r#"{"alg":"HS512"}"#, &claims("")), "token_algorithm"),
        (forged, "token_signature"),
        (
            token(r#"{"sub":"anna","aud":"elsewhere"}"#),
            "token_audience",
        ),
        (token(&claims(r#","subs":7"#)), "token_claims"),
        (token(&claims(r#","channel":"news.a""#)), "token_purpose"),
        (token(&claims(&long)), "token_bytes"),
        ("secret-word".to_owned(), "token_form"),
    ] {
        let mut client = daemon.connect(PATH);
        say(
            &mut client,
            &format!(r#"{{"id":1,"connect":{{"token":"{bad}"}}}}"#),
        );
        let (code, words) = hear_close(&mut client);
        assert_eq!(code, 3500, "{reason}: {words}");
        assert!(words.starts_with("invalid token: the token"), "{words}");
        assert!(!words.contains(&bad), "{words}");
        daemon.await_reason(reason);
        // One for a topic is refused without a close,
        let mut client = connected(daemon, &claims(""));
        let answer = subscribe_with(&mut client, "news.a", &bad);
        let denied = error(2, 103, "permission denied");
        if reason != "token_purpose" {
            assert_eq!(answer, denied, "{reason}");
        }
        // and one to go on with is not.
        say(
            &mut client,
            &format!(r#"{{"id":3,"refresh":{{"token":"{bad}"}}}}"#),
        );
        assert_eq!(hear_close(&mut client).0, 3500, "{reason}");
        check_witness();
    }
    assert_eq!(daemon.count_log("secret-word"), 0);
    // Where there is no key no token is of any use.
    let keyless = Daemon::start(&[]);
    let mut client = keyless.connect(PATH);
    say(
        &mut client,
        &format!(r#"{{"id":1,"connect":{{"token":"{}"}}}}"#, token("{}")),
    );
    assert_eq!(hear_close(&mut client).0, 3500);
    keyless.await_reason("token_no_keys");
}

#[test]
fn a_connection_is_refreshed_or_closed_a_while_after_its_token_has_expired() {
    let world = World::new(&format!("refresh_ms_max = 5000\n{RULES}"));
    let daemon = &world.daemon;
    let short = format!(r#"{{"sub":"anna","exp":{}}}"#, now_s() + 1);
    let mut refreshed = connected(daemon, &short);
    let mut forgetful = connected(daemon, &short);
    let anna = token(r#"{"sub":"anna"}"#);
    let refresh = |token: &str| format!(r#"{{"id":3,"refresh":{{"token":"{token}"}}}}"#);
    assert_eq!(
        ask(&mut refreshed, &refresh(&anna)),
        r#"{"id":3,"refresh":{}}"#
    );
    let (code, words) = hear_close(&mut forgetful);
    assert_eq!(
        (code, &*words),
        (3005, "token expired: come back with another one")
    );
    lives(&mut refreshed);
    let hour = token(&format!(r#"{{"sub":"anna","exp":{}}}"#, now_s() + 3600));
    let answer = ask(&mut refreshed, &refresh(&hour));
    assert!(
        answer.starts_with(r#"{"id":3,"refresh":{"expires":true,"ttl":3"#),
        "{answer}"
    );
    // Its client comes back with a fresh one.
    say(
        &mut refreshed,
        &refresh(&token(&format!(
            r#"{{"sub":"anna","exp":{}}}"#,
            now_s() - 60
        ))),
    );
    assert_eq!(hear_close(&mut refreshed).0, 3005);
    for (more, code) in [
        (token(r#"{"sub":"ben"}"#), 3500),
        (String::new(), 3501),
        // Other topics than before: it comes back for them.
        (token(r#"{"sub":"anna","channels":["news.a"]}"#), 3010),
    ] {
        let mut client = connected(daemon, r#"{"sub":"anna"}"#);
        say(&mut client, &refresh(&more));
        assert_eq!(hear_close(&mut client).0, code);
    }
    daemon.await_reason("token_mismatch");
    daemon.await_reason("insufficient_state");
    // A token that allows less ends what it does not.
    let mut client = connected(daemon, r#"{"sub":"anna","subscribe":["news.a","news.b"]}"#);
    subscribe(&mut client, 2, "news.a");
    subscribe(&mut client, 2, "news.b");
    say(
        &mut client,
        &refresh(&token(r#"{"sub":"anna","subscribe":["news.a"]}"#)),
    );
    let mut heard = [hear(&mut client), hear(&mut client)];
    heard.sort();
    assert_eq!(
        heard,
        [
            r#"{"id":3,"refresh":{}}"#,
            r#"{"push":{"channel":"news.b","unsubscribe":{"code":2000,"reason":"permission denied"}}}"#
        ]
    );
}

#[test]
fn who_it_is_and_what_expires_goes_over_to_the_next_process() {
    let mut world = World::new(&format!("refresh_ms_max = 0\n{RULES}"));
    let end_s = now_s() + 6;
    let claims = r#"{"sub":"anna","info":1,"subs":{"personal":{"info":2}},"presence":["**"]}"#;
    let mut client = connected(&world.daemon, claims);
    let room = format!(r#"{{"sub":"anna","channel":"room","expire_at":{end_s}}}"#);
    let answer = subscribe_with(&mut client, "room", &token(&room));
    assert!(answer.contains("expires"), "{answer}");
    let mut short = connected(&world.daemon, &format!(r#"{{"sub":"ben","exp":{end_s}}}"#));
    world.daemon.hand_over(1);
    say(&mut client, r#"{"id":5,"presence":{"channel":"personal"}}"#);
    // In either order: it may take long to hand over.
    let mut heard = [hear(&mut client), hear(&mut client)];
    heard.sort();
    for part in [r#""user":"anna","#, r#""conn_info":1"#, r#""chan_info":2"#] {
        assert!(heard[0].contains(part), "{heard:?}");
    }
    assert_eq!(
        heard[1],
        r#"{"push":{"channel":"room","unsubscribe":{"code":2501,"reason":"subscription expired"}}}"#
    );
    assert_eq!(hear_close(&mut short).0, 3005);
    // It is still the one that the token had subscribed.
    let same = token(r#"{"sub":"anna","channels":["personal"]}"#);
    let line = format!(r#"{{"id":6,"refresh":{{"token":"{same}"}}}}"#);
    assert_eq!(ask(&mut client, &line), r#"{"id":6,"refresh":{}}"#);
}
