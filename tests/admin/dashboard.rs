//! The files of the dashboard. What it does with them in a browser is tried by `tests/page`.

use crate::client::Daemon;

#[test]
fn the_dashboard_is_served_with_a_policy_that_lets_in_nothing_else() {
    let daemon = Daemon::start(&[]);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/dashboard.js", "text/javascript; charset=utf-8"),
        ("/dashboard.css", "text/css; charset=utf-8"),
        ("/docs/operating.md", "text/markdown; charset=utf-8"),
    ] {
        let answer = daemon.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.field("content-type"), Some(kind), "{path}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        let policy = answer.field("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    }
    daemon
        .ask("POST /", &[], b"x")
        .refuses(405, "does not apply");
}

#[test]
fn a_browser_that_has_a_file_is_not_sent_it_again() {
    let daemon = Daemon::start(&[]);
    let tag = daemon
        .get("/dashboard.js")
        .field("etag")
        .unwrap()
        .to_owned();
    let with = |tag: &str| {
        daemon.ask(
            "GET /dashboard.js",
            &[&format!("If-None-Match: {tag}")],
            b"",
        )
    };
    let known = with(&tag);
    assert_eq!((known.status, known.body.as_str()), (304, ""));
    assert_eq!(with(&format!("\"other\", W/{tag}")).status, 304);
    assert_eq!(with("\"other\"").status, 200);
}

#[test]
fn the_dashboard_asks_for_the_token_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret").unwrap();
    let daemon = Daemon::start(&["--admin-token-file", file.to_str().unwrap()]);
    assert_eq!(daemon.get("/").status, 200);
    daemon.get("/topics").refuses(401, "admin token");
}
