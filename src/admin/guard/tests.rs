use super::*;
use crate::config::Settings;
use crate::protocol::http::hosts::samples::{FOREIGN, LOCAL};
use axum::response::IntoResponse;

const ALL: Roles = Roles {
    api: false,
    metrics: false,
    admin: true,
};

const NONE: Roles = Roles {
    api: false,
    metrics: false,
    admin: false,
};

fn secret(text: &str) -> Arc<Token> {
    Arc::new(Token::new("secret", "/no/such/file".into(), text.into()))
}

fn guard(token: Option<&str>, place: &str, roles: Roles) -> Guard {
    let place = Place::parse(place).unwrap();
    Guard::new(token.map(secret), None, &place, roles)
}

fn status(guard: &Guard, path: &str, fields: &[(&'static str, &str)]) -> u16 {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    let hub = Hub::new(Settings::default()).unwrap();
    let origin = guard.check_origin(hub.origins(), path == MERCURE_PATH, &headers);
    match origin.and_then(|_| guard.admit(&hub, path, &headers)) {
        Ok(_) => 200,
        Err(refusal) => refusal.into_response().status().as_u16(),
    }
}

#[test]
fn the_token_is_asked_for_everywhere_but_for_health() {
    let guard = guard(Some("s3cret"), "127.0.0.1:1", ALL);
    let with = |value: &str| status(&guard, "/metrics", &[("authorization", value)]);
    assert_eq!(with("Bearer s3cret"), 200);
    assert_eq!(with("bearer  s3cret "), 200);
    for wrong in [
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3cret2",
        "Bearer S3cret",
        "s3cret",
        "Basic s3cret",
        "Bearer s3crex",
    ] {
        assert_eq!(with(wrong), 401, "{wrong}");
    }
    assert_eq!(status(&guard, "/topics", &[]), 401);
    assert_eq!(status(&guard, "/no/such/path", &[]), 401);
    assert_eq!(status(&guard, "/healthz", &[]), 200);
    assert_eq!(status(&guard, "/readyz", &[]), 200);
}

const API_KEY_FIELD: (&str, &str) = ("x-api-key", "k3y");

#[test]
fn the_server_api_has_a_key_of_its_own_where_one_is_set() {
    let place = Place::parse("127.0.0.1:1").unwrap();
    let guard = |token: Option<&str>| {
        let key = Some(secret("k3y"));
        Guard::new(token.map(secret), key, &place, ALL)
    };
    let (with_token, without) = (guard(Some("s3cret")), guard(None));
    let tries = [
        ("x-api-key", "k3y", 200),
        ("x-api-key", "k3", 401),
        ("x-api-key", "", 401),
        ("x-api-key", "s3cret", 401),
        ("authorization", "apikey k3y", 200),
        ("authorization", "ApiKey  k3y", 200),
        ("authorization", "apikeyk3y", 401),
        ("authorization", "Bearer k3y", 401),
        ("host", "127.0.0.1", 401),
    ];
    for (name, value, expected) in tries {
        for guard in [&with_token, &without] {
            let found = status(guard, "/api/publish", &[(name, value)]);
            assert_eq!(found, expected, "{name}: {value}");
        }
    }
    assert_eq!(status(&with_token, "/api/publish?api_key=k3y", &[]), 401);
    let bearer = [("authorization", "Bearer s3cret")];
    assert_eq!(status(&with_token, "/api/publish", &bearer), 200);
    assert_eq!(status(&without, "/api/publish", &bearer), 401);
    // The key opens the API alone, but all of it.
    for path in ["/topics", "/topics/a/messages", "/messages", "/connections"] {
        assert_eq!(status(&with_token, path, &[API_KEY_FIELD]), 200, "{path}");
        assert_eq!(status(&without, path, &[]), 401, "{path}");
    }
    for path in ["/metrics", "/upgrade"] {
        assert_eq!(status(&with_token, path, &[API_KEY_FIELD]), 401, "{path}");
    }
    let rebound = [("host", "evil.example"), API_KEY_FIELD];
    assert_eq!(status(&without, "/metrics", &rebound), 403);
    assert_eq!(status(&without, "/api/publish", &rebound), 200);
    let both = [API_KEY_FIELD, ("authorization", "Bearer s3cret")];
    assert_eq!(status(&with_token, "/topics", &both), 400);
    let foreign = [("origin", "http://evil.example"), API_KEY_FIELD];
    assert_eq!(status(&without, "/api/publish", &foreign), 403);
}

#[test]
fn pages_of_other_origins_are_refused_even_with_the_token() {
    let guard = guard(Some("s3cret"), "127.0.0.1:1", ALL);
    let from = |origin: &str| {
        let token = ("authorization", "Bearer s3cret");
        let fields = [token, ("host", "127.0.0.1:8001"), ("origin", origin)];
        status(&guard, "/topics/a/messages", &fields)
    };
    assert_eq!(from("http://127.0.0.1:8001"), 200);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:8000", ""] {
        assert_eq!(from(origin), 403, "{origin}");
    }
    let twice = [
        ("host", "h"),
        ("origin", "http://h"),
        ("origin", "http://evil.example"),
    ];
    assert_eq!(status(&guard, "/healthz", &twice), 403);
}

#[test]
fn a_rebound_name_is_refused_where_no_token_protects() {
    let host = |guard: &Guard, host: &str| status(guard, "/topics", &[("host", host)]);
    let plain = guard(None, "127.0.0.1:1", ALL);
    for local in LOCAL {
        assert_eq!(host(&plain, local), 200, "{local}");
    }
    for foreign in FOREIGN {
        assert_eq!(host(&plain, foreign), 403, "{foreign}");
    }
    assert_eq!(status(&plain, "/topics", &[]), 200);
    let twice = [("host", "127.0.0.1"), ("host", "evil.example")];
    assert_eq!(status(&plain, "/topics", &twice), 403);
    // No browser gets to a Unix socket, no such page knows the token.
    assert_eq!(host(&guard(None, "unix:/a", ALL), "anything"), 200);
    let guard = guard(Some("s3cret"), "127.0.0.1:1", ALL);
    let fields = [
        ("host", "fanfare.example"),
        ("authorization", "Bearer s3cret"),
    ];
    assert_eq!(status(&guard, "/topics", &fields), 200);
}

#[test]
fn each_role_may_what_it_is_for() {
    let may = |roles: Roles| {
        let guard = guard(None, "127.0.0.1:1", roles);
        [
            "/metrics",
            "/topics/a/messages",
            "/api/publish",
            "/connections",
            "/upgrade",
        ]
        .map(|path| status(&guard, path, &[]) == 200)
    };
    let role = |set: fn(&mut Roles)| {
        let mut roles = Roles::default();
        set(&mut roles);
        roles
    };
    assert_eq!(may(role(|r| r.admin = true)), [true; 5]);
    assert_eq!(
        may(role(|r| r.api = true)),
        [false, true, true, true, false]
    );
    let figures = role(|r| r.metrics = true);
    assert_eq!(may(figures), [true, false, false, false, false]);
    let both = role(|r| (r.api, r.metrics) = (true, true));
    assert_eq!(may(both), [true, true, true, true, false]);
    let closed = guard(None, "127.0.0.1:1", figures);
    assert_eq!(status(&closed, "/healthz", &[]), 200);
    assert_eq!(status(&closed, "/readyz", &[]), 200);
}

#[test]
fn figures_take_no_token_where_an_address_is_for_them() {
    let both = Roles {
        metrics: true,
        ..ALL
    };
    let open = guard(Some("s3cret"), "0.0.0.0:1", both);
    assert_eq!(status(&open, "/metrics", &[("host", "fanfare:1")]), 200);
    assert_eq!(status(&open, "/topics", &[]), 401);
    // On loopback a page with a name of its own could get there.
    let local = guard(Some("s3cret"), "127.0.0.1:1", both);
    assert_eq!(status(&local, "/metrics", &[("host", "evil.example")]), 403);
    let without = guard(Some("s3cret"), "127.0.0.1:1", ALL);
    assert_eq!(status(&without, "/metrics", &[]), 401);
}

#[test]
fn the_dashboard_asks_for_the_token_itself_and_is_where_the_admin_is() {
    let with_token = guard(Some("s3cret"), "127.0.0.1:1", ALL);
    for path in ["/", "/dashboard.js", "/docs/operating.md"] {
        assert_eq!(status(&with_token, path, &[]), 200, "{path}");
        for roles in [
            Roles { api: true, ..NONE },
            Roles {
                metrics: true,
                ..NONE
            },
        ] {
            let guard = guard(Some("s3cret"), "127.0.0.1:1", roles);
            assert_eq!(status(&guard, path, &[]), 403, "{path}");
        }
    }
    assert_eq!(status(&with_token, "/docs/none.md", &[]), 401);
    // Without a token it is for this machine's browsers, by this machine's names.
    let without = guard(None, "127.0.0.1:1", ALL);
    assert_eq!(status(&without, "/", &[("host", "localhost:1")]), 200);
    assert_eq!(status(&without, "/", &[("host", "evil.example")]), 403);
}

#[test]
fn on_public_listeners_there_is_the_api_alone_and_no_page_that_is_not_listed() {
    let guard = Guard::public(None, Some(secret("k3y")));
    let with = |path: &str, fields: &[(&'static str, &str)]| {
        let fields = [&[API_KEY_FIELD][..], fields].concat();
        status(&guard, path, &fields)
    };
    assert_eq!(with("/api/publish", &[]), 200);
    assert_eq!(status(&guard, "/api/publish", &[]), 401);
    for path in ["/", "/healthz", "/metrics", "/upgrade", "/news"] {
        assert_eq!(with(path, &[]), 421, "{path}");
    }
    assert_eq!(with("/topics/a", &[("upgrade", "websocket")]), 421);
    // Not even one from the host itself.
    for origin in ["http://127.0.0.1:8000", "null", "http://evil.example"] {
        let fields = [("host", "127.0.0.1:8000"), ("origin", origin)];
        assert_eq!(with("/api/publish", &fields), 403, "{origin}");
    }
}

#[test]
fn a_page_that_is_listed_may_ask_wherever_the_api_is() {
    let origins = Origins::from_list(&["https://*.example.com", "same-host", "*"]).unwrap();
    let guards = [
        Guard::public(None, Some(secret("k3y"))),
        guard(None, "127.0.0.1:1", ALL),
    ];
    for (origin, listed) in [
        ("https://live.example.com", true),
        ("https://example.com", false),
        ("http://127.0.0.1:1", false),
        ("null", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers.insert(HOST, "127.0.0.1:1".parse().unwrap());
        for guard in &guards {
            let found = guard.check_origin(&origins, false, &headers);
            let found = found.is_ok_and(|listed| listed.is_some());
            assert_eq!(found, listed, "{origin}");
        }
    }
}
