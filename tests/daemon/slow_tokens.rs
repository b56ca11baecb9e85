//! Tokens whose signatures are slow to check: other threads than the cores' do it, and nobody
//! can tell by the answers.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use tempfile::TempDir;

use crate::common::{Daemon, Raw, eventually, hear_close, pass};
use crate::rights::refused;
use crate::speaking::{PATH, ask, connect_with, hear, say, subscribe};
use crate::tokens::{SECRET, token};

const NEWS_FOR_TOKENS: &str = r#"match = "news.**", subscribe = "token", publish = "token""#;

/// A daemon that knows a public key and a secret, and the key's other half.
struct Issuer {
    daemon: Daemon,
    pair: EcdsaKeyPair,
    _folder: TempDir,
}

impl Issuer {
    fn new() -> Issuer {
        Issuer::with(&[])
    }

    fn with(options: &[&str]) -> Issuer {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        let point = &pair.public_key().as_ref()[1..];
        let [x, y] = [&point[..32], &point[32..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        let folder = tempfile::tempdir().unwrap();
        let (public, secret) = (folder.path().join("public"), folder.path().join("secret"));
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","alg":"ES256","x":"{x}","y":"{y}"}}"#);
        fs::write(&public, jwk).unwrap();
        fs::write(&secret, SECRET).unwrap();
        let keys = format!("{},HS256:{}", public.display(), secret.display());
        let own = ["--token-keys", &keys, "--topics", NEWS_FOR_TOKENS];
        let daemon = Daemon::start(&[&own, options].concat());
        Issuer {
            daemon,
            pair,
            _folder: folder,
        }
    }

    fn token(&self, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part(r#"{"alg":"ES256"}"#), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.unwrap());
        format!("{message}.{signature}")
    }

    fn asides(&self) -> u64 {
        self.daemon.metric("fanfare_token_checks_aside_total")
    }
}

#[test]
fn what_stands_behind_a_slow_token_waits_and_is_answered_in_its_order() {
    let issuer = Issuer::new();
    let whole = issuer.token(r#"{"sub":"anna","publish":["news.**"]}"#);
    let single = issuer.token(r#"{"sub":"anna","channel":"news.a"}"#);
    let mut client = issuer.daemon.connect(PATH);
    let refresh = issuer.token(r#"{"sub":"anna","channel":"news.a","exp":4000000000}"#);
    say(
        &mut client,
        &[
            format!(r#"{{"id":1,"connect":{{"token":"{whole}"}}}}"#),
            format!(r#"{{"id":2,"subscribe":{{"channel":"news.a","token":"{single}"}}}}"#),
            r#"{"id":3,"publish":{"channel":"news.a","data":3}}"#.into(),
        ]
        .join("\n"),
    );
    say(
        &mut client,
        &format!(r#"{{"id":4,"sub_refresh":{{"channel":"news.a","token":"{refresh}"}}}}"#),
    );
    say(
        &mut client,
        r#"{"id":5,"publish":{"channel":"news.a","data":5}}"#,
    );
    let mut heard = Vec::new();
    while heard.len() < 7 {
        heard.push(hear(&mut client));
    }
    let (answers, pushes): (Vec<_>, Vec<_>) =
        heard.iter().partition(|line| line.starts_with(r#"{"id":"#));
    for (number, answer) in answers.iter().enumerate() {
        let id = number + 1;
        assert!(answer.starts_with(&format!(r#"{{"id":{id},"#)), "{answer}");
        assert!(!answer.contains("error"), "{answer}");
    }
    assert_eq!(answers.len(), 5, "{heard:?}");
    assert!(pushes[0].contains(r#""data":3"#) && pushes[1].contains(r#""data":5"#));
    assert_eq!(issuer.asides(), 3);
    // It is known from now on.
    let (_, answer) = connect_with(&issuer.daemon, &whole);
    assert!(!answer.contains("error"), "{answer}");
    assert_eq!(issuer.asides(), 3);
}

#[test]
fn a_slow_token_that_is_wrong_is_refused_as_any_other() {
    let issuer = Issuer::new();
    let mut wrong = issuer.token(r#"{"sub":"anna"}"#);
    let last = if wrong.pop() == Some('A') { 'Q' } else { 'A' };
    wrong.push(last);
    let mut client = issuer.daemon.connect(PATH);
    say(
        &mut client,
        &format!(r#"{{"id":1,"connect":{{"token":"{wrong}"}}}}"#),
    );
    assert_eq!(hear_close(&mut client).0, 3500);
    let (status, words) = refused(&issuer.daemon, &format!("/news.a?token={wrong}"), "");
    assert_eq!(status, 401, "{words}");
    let expired = issuer.token(r#"{"sub":"anna","exp":1000}"#);
    let mut client = issuer.daemon.connect(PATH);
    let answer = ask(
        &mut client,
        &format!(r#"{{"id":1,"connect":{{"token":"{expired}"}}}}"#),
    );
    assert!(answer.contains(r#""code":109"#), "{answer}");
    assert_eq!(issuer.asides(), 3);
}

#[test]
fn a_handshake_with_a_slow_token_waits_for_it() {
    let issuer = Issuer::new();
    let anna = issuer.token(r#"{"sub":"anna","subscribe":["news.a"],"publish":["news.a"]}"#);
    let path = format!("/news.a?token={anna}");
    let (mut one, mut other) = (issuer.daemon.connect(&path), issuer.daemon.connect(&path));
    pass(&mut one, &mut other, "hello");
    assert_eq!(issuer.asides(), 1);
    let (status, words) = refused(&issuer.daemon, &format!("/news.b?token={anna}"), "");
    assert_eq!(status, 403, "{words}");
}

#[test]
fn who_leaves_while_its_token_is_checked_is_forgotten() {
    let issuer = Issuer::new();
    for number in 0..50 {
        let token = issuer.token(&format!(r#"{{"sub":"user{number}"}}"#));
        let mut client = issuer.daemon.connect(PATH);
        say(
            &mut client,
            &format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#),
        );
        drop(client);
        let mut raw = issuer.daemon.raw();
        raw.send(Raw::request(&format!("/news.a?token={token}"), "").as_bytes());
    }
    eventually("all of them have gone", || {
        issuer.daemon.metric("fanfare_connections{core=\"0\"}") == 0
            && issuer.daemon.metric("fanfare_token_checks_waiting") == 0
    });
    let last = issuer.token(r#"{"sub":"last","subscribe":["news.**"]}"#);
    let (mut client, _) = connect_with(&issuer.daemon, &last);
    subscribe(&mut client, 2, "news.a");
}

#[test]
fn more_tokens_than_a_turn_checks_are_all_checked() {
    let issuer = Issuer::new();
    let (mut client, _) = connect_with(&issuer.daemon, &token(r#"{"sub":"anna"}"#));
    let asked = (1..=100).map(|id| {
        let token = token(&format!(r#"{{"sub":"anna","channel":"news.{id}"}}"#));
        format!(r#"{{"id":{id},"subscribe":{{"channel":"news.{id}","token":"{token}"}}}}"#)
    });
    say(&mut client, &asked.collect::<Vec<_>>().join("\n"));
    for id in 1..=100 {
        let answer = hear(&mut client);
        assert!(
            answer.starts_with(&format!(r#"{{"id":{id},"subscribe":"#)),
            "{answer}"
        );
    }
    assert!(issuer.asides() > 0);
}

#[test]
fn beyond_token_checks_waiting_max_tokens_wait_with_their_connections() {
    let issuer = Issuer::with(&[
        "--token-checks-waiting-max",
        "1",
        "--publish-wait-ms-max",
        "1",
    ]);
    let token = |number| issuer.token(&format!(r#"{{"sub":"user{number}"}}"#));
    let connect = |number| format!(r#"{{"id":1,"connect":{{"token":"{}"}}}}"#, token(number));
    let commands: Vec<String> = (0..100).map(connect).collect();
    let mut clients: Vec<_> = commands
        .iter()
        .map(|_| issuer.daemon.connect(PATH))
        .collect();
    for (client, command) in clients.iter_mut().zip(&commands) {
        say(client, command);
    }
    let asked = (100..150).map(|number| {
        let mut raw = issuer.daemon.raw();
        let path = format!("/news.a?token={}", token(number));
        raw.send(Raw::request(&path, "").as_bytes());
        raw
    });
    let asked: Vec<Raw> = asked.collect();
    for client in &mut clients {
        let answer = hear(client);
        assert!(
            answer.starts_with(r#"{"id":1,"connect":{"client":"#),
            "{answer}"
        );
    }
    for mut raw in asked {
        raw.expect_upgrade();
    }
    assert_eq!(issuer.asides(), 150);
    let waited = |name| issuer.daemon.metric(name);
    assert!(waited("fanfare_token_checks_postponed_total") > 0);
    // They waited for no room, and nobody was ahead.
    assert_eq!(waited("fanfare_room_waits_total"), 0);
    assert_eq!(waited("fanfare_publisher_pauses_total"), 0);
}
