//! Users that publish over HTTP, with a token of theirs.

use std::fs;

use simd_json::prelude::*;

use crate::client::Daemon;
use crate::tokens::{SECRET, now_s, token};

const RULES: &str = r#"match = "open.**", publish = "anyone""#;
const NDJSON: &str = "Content-Type: application/x-ndjson";

fn start(folder: &tempfile::TempDir) -> Daemon {
    let (key, secret) = (folder.path().join("key"), folder.path().join("secret"));
    fs::write(&key, "k3y").unwrap();
    fs::write(&secret, SECRET).unwrap();
    let keys = format!("HS256:{}", secret.display());
    Daemon::start(&[
        "--api-key-file",
        key.to_str().unwrap(),
        "--token-keys",
        &keys,
        "--topics",
        RULES,
        "--token-cookie",
        "fanfare",
        "--origins",
        "https://live.example.com",
    ])
}

fn bearer(claims: &str) -> String {
    format!("Authorization: Bearer {}", token(claims))
}

#[test]
fn a_user_publishes_where_the_token_and_the_rules_allow_it() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(&folder);
    let anna = bearer(r#"{"sub":"anna","publish":["chat.*"]}"#);
    let post = |topic: &str, field: &str| {
        daemon.ask(&format!("POST /topics/{topic}/messages"), &[field], b"x")
    };
    assert_eq!(post("chat.1", &anna).status, 200);
    assert_eq!(post("open.1", &anna).status, 200);
    post("other", &anna).refuses(403, "does not allow");
    let lines = b"{\"topic\":\"chat.1\",\"data\":1}\n{\"topic\":\"other\",\"data\":1}";
    let answer = daemon.ask("POST /messages", &[NDJSON, &anna], lines);
    assert!(answer.body.starts_with("{\"offset\":2,"), "{answer:?}");
    assert!(answer.body.contains("\"status\":403"), "{answer:?}");
    // Nothing else of the API is for users.
    for request in ["GET /topics", "GET /topics/messages", "POST /api/info"] {
        let answer = daemon.ask(request, &[&anna], b"{}");
        assert_eq!(answer.status, 401, "{request}");
    }
    let expired = bearer(&format!(r#"{{"sub":"anna","exp":{}}}"#, now_s() - 60));
    let refused = post("open.1", &expired);
    refused.refuses(401, "expired");
    let challenge = refused.field("www-authenticate").unwrap();
    assert!(challenge.contains("invalid_token"), "{challenge}");
    post("open.1", "Authorization: Bearer x").refuses(401, "no JWT");
    // Rules are for those with a token.
    post("open.1", "X: y").refuses(401, "X-API-Key");
    let figures = daemon.get("/metrics").body;
    let counted = "fanfare_post_refusals_total{reason=\"denied\"} 2\n";
    assert!(figures.contains(counted), "{figures}");
}

#[test]
fn a_cookie_counts_where_a_listed_page_asks() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(&folder);
    let cookie = format!("Cookie: a=b; fanfare={}", token(r#"{"sub":"anna"}"#));
    let post = |fields: &[&str]| daemon.ask("POST /topics/open.1/messages", fields, b"x");
    let listed = "Origin: https://live.example.com";
    let answer = post(&[&cookie, listed]);
    assert_eq!(answer.json().get_u64("offset"), Some(1));
    let credentials = answer.field("access-control-allow-credentials");
    assert_eq!(credentials, Some("true"));
    post(&[&cookie]).refuses(401, "X-API-Key");
    post(&[&cookie, "Origin: http://evil.example"]).refuses(403, "origins");
    let twice = format!("{cookie}; fanfare=x");
    post(&[&twice, listed]).refuses(400, "one token");
}

#[test]
fn a_users_names_of_requests_are_that_users_own() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(&folder);
    let users = [r#"{"sub":"anna"}"#, r#"{"sub":"ben"}"#].map(bearer);
    for (user, replayed) in [
        (&users[0], None),
        (&users[1], None),
        (&users[0], Some("true")),
    ] {
        let fields = [user, "Idempotency-Key: 1"];
        let answer = daemon.ask("POST /topics/open.1/messages", &fields, b"x");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("idempotency-replayed"), replayed);
    }
}
