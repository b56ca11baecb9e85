//! Who may ask for what: what the listener is for, the bearer token, the key of the
//! server API, and no pages of foreign origin.
//!
//! A page from anywhere can make its reader's browser talk to 127.0.0.1. Its
//! writes carry an `Origin`, which must be the listener itself. Against a page whose
//! own name has been pointed at 127.0.0.1 the rule of `protocol::http::hosts` holds where no
//! token does, which such a page could not know.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::reply::Refusal;
use super::token::Token;
use crate::config::{Place, Roles};
use crate::protocol::http::Origins;
use crate::protocol::http::hosts::is_local_name;

/// Paths that are open to all: they tell nothing and change nothing.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
/// What only some roles may.
const METRICS: &str = "/metrics";
const UPGRADE: &str = "/upgrade";
/// What a key of its own opens.
const API: &str = "/api/";
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The rules of one listener.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Arc<Token>>,
    /// Of the server API.
    key: Option<Arc<Token>>,
    roles: Roles,
    /// Browsers get to TCP ports only, and what is to be had from beyond loopback
    /// without a token is no secret.
    checks_hosts: bool,
    origins: Origins,
}

/// Lets a request through or refuses it.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    guard.admit(request.uri().path(), request.headers())?;
    Ok(next.run(request).await)
}

impl Guard {
    pub(super) fn new(
        token: Option<Arc<Token>>,
        key: Option<Arc<Token>>,
        place: &Place,
        roles: Roles,
    ) -> Self {
        Guard {
            token,
            key,
            roles,
            checks_hosts: matches!(place, Place::Tcp(_)) && place.is_local(),
            origins: Origins::same_host(),
        }
    }

    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        self.check_origin(headers)?;
        if OPEN.contains(&path) {
            return Ok(());
        }
        match (&self.key, &self.token) {
            (Some(key), token) if path.starts_with(API) => {
                check_key(key, token.as_deref(), headers)?;
            }
            (_, Some(token)) if !self.is_public(path) => check_token(token, headers)?,
            _ => self.check_host(headers)?,
        }
        self.check_role(path)
    }

    /// Figures name neither topics nor clients.
    fn is_public(&self, path: &str) -> bool {
        path == METRICS && self.roles.metrics
    }

    fn check_role(&self, path: &str) -> Result<(), Refusal> {
        let Roles {
            api,
            metrics,
            admin,
        } = self.roles;
        let allowed = match path {
            METRICS => metrics || admin,
            UPGRADE => admin,
            _ => api || admin,
        };
        if allowed {
            return Ok(());
        }
        let needed = match path {
            METRICS => "admin or metrics",
            UPGRADE => "admin",
            _ => "admin or api",
        };
        let sentence = format!(
            "this address is for {} alone: ask at one that is for {needed}",
            self.roles
        );
        Err(Refusal::new(StatusCode::FORBIDDEN, sentence))
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = host(headers).unwrap_or_default();
        let mut origins = headers.get_all(ORIGIN).iter();
        if origins.all(|origin| self.origins.allow(origin.as_bytes(), host)) {
            return Ok(());
        }
        let sentence = "pages of other origins may not talk to the admin listener";
        Err(Refusal::new(StatusCode::FORBIDDEN, sentence))
    }

    fn check_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        // Without any Host it was no browser.
        let named = headers.contains_key(HOST);
        if !self.checks_hosts || !named || host(headers).is_some_and(is_local_name) {
            return Ok(());
        }
        let sentence = "without an admin token, only an IP address or localhost may be in Host";
        Err(Refusal::new(StatusCode::FORBIDDEN, sentence))
    }
}

/// Who may ask for everything needs no key.
fn check_key(key: &Token, token: Option<&Token>, headers: &HeaderMap) -> Result<(), Refusal> {
    let given = match headers.get(API_KEY) {
        Some(value) => Some(value.as_bytes()),
        None => credentials("apikey", headers),
    };
    let has_key = given.is_some_and(|given| key.is(given));
    let bears = |token: &Token| bearer(headers).is_some_and(|given| token.is(given));
    if has_key || token.is_some_and(bears) {
        return Ok(());
    }
    let sentence = match given {
        Some(_) => "this is not the API key",
        None => "the API key is missing: send X-API-Key: KEY",
    };
    let challenge = HeaderValue::from_static("apikey realm=\"fanfare\"");
    Err(Refusal::new(StatusCode::UNAUTHORIZED, sentence).with(WWW_AUTHENTICATE, challenge))
}

fn check_token(token: &Token, headers: &HeaderMap) -> Result<(), Refusal> {
    let challenge = |sentence: &'static str, challenge| {
        let challenge = HeaderValue::from_static(challenge);
        Err(Refusal::new(StatusCode::UNAUTHORIZED, sentence).with(WWW_AUTHENTICATE, challenge))
    };
    match bearer(headers) {
        Some(given) if token.is(given) => Ok(()),
        Some(_) => challenge(
            "this is not the admin token",
            "Bearer realm=\"fanfare\", error=\"invalid_token\"",
        ),
        None => challenge(
            "the admin token is missing: send Authorization: Bearer TOKEN",
            "Bearer realm=\"fanfare\"",
        ),
    }
}

/// The only `Host` there is.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    credentials("Bearer", headers)
}

/// What `Authorization` says behind the scheme of that name (RFC 9110 section 11.4).
fn credentials<'a>(scheme: &str, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (name, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    name.eq_ignore_ascii_case(scheme.as_bytes())
        .then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::hosts::samples::{FOREIGN, LOCAL};
    use axum::response::IntoResponse;

    const ALL: Roles = Roles {
        api: false,
        metrics: false,
        admin: true,
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
        match guard.admit(path, &headers) {
            Ok(()) => 200,
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
        // The key opens nothing else.
        assert_eq!(status(&with_token, "/topics", &[API_KEY_FIELD]), 401);
        let rebound = [("host", "evil.example"), API_KEY_FIELD];
        assert_eq!(status(&without, "/topics", &rebound), 403);
        assert_eq!(status(&without, "/api/publish", &rebound), 200);
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
}
