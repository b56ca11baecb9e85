//! Who may do what: rules of topics, and tokens.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use tungstenite::Message;

use crate::common::{Client, Daemon, Raw, hear, hear_close, pass};
use crate::tokens::{SECRET, now_s, sign, token};
use crate::world::World;

/// Everybody may hear `open.**`, who has a token `news.**`; all may publish to `open.all`.
const RULES: &str = r#"
[[topics]]
match = "open.all"
subscribe = "anyone"
publish = "anyone"
history = "anyone"

[[topics]]
match = "open.**"
subscribe = "anyone"
publish = "token"
history = "token"

[[topics]]
match = "news.**"
subscribe = "token"
publish = "nobody"
"#;

/// A daemon with [`RULES`] and a key.
fn world(more: &str) -> World {
    World::new(&format!("{more}\n{RULES}"))
}

/// What a handshake is refused with: status and words.
pub(crate) fn refused(daemon: &Daemon, path: &str, lines: &str) -> (u16, String) {
    let mut raw = daemon.raw();
    raw.send(Raw::request(path, lines).as_bytes());
    let answer = raw.read_answer();
    if answer.status == 401 {
        assert!(
            answer
                .header("WWW-Authenticate")
                .unwrap()
                .starts_with("Bearer")
        );
    }
    (answer.status, String::from_utf8(answer.body).unwrap())
}

fn connect(world: &World, path: &str, token: &str) -> Client {
    world.daemon.connect(&format!("{path}?token={token}"))
}

