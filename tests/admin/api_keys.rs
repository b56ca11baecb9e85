//! Who may use Centrifugo's server API.

use std::fs;

use crate::api::call;
use crate::client::Daemon;

#[test]
fn the_key_is_read_from_its_file_and_opens_the_api_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (key, token) = (folder.path().join("key"), folder.path().join("token"));
    fs::write(&key, "k3y\n").unwrap();
    fs::write(&token, "s3cret\n").unwrap();
    let daemon = Daemon::start(&[
        "--api-key-file",
        key.to_str().unwrap(),
        "--admin-token-file",
        token.to_str().unwrap(),
    ]);
    let info = |fields: &[&str]| daemon.ask("POST /api/info", fields, b"{}");
    info(&[]).refuses(401, "X-API-Key");
    info(&["X-API-Key: other"]).refuses(401, "not the API key");
    let wrong = info(&["Authorization: apikey other"]);
    assert_eq!(
        wrong.field("www-authenticate"),
        Some("apikey realm=\"fanfare\"")
    );
    daemon
        .ask("POST /api/info?api_key=k3y", &[], b"{}")
        .refuses(401, "X-API-Key");
    for field in [
        "X-API-Key: k3y",
        "Authorization: apikey k3y",
        "Authorization: ApiKey k3y",
        "Authorization: Bearer s3cret",
    ] {
        assert_eq!(info(&[field]).status, 200, "{field}");
    }
    let known = ["X-API-Key: k3y"];
    assert_eq!(daemon.ask("GET /topics", &known, b"").status, 200);
    daemon
        .ask("GET /metrics", &known, b"")
        .refuses(401, "admin token");
    daemon
        .ask("GET /topics", &[], b"")
        .refuses(401, "X-API-Key");
    let foreign = ["X-API-Key: k3y", "Origin: http://evil.example"];
    info(&foreign).refuses(403, "other origins");
    // Another key takes no restart.
    let new = folder.path().join("new");
    fs::write(&new, "another").unwrap();
    fs::rename(&new, &key).unwrap();
    info(&["X-API-Key: k3y"]).refuses(401, "not the API key");
    assert_eq!(info(&["X-API-Key: another"]).status, 200);
}

#[test]
fn without_a_key_the_api_is_as_open_as_the_rest() {
    let daemon = Daemon::start(&[]);
    assert_eq!(call(&daemon, "info", "{}").status, 200);
    let rebound = ["Host: evil.example"];
    daemon
        .ask("POST /api/info", &rebound, b"{}")
        .refuses(403, "Host");
    let foreign = ["Origin: http://evil.example"];
    daemon
        .ask("POST /api/info", &foreign, b"{}")
        .refuses(403, "other origins");
}
