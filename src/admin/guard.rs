//! Who may ask for what: what the listener is for, the bearer token, the key of the
//! server API, the tokens of users, and no pages of foreign origin.
//!
//! A page from anywhere can make its reader's browser talk to 127.0.0.1. Its
//! writes carry an `Origin`, which must be listed in the settings, or be the listener itself
//! where that is not a public one. Against a page whose
//! own name has been pointed at 127.0.0.1 the rule of `protocol::http::hosts` holds where no
//! secret does, which such a page could not know.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, HOST, ORIGIN, UPGRADE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::cors;
use super::credentials::{API_KEY, Credential, Several};
use super::reply::Refusal;
use super::token::Token;
use super::who::Who;
use crate::config::{Place, Roles};
use crate::hub::Hub;
use crate::page::dashboard;
use crate::protocol::http::bearer::{cookies_count, in_cookies, in_mercure_query, mercure_cookie};
use crate::protocol::http::hosts::is_local_name;
use crate::protocol::http::{Origins, Reject};
use crate::protocol::mercure::MERCURE_PATH;
use crate::protocol::opening::is_for_api;
use crate::protocol::rights::{Rights, TokenFault};

/// Paths that are open to all: they tell nothing and change nothing.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
/// What only some roles may.
const METRICS: &str = "/metrics";
const UPGRADE_PATH: &str = "/upgrade";
/// Names topics, users and addresses.
const OVERVIEW: &str = "/overview";
/// What the servers of apps ask.
const APPS: &str = "/apps/";

/// The rules of one listener.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Arc<Token>>,
    /// Of the server API.
    key: Option<Arc<Token>>,
    roles: Roles,
    /// It serves the server API on public listeners, and nothing else.
    public: bool,
    /// Browsers get to TCP ports only, and what is to be had from beyond loopback
    /// without a secret is no secret.
    checks_hosts: bool,
    same_host: Origins,
    /// Who comes has done so over TLS.
    over_tls: bool,
}

/// What the guard of a listener works with.
pub(super) struct Watch {
    pub(super) guard: Guard,
    pub(super) hub: Arc<Hub>,
}

/// Lets a request through, with who asks ([`Who`]) among its extensions, or refuses it.
pub(super) async fn check(
    State(watch): State<Arc<Watch>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Watch { guard, hub } = &*watch;
    let is_mercure = request.uri().path() == MERCURE_PATH;
    if is_mercure && let Err(reject) = bear_in_header(&mut request, guard, hub) {
        let refusal = Refusal::new(StatusCode::BAD_REQUEST, reject.to_string());
        return guard.refuse(refusal);
    }
    let origins = guard.origins(hub);
    let listed = match guard.check_origin(origins, is_mercure, request.headers()) {
        Ok(listed) => listed,
        Err(refusal) => return guard.refuse(refusal),
    };
    if listed.is_some() && cors::asks_first(&request) {
        return shown(listed, cors::consent());
    }
    let admitted = guard.admit(hub, request.uri().path(), request.headers());
    let response = match admitted {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(refusal) => guard.refuse(refusal),
    };
    shown(listed, response)
}