/// It is answered, and hears nothing before that.
fn lives(client: &mut Client) {
    client.send(Message::Ping("?".into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("?".into()));
}

#[test]
fn rules_say_who_may_hear_and_publish() {
    let world = world("");
    let (status, words) = refused(&world.daemon, "/news.sport", "");
    assert_eq!(
        (status, &*words),
        (401, "without a token one may not subscribe to this topic\n")
    );
    assert_eq!(refused(&world.daemon, "/other", "").0, 401);
    assert_eq!(refused(&world.daemon, "/open.a?since=0", "").0, 401);
    world.daemon.await_reason("token_missing");
    let anna = token(r#"{"sub":"anna"}"#);
    let (status, words) = refused(&world.daemon, &format!("/other?token={anna}"), "");
    assert_eq!(
        (status, &*words),
        (403, "one may not subscribe to this topic here\n")
    );
    world.daemon.await_reason("denied");
    let mut listener = world.daemon.connect("/open.a");
    let mut speaker = connect(&world, "/open.a", &anna);
    pass(&mut speaker, &mut listener, "said with a token");
    listener.send(Message::text("said without")).unwrap();
    let (code, words) = hear_close(&mut listener);
    assert_eq!(
        (code, &*words),
        (1008, "read only: publishing to this topic is not allowed")
    );
    world.daemon.await_reason("read_only");
    // Nobody publishes there, and whoever reads on hears nothing of the attempt.
    let mut reader = connect(&world, "/news.a", &anna);
    let mut other = connect(&world, "/news.a", &anna);
    other.send(Message::text("not for anybody")).unwrap();
    hear_close(&mut other);
    pass(
        &mut speaker,
        &mut world.daemon.connect("/open.a"),
        "still here",
    );
    lives(&mut reader);
}

#[test]
fn a_token_comes_in_any_of_four_ways_but_only_once() {
    let world = world("token_cookie = \"session\"\norigins = [\"https://ours.example\", \"null\"]");
    let anna = token(r#"{"sub":"anna"}"#);
    let opens = |lines: &str| {
        let mut raw = world.daemon.raw();
        raw.send(Raw::request("/news.a", lines).as_bytes());
        let answer = raw.read_head();
        (
            answer.status,
            answer.header("Sec-WebSocket-Protocol").map(str::to_owned),
        )
    };
    assert_eq!(opens(&format!("Authorization: bearer {anna}\r\n")).0, 101);
    let offer = |more: &str| opens(&format!("Sec-WebSocket-Protocol: bearer, {anna}{more}\r\n"));
    assert_eq!(offer(""), (101, Some("bearer".into())));
    assert_eq!(offer(", chat"), (101, Some("chat".into())));
    let cookie = format!("Cookie: a=b; session={anna}\r\n");
    assert_eq!(
        opens(&format!("Origin: https://ours.example\r\n{cookie}")).0,
        101
    );
    // Whoever may connect for another reason is nobody's page.
    for origin in ["", "Origin: null\r\n"] {
        assert_eq!(opens(&format!("{origin}{cookie}")).0, 401, "{origin}");
    }
    let twice = format!("Origin: https://ours.example\r\n{cookie}Cookie: session=x\r\n");
    assert_eq!(opens(&twice).0, 400);
    let (status, _) = refused(
        &world.daemon,
        &format!("/news.a?token={anna}"),
        &format!("Authorization: Bearer {anna}\r\n"),
    );
    assert_eq!(status, 400);
    world.daemon.await_reason("token_twice");
}

#[test]
fn each_token_that_is_not_in_order_is_told_why_and_disturbs_nobody() {
    let world = world("token_audience = \"here\"");
    let sound = token(r#"{"sub":"anna","aud":"here"}"#);
    let mut witness = connect(&world, "/open.a", &sound);
    let mut listener = connect(&world, "/open.a", &sound);
    let now_s = now_s();
    let claims = |more: &str| format!(r#"{{"aud":"here"{more}}}"#);
    let none = {
        let signed = sign(r#"{"alg":"none"}"#, &claims(""));
        signed[..=signed.rfind('.').unwrap()].to_owned()
    };
    let mut forged = sound.clone();
    forged.truncate(sound.rfind('.').unwrap() + 1);
    forged.push_str(&URL_SAFE_NO_PAD.encode([7; 32]));
    let cases = [
        (
            token(&claims(&format!(r#","exp":{}"#, now_s - 60))),
            "token_expired",
        ),
        (
            token(&claims(&format!(r#","nbf":{}"#, now_s + 3600))),
            "token_not_yet",
        ),
        (sign(r#"{"alg":"HS512"}"#, &claims("")), "token_algorithm"),
        (none, "token_algorithm"),
        (token(r#"{"aud":"elsewhere"}"#), "token_audience"),
        (forged, "token_signature"),
        (token(&claims(r#","sub":7"#)), "token_claims"),
        (token(&claims(r#","channel":"c""#)), "token_purpose"),
        (
            sign(r#"{"alg":"HS256","crit":["x"]}"#, &claims("")),
            "token_form",
        ),
        ("secret-word".into(), "token_form"),
    ];
    for (token, reason) in &cases {
        // Also where no token is needed: who brings one means it.
        let (status, words) = refused(&world.daemon, &format!("/open.a?token={token}"), "");
        assert_eq!(status, 401, "{reason}");
        assert!(words.starts_with("the token"), "{words}");
        assert!(!words.contains(token), "{words}");
        world.daemon.await_reason(reason);
        pass(&mut witness, &mut listener, reason);
    }
    // The head is too long before the token is.
    let long = token(&claims(&format!(r#","x":"{}""#, "y".repeat(64 << 10))));
    assert_eq!(
        refused(&world.daemon, &format!("/open.a?token={long}"), "").0,
        431
    );
    pass(&mut witness, &mut listener, "after a long one");
    let (_, metrics) = world.daemon.ask("GET /metrics");
    let secrets = cases.iter().map(|(token, _)| token).chain([&sound]);
    for secret in secrets.map(String::as_str).chain([SECRET]) {
        assert!(!metrics.contains(secret));
        assert_eq!(world.daemon.count_log(secret), 0);
    }
}

#[test]
fn who_has_a_long_token_is_told_so_where_heads_may_be_longer() {
    let world = world("head_bytes_max = \"1MiB\"");
    let long = token(&format!(r#"{{"x":"{}"}}"#, "y".repeat(64 << 10)));
    let (status, words) = refused(&world.daemon, &format!("/open.a?token={long}"), "");
    assert_eq!(
        (status, &*words),
        (401, "the token has more than 65536 bytes\n")
    );
    world.daemon.await_reason("token_bytes");
}

#[test]
fn a_connection_ends_with_its_token() {
    let world = world("");
    let short = token(&format!(r#"{{"exp":{}}}"#, now_s() + 1));
    let mut client = connect(&world, "/news.a", &short);
    let (code, words) = hear_close(&mut client);
    assert_eq!(
        (code, &*words),
        (1008, "token expired: come back with another one")
    );
    world.daemon.await_reason("token_expired");
}

#[test]
fn changed_rules_hold_for_those_who_are_there() {
    let world = world("");
    let anna = token(r#"{"sub":"anna","subscribe":["news.a"]}"#);
    let mut listed = connect(&world, "/news.a", &anna);
    let mut open = world.daemon.connect("/open.a");
    let mut speaker = world.daemon.connect("/open.all");
    let rules = RULES.replace("\"open.all\"", "\"open.*\"");
    world.reload(&format!(
        "{rules}\n[[topics]]\nmatch = \"x\"\nsubscribe = \"nobody\"\n"
    ));
    world.daemon.await_log("settings read again", 1);
    // It may publish now, and is told nothing of the change.
    let told = |client: &mut Client| {
        client.send(Message::text("may I?")).unwrap();
        hear(client)
    };
    let mut echoing = world.daemon.connect("/open.a?echo=1");
    assert_eq!(told(&mut echoing), "may I?");
    assert_eq!(hear(&mut open), "may I?");
    world.reload("[[topics]]\nmatch = \"open.a\"\nsubscribe = \"anyone\"\n");
    let (code, words) = hear_close(&mut speaker);
    assert_eq!(
        (code, &*words),
        (1008, "denied: this topic may not be heard any more")
    );
    world.daemon.await_reason("denied");
    // Its token names the topic, whatever rules there are.
    lives(&mut listed);
    lives(&mut open);
}

#[test]
fn a_key_file_is_read_again_and_a_broken_one_changes_nothing() {
    let world = world("");
    let anna = token(r#"{"sub":"anna"}"#);
    let key = world.folder.path().join("secret");
    fs::write(&key, "").unwrap();
    world.daemon.signal(Signal::SIGHUP);
    world.daemon.await_log("settings unchanged", 1);
    connect(&world, "/news.a", &anna);
    fs::write(&key, "another secret of more than thirty-two bytes").unwrap();
    world.daemon.signal(Signal::SIGHUP);
    world
        .daemon
        .await_log("tokens are checked with other keys", 1);
    let (status, words) = refused(&world.daemon, &format!("/news.a?token={anna}"), "");
    assert_eq!((status, &*words), (401, "the token's signature is wrong\n"));
}

#[test]
fn rights_go_over_to_the_next_process() {
    let mut world = world("");
    let anna = token(r#"{"sub":"anna","subscribe":["news.a"]}"#);
    let mut named = connect(&world, "/news.a", &anna);
    let mut reader = world.daemon.connect("/open.a");
    world.daemon.hand_over(1);
    world.reload("[[topics]]\nmatch = \"open.**\"\nsubscribe = \"anyone\"\npublish = \"nobody\"\n");
    world.daemon.await_log("settings read again", 1);
    reader.send(Message::text("not allowed")).unwrap();
    assert_eq!(hear_close(&mut reader).0, 1008);
    lives(&mut named);
}