fn shown(listed: Option<HeaderValue>, mut response: Response) -> Response {
    if let Some(origin) = listed {
        cors::show_to(origin, response.headers_mut());
    }
    response
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
            public: false,
            checks_hosts: matches!(place, Place::Tcp(_)) && place.is_local(),
            same_host: Origins::same_host(),
            over_tls: false,
        }
    }

    /// For who asks the server API on public listeners.
    pub(super) fn public(token: Option<Arc<Token>>, key: Option<Arc<Token>>) -> Self {
        Guard {
            token,
            key,
            roles: Roles {
                api: true,
                ..Roles::default()
            },
            public: true,
            checks_hosts: true,
            same_host: Origins::same_host(),
            over_tls: false,
        }
    }

    /// The same where it is over TLS.
    pub(super) fn over_tls(self) -> Self {
        Guard {
            same_host: self.same_host.over_tls(),
            over_tls: true,
            ..self
        }
    }

    pub(super) fn is_over_tls(&self) -> bool {
        self.over_tls
    }

    /// Browsers are asked to come to the public listeners over TLS alone.
    pub(super) fn demands_tls(&self) -> bool {
        self.public && self.over_tls
    }

    fn origins<'a>(&self, hub: &'a Hub) -> &'a Origins {
        match self.over_tls {
            true => hub.origins_over_tls(),
            false => hub.origins(),
        }
    }

    /// Strangers get to a public listener, and are not waited for there.
    fn refuse(&self, refusal: Refusal) -> Response {
        let refusal = match self.public {
            true => refusal.with(CONNECTION, HeaderValue::from_static("close")),
            false => refusal,
        };
        refusal.into_response()
    }

    fn admit(&self, hub: &Hub, path: &str, headers: &HeaderMap) -> Result<Who, Refusal> {
        if self.public && (!is_api(path) || headers.contains_key(UPGRADE)) {
            let sentence = "this connection has asked the server API: \
                            open another one for anything else";
            return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, sentence));
        }
        if OPEN.contains(&path) {
            return Ok(Who::Backend);
        }
        let is_page = dashboard::find(path).is_some();
        let who = match is_api(path) {
            true => self.identify(hub, path, headers)?,
            false => {
                match &self.token {
                    // It asks for the token itself.
                    Some(_) if is_page => {}
                    Some(token) if !self.is_open(path) => check_token(token, headers)?,
                    _ => self.check_host(headers)?,
                }
                Who::Backend
            }
        };
        self.check_role(path)?;
        Ok(who)
    }

    /// Figures name neither topics nor clients.
    fn is_open(&self, path: &str) -> bool {
        path == METRICS && self.roles.metrics
    }

    /// Who asks the server API, by what the request bears.
    fn identify(&self, hub: &Hub, path: &str, headers: &HeaderMap) -> Result<Who, Refusal> {
        // Their queries are signed, which is looked at there.
        if path.starts_with(APPS) {
            return Ok(Who::Backend);
        }
        let given = one_credential(headers)?;
        let is = |secret: &Option<Arc<Token>>, given| {
            let secret = secret.as_ref();
            secret.is_some_and(|secret| secret.is(given))
        };
        match given {
            Some(Credential::Key(key)) if is(&self.key, key) => return Ok(Who::Backend),
            Some(Credential::Bearer(token)) if is(&self.token, token) => return Ok(Who::Backend),
            _ => {}
        }
        // Users may publish, and nothing else.
        if is_for_publishing(path)
            && let Some(rights) = user(hub, given, headers)?
        {
            return Ok(Who::User(rights));
        }
        if self.key.is_none() && self.token.is_none() {
            self.check_host(headers)?;
            return Ok(Who::Backend);
        }
        Err(self.wrong(given))
    }

    /// What is wrong with what the request bears, or that it bears nothing.
    fn wrong(&self, given: Option<Credential<'_>>) -> Refusal {
        let (has_key, has_token) = (self.key.is_some(), self.token.is_some());
        let (sentence, challenge) = match given {
            Some(Credential::Key(_)) if has_key => ("this is not the API key", KEY_CHALLENGE),
            Some(Credential::Key(_)) => (
                "there is no API key here: send Authorization: Bearer TOKEN",
                TOKEN_CHALLENGE,
            ),
            Some(Credential::Bearer(_)) if has_token => ("this is not the admin token", BAD_TOKEN),
            Some(Credential::Bearer(_)) => (
                "there is no admin token here: send X-API-Key: KEY",
                BAD_TOKEN,
            ),
            None if has_key => ("the API key is missing: send X-API-Key: KEY", KEY_CHALLENGE),
            None => (MISSING_TOKEN, TOKEN_CHALLENGE),
        };
        unauthorized(sentence, challenge)
    }

    fn check_role(&self, path: &str) -> Result<(), Refusal> {
        let Roles {
            api,
            metrics,
            admin,
        } = self.roles;
        let allowed = match path {
            METRICS => metrics || admin,
            UPGRADE_PATH | OVERVIEW => admin,
            _ if dashboard::find(path).is_some() => admin,
            _ => api || admin,
        };
        if allowed {
            return Ok(());
        }
        let needed = match path {
            METRICS => "admin or metrics",
            UPGRADE_PATH | OVERVIEW => "admin",
            _ if dashboard::find(path).is_some() => "admin",
            _ => "admin or api",
        };
        let sentence = format!(
            "this address is for {} alone: ask at one that is for {needed}",
            self.roles
        );
        Err(Refusal::new(StatusCode::FORBIDDEN, sentence))
    }

    /// The origin of the page that asks, where the settings list it. To a Mercure hub pages of
    /// its own host may publish, as they may hear it.
    fn check_origin(
        &self,
        origins: &Origins,
        is_mercure: bool,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>, Refusal> {
        let mut given = headers.get_all(ORIGIN).iter();
        let (Some(origin), second) = (given.next(), given.next()) else {
            return Ok(None);
        };
        let host = host(headers).unwrap_or_default();
        if second.is_none() && origins.list(origin.as_bytes()) {
            return Ok(Some(origin.clone()));
        }
        let is_own = match self.public {
            true => is_mercure && origins.name(origin.as_bytes(), host),
            false => self.same_host.allow(origin.as_bytes(), host),
        };
        if second.is_none() && is_own {
            return Ok(None);
        }
        let sentence = match self.public {
            true => {
                "no page may ask the server API, but those whose origin the setting origins lists"
            }
            false => "pages of other origins may not talk to the admin listener",
        };
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

fn is_api(path: &str) -> bool {
    is_for_api(path) || path == MERCURE_PATH
}

/// Publishers to a Mercure hub may bear their token where its readers may: in the query, or in
/// a cookie. What is in the header counts before either.
fn bear_in_header(request: &mut Request, guard: &Guard, hub: &Hub) -> Result<(), Reject> {
    let in_query = in_mercure_query(request.uri().query().unwrap_or_default())?;
    let headers = request.headers();
    if headers.contains_key(AUTHORIZATION) || headers.contains_key(API_KEY) {
        return Ok(());
    }
    let token = match in_query {
        Some(token) => Some(token),
        None => in_mercure_cookie(headers, guard, hub)?.map(<[u8]>::to_vec),
    };
    let value = token.map(|token| [b"Bearer ", &token[..]].concat());
    if let Some(Ok(value)) = value.map(|value| HeaderValue::from_bytes(&value)) {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(())
}

fn in_mercure_cookie<'a>(
    headers: &'a HeaderMap,
    guard: &Guard,
    hub: &Hub,
) -> Result<Option<&'a [u8]>, Reject> {
    let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let host = host(headers).unwrap_or_default();
    if !cookies_count(origin, site, host, guard.origins(hub)) {
        return Ok(None);
    }
    let settings = hub.settings();
    let name = mercure_cookie(settings.token_cookie.as_deref());
    let cookies = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    in_cookies(cookies, name)
}

/// Where messages are posted.
fn is_for_publishing(path: &str) -> bool {
    let topic = path.strip_prefix("/topics/");
    let topic = topic.and_then(|rest| rest.strip_suffix("/messages"));
    path == "/messages" || path == MERCURE_PATH || topic.is_some_and(|topic| !topic.contains('/'))
}

/// The rights of the user whose token the request bears, if it bears one: in
/// `Authorization`, or in the cookie where a listed page asks.
fn user(
    hub: &Hub,
    given: Option<Credential<'_>>,
    headers: &HeaderMap,
) -> Result<Option<Arc<Rights>>, Refusal> {
    let token = match given {
        Some(Credential::Bearer(token)) => Some(token),
        Some(Credential::Key(_)) => None,
        None => {
            let origin = headers.get(ORIGIN);
            let is_listed = origin.is_some_and(|origin| hub.origins().list(origin.as_bytes()));
            let name = hub.settings().token_cookie.as_deref();
            let cookies = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
            let found = name
                .filter(|_| is_listed)
                .map(|name| in_cookies(cookies, name));
            let found = found
                .transpose()
                .map_err(|reject| Refusal::new(StatusCode::BAD_REQUEST, reject.to_string()))?;
            found.flatten()
        }
    };
    let Some(token) = token else {
        return Ok(None);
    };
    match hub.check_token(token) {
        Ok(rights) => Ok(Some(rights)),
        // It may be meant for others, and is none of ours in any case.
        Err(TokenFault::NoKeys) => Ok(None),
        Err(fault) => Err(unauthorized(fault.to_string(), BAD_TOKEN)),
    }
}

const KEY_CHALLENGE: &str = "apikey realm=\"fanfare\"";
const TOKEN_CHALLENGE: &str = "Bearer realm=\"fanfare\"";
const BAD_TOKEN: &str = "Bearer realm=\"fanfare\", error=\"invalid_token\"";
const MISSING_TOKEN: &str = "the admin token is missing: send Authorization: Bearer TOKEN";

fn unauthorized(
    sentence: impl Into<std::borrow::Cow<'static, str>>,
    challenge: &'static str,
) -> Refusal {
    let challenge = HeaderValue::from_static(challenge);
    Refusal::new(StatusCode::UNAUTHORIZED, sentence).with(WWW_AUTHENTICATE, challenge)
}

fn check_token(token: &Token, headers: &HeaderMap) -> Result<(), Refusal> {
    match one_credential(headers)? {
        Some(Credential::Bearer(given)) if token.is(given) => Ok(()),
        Some(Credential::Bearer(_)) => Err(unauthorized("this is not the admin token", BAD_TOKEN)),
        _ => Err(unauthorized(MISSING_TOKEN, TOKEN_CHALLENGE)),
    }
}

fn one_credential(headers: &HeaderMap) -> Result<Option<Credential<'_>>, Refusal> {
    Credential::of(headers).map_err(|Several| {
        let sentence = "a request bears one key or token: X-API-Key and Authorization say several";
        Refusal::new(StatusCode::BAD_REQUEST, sentence)
    })
}

/// The only `Host` there is.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
